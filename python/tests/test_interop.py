"""Each side reads, lists, resumes and deletes what langgraph-checkpoint-redis 0.5 wrote."""

from __future__ import annotations

import asyncio
import operator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.redis import RedisSaver as PythonRedisSaver
from langgraph.checkpoint.redis.aio import AsyncRedisSaver as PythonAsyncRedisSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from langgraph_checkpoint_redis_rs import AsyncRedisSaver, RedisSaver

OURS, THEIRS = AsyncRedisSaver, PythonAsyncRedisSaver
# All the time that a busy machine may need; theirs gives up after five seconds.
PATIENT = "?socket_timeout=60&socket_connect_timeout=60"


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    notes: Annotated[list[str], operator.add]
    data: dict[str, Any]


def graph(saver: Any) -> Any:
    """Messages, a fan-out, and a subgraph that asks a person."""
    inner = StateGraph(State)
    inner.add_node("think", lambda _: {"notes": ["thought"]})
    inner.add_node("ask", lambda _: {"notes": [interrupt({"question": "inner?"})]})
    inner.add_edge(START, "think")
    inner.add_edge("think", "ask")
    call = {"name": "search", "args": {"q": 1}, "id": "c1", "type": "tool_call"}
    builder = StateGraph(State)
    builder.add_node(
        "talk",
        lambda _: {
            "messages": [
                AIMessage("", id="a1", tool_calls=[call]),
                ToolMessage("found", tool_call_id="c1", id="t1"),
            ],
            "data": {"n": 1, "f": 1.5, "none": None, "deep": [{"x": [True, "é\u2028"]}]},
        },
    )
    builder.add_node("work", lambda part: {"notes": [f"work {part['n']}"]})
    builder.add_node("inner", inner.compile())
    builder.add_node("end", lambda _: {"messages": [AIMessage("Bye.", id="a2")]})
    builder.add_edge(START, "talk")
    builder.add_conditional_edges(
        "talk", lambda _: [Send("work", {"n": n}) for n in range(3)], ["work"]
    )
    builder.add_edge("work", "inner")
    builder.add_edge("inner", "end")
    return builder.compile(checkpointer=saver)


START_VALUE = {"messages": [HumanMessage("Hi", id="h1")]}
NOTES = ["work 0", "work 1", "work 2", "thought"]


@asynccontextmanager
async def both(url: str, **arguments: Any) -> Any:
    """Our saver and theirs, on the same prefixes."""
    async with (
        OURS.from_conn_string(url, **arguments) as ours,
        THEIRS.from_conn_string(url + PATIENT, **arguments) as theirs,
    ):
        yield {"ours": ours, "theirs": theirs}


