"""Savers of one tenant's threads: LangGraph's suites, graphs, and tenants who mean harm."""

from __future__ import annotations

import copy
import operator
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import ALL_CAPABILITIES
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from langgraph_checkpoint_redis_rs import (
    AsyncRedisSaver,
    AsyncShallowRedisSaver,
    RedisSaver,
    ShallowRedisSaver,
)
from langgraph_checkpoint_redis_rs.errors import ClosedError

TENANTS = ["t/", "t2/", "T/", "t*/", "?/", "[t]/", "t\\/", "t%2F", "{t}", "ä:"]
"""Prefixes of which none is the beginning of another."""

IDS = ["1", "*", "?", "[a-z]*", "\\*", "%2F", "{x}", "t/", "t2/1", "../t2/1", "/", "__empty__"]
"""Ids that every tenant uses; some are what a thread of another one is stored as."""

CLASSES = [RedisSaver, AsyncRedisSaver, ShallowRedisSaver, AsyncShallowRedisSaver]


def config(thread: str, **more: str) -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": "", **more}}


async def put(saver: BaseCheckpointSaver[str], thread: str, of: str) -> Any:
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"of": of}
    checkpoint["channel_versions"] = {"of": "1"}
    stored = await saver.aput(
        config(thread), checkpoint, {"source": "loop", "step": 0, "run_id": "run"}, {"of": "1"}
    )
    await saver.aput_writes(stored, [("written", of)], "task")
    return stored


async def seen(saver: Any) -> list[tuple[Any, ...]]:
    """All that a tenant sees, in an order of its own."""
    found = [
        (
            found.config["configurable"]["thread_id"],
            found.config["configurable"]["checkpoint_id"],
            found.checkpoint["channel_values"],
            found.metadata,
            found.pending_writes,
        )
        async for found in saver.alist(None)
    ]
    found += [
        (summary.thread_id, str(summary.checkpoints), {}, {}, [summary.ttl is None])
        async for summary in saver.athreads()
    ]
    return sorted(found, key=lambda one: one[:2])


@pytest.mark.parametrize("layout", ["json", "compact"])
@pytest.mark.parametrize("cls", [AsyncRedisSaver, RedisSaver])
async def test_a_tenants_saver_passes_langgraphs_suites_and_leaves_others_alone(
    cls: Any, layout: str, redis_url: str, plain_redis_url: str, prefixes: Any
) -> None:
    url = redis_url if layout == "json" else plain_redis_url

    @checkpointer_test(name=cls.__name__)
    async def factory() -> AsyncIterator[BaseCheckpointSaver[str]]:
        async with cls(url, layout=layout, **prefixes) as saver:
            other = saver.scoped("tenant-b/")
            await put(other, "1", "b")
            before = await seen(other)
            yield saver.scoped("tenant-*/")
            assert await seen(other) == before

    report = await validate(factory)
    assert {name for name, result in report.results.items() if result.detected} == {
        capability.value for capability in ALL_CAPABILITIES
    }
    failures = [failure for one in report.results.values() for failure in one.failures or []]
    assert failures == []
    assert sum(result.tests_passed for result in report.results.values()) >= 70


class State(TypedDict):
    said: Annotated[list[str], operator.add]


def ask(state: State) -> State:
    return {"said": [interrupt(f"after {state['said'][-1]}?")]}


def graph(saver: BaseCheckpointSaver[str]) -> Any:
    builder = StateGraph(State)
    builder.add_node(ask)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", END)
    return builder.compile(checkpointer=saver)


@pytest.mark.parametrize("layout", ["json", "compact"])
def test_two_tenants_are_interrupted_and_resumed_on_the_same_thread_id(
    layout: str, redis_url: str, plain_redis_url: str, prefixes: Any
) -> None:
    url = redis_url if layout == "json" else plain_redis_url
    with RedisSaver(url, layout=layout, **prefixes) as saver:
        graphs = {name: graph(saver.scoped(f"tenant-{name}/")) for name in ("a", "b")}
        for name, each in graphs.items():
            paused = each.invoke({"said": [name]}, config("1"))
            assert paused["__interrupt__"][0].value == f"after {name}?"
        graphs["a"].invoke(Command(resume="yes"), config("1"))
        assert graphs["b"].get_state(config("1")).next == ("ask",)
        assert graphs["b"].get_state(config("1")).interrupts[0].value == "after b?"
        graphs["b"].invoke(Command(resume="no"), config("1"))
        for name, answer in (("a", "yes"), ("b", "no")):
            assert graphs[name].get_state(config("1")).values == {"said": [name, answer]}
            history = list(graphs[name].get_state_history(config("1")))
            assert {state.config["configurable"]["thread_id"] for state in history} == {"1"}
            parents = [state.parent_config for state in history if state.parent_config]
            assert {parent["configurable"]["thread_id"] for parent in parents} == {"1"}
            # A fork from what the tenant was given.
            forked = graphs[name].invoke(None, history[1].config)
            assert forked["__interrupt__"][0].value == f"after {name}?"
        assert {found.thread_id for found in saver.threads()} == {"tenant-a/1", "tenant-b/1"}
        stored = saver.get_tuple(config("tenant-a/1"))
        assert stored is not None
        assert "thread_id" not in stored.metadata


