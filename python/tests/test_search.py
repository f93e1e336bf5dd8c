"""Whether RediSearch is used is an option."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from langgraph.checkpoint.base import empty_checkpoint

from langgraph_checkpoint_redis_rs import AsyncRedisSaver, RedisSaver
from langgraph_checkpoint_redis_rs.errors import ConfigError


def configs(thread: str) -> list[Any]:
    threads = [f"{thread}-{number}" for number in range(3)]
    return [{"configurable": {"thread_id": one, "checkpoint_ns": ""}} for one in threads]


def threads_of(found: list[Any]) -> list[str]:
    return sorted(one.config["configurable"]["thread_id"] for one in found)


@pytest.mark.parametrize("search", ["off", "auto", "required"])
def test_lists_over_all_threads_are_the_same_with_and_without_search(
    redis_url: str, raw: redis.Redis, thread: str, prefixes: dict[str, str], search: str
) -> None:
    with RedisSaver(redis_url, search=search, **prefixes) as saver:
        saver.setup()
        for step, config in enumerate(configs(thread)):
            saver.put(config, empty_checkpoint(), {"source": "loop", "step": step}, {})
        names = [config["configurable"]["thread_id"] for config in configs(thread)]
        assert threads_of(list(saver.list(None))) == names
        assert threads_of(list(saver.list(None, filter={"step": 1}))) == names[1:2]
        assert sorted(one.thread_id for one in saver.threads()) == names
        indexes = {name.decode() for name in raw.execute_command("FT._LIST")}
        assert indexes.isdisjoint(prefixes.values()) == (search == "off")


async def test_the_async_saver_lists_without_search(
    redis_url: str, raw: redis.Redis, thread: str, prefixes: dict[str, str]
) -> None:
    async with AsyncRedisSaver(redis_url, search="off", **prefixes) as saver:
        await saver.setup()
        for config in configs(thread):
            await saver.aput(config, empty_checkpoint(), {"source": "loop"}, {})
        names = [config["configurable"]["thread_id"] for config in configs(thread)]
        assert threads_of([one async for one in saver.alist(None)]) == names
        indexes = {name.decode() for name in raw.execute_command("FT._LIST")}
        assert indexes.isdisjoint(prefixes.values())


def test_another_word_for_search_is_refused(redis_url: str) -> None:
    with pytest.raises(ConfigError, match="'auto', 'required' or 'off'"):
        RedisSaver(redis_url, search="on")
