"""The saver for async code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType

from typing_extensions import Self, Unpack

from ._arguments import Arguments
from ._bridge import refuse_in_loop
from ._described import described
from ._saver import BaseRedisSaver

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

    def _before_blocking(self, name: str) -> None:
        refuse_in_loop(name)