def place(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


# Under custom prefixes the Python saver keeps the registry of writes under the default one, and so
# does not find the writes of ours; it finds our checkpoints (below), and we find all of its.
@pytest.mark.parametrize(
    "writer, reader, custom",
    [("ours", "theirs", False), ("theirs", "ours", False), ("theirs", "ours", True)],
)
async def test_one_reads_lists_resumes_and_deletes_what_the_other_wrote(
    redis_url, raw, thread, prefixes, writer, reader, custom
):
    async with both(redis_url, **(prefixes if custom else {})) as savers:
        config = place(thread)
        await graph(savers[writer]).ainvoke(START_VALUE, config)
        read = graph(savers[reader])

        state = await read.aget_state(config, subgraphs=True)
        assert state.next == ("inner",)
        assert [one.value for one in state.tasks[0].interrupts] == [{"question": "inner?"}]
        assert state.values["messages"] == [
            HumanMessage("Hi", id="h1"),
            AIMessage(
                "",
                id="a1",
                tool_calls=[{"name": "search", "args": {"q": 1}, "id": "c1", "type": "tool_call"}],
            ),
            ToolMessage("found", tool_call_id="c1", id="t1"),
        ]
        assert state.values["data"] == {
            "n": 1,
            "f": 1.5,
            "none": None,
            "deep": [{"x": [True, "é\u2028"]}],
        }
        inner = state.tasks[0].state
        assert inner.next == ("ask",) and inner.values["notes"] == NOTES

        wrote = [one async for one in savers[writer].alist(config)]
        listed = [one async for one in savers[reader].alist(config)]

        def names(found):
            return {
                (
                    one.config["configurable"]["checkpoint_ns"],
                    one.config["configurable"]["checkpoint_id"],
                    one.metadata["source"],
                    one.metadata["step"],
                    len(one.pending_writes or []),
                    (one.parent_config or {"configurable": {}})["configurable"].get(
                        "checkpoint_id"
                    ),
                )
                for one in found
            }

        assert names(listed) == names(wrote)
        assert {one.config["configurable"]["checkpoint_ns"] for one in listed} > {""}

        final = await read.ainvoke(Command(resume="answer"), config)
        assert final["notes"] == [*NOTES, *NOTES, "answer"] or final["notes"][-1] == "answer"
        assert final["messages"][-1] == AIMessage("Bye.", id="a2")
        again = await graph(savers[writer]).aget_state(config)
        assert again.values == final and again.next == ()

        await savers[reader].adelete_thread(thread)
        assert await savers[writer].aget_tuple(config) is None
        assert [one async for one in savers[writer].alist(config)] == []
        if reader == "ours":
            assert list(raw.scan_iter(f"*{thread}*")) == []


@pytest.mark.parametrize("writer, reader", [("ours", "theirs"), ("theirs", "ours")])
async def test_checkpoints_under_custom_prefixes(
    redis_url, raw, thread, config, prefixes, writer, reader
):
    async with both(redis_url, **prefixes) as savers:
        made = empty_checkpoint()
        made["channel_values"] = {"a": [1]}
        stored = await savers[writer].aput(config, made, {"source": "loop", "step": 1}, {})
        for place in (config, stored):
            found = await savers[reader].aget_tuple(place)
            assert found.checkpoint["channel_values"] == {"a": [1]}
        assert len([one async for one in savers[reader].alist(config)]) == 1
        assert await AsyncRedisSaver(redis_url).aget_tuple(config) is None
        await savers[reader].adelete_thread(thread)
        assert await savers[writer].aget_tuple(config) is None
        assert reader == "theirs" or list(raw.scan_iter(f"*{thread}*")) == []


class Log(TypedDict):
    step: int
    log: Annotated[list[str], DeltaChannel(lambda old, new: [*(old or []), *sum(new, [])])]


def log_graph(saver: Any) -> Any:
    builder = StateGraph(Log)
    builder.add_node("a", lambda state: {"step": state["step"] + 1, "log": [f"a{state['step']}"]})
    builder.add_edge(START, "a")
    builder.add_conditional_edges("a", lambda state: "a" if state["step"] < 4 else END)
    return builder.compile(checkpointer=saver)


@pytest.mark.parametrize("custom", [False, True])
async def test_the_delta_channels_that_theirs_wrote_are_read(redis_url, thread, prefixes, custom):
    async with both(redis_url, **(prefixes if custom else {})) as savers:
        await log_graph(savers["theirs"]).ainvoke({"step": 0, "log": ["start"]}, place(thread))
        state = await log_graph(savers["ours"]).aget_state(place(thread))
        assert state.values == {"step": 4, "log": ["start", "a0", "a1", "a2", "a3"]}


@pytest.mark.parametrize("kind", ["blocking", "async"])
async def test_every_type_of_write_that_the_python_saver_stores(
    redis_url, config, kind, asaver, saver
):
    made = empty_checkpoint()
    made["id"] = str(uuid6(clock_seq=1))
    made["channel_values"] = {"a": 1}
    made["channel_versions"] = {"a": 3}
    values = [
        ("json", {"a": [1, "x"]}),
        ("none", None),
        ("bytes", b"\x00\xff"),
        ("bytearray", bytearray(b"x")),
        ("message", HumanMessage("Hi", id="1")),
        ("mixed", {"b": b"\x01", "n": 1}),
        ("send", Send("node", {"x": 1})),
        ("__error__", "broken"),
        ("__resume__", ["yes"]),
    ]
    if kind == "async":
        async with THEIRS.from_conn_string(redis_url + PATIENT) as theirs:
            stored = await theirs.aput(config, made, {"source": "loop", "step": 1}, {})
            await theirs.aput_writes(stored, values, "task", "path")
    else:
        with PythonRedisSaver.from_conn_string(redis_url + PATIENT) as theirs:
            theirs.setup()
            stored = theirs.put(config, made, {"source": "loop", "step": 1}, {})
            theirs.put_writes(stored, values, "task", "path")
    found = await asaver.aget_tuple(config)
    assert found == saver.get_tuple(stored)
    assert found.checkpoint["channel_values"] == {"a": 1}
    assert found.checkpoint["channel_versions"] == {"a": "3"}
    assert saver.get_next_version("3", None).startswith(f"{4:032}.")
    assert {write[1]: write[2] for write in found.pending_writes} == dict(values)


@pytest.mark.parametrize("writer", ["ours", "theirs"])
async def test_a_ttl_is_the_same_for_both(redis_url, raw, config, thread, writer):
    async with both(redis_url, ttl={"default_ttl": 10, "refresh_on_read": True}) as savers:
        made = empty_checkpoint()
        made["channel_values"] = {"a": 1}
        stored = await savers[writer].aput(config, made, {"source": "loop", "step": 1}, {})
        await savers[writer].aput_writes(stored, [("a", 1)], "task")
        keys = list(raw.scan_iter(f"*{thread}*"))
        assert len(keys) >= 3
        assert all(590 <= raw.ttl(key) <= 600 for key in keys)
        for name, saver in savers.items():
            for key in keys:
                raw.expire(key, 100)
            assert (await saver.aget_tuple(config)).checkpoint["channel_values"] == {"a": 1}
            documents = [key for key in keys if raw.type(key) == b"ReJSON-RL"]
            assert all(590 <= raw.ttl(key) <= 600 for key in documents), name


def test_sub_minute_and_no_ttl(redis_url, raw, config, thread):
    made = empty_checkpoint()
    with RedisSaver(redis_url, ttl={"default_ttl": 0.5}) as saver:
        saver.put(config, made, {}, {})
    assert all(0 < raw.pttl(key) <= 30_000 for key in raw.scan_iter(f"*{thread}*"))
    with RedisSaver(redis_url, ttl={"default_ttl": -1}) as saver:
        saver.put(config, {**made, "id": str(uuid6(clock_seq=2))}, {}, {})
        assert saver.pin(thread)
    assert all(raw.ttl(key) == -1 for key in raw.scan_iter(f"*{thread}*"))


async def test_the_python_saver_reads_values_that_need_type_hints(redis_url, config, asaver):
    """The exact type is ours; they see the nearest thing that they can hold."""
    made = empty_checkpoint()
    made["channel_values"] = {"tuple": (1, 2), "plain": {"a": 1}}
    await asaver.aput(config, made, {"source": "loop", "step": 1}, {})
    async with THEIRS.from_conn_string(redis_url + PATIENT) as theirs:
        found = await theirs.aget_tuple(config)
    assert found.checkpoint["channel_values"] == {"tuple": [1, 2], "plain": {"a": 1}}
    ours = await asaver.aget_tuple(config)
    assert ours.checkpoint["channel_values"] == {"tuple": (1, 2), "plain": {"a": 1}}
    assert "value_types" not in ours.checkpoint


async def test_a_thread_that_expires_as_a_whole_keeps_its_history(redis_url, raw, config, thread):
    ttl = {"default_ttl": 1.5 / 60, "scope": "thread"}
    async with AsyncRedisSaver.from_conn_string(redis_url, ttl=ttl) as saver:
        for step in range(6):
            made = empty_checkpoint()
            made["id"] = str(uuid6(clock_seq=step))
            await saver.aput(config, made, {"source": "loop", "step": step}, {})
            await asyncio.sleep(0.4)
        assert len([one async for one in saver.alist(config)]) == 6
        assert all(raw.pttl(key) > 0 for key in raw.scan_iter(f"*{thread}*"))
