"""Savers that keep only the newest checkpoint of each thread and namespace."""

from __future__ import annotations

from typing import ClassVar

from ._sync import RedisSaver
from .aio import AsyncRedisSaver

__all__ = ["AsyncShallowRedisSaver", "ShallowRedisSaver"]

_KEPT = """Keeps only the newest checkpoint of each thread and namespace in Redis.

    Pending writes, open interrupts among them, stay until they are consumed: putting a checkpoint
    removes those of older ones in the same step. So a graph can be interrupted, resumed and go on
    after a failure, but there is no history to list, to go back to or to fork. An older
    checkpoint than the one that is there changes nothing.

    Graphs with a ``DeltaChannel`` are refused with a ``ValueError``, as such channels need the
    ancestors of a checkpoint: keep their threads in a full saver.

    The data is that of langgraph-checkpoint-redis's ``AsyncShallowRedisSaver``. Full savers do not
    see it: give each kind prefixes of its own.

    Use it"""


def _described(full: type, name: str) -> str:
    """The docstring of a full saver as that of the shallow one."""
    described = (full.__doc__ or "").replace(f"{full.__name__}.", f"{name}.")
    return described.replace("Keeps checkpoints in Redis:", _KEPT, 1)


class ShallowRedisSaver(RedisSaver):
    __doc__ = _described(RedisSaver, "ShallowRedisSaver")

    _shallow: ClassVar[bool] = True


class AsyncShallowRedisSaver(AsyncRedisSaver):
    __doc__ = _described(AsyncRedisSaver, "AsyncShallowRedisSaver")

    _shallow: ClassVar[bool] = True
