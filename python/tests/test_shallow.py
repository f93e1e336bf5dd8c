"""The savers that keep only the newest checkpoint of each thread and namespace."""

from __future__ import annotations

import asyncio
import operator
import time
import uuid
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
import redis
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.redis.ashallow import AsyncShallowRedisSaver as PythonAsyncShallow
from langgraph.checkpoint.redis.shallow import ShallowRedisSaver as PythonShallow
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

import langgraph_checkpoint_redis_rs.ashallow
from langgraph_checkpoint_redis_rs import (
    AsyncRedisSaver,
    AsyncShallowRedisSaver,
    RedisSaver,
    RedisSerializer,
    ShallowRedisSaver,
)
from langgraph_checkpoint_redis_rs.errors import ConflictError


@pytest.fixture
def thread(redis_url: str) -> Iterator[str]:
    """The id of a thread that no one else has, gone after the test."""
    name = f"test-{uuid.uuid4().hex}"
    yield name
    with ShallowRedisSaver(redis_url) as saver:
        saver.delete_thread(name)
    # langgraph-checkpoint-redis leaves writes and registries behind.
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(f"*{name}*", count=1000):
            client.delete(key)


class Blocking:
    """A saver's or a graph's blocking methods, awaitable under the names of the async ones."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name.removeprefix("a"))
        if name in ("alist", "aget_state_history"):
            return lambda *args, **more: self._listed(method, args, more)
        return lambda *args, **more: asyncio.to_thread(method, *args, **more)

    async def _listed(self, method: Any, args: Any, more: Any) -> Any:
        for one in await asyncio.to_thread(lambda: list(method(*args, **more))):
            yield one


class Side:
    """A saver with its own way of being called: blocking or async."""

    def __init__(self, saver: Any, blocking: bool) -> None:
        self.saver, self.blocking = saver, blocking
        self.calls = Blocking(saver) if blocking else saver

    def graph(self, make: Any) -> Any:
        made = make(self.saver)
        return Blocking(made) if self.blocking else made

    async def listed(self, config: Any) -> list[Any]:
        return [one async for one in self.calls.alist(config)]

    async def threads(self) -> list[str]:
        return [one.thread_id async for one in self.saver.athreads()]


@asynccontextmanager
async def side(name: str, url: str, **arguments: Any) -> Any:
    """One of the four savers: ours or theirs, blocking or async."""
    if name == "ours, async":
        async with AsyncShallowRedisSaver.from_conn_string(url, **arguments) as saver:
            yield Side(saver, False)
    elif name == "theirs, async":
        async with PythonAsyncShallow.from_conn_string(url, **arguments) as saver:
            yield Side(saver, False)
    else:
        cls = ShallowRedisSaver if name == "ours, blocking" else PythonShallow
        with cls.from_conn_string(url, **arguments) as saver:
            saver.setup()
            yield Side(saver, True)


OURS = ["ours, async", "ours, blocking"]
THEIRS = ["theirs, async", "theirs, blocking"]


def place(thread: str, **more: str) -> Any:
    return {"configurable": {"thread_id": thread, **more}}


class State(TypedDict, total=False):
    messages: Annotated[list[Any], add_messages]
    notes: Annotated[list[str], operator.add]
    data: dict[str, Any]


def human_graph(saver: Any) -> Any:
    """A fan-out beside which a person is asked twice."""
    builder = StateGraph(State)
    builder.add_node(
        "talk",
        lambda _: {
            "messages": [AIMessage("Hello.", id="a1")],
            "data": {"n": 1, "f": 1.5, "none": None, "deep": [{"x": [True, "é"]}]},
        },
    )
    builder.add_node("work", lambda part: {"notes": [f"work {part['n']}"]})
    builder.add_node(
        "ask", lambda _: {"notes": [f"{interrupt({'question': 1})} {interrupt('second?')}"]}
    )
    builder.add_node("end", lambda _: {"messages": [AIMessage("Bye.", id="a2")]})
    builder.add_edge(START, "talk")
    builder.add_conditional_edges(
        "talk", lambda _: [*(Send("work", {"n": n}) for n in range(3)), "ask"], ["work", "ask"]
    )
    builder.add_edge(["work", "ask"], "end")
    return builder.compile(checkpointer=saver)


def nested_graph(saver: Any) -> Any:
    """A subgraph in which a person is asked."""
    inner = StateGraph(State)
    inner.add_node("think", lambda _: {"notes": ["thought"]})
    inner.add_node("ask", lambda _: {"notes": [interrupt("inner?")]})
    inner.add_edge(START, "think")
    inner.add_edge("think", "ask")
    outer = StateGraph(State)
    outer.add_node("inner", inner.compile())
    outer.add_node("end", lambda _: {"messages": [AIMessage("Bye.", id="a2")]})
    outer.add_edge(START, "inner")
    outer.add_edge("inner", "end")
    return outer.compile(checkpointer=saver)


START_VALUE = {"messages": [HumanMessage("Hi", id="h1")], "notes": ["start"]}


def seen(state: Any) -> Any:
    """What a snapshot says, but for ids, times and parents."""
    return (
        state.values,
        state.next,
        {key: state.metadata[key] for key in ("source", "step")},
        [(one.name, [each.value for each in one.interrupts], one.result) for one in state.tasks],
    )


def asked(result: Any) -> Any:
    """What a call gave, with the questions in place of the interrupts, whose ids are random."""
    questions = [one.value for one in result.pop("__interrupt__", [])]
    return questions, result


async def conversation(graph: Any, config: Any, durability: str) -> list[Any]:
    results = [asked(await graph.ainvoke(START_VALUE, config, durability=durability))]
    results.append(seen(await graph.aget_state(config)))
    for answer in ("yes", "no"):
        command = Command(resume=answer)
        results.append(asked(await graph.ainvoke(command, config, durability=durability)))
        state = await graph.aget_state(config)
        results.append(seen(state))
        if not state.next:
            break
    again = {"messages": [HumanMessage("More", id="h2")]}
    results.append(asked(await graph.ainvoke(again, config, durability=durability)))
    await graph.aupdate_state(config, {"notes": ["edited"]})
    results.append(seen(await graph.aget_state(config)))
    return results


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("make", [human_graph, nested_graph])
@pytest.mark.parametrize("ours", OURS)
async def test_an_interrupted_graph_gives_the_answers_of_the_memory_saver(
    redis_url, thread, ours, make, durability
):
    config = place(thread)
    memory = make(InMemorySaver(serde=RedisSerializer()))
    wanted = await conversation(memory, config, durability)
    async with side(ours, redis_url) as saver:
        graph = saver.graph(make)
        found = await conversation(graph, config, durability)
        for one, other in zip(found, wanted, strict=True):
            assert one == other
        assert len([one async for one in graph.aget_state_history(config)]) == 1


@pytest.mark.parametrize("ours", OURS)
async def test_only_the_newest_is_kept_until_the_thread_is_deleted(redis_url, raw, thread, ours):
    root, inner = place(thread, checkpoint_ns=""), place(thread, checkpoint_ns="inner:1")
    async with side(ours, redis_url) as saver:
        stored = []
        for step in range(4):
            made = {**empty_checkpoint(), "id": str(uuid6(clock_seq=step))}
            made["channel_values"] = {"a": (step,)}
            metadata = {"source": "loop", "step": step}
            stored.append(await saver.calls.aput(root, made, metadata, {}))
            await saver.calls.aput_writes(stored[-1], [("a", step), ("b", {1})], "task")
        await saver.calls.aput(inner, {**empty_checkpoint(), "id": "1"}, {}, {})

        newest = await saver.calls.aget_tuple(root)
        assert newest.config == stored[-1] and newest.parent_config is None
        assert newest.checkpoint["channel_values"] == {"a": (3,)}
        assert newest.pending_writes == [("task", "a", 3), ("task", "b", {1})]
        assert newest == await saver.calls.aget_tuple(stored[-1])
        for past in stored[:-1]:
            assert await saver.calls.aget_tuple(past) == newest
        assert await saver.listed(root) == [newest]
        assert len(await saver.listed(place(thread))) == 2
        documents = [key for key in raw.scan_iter(f"*{thread}*") if raw.type(key) == b"ReJSON-RL"]
        assert len(documents) == 4, "two checkpoints and two writes"

        # An older one that comes late changes nothing.
        late = {**empty_checkpoint(), "id": stored[0]["configurable"]["checkpoint_id"]}
        await saver.calls.aput(root, late, {"source": "loop", "step": 9}, {})
        assert await saver.calls.aget_tuple(root) == newest

        await saver.calls.acopy_thread(thread, f"{thread}-copy")
        await saver.calls.aprune([thread])
        assert await saver.calls.aget_tuple(root) == newest
        for name in (thread, f"{thread}-copy"):
            await saver.calls.adelete_thread(name)
        assert list(raw.scan_iter(f"*{thread}*")) == []
        assert await saver.calls.aget_tuple(root) is None and await saver.listed(root) == []


@pytest.mark.parametrize("ours", OURS)
async def test_deleting_a_threads_graph_leaves_no_key(redis_url, raw, thread, ours):
    async with side(ours, redis_url) as saver:
        await saver.graph(nested_graph).ainvoke(START_VALUE, place(thread))
        assert len(list(raw.scan_iter(f"*{thread}*"))) > 4
        await saver.calls.adelete_thread(thread)
        assert list(raw.scan_iter(f"*{thread}*")) == []


@pytest.mark.parametrize(
    "writer, reader",
    [(ours, "theirs, async") for ours in OURS] + [("theirs, async", ours) for ours in OURS],
)
async def test_one_reads_resumes_and_deletes_what_the_other_wrote(
    redis_url, raw, thread, writer, reader
):
    config = place(thread)
    async with side(writer, redis_url) as wrote, side(reader, redis_url) as reads:
        first = asked(await wrote.graph(human_graph).ainvoke(START_VALUE, config))
        written = await wrote.graph(human_graph).aget_state(config)
        graph = reads.graph(human_graph)
        state = await graph.aget_state(config)
        assert seen(state) == seen(written)
        assert state.config == written.config
        assert first[1]["data"] == state.values["data"]

        second = asked(await graph.ainvoke(Command(resume="yes"), config))
        assert second[0] == ["second?"]
        # And back: the side that began gives the last answer.
        _, final = asked(await wrote.graph(human_graph).ainvoke(Command(resume="no"), config))
        assert sorted(final["notes"]) == ["start", "work 0", "work 1", "work 2", "yes no"]
        assert final["messages"][-1] == AIMessage("Bye.", id="a2")
        state = await graph.aget_state(config)
        assert state.values == final and state.next == ()
        assert len(await reads.listed(config)) == len(await wrote.listed(config)) == 1

        await reads.calls.adelete_thread(thread)
        assert await wrote.calls.aget_tuple(config) is None
        assert await reads.calls.aget_tuple(config) is None
        if reader in OURS:
            assert list(raw.scan_iter(f"*{thread}*")) == []


class Notes(TypedDict, total=False):
    notes: Annotated[list[str], operator.add]


def noting_graph(saver: Any, work: Any = lambda _: {"notes": ["worked"]}) -> Any:
    builder = StateGraph(Notes)
    builder.add_node("work", work)
    builder.add_node("end", lambda _: {"notes": ["ended"]})
    builder.add_edge(START, "work")
    builder.add_edge("work", "end")
    return builder.compile(checkpointer=saver)


def noted(graph: Any, config: Any) -> list[str]:
    return graph.get_state(config).values.get("notes", [])


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("ours", OURS)
async def test_a_run_from_an_older_checkpoint_goes_on_from_the_newest(
    redis_url, thread, ours, durability
):
    config = place(thread)
    async with side(ours, redis_url) as saver:
        graph = saver.graph(noting_graph)
        await graph.ainvoke({"notes": ["first"]}, config, durability=durability)
        old = (await graph.aget_state(config)).config
        await graph.ainvoke({"notes": ["second"]}, config, durability=durability)
        notes = ["first", "worked", "ended", "second", "worked", "ended"]
        newest = await graph.aget_state(old)
        assert newest.values["notes"] == notes and newest.config != old

        await graph.aupdate_state(old, {"notes": ["edited"]})
        notes.append("edited")
        assert (await graph.aget_state(config)).values["notes"] == notes
        result = await graph.ainvoke({"notes": ["third"]}, old, durability=durability)
        notes += ["third", "worked", "ended"]
        assert result["notes"] == notes
        assert (await graph.aget_state(config)).values["notes"] == notes
        # Nothing is left to do, whichever checkpoint is asked for.
        result = await graph.ainvoke(None, old, durability=durability)
        assert result["notes"] == notes
        assert (await graph.aget_state(config)).values["notes"] == notes


@pytest.mark.parametrize("ours", OURS)
async def test_an_answer_to_an_older_checkpoint_reaches_the_open_question(redis_url, thread, ours):
    config = place(thread)
    async with side(ours, redis_url) as saver:
        graph = saver.graph(human_graph)
        await graph.ainvoke(START_VALUE, config)
        old = (await graph.aget_state(config)).config
        await graph.ainvoke(Command(resume="yes"), config)
        old["configurable"]["checkpoint_id"] = str(uuid6(clock_seq=0))
        result = await graph.ainvoke(Command(resume="no"), old)
        assert "yes no" in result["notes"]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("ours", OURS)
async def test_a_run_never_replaces_what_another_stored_meanwhile(
    redis_url, thread, ours, known, durability
):
    config = place(thread)
    async with side(ours, redis_url) as saver:
        graph = saver.graph(noting_graph)
        if known:
            await graph.ainvoke({"notes": ["before"]}, config)

        def work(_: Any) -> Any:
            # A second run of the same thread begins and ends in the middle of the first.
            with ShallowRedisSaver(redis_url) as other:
                second = noting_graph(other)
                # With "async" the first run's input may be stored only now.
                until = time.monotonic() + 10
                while durability != "exit" and "mine" not in noted(second, config):
                    assert time.monotonic() < until, "the input of the first run is not stored"
                    time.sleep(0.01)
                second.invoke({"notes": ["other"]}, config)
            return {"notes": ["mine"]}

        slow = saver.graph(lambda inner: noting_graph(inner, work))
        # Where every step is stored, both go on from the first run's input.
        with pytest.raises(ConflictError, match="parent is not the newest"):
            await slow.ainvoke({"notes": ["mine"]}, config, durability=durability)
        state = await graph.aget_state(config)
        assert state.values["notes"][-3:] == ["other", "worked", "ended"]
        assert state.next == ()


def test_shallow_savers_are_where_the_other_package_has_them(redis_url):
    assert langgraph_checkpoint_redis_rs.ashallow.AsyncShallowRedisSaver is AsyncShallowRedisSaver


# The blocking shallow saver of langgraph-checkpoint-redis keeps its registry of writes, and the
# namespace in a document, under other names than its async twin does, whose data is ours.
@pytest.mark.parametrize("writer", [*OURS, "theirs, async"])
async def test_their_blocking_saver_reads_checkpoints_but_no_writes(redis_url, raw, thread, writer):
    config = place(thread)
    async with side(writer, redis_url) as wrote, side("theirs, blocking", redis_url) as reads:
        await wrote.graph(human_graph).ainvoke(START_VALUE, config)
        written = await wrote.calls.aget_tuple(config)
        found = await reads.calls.aget_tuple(config)
        assert found.config == written.config
        assert found.checkpoint["channel_values"] == written.checkpoint["channel_values"]
        assert written.pending_writes and found.pending_writes == []
        await reads.calls.adelete_thread(thread)
        assert await wrote.calls.aget_tuple(config) is None


@pytest.mark.parametrize("own_prefixes", [False, True])
@pytest.mark.parametrize("ours", OURS)
async def test_a_thread_of_their_blocking_saver_is_taken_over(
    redis_url, raw, thread, prefixes, ours, own_prefixes
):
    config, more = place(thread), prefixes if own_prefixes else {}
    async with (
        side("theirs, blocking", redis_url, **more) as theirs,
        side(ours, redis_url, **more) as saver,
    ):
        for make in (human_graph, nested_graph):
            # That saver wants a namespace in the config.
            first = await theirs.graph(make).ainvoke(START_VALUE, place(thread, checkpoint_ns=""))
            written = await theirs.graph(make).aget_state(place(thread, checkpoint_ns=""))
            assert asked(first)[0] and written.next
            graph = saver.graph(make)
            state = await graph.aget_state(config)
            assert seen(state) == seen(written) and state.config == written.config
            assert len(await saver.listed(place(thread, checkpoint_ns=""))) == 1
            assert thread in await saver.threads()
            answers = ["yes", "no"] if make is human_graph else ["yes"]
            for answer in answers:
                result = await graph.ainvoke(Command(resume=answer), config)
            assert result["messages"][-1] == AIMessage("Bye.", id="a2")
            state = await graph.aget_state(config)
            assert state.values == result and state.next == ()
            found = await theirs.calls.aget_tuple(place(thread, checkpoint_ns=""))
            assert found.config == state.config
            await saver.calls.adelete_thread(thread)
            assert list(raw.scan_iter(f"*{thread}*")) == []

        # And as it was left, with open questions.
        await theirs.graph(nested_graph).ainvoke(START_VALUE, place(thread, checkpoint_ns=""))
        assert len(list(raw.scan_iter(f"*{thread}*"))) > 4
        await saver.calls.adelete_thread(thread)
        assert list(raw.scan_iter(f"*{thread}*")) == []


@pytest.mark.parametrize("ours", OURS)
async def test_every_key_has_the_ttl(redis_url, raw, thread, ours):
    config = place(thread)
    ttl = {"default_ttl": 10, "refresh_on_read": True}
    async with side(ours, redis_url, ttl=ttl) as saver:
        await saver.graph(nested_graph).ainvoke(START_VALUE, config)
        keys = list(raw.scan_iter(f"*{thread}*"))
        assert len(keys) > 4
        assert all(590 <= raw.ttl(key) <= 600 for key in keys)
        assert await saver.calls.apin(thread)
        assert all(raw.ttl(key) == -1 for key in keys)
        assert await saver.calls.aunpin(thread)
        assert all(590 <= raw.ttl(key) <= 600 for key in keys)
        for key in keys:
            raw.expire(key, 100)
        tuple_ = await saver.calls.aget_tuple(config)
        assert tuple_.pending_writes
        assert raw.ttl(f"checkpoint:{thread}:") >= 590


def joined(state: list[Any], writes: Any) -> list[Any]:
    return [*state, *(item for write in writes for item in write)]


class Delta(TypedDict, total=False):
    log: Annotated[list[Any], DeltaChannel(joined, snapshot_frequency=3)]


def delta_graph(saver: Any) -> Any:
    builder = StateGraph(Delta)
    builder.add_node("work", lambda _: {"log": ["worked"]})
    builder.add_edge(START, "work")
    return builder.compile(checkpointer=saver)


@pytest.mark.parametrize("ours", OURS)
async def test_a_graph_with_a_delta_channel_is_refused(redis_url, raw, thread, ours):
    async with side(ours, redis_url) as saver:
        with pytest.raises(ValueError, match="delta channels.*`log`.*use the full saver"):
            await saver.graph(delta_graph).ainvoke({"log": ["start"]}, place(thread))
        assert await saver.calls.aget_tuple(place(thread)) is None


def test_blocking_calls_work_by_custom_prefixes(redis_url, raw, thread, prefixes):
    config = place(thread)
    with ShallowRedisSaver(redis_url, **prefixes) as saver, RedisSaver(redis_url) as full:
        human_graph(saver).invoke(START_VALUE, config)
        assert len(list(saver.list(config))) == 1
        assert full.get_tuple(config) is None and list(full.list(config)) == []
        with ShallowRedisSaver(redis_url) as other:
            assert other.get_tuple(config) is None
        assert [(one.thread_id, one.checkpoints) for one in saver.threads()] == [(thread, 1)]
        saver.delete_thread(thread)
        assert list(raw.scan_iter(f"*{thread}*")) == []


@pytest.mark.parametrize("cls", [ShallowRedisSaver, AsyncShallowRedisSaver])
def test_they_are_described_and_take_the_arguments_of_the_full_savers(cls):
    assert f"with {cls.__name__}.from_conn_string(" in cls.__doc__
    assert "newest checkpoint of each thread and namespace" in cls.__doc__
    assert "Pending writes" in cls.__doc__ and "DeltaChannel" in cls.__doc__
    assert "Keeps checkpoints in Redis" not in cls.__doc__
    assert issubclass(cls, (RedisSaver, AsyncRedisSaver))
    for wrong in (
        {},
        {"redis_url": "http://localhost"},
        {"redis_url": "redis://h", "ttl": {"scope": "x"}},
    ):
        with pytest.raises(ValueError):
            cls(**wrong)
