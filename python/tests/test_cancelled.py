"""A call that works a page at a time stops when its caller is cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from langgraph_checkpoint_redis_rs import AsyncRedisSaver

CHECKPOINTS = 3_000


async def filled(saver: AsyncRedisSaver, thread: str) -> Any:
    config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    for first in range(0, CHECKPOINTS, 500):
        puts = [
            saver.aput(config, empty_checkpoint(), {"source": "loop", "step": step}, {})
            for step in range(first, first + 500)
        ]
        await asyncio.gather(*puts)
    return config


async def count(saver: AsyncRedisSaver, config: Any) -> int:
    return len([one async for one in saver.alist(config)])


@pytest.mark.parametrize("call", ["delete", "prune"])
async def test_a_cancelled_call_stops_and_what_is_put_afterwards_lives(
    asaver: AsyncRedisSaver, thread: str, call: str
) -> None:
    config = await filled(asaver, thread)
    if call == "delete":
        task = asyncio.ensure_future(asaver.adelete_thread(thread))
    else:
        task = asyncio.ensure_future(asaver.aprune([thread]))
    while await count_of_keys(asaver, thread) > CHECKPOINTS - 100:
        assert not task.done()
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # What was sent before ends.
    await asyncio.sleep(0.3)
    left = await count(asaver, config)
    # A prune that ran to its end would have left the newest.
    assert left > 1
    stored = [
        await asaver.aput(config, empty_checkpoint(), {"source": "loop", "step": -1}, {})
        for _ in range(5)
    ]
    await asyncio.sleep(0.3)
    assert await count(asaver, config) == left + 5
    for one in stored:
        assert await asaver.aget_tuple(one) is not None


async def count_of_keys(saver: AsyncRedisSaver, thread: str) -> int:
    found = [one async for one in saver.athreads(thread)]
    return sum(one.checkpoints for one in found)
