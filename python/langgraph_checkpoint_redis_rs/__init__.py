"""LangGraph checkpoint saver for Redis, written in Rust."""

from __future__ import annotations

from ._saver import ThreadSummary
from ._sync import RedisSaver
from .aio import AsyncRedisSaver
from .errors import RedisSaverError
from .serde import RedisSerializer, UnstorableValueError
from .shallow import AsyncShallowRedisSaver, ShallowRedisSaver

__all__ = [
    "AsyncRedisSaver",
    "AsyncShallowRedisSaver",
    "RedisSaver",
    "RedisSaverError",
    "RedisSerializer",
    "ShallowRedisSaver",
    "ThreadSummary",
    "UnstorableValueError",
]
