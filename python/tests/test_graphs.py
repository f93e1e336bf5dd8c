"""Real LangGraph graphs: on every saver the same answers, histories and streams."""

from __future__ import annotations

import asyncio
import operator
import signal
import time
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, Send, StateSnapshot, interrupt
from typing_extensions import TypedDict

from langgraph_checkpoint_redis_rs import AsyncRedisSaver, RedisSaver, RedisSerializer


class Runner:
    """A graph on a saver, by its async methods or by the blocking ones in a thread."""

    def __init__(self, saver, thread, blocking):
        self.saver, self.thread, self.blocking = saver, thread, blocking

    def config(self, **more) -> Any:
        return {"configurable": {"thread_id": self.thread, **more}, "recursion_limit": 60}

    async def invoke(self, graph, value, config=None, **options):
        config = config or self.config()
        if self.blocking:
            return await asyncio.to_thread(graph.invoke, value, config, **options)
        return await graph.ainvoke(value, config, **options)

    async def stream(self, graph, value, **options):
        if self.blocking:
            return await asyncio.to_thread(
                lambda: list(graph.stream(value, self.config(), **options))
            )
        return [part async for part in graph.astream(value, self.config(), **options)]

    async def state(self, graph, config=None, **options):
        config = config or self.config()
        if self.blocking:
            return await asyncio.to_thread(graph.get_state, config, **options)
        return await graph.aget_state(config, **options)

    async def history(self, graph):
        if self.blocking:
            return await asyncio.to_thread(lambda: list(graph.get_state_history(self.config())))
        return [state async for state in graph.aget_state_history(self.config())]

    async def update(self, graph, config, values, **options):
        if self.blocking:
            return await asyncio.to_thread(graph.update_state, config, values, **options)
        return await graph.aupdate_state(config, values, **options)


def seen(state) -> Any:
    """What a snapshot says, but for ids and times."""
    metadata = {key: state.metadata[key] for key in ("source", "step")} if state.metadata else None
    return {
        "values": state.values,
        "next": state.next,
        "metadata": metadata,
        "has parent": state.parent_config is not None,
        "tasks": [
            (
                one.name,
                [each.value for each in one.interrupts],
                one.error and repr(one.error),
                seen(one.state) if isinstance(one.state, StateSnapshot) else one.state is not None,
                one.result,
            )
            for one in state.tasks
        ],
    }


async def all_seen(run, graph):
    return [seen(state) for state in await run.history(graph)]


# --- graphs ---


@tool
def weather(city: str) -> str:
    """Say what the weather is."""
    return f"sunny in {city}"


