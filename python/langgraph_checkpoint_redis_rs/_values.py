"""How a saver turns values into what is stored, and back: by the serializer that it has."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Protocol

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from .errors import CorruptError, UnstorableValueError
from .serde import RedisSerializer

__all__ = ["Values", "values_of"]

ENVELOPES = b'"typed"'
"""What stands in place of type hints where each channel's value is an envelope: an object of the
type and the blob, in base64, that a serializer gave."""


class Values(Protocol):
    """Turns values into what is stored, and back."""

    def dump_channels(self, values: dict[str, Any]) -> tuple[bytes, bytes | None]:
        """Turn the channels' values into a JSON object and its types."""

    def load_channels(self, values: bytes, types: bytes | None) -> dict[str, Any]:
        """Turn a JSON object and its types into the channels' values."""

    def dump_write(self, channel: str, value: Any) -> tuple[str, str, bytes, bytes | None]:
        """Turn a write into its channel, a type, a blob, and hints."""

    def load_write(self, channel: str, kind: str, blob: bytes, hints: bytes | None) -> Any:
        """Turn a type, a blob and hints into the value of a write."""


def values_of(serde: SerializerProtocol) -> Values:
    """Find out how a serializer is used."""
    return _Json(serde) if isinstance(serde, RedisSerializer) else _Typed(serde)


class _Json:
    """Values as JSON and type hints, by this package's serializer."""

    def __init__(self, serde: RedisSerializer) -> None:
        self.dump_channels = serde.dumps_channels
        self._loads_channels = serde.loads_channels
        self._dumps_write = serde.dumps_write
        self._loads_write = serde.loads_write
        self._serde = serde

    def load_channels(self, values: bytes, types: bytes | None) -> dict[str, Any]:
        if types == ENVELOPES:
            return _open_envelopes(self._serde, self._serde.loads_channels(values))
        return self._loads_channels(values, types)

    def dump_write(self, channel: str, value: Any) -> tuple[str, str, bytes, bytes | None]:
        try:
            return channel, *self._dumps_write(value)
        except UnstorableValueError as error:
            raise _unstorable(channel, error) from error

    def load_write(self, channel: str, kind: str, blob: bytes, hints: bytes | None) -> Any:
        try:
            return self._loads_write(kind, blob, hints)
        except NotImplementedError as error:
            raise _unknown(channel, kind) from error


class _Typed:
    """Values as any serializer gives them; nothing of them is stored otherwise."""

    def __init__(self, serde: SerializerProtocol) -> None:
        self._serde = serde
        self._plain = _plain_of(serde)

    def dump_channels(self, values: dict[str, Any]) -> tuple[bytes, bytes | None]:
        envelopes = {}
        for channel, value in values.items():
            kind, blob = self._dumps(channel, value)
            envelopes[channel] = {"type": kind, "blob": base64.b64encode(blob).decode("ascii")}
        json, hints = self._plain.dumps_channels(envelopes)
        if hints is not None:
            raise UnstorableValueError("channel names must be strings of valid Unicode")
        return json, ENVELOPES

    def load_channels(self, values: bytes, types: bytes | None) -> dict[str, Any]:
        if types == ENVELOPES:
            return _open_envelopes(self._serde, self._plain.loads_channels(values))
        return self._plain.loads_channels(values, types)

    def dump_write(self, channel: str, value: Any) -> tuple[str, str, bytes, bytes | None]:
        kind, blob = self._dumps(channel, value)
        return channel, kind, blob, None

    def load_write(self, channel: str, kind: str, blob: bytes, hints: bytes | None) -> Any:
        if hints is not None or (kind == "null" and not blob):
            return self._plain.loads_write(kind, blob, hints)
        return _loads(self._serde, channel, kind, blob)

    def _dumps(self, channel: str, value: Any) -> tuple[str, bytes]:
        try:
            kind, blob = self._serde.dumps_typed(value)
        except TypeError as error:
            raise UnstorableValueError(
                f"channel {channel!r}: a value of type {type(value).__qualname__} cannot be "
                f"stored by {type(self._serde).__name__}: {error}"
            ) from error
        except Exception as error:
            if hasattr(error, "add_note"):
                error.add_note(f"in the value of channel {channel!r}")
            raise
        return kind, bytes(blob)


def _plain_of(serde: SerializerProtocol) -> RedisSerializer:
    """A serializer for what was stored before ``serde`` came, with the same allowlist."""
    inner = serde.serde if isinstance(serde, EncryptedSerializer) else serde
    if isinstance(inner, RedisSerializer):
        return inner
    if isinstance(inner, JsonPlusSerializer):
        return RedisSerializer(
            allowed_json_modules=inner._allowed_json_modules,
            allowed_msgpack_modules=inner._allowed_msgpack_modules,
        )
    return RedisSerializer()


def _open_envelopes(serde: SerializerProtocol, envelopes: dict[str, Any]) -> dict[str, Any]:
    values = {}
    for channel, envelope in envelopes.items():
        try:
            kind, blob = envelope["type"], base64.b64decode(envelope["blob"], validate=True)
        except (TypeError, KeyError, binascii.Error) as error:
            raise CorruptError(f"the value of channel {channel!r} is no envelope") from error
        values[channel] = _loads(serde, channel, kind, blob)
    return values


def _loads(serde: SerializerProtocol, channel: str, kind: str, blob: bytes) -> Any:
    try:
        return serde.loads_typed((kind, blob))
    except NotImplementedError as error:
        raise _unknown(channel, kind) from error
    except ValueError as error:
        # A cipher that is given another key says so, too.
        raise CorruptError(
            f"the value of channel {channel!r} cannot be read by {type(serde).__name__}: {error}; "
            "give the saver the serializer, and the key, that wrote it"
        ) from error


def _unstorable(channel: str, error: UnstorableValueError) -> UnstorableValueError:
    return UnstorableValueError(f"channel {channel!r}: {error}")


def _unknown(channel: str, kind: str) -> CorruptError:
    return CorruptError(
        f"the value of channel {channel!r} has the type {kind!r}, which this serializer does not "
        "read: give the saver the one that wrote it with serde="
    )
