"""Threads of langgraph-checkpoint-redis.

Checkpoints are read by the saver of this package, which reads the format of the other one without
its limits: it finds ids with any characters, has no cap, and revives more types. The other
package is asked for the documents of writes, whose task paths are in no tuple.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, TypedDict

from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.serde.base import SerializerProtocol

from .._sync import RedisSaver
from ._source import SourceCheckpoint, SourceError, SourceUnavailableError, Write, package

__all__ = ["RedisSource"]

_DISTRIBUTION = "langgraph-checkpoint-redis"
_TIMEOUT = 10
_INDEX_SECONDS = 60
"""How long is waited for an index that the server is making."""


class Prefixes(TypedDict):
    """The arguments of both savers that say where the keys are."""

    checkpoint_prefix: str
    checkpoint_write_prefix: str


class RedisSource:
    """Reads what a ``RedisSaver`` of langgraph-checkpoint-redis stored."""

    name = "redis"

    def __init__(self, saver: RedisSaver, other: Any) -> None:
        errors = package("redis.exceptions", _DISTRIBUTION)
        self._saver = saver
        self._other = other
        self.unavailable: tuple[type[Exception], ...] = (errors.RedisError,)

    @classmethod
    @contextmanager
    def open(
        cls, url: str, prefix: str | None = None, serde: SerializerProtocol | None = None
    ) -> Iterator[RedisSource]:
        """Connect to a server, to keys under ``prefix:checkpoint`` or under the default prefixes.

        Raises:
            SourceError: If it is no URL of redis-py's.
        """
        other_class = package("langgraph.checkpoint.redis", _DISTRIBUTION).RedisSaver
        before = f"{prefix}:" if prefix else ""
        names: Prefixes = {
            "checkpoint_prefix": f"{before}checkpoint",
            "checkpoint_write_prefix": f"{before}checkpoint_write",
        }
        try:
            other = other_class(
                redis_url=url,
                connection_args={"socket_timeout": _TIMEOUT, "socket_connect_timeout": _TIMEOUT},
                **names,
            )
        except ValueError:
            # The messages quote parts of the URL.
            raise SourceError(
                "the source's URL is none of redis-py's: write "
                "redis://user:password@host:port/database, special characters percent-encoded"
            ) from None
        with closing(other._redis):
            cls._check_index(other._redis, names["checkpoint_prefix"])
            cls._check_index(other._redis, names["checkpoint_write_prefix"])
            # Without a TTL, so that reading resets none.
            with RedisSaver.from_conn_string(url, serde=serde, **names) as saver:
                yield cls(saver, other)

    @staticmethod
    def _check_index(client: Any, name: str) -> None:
        """What the other package stored is found by its index, so that has to be whole."""
        errors = package("redis.exceptions", _DISTRIBUTION)
        end = time.monotonic() + _INDEX_SECONDS
        try:
            while float(client.ft(name).info().get("percent_indexed", 1)) < 1:
                if time.monotonic() > end:
                    raise SourceUnavailableError(f"the source's index {name} is still being made")
                time.sleep(0.1)
        except errors.ResponseError:
            raise SourceError(
                f"the source has no index {name}: call setup() of langgraph-checkpoint-redis' "
                "RedisSaver with its prefixes first, or give --from-prefix"
            ) from None
        except errors.RedisError as error:
            raise SourceUnavailableError(f"the redis source cannot be reached: {error}") from error

    def threads(self) -> Iterator[str]:
        """The ids of all threads, which are held."""
        yield from sorted({summary.thread_id for summary in self._saver.threads()})

    def checkpoints(self, thread_id: str) -> Iterator[tuple[str, str]]:
        """Namespace and id of each checkpoint of a thread, which are held; the oldest first."""
        found = [
            (
                one.config["configurable"]["checkpoint_ns"],
                one.config["configurable"]["checkpoint_id"],
            )
            for one in self._saver.list({"configurable": {"thread_id": thread_id}})
        ]
        yield from sorted(found)

    def read(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str
    ) -> SourceCheckpoint | None:
        """Read a checkpoint; ``None`` if it is there no more."""
        place = thread_id, checkpoint_ns, checkpoint_id
        found = self._saver.get_tuple(
            {
                "configurable": {
                    "thread_id": thread_id,
                    "checkpoint_ns": checkpoint_ns,
                    "checkpoint_id": checkpoint_id,
                }
            }
        )
        if found is None:
            return None
        pending = found.pending_writes or []
        counts: dict[str, int] = {}
        positions = []
        for task, channel, _ in pending:
            position = WRITES_IDX_MAP.get(channel)
            if position is None:
                position = counts.get(task, 0)
                counts[task] = position + 1
            positions.append(position)
        paths = self._paths(place, [write[0] for write in pending], positions)
        writes = [
            Write(task, paths.get(task, ""), position, channel, value)
            for (task, channel, value), position in zip(pending, positions, strict=True)
        ]
        return SourceCheckpoint(found, writes)

    def _paths(
        self, place: tuple[str, str, str], tasks: list[str], positions: list[int]
    ) -> dict[str, str]:
        """The path of each task, from the documents of its writes."""
        if not tasks:
            return {}
        with self._other._redis.pipeline(transaction=False) as pipeline:
            for task, position in zip(tasks, positions, strict=True):
                key = self._other._make_redis_checkpoint_writes_key_cached(*place, task, position)
                pipeline.json().get(key, "$.task_path")
            answers = pipeline.execute()
        return {
            task: answer[0]
            for task, answer in zip(tasks, answers, strict=True)
            if answer and isinstance(answer[0], str)
        }