@pytest.mark.parametrize("cls", CLASSES)
async def test_a_tenant_sees_and_changes_no_thread_of_another(
    cls: Any, redis_url: str, prefixes: Any
) -> None:
    async with cls(redis_url, ttl={"default_ttl": 60}, **prefixes) as saver:
        views = {prefix: saver.scoped(prefix) for prefix in TENANTS}
        for prefix, view in views.items():
            assert type(view) is cls
            for thread in IDS:
                stored = await put(view, thread, prefix)
                assert stored["configurable"]["thread_id"] == thread
        before = {prefix: await seen(view) for prefix, view in views.items()}
        for prefix, found in before.items():
            assert [one[0] for one in found] == sorted(IDS * 2)
            assert all(one[2] in ({"of": prefix}, {}) for one in found)
        view = views["t*/"]
        for thread in IDS:
            await holds(view, thread, "t*/")
            assert await one_page(view, {"thread_id": f"t*/{thread}"}) == []
        assert len([one async for one in view.alist(None, limit=5)]) == 5
        assert [one.thread_id async for one in view.athreads("t2")] == ["t2/1"]

        assert await view.apin("1")
        assert await view.atouch("2") is False
        await view.acopy_thread("1", "copied")
        await view.adelete_thread("t2/1")
        await view.aprune(["*", "/"], strategy="delete")
        left = {one.thread_id async for one in view.athreads()}
        assert left == {*IDS, "copied"} - {"t2/1", "*", "/"}
        await view.adelete_for_runs(["run"])
        assert await seen(view) == []
        for prefix, other in views.items():
            if other is not view:
                assert await seen(other) == before[prefix]


async def holds(view: Any, thread: str, of: str) -> None:
    found = await view.aget_tuple(config(thread))
    assert found.config["configurable"]["thread_id"] == thread
    assert found.checkpoint["channel_values"] == {"of": of}
    assert found.pending_writes == [("task", "written", of)]
    by_thread = await one_page(view, {"thread_id": thread})
    assert [one.config for one in by_thread] == [found.config]
    assert [one.config async for one in view.alist(config(thread))] == [found.config]


async def one_page(view: Any, wanted: dict[str, str]) -> list[CheckpointTuple]:
    return [found async for found in view.alist(None, filter=wanted)]


@pytest.fixture
def redis_saver(redis_url: str, prefixes: Any) -> Iterator[RedisSaver]:
    with RedisSaver(redis_url, **prefixes) as saver:
        yield saver


async def test_closing_a_tenants_saver_leaves_its_parents_open_and_not_the_other_way(
    redis_saver: RedisSaver,
) -> None:
    with redis_saver.scoped("t/") as view:
        await put(view, "1", "t")
    view.close()
    await view.aclose()
    assert view.get_tuple(config("1")) is not None
    assert redis_saver.get_tuple(config("t/1")) is not None
    redis_saver.close()
    with pytest.raises(ClosedError):
        view.get_tuple(config("1"))
    # Nor does it open what its parent has closed.
    with pytest.raises(ClosedError):
        view.setup()
    redis_saver.setup()
    assert view.get_tuple(config("1")) is not None


async def test_a_tenants_saver_outlives_the_one_it_was_made_of(
    redis_url: str, prefixes: Any
) -> None:
    view = RedisSaver(redis_url, **prefixes).scoped("t/")
    view.setup()
    await put(view, "1", "t")
    assert view.get_tuple(config("1")) is not None


async def test_a_scope_within_a_scope_has_both_prefixes(redis_saver: RedisSaver) -> None:
    inner = redis_saver.scoped("tenant-a/").scoped("user-7/")
    await put(inner, "1", "inner")
    assert [one.thread_id for one in redis_saver.threads()] == ["tenant-a/user-7/1"]
    assert [one.thread_id for one in redis_saver.scoped("tenant-a/").threads()] == ["user-7/1"]
    assert [one.thread_id for one in inner.threads()] == ["1"]


async def test_a_copy_and_another_serializer_stay_in_the_scope(redis_saver: RedisSaver) -> None:
    view = redis_saver.scoped("t/")
    assert view.serde is redis_saver.serde
    clone = copy.copy(view)
    clone.serde = copy.copy(view.serde)
    await put(clone, "1", "t")
    assert view.serde is not clone.serde
    assert [one.thread_id for one in redis_saver.threads()] == ["t/1"]


@pytest.mark.parametrize("prefix", ["", "x" * 64 * 1024, "\ud800"])
def test_a_prefix_that_is_none_is_refused(redis_saver: RedisSaver, prefix: str) -> None:
    with pytest.raises(ValueError):
        redis_saver.scoped(prefix)


@pytest.mark.parametrize("prefix", [None, 7, b"t/"])
def test_a_prefix_of_another_type_is_refused(redis_saver: RedisSaver, prefix: Any) -> None:
    with pytest.raises(TypeError, match="prefix must be a str"):
        redis_saver.scoped(prefix)


def test_an_error_names_the_thread_as_the_tenant_does(redis_saver: RedisSaver) -> None:
    view = redis_saver.scoped("tenant-a/")
    with pytest.raises(ValueError, match="thread_id cannot be used: it is empty"):
        view.delete_thread("")
    with pytest.raises(ValueError, match="65544 bytes with its prefix of 9"):
        view.get_tuple(config("x" * (64 * 1024 - 1)))
