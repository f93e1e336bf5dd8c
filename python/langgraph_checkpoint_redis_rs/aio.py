"""The saver for async code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from typing_extensions import Self, Unpack

from ._arguments import Arguments
from ._bridge import refuse_in_loop
from ._described import described
from ._saver import BaseRedisSaver, ThreadSummary

__all__ = ["AsyncRedisSaver"]


class AsyncRedisSaver(BaseRedisSaver):
    __doc__ = described(
        BaseRedisSaver,
        """every method blocking and awaitable.

    Use :class:`~langgraph_checkpoint_redis_rs.RedisSaver` or
    :class:`~langgraph_checkpoint_redis_rs.AsyncRedisSaver`.
""",
        """for ``graph.ainvoke``.

    ::

        async with AsyncRedisSaver.from_conn_string("redis://localhost:6379") as saver:
            graph = builder.compile(checkpointer=saver)

    The blocking methods work too, in threads without a running event loop; where one runs they
    raise ``asyncio.InvalidStateError``, as they would stop it.
""",
    )

    @classmethod
    def from_conn_string(
        cls, redis_url: str | None = None, **arguments: Unpack[Arguments]
    ) -> AbstractAsyncContextManager[Self]:
        """Make a saver, set it up, and close it at the end of the ``async with`` block.

        The arguments are those of the class.
        """
        return cls(redis_url, **arguments)._opened()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Self]:
        async with self:
            yield self

    async def __aenter__(self) -> Self:
        await self.asetup()
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def setup(self) -> None:
        """Do as :meth:`asetup`, under the name that LangGraph's other async savers give it."""
        await self.asetup()

    def get(self, config: RunnableConfig) -> Checkpoint | None:
        """Read a checkpoint, blocking; not where an event loop runs."""
        refuse_in_loop("get")
        return super().get(config)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Read a checkpoint as :meth:`aget_tuple`, blocking; not where an event loop runs."""
        refuse_in_loop("get_tuple")
        return super().get_tuple(config)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """List checkpoints as :meth:`alist`, blocking; not where an event loop runs."""
        refuse_in_loop("list")
        return super().list(config, filter=filter, before=before, limit=limit)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Read what channels were given, blocking; not where an event loop runs."""
        refuse_in_loop("get_delta_channel_history")
        return super().get_delta_channel_history(config=config, channels=channels)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint as :meth:`aput`, blocking; not where an event loop runs."""
        refuse_in_loop("put")
        return super().put(config, checkpoint, metadata, new_versions)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store writes as :meth:`aput_writes`, blocking; not where an event loop runs."""
        refuse_in_loop("put_writes")
        super().put_writes(config, writes, task_id, task_path)

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread, blocking; not where an event loop runs."""
        refuse_in_loop("delete_thread")
        super().delete_thread(thread_id)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete what runs made, blocking; not where an event loop runs."""
        refuse_in_loop("delete_for_runs")
        super().delete_for_runs(run_ids)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread, blocking; not where an event loop runs."""
        refuse_in_loop("copy_thread")
        super().copy_thread(source_thread_id, target_thread_id)

    def prune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        keep_last: int | None = None,
        max_results: int | None = None,
    ) -> None:
        """Remove old checkpoints as :meth:`aprune`, blocking; not where an event loop runs."""
        refuse_in_loop("prune")
        super().prune(thread_ids, strategy=strategy, keep_last=keep_last, max_results=max_results)

    def threads(self, prefix: str = "") -> Iterator[ThreadSummary]:
        """List threads as :meth:`athreads`, blocking; not where an event loop runs."""
        refuse_in_loop("threads")
        return super().threads(prefix)

    def touch(self, thread_id: str) -> bool:
        """Give a thread its TTL anew, blocking; not where an event loop runs."""
        refuse_in_loop("touch")
        return super().touch(thread_id)

    def pin(self, thread_id: str) -> bool:
        """Keep a thread for ever, blocking; not where an event loop runs."""
        refuse_in_loop("pin")
        return super().pin(thread_id)

    def unpin(self, thread_id: str) -> bool:
        """Give a thread the saver's TTL, blocking; not where an event loop runs."""
        refuse_in_loop("unpin")
        return super().unpin(thread_id)