class Messages(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


def scripted():
    calls = [
        {"name": "weather", "args": {"city": city}, "id": f"c{n}", "type": "tool_call"}
        for n, city in enumerate(["Rome", "Oslo"])
    ]
    return GenericFakeChatModel(
        messages=iter(
            [
                AIMessage("", id="a1", tool_calls=calls),
                AIMessage(
                    "Sunny in both.",
                    id="a2",
                    usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
                ),
                AIMessage("You are welcome.", id="a3"),
            ]
        )
    )


async def agent(run):
    model = scripted()
    builder = StateGraph(Messages)
    builder.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_node("tools", ToolNode([weather]))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")
    graph = builder.compile(checkpointer=run.saver)

    def plain(messages):
        # The ids of tool messages are random.
        return [
            (type(m), m.content, getattr(m, "tool_calls", None), getattr(m, "usage_metadata", 0))
            for m in messages
        ]

    yield plain((await run.invoke(graph, {"messages": [HumanMessage("Hi", id="h1")]}))["messages"])
    yield plain((await run.invoke(graph, {"messages": [HumanMessage("Ta", id="h2")]}))["messages"])
    states = await run.history(graph)
    yield [(plain(state.values.get("messages", [])), state.next) for state in states]


class Notes(TypedDict, total=False):
    notes: Annotated[list[str], operator.add]
    count: int
    choice: Any


def human_graph(saver):
    builder = StateGraph(Notes)
    builder.add_node("before", lambda _: {"notes": ["before"]})

    def ask(state: Notes) -> Any:
        first = interrupt({"question": "first?", "notes": tuple(state["notes"])})
        second = interrupt("second?")
        return {"choice": (first, second), "notes": ["asked"]}

    builder.add_node("ask", ask)
    builder.add_node("after", lambda _: {"notes": ["after"]})
    builder.add_edge(START, "before")
    builder.add_edge("before", "ask")
    builder.add_edge("ask", "after")
    return builder.compile(checkpointer=saver)


async def human_in_the_loop(run):
    graph = human_graph(run.saver)
    first = await run.invoke(graph, {"notes": []})
    yield [one.value for one in first.pop("__interrupt__")], first
    yield seen(await run.state(graph))
    second = await run.invoke(graph, Command(resume={"yes": 1}))
    yield [one.value for one in second.pop("__interrupt__")], second
    yield await run.invoke(graph, Command(resume="no", update={"notes": ["edited"]}))
    yield await all_seen(run, graph)


async def subgraphs(run):
    inner = StateGraph(Notes)
    inner.add_node("think", lambda _: {"notes": ["thought"]})
    inner.add_node("ask", lambda _: {"notes": [interrupt("inner?")]})
    inner.add_edge(START, "think")
    inner.add_edge("think", "ask")
    outer = StateGraph(Notes)
    outer.add_node("inner", inner.compile())
    outer.add_node("end", lambda _: {"notes": ["end"]})
    outer.add_edge(START, "inner")
    outer.add_edge("inner", "end")
    graph = outer.compile(checkpointer=run.saver)
    await run.invoke(graph, {"notes": ["start"]})
    state = await run.state(graph, subgraphs=True)
    yield seen(state)
    place = state.tasks[0].state.config
    yield seen(await run.state(graph, place))
    await run.update(graph, place, {"notes": ["changed from outside"]}, as_node="think")
    yield await run.invoke(graph, Command(resume="answer"))
    yield await all_seen(run, graph)


async def fan_out(run):
    builder = StateGraph(Notes)
    builder.add_node("plan", lambda _: {"count": 5})
    builder.add_node("work", lambda part: {"notes": [f"{part['n']}"]})
    builder.add_node("join", lambda state: {"choice": tuple(state["notes"])})
    builder.add_edge(START, "plan")
    builder.add_conditional_edges(
        "plan", lambda state: [Send("work", {"n": n}) for n in range(state["count"])], ["work"]
    )
    builder.add_edge("work", "join")
    graph = builder.compile(checkpointer=run.saver, interrupt_before=["work"])
    await run.invoke(graph, {"notes": []})
    yield seen(await run.state(graph))
    yield await run.invoke(graph, None)
    yield await all_seen(run, graph)


async def a_failing_task(run):
    broken = True

    def fail(_: Notes) -> Any:
        if broken:
            # LangGraph drops the other task's writes if it is still storing them.
            time.sleep(0.2)
            raise ValueError("broken")
        return {"notes": ["mended"]}

    builder = StateGraph(Notes)
    builder.add_node("good", lambda _: {"notes": ["good"]})
    builder.add_node("fail", fail)
    builder.add_edge(START, "good")
    builder.add_edge(START, "fail")
    graph = builder.compile(checkpointer=run.saver)
    with pytest.raises(ValueError, match="broken"):
        await run.invoke(graph, {"notes": []})
    state = await run.state(graph)
    yield state.next, state.values, sorted((one.name, bool(one.error)) for one in state.tasks)
    broken = False
    yield await run.invoke(graph, None)


def counting(saver):
    builder = StateGraph(Notes)
    builder.add_node(
        "work",
        lambda state: {"count": state["count"] + 1, "notes": [f"step {state['count']}"]},
    )
    builder.add_edge(START, "work")
    builder.add_conditional_edges("work", lambda state: END if state["count"] >= 5 else "work")
    return builder.compile(checkpointer=saver)


async def time_travel_and_fork(run):
    graph = counting(run.saver)
    await run.invoke(graph, {"notes": [], "count": 0})
    states = await run.history(graph)
    past = next(state for state in states if state.values["count"] == 2)
    yield await run.invoke(graph, None, past.config)
    fork = await run.update(graph, past.config, {"count": 4, "notes": ["fork"]})
    yield seen(await run.state(graph, fork))
    yield await run.invoke(graph, None, fork)
    yield await all_seen(run, graph)


async def functional(run):
    @task
    def double(number: int) -> int:
        return number * 2

    @entrypoint(checkpointer=run.saver)
    def flow(number: int, *, previous: Any = None) -> Any:
        parts = [double(n) for n in range(number)]
        answer = interrupt("add?") if number == 3 else 0
        total = sum(part.result() for part in parts) + (previous or 0) + answer
        return entrypoint.final(value=total, save=total + 1)

    yield await run.invoke(flow, 2)
    await run.invoke(flow, 3)
    yield seen(await run.state(flow))
    yield await run.invoke(flow, Command(resume=100))
    yield await run.invoke(flow, 4)


async def streams(run):
    graph = counting(run.saver)
    for mode in ("values", "updates", "checkpoints", "tasks", "debug"):
        parts = await run.stream(graph, {"notes": [mode], "count": 0}, stream_mode=mode)
        if mode in ("values", "updates"):
            yield parts
        elif mode == "checkpoints":
            yield [(part["values"], part["next"], part["metadata"]["step"]) for part in parts]
        elif mode == "tasks":
            yield [(part["name"], part.get("result"), part.get("input")) for part in parts]
        else:
            yield [(part["type"], part["step"]) for part in parts]


async def durabilities(run):
    graph = counting(run.saver)
    for durability in ("sync", "async", "exit"):
        config = run.config(thread_id=f"{run.thread}-{durability}")
        yield await run.invoke(graph, {"notes": [], "count": 0}, config, durability=durability)
        yield seen(await run.state(graph, config))
        run_config, run.thread = run.thread, config["configurable"]["thread_id"]
        yield await all_seen(run, graph)
        run.thread = run_config


def joined(state: list[Any], writes: Any) -> list[Any]:
    return [*state, *(item for write in writes for item in write)]


class Delta(TypedDict, total=False):
    log: Annotated[list[Any], DeltaChannel(joined, snapshot_frequency=3)]
    count: int


async def delta_channel(run):
    builder = StateGraph(Delta)
    builder.add_node(
        "work", lambda state: {"count": state["count"] + 1, "log": [{"n": state["count"]}]}
    )
    builder.add_edge(START, "work")
    builder.add_conditional_edges("work", lambda state: END if state["count"] % 5 == 0 else "work")
    graph = builder.compile(checkpointer=run.saver)
    yield await run.invoke(graph, {"log": ["start"], "count": 1})
    yield await run.invoke(graph, {"log": ["again"], "count": 6})
    states = await run.history(graph)
    yield [seen(state) for state in states]
    past = next(state for state in states if state.values.get("count") == 3)
    yield await run.invoke(graph, None, past.config)
    fork = await run.update(graph, past.config, {"log": ["fork"], "count": 4})
    yield await run.invoke(graph, None, fork)
    yield await all_seen(run, graph)


SCENARIOS = [
    agent,
    human_in_the_loop,
    subgraphs,
    fan_out,
    a_failing_task,
    time_travel_and_fork,
    functional,
    streams,
    durabilities,
    delta_channel,
]


@pytest.mark.parametrize("blocking", [False, True], ids=["async", "blocking"])
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("cls", [AsyncRedisSaver, RedisSaver])
async def test_answers_are_those_of_the_memory_saver(
    redis_url, thread, cls, scenario: Callable[..., Any], blocking
):
    async with cls(redis_url) as saver:
        await assert_as_in_memory(saver, thread, scenario, blocking)


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_answers_in_the_compact_layout_are_those_of_the_memory_saver(
    plain_redis_url, prefixes, scenario: Callable[..., Any]
):
    async with AsyncRedisSaver(plain_redis_url, layout="compact", **prefixes) as saver:
        await assert_as_in_memory(saver, "t", scenario, blocking=False)


async def assert_as_in_memory(saver, thread, scenario, blocking):
    # With this package's serializer, as LangGraph's own turns tuples into lists.
    memory = InMemorySaver(serde=RedisSerializer())
    wanted = [one async for one in scenario(Runner(memory, thread, blocking))]
    found = [one async for one in scenario(Runner(saver, thread, blocking))]
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        assert one == other


KILLED = """
import sys, time, operator
from typing import Annotated
from typing_extensions import TypedDict
from langgraph.graph import START, StateGraph
from langgraph_checkpoint_redis_rs import RedisSaver

class State(TypedDict):
    notes: Annotated[list[str], operator.add]

url, thread, pause = sys.argv[1:]
builder = StateGraph(State)
names = [f"node{n}" for n in range(6)]
def node(name):
    def work(state):
        print(name, flush=True)
        if name == "node3" and pause == "pause":
            time.sleep(60)
        return {"notes": [name]}
    return work
for name in names:
    builder.add_node(name, node(name))
for one, other in zip([START, *names], names):
    builder.add_edge(one, other)
with RedisSaver.from_conn_string(url) as saver:
    saver.setup()
    graph = builder.compile(checkpointer=saver)
    config = {"configurable": {"thread_id": thread}}
    value = {"notes": ["start"]} if pause == "pause" else None
    result = graph.invoke(value, config, durability="sync")
    print("result", *result["notes"], flush=True)
"""


def test_a_killed_graph_goes_on_where_it_was(python_process, thread):
    process = python_process(KILLED, thread, "pause")
    said = []
    while "node3" not in said:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        said.append(line.strip())
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    again = python_process(KILLED, thread, "go on")
    out, err = again.communicate(timeout=60)
    assert out.split() == [
        "node3", "node4", "node5",
        "result", "start", "node0", "node1", "node2", "node3", "node4", "node5",
    ], err  # fmt: skip
