"""Graphs that leave threads of every kind behind, on any saver."""

from __future__ import annotations

import datetime as dt
import decimal
import operator
import time
import uuid
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    facts: dict[str, Any]
    n: int
    answers: Annotated[list[str], operator.add]


def config_of(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def think(state: State) -> Any:
    turn = len(state["messages"])
    facts = {
        "when": dt.datetime(2026, 11, 30, 22, turn, tzinfo=dt.timezone.utc),
        "price": decimal.Decimal("19.90"),
        "names": {"Ann", "Bob", "émigré", f"{turn}"},
        "pair": (1, 2.5),
        "raw": b"\x00\xff",
        "id": uuid.UUID(int=turn),
        "large": 2**60 + turn,
    }
    return {"messages": [AIMessage(f"answer {turn}", id=f"a{turn}")], "facts": facts}


def ask(state: State) -> Any:
    return {"answers": [interrupt({"question": "go on?", "n": state.get("n", 0)})]}


def count(state: State) -> Any:
    return {"n": state.get("n", 0) + 1}


def asking(saver: Any) -> Any:
    """A conversation with a subgraph that asks a human."""
    inner = StateGraph(State)
    inner.add_node("count", count)
    inner.add_node("ask", ask)
    inner.add_edge(START, "count")
    inner.add_edge("count", "ask")
    graph = StateGraph(State)
    graph.add_node("think", think)
    graph.add_node("inner", inner.compile())
    graph.add_node("count", count)
    graph.add_edge(START, "think")
    graph.add_edge("think", "inner")
    graph.add_edge("inner", "count")
    return graph.compile(checkpointer=saver)


def asked(saver: Any, thread: str) -> None:
    """Leave a thread that waits for an answer after one that was given."""
    graph = asking(saver)
    graph.invoke({"messages": [HumanMessage("hello", id="h1")]}, config_of(thread))
    graph.invoke(Command(resume="yes"), config_of(thread))
    graph.invoke({"messages": [HumanMessage("again", id="h2")]}, config_of(thread))


def answered(saver: Any, thread: str) -> Any:
    """Give the answer that the thread waits for."""
    return asking(saver).invoke(Command(resume="at last"), config_of(thread))


def forked(saver: Any, thread: str) -> None:
    """Leave a thread with two branches."""
    graph = StateGraph(State)
    for name in ("one", "two", "three"):
        graph.add_node(name, count)
    graph.add_edge(START, "one")
    graph.add_edge("one", "two")
    graph.add_edge("two", "three")
    graph = graph.compile(checkpointer=saver)
    graph.invoke({"n": 0}, config_of(thread))
    past = list(graph.get_state_history(config_of(thread)))[2].config
    fork = graph.update_state(past, {"n": 100})
    graph.invoke(None, fork)


class Flaky:
    """A node that fails until it is mended, beside one that does not."""

    def __init__(self, saver: Any) -> None:
        self.saver = saver
        self.broken = True
        self.calls: list[str] = []
        graph = StateGraph(State)
        graph.add_node("good", self.good)
        graph.add_node("bad", self.bad)
        graph.add_edge(START, "good")
        graph.add_edge(START, "bad")
        self.graph = graph.compile(checkpointer=saver)

    def good(self, state: State) -> Any:
        self.calls.append("good")
        return {"answers": ["good"]}

    def bad(self, state: State, config: RunnableConfig) -> Any:
        self.calls.append("bad")
        if not self.broken:
            return {"answers": ["bad"]}
        here = config_of(config["configurable"]["thread_id"])
        for _ in range(100):
            # Not before the other task's writes are stored.
            found = self.saver.get_tuple(here)
            if found and any(write[1] == "answers" for write in found.pending_writes):
                break
            time.sleep(0.02)
        raise ValueError("not yet")


def failed(saver: Any, thread: str) -> None:
    """Leave a thread with the writes of a task beside one that failed."""
    try:
        Flaky(saver).graph.invoke({"n": 1}, config_of(thread))
    except ValueError:
        return
    raise AssertionError("the node did not fail")


def joined(values: list[str], writes: list[list[str]]) -> list[str]:
    return values + [value for write in writes for value in write]


class Texts(TypedDict):
    texts: Annotated[list[str], DeltaChannel(joined)]


def fanning(saver: Any) -> Any:
    """A delta channel that ten tasks write to at once: their order is that of their paths."""
    graph = StateGraph(Texts)
    graph.add_node("split", lambda state: {})
    graph.add_node("part", lambda part: {"texts": [part["text"]]})
    graph.add_edge(START, "split")
    graph.add_conditional_edges(
        "split", lambda state: [Send("part", {"text": f"part {n}"}) for n in range(10)], ["part"]
    )
    return graph.compile(checkpointer=saver)


def fanned(saver: Any, thread: str) -> None:
    """Leave a thread with a delta channel."""
    for text in ("first", "second"):
        fanning(saver).invoke({"texts": [text]}, config_of(thread))


ALL = {"asked": asked, "forked": forked, "failed": failed, "fanned": fanned}
