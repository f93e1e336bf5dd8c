"""What can go wrong, each as the built-in exception that fits and as a :class:`RedisSaverError`.

=============================  =====================  ==============================
exception                      is also a              raised when
=============================  =====================  ==============================
:class:`InvalidInputError`     ``ValueError``         an argument cannot be used
:class:`ConfigError`           ``ValueError``         a setting cannot be used
:class:`TooLargeError`         ``ValueError``         a document is over the limit
:class:`CorruptError`          ``ValueError``         a stored document is unreadable
:class:`UnstorableValueError`  ``TypeError``          a value cannot be stored
:class:`ServerConnectionError` ``ConnectionError``    the server cannot be reached
:class:`AuthenticationError`   ``ConnectionError``    the password is refused
:class:`TlsError`              ``ConnectionError``    one side does not trust the other
:class:`UnavailableError`      ``ConnectionError``    the server cannot serve now
:class:`OverloadedError`       ``ConnectionError``    too many calls are in flight
:class:`NotReplicatedError`    ``RuntimeError``       too few replicas have a write
:class:`ClosedError`           ``ConnectionError``    the saver was closed
:class:`CallTimeoutError`      ``TimeoutError``       a call took too long
:class:`MissingPermissionError` ``PermissionError``   the Redis user may not do it
:class:`MissingModuleError`    ``RuntimeError``       Redis lacks JSON or search
:class:`OutOfMemoryError`      ``RuntimeError``       Redis has no memory left
:class:`WrongTypeError`        ``RuntimeError``       a key holds something else
:class:`ConflictError`         ``RuntimeError``       another writer was first
:class:`ServerError`           ``RuntimeError``       Redis refused a command
=============================  =====================  ==============================

Arguments of the wrong Python type raise a plain ``TypeError``. Every message is one sentence.
"""

from __future__ import annotations

from typing import ClassVar

from ._native import UnstorableValueError

__all__ = [
    "AuthenticationError",
    "CallTimeoutError",
    "ClosedError",
    "ConfigError",
    "ConflictError",
    "CorruptError",
    "InvalidInputError",
    "MissingModuleError",
    "MissingPermissionError",
    "NotReplicatedError",
    "OutOfMemoryError",
    "OverloadedError",
    "RedisSaverError",
    "ServerConnectionError",
    "ServerError",
    "TlsError",
    "TooLargeError",
    "UnavailableError",
    "UnstorableValueError",
    "WrongTypeError",
]


class RedisSaverError(Exception):
    """Any error of a saver of this package, but a value that cannot be stored."""

    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later. Repeating a call is always safe."""


class InvalidInputError(RedisSaverError, ValueError):
    """An argument cannot be used as it is; nothing was written."""


class ConfigError(RedisSaverError, ValueError):
    """A setting, such as the URL or a TTL, cannot be used."""


class TooLargeError(RedisSaverError, ValueError):
    """A document is larger than ``max_document_bytes``; nothing was written."""


class CorruptError(RedisSaverError, ValueError):
    """A stored document cannot be read."""


class WrongTypeError(RedisSaverError, RuntimeError):
    """A key that the saver needs holds another type of value; nothing was written."""


class ConflictError(RedisSaverError, RuntimeError):
    """Another writer was first, or the key belongs to another thread; nothing was written."""


class ServerConnectionError(RedisSaverError, ConnectionError):
    """Redis cannot be reached, or the connection was lost."""

    retryable = True


class AuthenticationError(RedisSaverError, ConnectionError):
    """Redis refuses the user name or password."""


class TlsError(RedisSaverError, ConnectionError):
    """The server's certificate is not trusted, or it does not accept the client's."""


class MissingPermissionError(RedisSaverError, PermissionError):
    """The Redis user may not run a command or touch a key."""


class MissingModuleError(RedisSaverError, RuntimeError):
    """Redis lacks a command that the saver needs: RedisJSON or RediSearch is not loaded."""


class CallTimeoutError(RedisSaverError, TimeoutError):
    """A call took longer than its time limit; it may have happened or not."""

    retryable = True


class UnavailableError(RedisSaverError, ConnectionError):
    """Redis cannot serve the call at the moment: it is loading or failing over."""

    retryable = True


class OverloadedError(RedisSaverError, ConnectionError):
    """Too many calls were made at once, for the whole time limit; this one was not sent."""

    retryable = True


class NotReplicatedError(RedisSaverError, RuntimeError):
    """The write stands on the primary, but fewer than ``wait_replicas`` replicas have it."""

    retryable = True


class OutOfMemoryError(RedisSaverError, RuntimeError):
    """Redis has no memory left for writes.

    Nothing of a ``put`` or ``put_writes`` was written; a call of many steps, such as
    ``copy_thread``, may have done a part.
    """

    retryable = True


class ServerError(RedisSaverError, RuntimeError):
    """Redis refused a command for a reason of its own."""


class ClosedError(RedisSaverError, ConnectionError):
    """The saver was closed."""
