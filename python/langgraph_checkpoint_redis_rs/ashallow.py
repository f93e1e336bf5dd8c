"""The async shallow saver, where langgraph-checkpoint-redis has it."""

from __future__ import annotations

from .shallow import AsyncShallowRedisSaver

__all__ = ["AsyncShallowRedisSaver"]
