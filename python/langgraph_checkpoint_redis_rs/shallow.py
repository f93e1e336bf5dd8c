"""Savers that keep only the newest checkpoint of each thread and namespace."""

from __future__ import annotations

from typing import ClassVar

from ._described import described
from ._sync import RedisSaver
from .aio import AsyncRedisSaver

__all__ = ["AsyncShallowRedisSaver", "ShallowRedisSaver"]

_KEPT = """Keeps only the newest checkpoint of each thread and namespace in Redis.

    Pending writes, open interrupts among them, stay until they are consumed: putting a checkpoint
    removes those of older ones in the same step. So a graph can be interrupted, resumed and go on
    after a failure, but there is no history to list, to go back to or to fork: whichever
    checkpoint is asked for, the newest is given, and a run goes on from that. A run whose thread
    another one has written to meanwhile raises a ``ConflictError`` and replaces nothing. An older
    checkpoint than the one that is there changes nothing.

    Graphs with a ``DeltaChannel`` are refused with a ``ValueError``, as such channels need the
    ancestors of a checkpoint: keep their threads in a full saver.

    The data is that of langgraph-checkpoint-redis's ``AsyncShallowRedisSaver``; threads of its
    ``ShallowRedisSaver`` are read, and taken over by the first checkpoint that is put. Full savers
    do not see any of it: give each kind prefixes of its own.

    Use it"""


def _described(full: type, name: str) -> str:
    """The docstring of a full saver as that of the shallow one."""
    text = described(full, "Keeps checkpoints in Redis:", _KEPT)
    return text.replace(f"{full.__name__}.", f"{name}.")


class ShallowRedisSaver(RedisSaver):
    __doc__ = _described(RedisSaver, "ShallowRedisSaver")

    _shallow: ClassVar[bool] = True


class AsyncShallowRedisSaver(AsyncRedisSaver):
    __doc__ = _described(AsyncRedisSaver, "AsyncShallowRedisSaver")

    _shallow: ClassVar[bool] = True
