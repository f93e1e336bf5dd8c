"""Pruning keeps what langgraph-checkpoint-postgres keeps of the same threads."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from langgraph_checkpoint_redis_rs import RedisSaver


class State(TypedDict, total=False):
    n: int
    asked: str


def count(state: State) -> State:
    return {"n": state.get("n", 0) + 1}


def ask(state: State) -> State:
    return {"asked": interrupt("go on?")}


def steps(*nodes: Any) -> StateGraph:
    graph = StateGraph(State)
    last = START
    for position, node in enumerate(nodes):
        name = f"{getattr(node, '__name__', 'sub')}_{position}"
        graph.add_node(name, node)
        graph.add_edge(last, name)
        last = name
    return graph


def graph_on(saver: Any, *, asks: bool) -> Any:
    inner = steps(count, count).compile()
    called = steps(count, inner, *([ask] if asks else [])).compile()
    lasting = steps(count, count).compile(checkpointer=True)
    return steps(count, called, lasting, count).compile(checkpointer=saver)


def copied(source: Any, target: RedisSaver, thread: str) -> None:
    """Puts into a saver what another has of a thread."""
    for one in reversed(list(source.list({"configurable": {"thread_id": thread}}))):
        place = one.config["configurable"]
        parent = one.parent_config["configurable"] if one.parent_config else {}
        into = {"thread_id": thread, "checkpoint_ns": place["checkpoint_ns"]}
        if parent.get("checkpoint_id"):
            into["checkpoint_id"] = parent["checkpoint_id"]
        versions = one.checkpoint["channel_versions"]
        stored = target.put({"configurable": into}, one.checkpoint, one.metadata, versions)
        for task in dict.fromkeys(write[0] for write in one.pending_writes or []):
            writes = [write[1:] for write in one.pending_writes or [] if write[0] == task]
            target.put_writes(stored, writes, task)


def kept(saver: Any, thread: str) -> set[tuple[Any, ...]]:
    found = set()
    for one in saver.list({"configurable": {"thread_id": thread}}):
        place = one.config["configurable"]
        writes = sorted((write[0], write[1]) for write in one.pending_writes or [])
        found.add((place["checkpoint_ns"], place["checkpoint_id"], tuple(writes)))
    return found


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("end", ["done", "asks", "resumed", "forked"])
def test_prune_keeps_what_postgres_keeps(
    postgres: str, saver: RedisSaver, thread: str, runs: int, end: str
) -> None:
    config: Any = {"configurable": {"thread_id": thread}}
    with PostgresSaver.from_conn_string(postgres) as other:
        other.setup()
        graph = graph_on(other, asks=end in ("asks", "resumed"))
        for _ in range(runs):
            graph.invoke({"n": 0}, config)
            if end == "resumed":
                graph.invoke(Command(resume="yes"), config)
        if end == "forked":
            past = list(graph.get_state_history(config))[2].config
            graph.update_state(past, {"n": 100})
        copied(other, saver, thread)
        assert kept(saver, thread) == kept(other, thread)

        before = len(kept(other, thread))
        other.prune([thread])
        saver.prune([thread])
        after = kept(other, thread)
        assert len(after) < before
        assert kept(saver, thread) == after
        if end in ("asks", "forked"):
            # Both go on from there, and are pruned again.
            for one in (other, saver):
                graph = graph_on(one, asks=end == "asks")
                graph.invoke(Command(resume="yes") if end == "asks" else {"n": 0}, config)
                one.prune([thread])
            assert shape(saver, thread) == shape(other, thread)

        other.prune([thread], strategy="delete")
        saver.prune([thread], strategy="delete")
        assert kept(saver, thread) == kept(other, thread) == set()


def shape(saver: Any, thread: str) -> list[tuple[str, int]]:
    """How many checkpoints each namespace has, without the ids of tasks."""
    counts: dict[str, int] = {}
    for namespace, _, _ in kept(saver, thread):
        name = "|".join(part.split(":")[0] for part in namespace.split("|"))
        counts[name] = counts.get(name, 0) + 1
    return sorted(counts.items())


def joined(values: list[str], writes: list[list[str]]) -> list[str]:
    return values + [value for write in writes for value in write]


class Texts(TypedDict):
    texts: Annotated[list[str], DeltaChannel(joined)]


def test_a_thread_with_a_delta_channel_that_postgres_refuses_keeps_its_state(
    postgres: str, saver: RedisSaver, thread: str
) -> None:
    def graph_of(one: Any) -> Any:
        graph = StateGraph(Texts)
        graph.add_node("add", lambda state: {"texts": [str(len(state["texts"]))]})
        graph.add_edge(START, "add")
        return graph.compile(checkpointer=one)

    config: Any = {"configurable": {"thread_id": thread}}
    with PostgresSaver.from_conn_string(postgres) as other:
        other.setup()
        for one in (other, saver):
            for _ in range(3):
                graph_of(one).invoke({"texts": ["a"]}, config)
        with pytest.raises(NotImplementedError):
            other.prune([thread])
        before = graph_of(saver).get_state(config).values
        saver.prune([thread])
        assert graph_of(saver).get_state(config).values == before
        assert before == graph_of(other).get_state(config).values
