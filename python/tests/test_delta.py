"""Delta channels: the histories that InMemorySaver gives, for forks, seeds and order."""

from __future__ import annotations

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from langgraph_checkpoint_redis_rs import RedisSaver, RedisSerializer


class Chain:
    """Checkpoints whose ids are numbers, in one saver."""

    def __init__(self, saver, thread, space=""):
        self.saver = saver
        self.place = {"thread_id": thread, "checkpoint_ns": space}
        self.versions = {}

    def config(self, identity=None):
        extra = {} if identity is None else {"checkpoint_id": f"{identity:04}"}
        return {"configurable": {**self.place, **extra}}

    async def put(self, identity, parent=None, **values):
        one = empty_checkpoint()
        one["id"] = f"{identity:04}"
        one["channel_values"] = values
        # As LangGraph: a channel without a value has a version as well.
        changed = {name: f"{identity:032}.1" for name in values}
        one["channel_versions"] = {"b": f"{identity:032}.0", "a": f"{identity:032}.0", **changed}
        await self.saver.aput(self.config(parent), one, {}, one["channel_versions"])

    async def write(self, identity, task, *writes, path=""):
        await self.saver.aput_writes(self.config(identity), list(writes), task, path)

    async def history(self, identity, *channels):
        return await self.saver.aget_delta_channel_history(
            config=self.config(identity), channels=list(channels)
        )


async def empty(chain):
    yield await chain.history(None, "a")
    await chain.put(1)
    yield await chain.history(1, "a")
    yield await chain.history(None, "a", "b")
    yield await chain.history(1)
    yield await chain.history(9, "a")


async def without_a_seed(chain):
    await chain.put(1)
    await chain.write(1, "t1", ("a", 1), ("b", "x"), ("a", 2))
    await chain.put(2, 1)
    await chain.write(2, "t2", ("a", (3,)))
    await chain.put(3, 2)
    await chain.write(3, "pending", ("a", 4))
    for identity in (None, 1, 2, 3):
        yield await chain.history(identity, "a", "b", "missing")


async def seeds_end_the_walk(chain):
    await chain.put(1, a=["old"])
    await chain.write(1, "t", ("a", "lost"))
    await chain.put(2, 1, a=_DeltaSnapshot([(1, 2)]), b={1, 2})
    await chain.write(2, "t", ("a", "kept"), ("b", "kept"))
    await chain.put(3, 2)
    await chain.write(3, "t", ("a", {"k": (1,)}))
    await chain.put(4, 3)
    for identity in (2, 3, 4):
        yield await chain.history(identity, "a", "b")
        yield await chain.history(identity, "b")


async def plain_and_empty_values_are_seeds(chain):
    await chain.put(1, a=[], b=None)
    await chain.put(2, 1)
    yield await chain.history(2, "a", "b")


async def forks_see_their_own_path(chain):
    await chain.put(1, a=_DeltaSnapshot([]))
    await chain.write(1, "t", ("a", "root"))
    await chain.put(2, 1)
    await chain.write(2, "t", ("a", "left"))
    await chain.put(3, 1)
    await chain.write(3, "t", ("a", "right"))
    await chain.put(4, 2)
    await chain.put(5, 3)
    for identity in (4, 5, None):
        yield await chain.history(identity, "a")


async def writes_come_in_the_order_of_a_super_step(chain):
    await chain.put(1)
    await chain.write(1, "z", ("a", "first by path"), path="~__pregel_pull, 1")
    await chain.write(1, "a", ("a", "second by path"), path="~__pregel_pull, 2")
    await chain.write(1, "m", ("a", "no path"), ("a", "no path either"))
    await chain.write(1, "b", ("__error__", "x"))
    await chain.put(2, 1)
    yield await chain.history(2, "a", "__error__")


async def a_long_chain(chain):
    await chain.put(1, a=_DeltaSnapshot([0]))
    for identity in range(2, 150):
        await chain.write(identity - 1, "t", ("a", identity), ("b", str(identity)))
        await chain.put(identity, identity - 1)
    yield await chain.history(None, "a", "b")


@pytest.mark.parametrize("space", ["", "child:1"])
@pytest.mark.parametrize(
    "scenario",
    [
        empty,
        without_a_seed,
        seeds_end_the_walk,
        plain_and_empty_values_are_seeds,
        forks_see_their_own_path,
        writes_come_in_the_order_of_a_super_step,
        a_long_chain,
    ],
)
async def test_histories_are_those_of_the_memory_saver(asaver, thread, scenario, space):
    # With this package's serializer, as LangGraph's own turns tuples into lists.
    memory = InMemorySaver(serde=RedisSerializer())
    wanted = [one async for one in scenario(Chain(memory, thread, space))]
    found = [one async for one in scenario(Chain(asaver, thread, space))]
    assert found == wanted
    assert [list(one) for one in found] == [list(one) for one in wanted]
    assert any(wanted)


async def test_pruning_keeps_what_a_kept_checkpoint_needs(saver, thread):
    chain = Chain(saver, thread)
    async for _ in seeds_end_the_walk(chain):
        pass
    wanted = await chain.history(4, "a", "b")
    saver.prune([thread])
    assert await chain.history(4, "a", "b") == wanted
    assert saver.get_tuple(chain.config(1)) is None


async def test_a_copy_has_the_same_histories(saver, thread):
    chain = Chain(saver, thread)
    async for _ in seeds_end_the_walk(chain):
        pass
    saver.copy_thread(thread, f"{thread}-copy")
    copy = Chain(saver, f"{thread}-copy")
    assert await copy.history(4, "a", "b") == await chain.history(4, "a", "b")


def test_the_blocking_method_gives_the_same(redis_url, config):
    with RedisSaver(redis_url) as saver:
        one = empty_checkpoint()
        first = saver.put(config, {**one, "id": "1", "channel_values": {"a": (1,)}}, {}, {})
        second = saver.put(first, {**one, "id": "2"}, {}, {})
        assert saver.get_delta_channel_history(config=second, channels=["a"]) == {
            "a": {"writes": [], "seed": (1,)}
        }
