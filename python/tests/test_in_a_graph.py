"""LangGraph runs with this serializer in a saver of its own."""

from __future__ import annotations

from collections import deque
from typing import Annotated, Any

import value_types as t
from compare import difference
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from langgraph_checkpoint_redis_rs.serde import RedisSerializer


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    point: t.Point
    seen: tuple[Any, ...]
    recent: deque[int]
    answer: str


def work(state: State) -> dict[str, Any]:
    seen = (1, t.Color.RED, {2: 3})
    return {"messages": [AIMessage("a")], "seen": seen, "recent": deque([1], 3)}


def ask(state: State) -> Command[Any]:
    return Command(update={"answer": interrupt({"q": (1, 2)})}, goto=Send("last", state))


def last(state: State) -> dict[str, Any]:
    return {"point": t.Point(state["seen"], state["recent"])}


def test_a_graph_is_interrupted_and_resumed() -> None:
    builder = StateGraph(State)
    builder.add_node(work)
    builder.add_node(ask, destinations=("last",))
    builder.add_node(last)
    builder.add_edge(START, "work")
    builder.add_edge("work", "ask")
    builder.add_edge("last", END)
    graph = builder.compile(checkpointer=InMemorySaver(serde=RedisSerializer()))
    config: Any = {"configurable": {"thread_id": "1"}}
    paused = graph.invoke({"messages": [HumanMessage("hi")]}, config)
    assert paused["__interrupt__"][0].value == {"q": (1, 2)}
    assert graph.get_state(config).interrupts[0].value == {"q": (1, 2)}
    done = graph.invoke(Command(resume="yes"), config)
    assert done["answer"] == "yes"
    expected = t.Point((1, t.Color.RED, {2: 3}), deque([1], 3))
    assert difference(graph.get_state(config).values["point"], expected) is None
    assert [message.content for message in done["messages"]] == ["hi", "a"]
