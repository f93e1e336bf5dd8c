"""redis-py's credential providers, as the native module asks them."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Ask", "asking"]

Ask = Callable[[], tuple[str | None, str]]
"""Gives the user name, if there is one, and the password that are good now. It may block."""


def asking(provider: Any) -> Ask:
    """Say how a provider is asked: one with ``get_credentials`` or ``get_credentials_async``.

    Raises:
        TypeError: If it has neither.
    """
    blocking = _own(provider, "get_credentials")
    awaited = _own(provider, "get_credentials_async")
    if blocking is None and awaited is None:
        raise TypeError(
            "credential_provider must have get_credentials, as redis-py's CredentialProvider, "
            f"which {type(provider).__name__} has not"
        )

    if blocking is not None:
        return lambda: _read(blocking())
    loop = _Loop()
    return lambda: _read(loop.run(_awaited(awaited)))


class _Loop:
    """One event loop for all questions to a provider, which may keep a session that belongs to it.

    It runs in a daemon thread from the first question on.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0

    def run(self, question: Coroutine[Any, Any, Any]) -> Any:
        with self._lock:
            # A thread does not live on in a process that was forked.
            if self._loop is None or self._process != os.getpid():
                self._loop, self._process = asyncio.new_event_loop(), os.getpid()
                threading.Thread(
                    target=self._loop.run_forever, name="redis-credentials", daemon=True
                ).start()
            loop = self._loop
        return asyncio.run_coroutine_threadsafe(question, loop).result()


def _own(provider: Any, name: str) -> Any:
    """A method, unless it is the one of redis-py's base class, which only calls the other."""
    method = getattr(provider, name, None)
    if method is None:
        return None
    home = next((cls for cls in type(provider).__mro__ if name in vars(cls)), None)
    names = (home.__module__, home.__name__) if home is not None else None
    return None if names == ("redis.credentials", "CredentialProvider") else method


async def _awaited(method: Any) -> Any:
    given = method()
    return await given if inspect.isawaitable(given) else given


def _read(given: Any) -> tuple[str | None, str]:
    if not isinstance(given, (tuple, list)) or not 1 <= len(given) <= 2:
        raise TypeError(
            "a credential provider must give (password,) or (user name, password), not "
            f"{type(given).__name__}"
        )
    if not all(isinstance(part, str) for part in given):
        raise TypeError("a credential provider must give strings")
    if len(given) == 1:
        return None, given[0]
    return given[0] or None, given[1]
