"""Savers side by side: this package and langgraph-checkpoint-redis, in turn, on one Redis.

Run ``python benches/compare.py [redis-url]``; the default is ``REDIS_URL``. All work goes under
prefixes of its own, which are removed at the end. A number is the median of several rounds, in
which the savers take turns. Where there is a goal and it is missed, the row says so: for ``aput``
and ``aget_tuple`` of 1 KB and 20 KB five times the calls a second and a fifth of the p50, for a
graph 1.5 times the time with ``InMemorySaver``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import statistics
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import redis
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.redis.aio import AsyncRedisSaver as PythonSaver
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from langgraph_checkpoint_redis_rs import AsyncRedisSaver as RustSaver

Saver = BaseCheckpointSaver[Any]

FASTER = 5.0
GRAPH_COST = 1.5


def document(size: int) -> dict[str, Any]:
    """Channel values of about ``size`` bytes of JSON."""
    rng = random.Random(size)
    rows: list[Any] = []
    length = 0
    while length < size:
        row = {
            "id": rng.randrange(10**9),
            "title": " ".join(rng.choices(["alpha", "beta", "gamma", "delta"], k=6)),
            "score": rng.random(),
            "tags": rng.choices(["red", "green", "blue"], k=3),
        }
        rows.append(row)
        length += len(repr(row))
    return {"rows": rows, "step": 1}


def messages(count: int) -> dict[str, Any]:
    """A conversation."""
    turns = (
        (HumanMessage(f"What about {n}? " * 5, id=f"h{n}"), AIMessage("So. " * 30, id=f"a{n}"))
        for n in range(count // 2)
    )
    return {"messages": [message for turn in turns for message in turn]}


def checkpoint(values: dict[str, Any]) -> Any:
    """A checkpoint as LangGraph makes them."""
    made = empty_checkpoint()
    version = f"{1:032}.{0.5:016}"
    made["id"] = str(uuid6(clock_seq=1))
    made["channel_values"] = values
    made["channel_versions"] = dict.fromkeys(values, version)
    made["versions_seen"] = {"agent": dict.fromkeys(values, version)}
    return made


def config(thread: str) -> Any:
    """What names a thread."""
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


METADATA: Any = {"source": "loop", "step": 1, "parents": {}}


class Work:
    """One operation. What the caller makes for a call is made before the time is taken."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def made(self) -> Any:
        """What one call is given."""

    async def call(self, saver: Saver, thread: str, made: Any) -> None:
        """Make the call."""
        raise NotImplementedError


class Put(Work):
    """Put one checkpoint."""

    def made(self) -> Any:
        return checkpoint(self.values)

    async def call(self, saver: Saver, thread: str, made: Any) -> None:
        await saver.aput(config(thread), made, METADATA, made["channel_versions"])


class Get(Work):
    """Read the newest checkpoint."""

    async def call(self, saver: Saver, thread: str, made: Any) -> None:
        found = await saver.aget_tuple(config(f"read-{thread}"))
        assert found is not None
        assert found.checkpoint["channel_values"].keys() == self.values.keys()


class PutWrites(Work):
    """Put five writes of a task."""

    writes = tuple((f"channel{n}", {"n": n, "text": "x" * 100}) for n in range(5))
    identity = str(uuid6(clock_seq=2))

    def made(self) -> Any:
        return str(uuid.uuid4())

    async def call(self, saver: Saver, thread: str, made: Any) -> None:
        place = config(thread)
        place["configurable"]["checkpoint_id"] = self.identity
        await saver.aput_writes(place, self.writes, made)


class ListTen(Work):
    """List the newest ten checkpoints."""

    async def call(self, saver: Saver, thread: str, made: Any) -> None:
        found = [found async for found in saver.alist(config(f"read-{thread}"), limit=10)]
        assert len(found) == 10


