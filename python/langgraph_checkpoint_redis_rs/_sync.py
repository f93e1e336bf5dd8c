"""The saver for blocking code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType

from typing_extensions import Self, Unpack

from ._arguments import Arguments
from ._described import described
from ._saver import BaseRedisSaver

__all__ = ["RedisSaver"]


class RedisSaver(BaseRedisSaver):
    __doc__ = described(
        BaseRedisSaver,
        """every method blocking and awaitable.

    Use :class:`~langgraph_checkpoint_redis_rs.RedisSaver` or
    :class:`~langgraph_checkpoint_redis_rs.AsyncRedisSaver`.
""",
        """for ``graph.invoke``, and in async code as well.

    ::

        with RedisSaver.from_conn_string("redis://localhost:6379") as saver:
            saver.setup()
            graph = builder.compile(checkpointer=saver)
""",
    )

    @classmethod
    def from_conn_string(
        cls, redis_url: str | None = None, **arguments: Unpack[Arguments]
    ) -> AbstractContextManager[Self]:
        """Make a saver, and close it at the end of the ``with`` block.

        The arguments are those of the class.
        """
        return cls(redis_url, **arguments)._closing()

    @contextmanager
    def _closing(self) -> Iterator[Self]:
        try:
            yield self
        finally:
            self.close()

    def __enter__(self) -> Self:
        self.setup()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

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

    def setup(self) -> None:
        """Connect and make the indexes; to be called once, and harmless when repeated."""
        self._native.open()
        self._native.setup(None)

    def close(self) -> None:
        """Wait for the calls under way and close the connections."""
        self._native.close(None)
