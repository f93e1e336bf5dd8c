"""Futures of the running event loop that the native module completes."""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import Any

from ._native import Bridge

# A bridge is kept by its loop, which watches it, and goes with it.
_bridges: weakref.WeakValueDictionary[int, Bridge] = weakref.WeakValueDictionary()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_bridges.clear)


def waiting() -> tuple[Bridge, asyncio.Future[Any]]:
    """Make a future in the running loop, and find the way into that loop."""
    loop = asyncio.get_running_loop()
    bridge = _bridges.get(id(loop))
    if bridge is None:
        bridge = Bridge()
        loop.add_reader(bridge.fileno(), bridge.drain)
        _bridges[id(loop)] = bridge
    return bridge, loop.create_future()


def refuse_in_loop(name: str) -> None:
    """Raise if an event loop runs in this thread, which a blocking call would stop.

    Raises:
        asyncio.InvalidStateError: If it does.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise asyncio.InvalidStateError(
        f"AsyncRedisSaver.{name} would block the event loop that runs in this thread: "
        f"await a{name} instead, or call {name} in another thread"
    )