async def load(
    saver: Saver, work: Work, mark: str, callers: int, calls: int
) -> tuple[float, float]:
    """How many calls a second there are, and the median of their times in milliseconds."""
    times: list[float] = []
    made = [[work.made() for _ in range(calls // callers)] for _ in range(callers)]

    async def caller(number: int) -> None:
        for one in made[number]:
            begin = time.perf_counter()
            await work.call(saver, f"{mark}-{number}", one)
            times.append(time.perf_counter() - begin)

    start = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(callers)))
    elapsed = time.perf_counter() - start
    return len(times) / elapsed, statistics.median(times) * 1000


class State(TypedDict):
    """The state of the graph that is run."""

    count: int
    notes: list[str]


def graph(saver: Saver | None) -> Any:
    """A graph of ten super-steps."""
    builder = StateGraph(State)

    def node(state: State) -> Any:
        return {"count": state["count"] + 1, "notes": [*state["notes"], "a note " * 5]}

    builder.add_node("work", node)
    builder.add_edge(START, "work")
    builder.add_conditional_edges("work", lambda state: END if state["count"] >= 10 else "work")
    return builder.compile(checkpointer=saver)


async def run_graph(compiled: Any, mark: str, runs: int = 1) -> float:
    """Milliseconds a run."""
    start = time.perf_counter()
    for _ in range(runs):
        place = {"configurable": {"thread_id": f"{mark}-{uuid.uuid4().hex}"}, "recursion_limit": 50}
        await compiled.ainvoke({"count": 0, "notes": []}, place)
    return (time.perf_counter() - start) / runs * 1000


@contextlib.asynccontextmanager
async def savers(url: str, mark: str) -> AsyncIterator[dict[str, Saver]]:
    """Both savers; every key has the mark in it, and is removed afterwards."""
    prefixes = [f"{mark}r", f"{mark}rw", f"{mark}p", f"{mark}pw"]
    try:
        async with (
            RustSaver.from_conn_string(
                url, checkpoint_prefix=prefixes[0], checkpoint_write_prefix=prefixes[1]
            ) as rust,
            PythonSaver.from_conn_string(
                url, checkpoint_prefix=prefixes[2], checkpoint_write_prefix=prefixes[3]
            ) as python,
        ):
            yield {"rust": rust, "python": python}
    finally:
        with redis.Redis.from_url(url) as client:
            for prefix in prefixes:
                with contextlib.suppress(redis.ResponseError):
                    client.execute_command("FT.DROPINDEX", prefix)
            keys = list(client.scan_iter(f"*{mark}*", count=1000))
            for start in range(0, len(keys), 1000):
                client.delete(*keys[start : start + 1000])


async def compare(url: str, rounds: int, callers: list[int]) -> dict[str, Any]:
    """Print the tables, and give what is in them."""
    results: dict[str, Any] = {"calls": [], "graph": {}}
    works: dict[str, tuple[type[Work], int]] = {
        "aput": (Put, 1000),
        "aget_tuple newest": (Get, 1000),
        "aput_writes(5)": (PutWrites, 600),
        "alist(limit=10)": (ListTen, 150),
    }
    documents = {"1 KB": document(1000), "20 KB": document(20_000), "40 messages": messages(40)}
    with redis.Redis.from_url(url) as client:
        version = client.info("server")["redis_version"]
    print(
        f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, ",
        end="",
    )
    print(f"Redis {version}; medians of {rounds} rounds; calls a second, p50 in ms")
    print(
        f"{'operation':<18} {'document':<12} {'callers':>7} {'rust':>9} {'python':>9} {'ratio':>7} "
        f"{'rust p50':>9} {'python':>9} {'ratio':>7}"
    )
    mark = f"bench{uuid.uuid4().hex[:8]}"
    async with savers(url, mark) as both:
        for size, values in documents.items():
            for saver in both.values():
                for number in range(max(callers)):
                    await saver.adelete_thread(f"read-{mark}-{number}")
                    for _ in range(10):
                        made = checkpoint(values)
                        await saver.aput(
                            config(f"read-{mark}-{number}"),
                            made,
                            METADATA,
                            made["channel_versions"],
                        )
            for name, (work, calls) in works.items():
                if name == "aput_writes(5)" and size != "1 KB":
                    continue
                for count in callers:
                    found: dict[str, list[tuple[float, float]]] = {key: [] for key in both}
                    for _ in range(rounds):
                        for key, saver in both.items():
                            some = max(count, calls if key == "rust" else calls // 4)
                            found[key].append(await load(saver, work(values), mark, count, some))
                    (rust, rust_p50), (python, python_p50) = (
                        tuple(statistics.median(column) for column in zip(*found[key], strict=True))
                        for key in both
                    )
                    faster, sooner = rust / python, python_p50 / rust_p50
                    has_goal = name in ("aput", "aget_tuple newest")
                    missed = has_goal and "KB" in size and min(faster, sooner) < FASTER
                    print(
                        f"{name:<18} {size:<12} {count:>7} {rust:>9,.0f} {python:>9,.0f} "
                        f"{faster:>6.1f}x {rust_p50:>9.3f} {python_p50:>9.3f} {sooner:>6.1f}x"
                        f"{f'  less than {FASTER:g}x' if missed else ''}",
                        flush=True,
                    )
                    results["calls"].append(
                        {
                            "operation": name,
                            "document": size,
                            "callers": count,
                            "rust": {"per_second": rust, "p50_ms": rust_p50},
                            "python": {"per_second": python, "p50_ms": python_p50},
                        }
                    )
        graphs: dict[str, Any] = {"no saver": graph(None), "InMemorySaver": graph(InMemorySaver())}
        graphs |= {key: graph(saver) for key, saver in both.items()}
        times: dict[str, list[float]] = {key: [] for key in graphs}
        for compiled in graphs.values():
            await run_graph(compiled, mark, 5)
        # One run at a time: whatever else the machine does then meets all of them.
        for _ in range(rounds * 20):
            for key, compiled in graphs.items():
                times[key].append(await run_graph(compiled, mark))
        memory = statistics.median(times["InMemorySaver"])
        print("\na graph of 10 super-steps, ms a run (times InMemorySaver)")
        for key, runs in times.items():
            median = statistics.median(runs)
            missed = key == "rust" and median / memory > GRAPH_COST
            verdict = f"  more than {GRAPH_COST:g}x" if missed else ""
            print(f"{key:<18} {median:>7.1f} {median / memory:>6.2f}x{verdict}")
            results["graph"][key] = {"ms": median, "of_memory": median / memory}
    return results


def main() -> None:
    """Read the arguments and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default=os.environ.get("REDIS_URL"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--json", metavar="FILE", help="where to write the results as well")
    arguments = parser.parse_args()
    if not arguments.url:
        parser.error("give the URL of a Redis, or set REDIS_URL")
    results = asyncio.run(compare(arguments.url, arguments.rounds, arguments.callers))
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
