"""What a long conversation costs: both layouts, langgraph-checkpoint-redis and ``InMemorySaver``.

Run ``python benches/growth.py [redis-url]``; the default is ``REDIS_URL``. A graph of two nodes is
asked one question after another in one thread: 4 checkpoints and about 600 characters of new text a
turn, beside 8 KB of documents that stay in the state. The savers take turns, one conversation turn
each, so that whatever else the machine does meets all of them.

At each length the table shows Redis' memory for the thread (``MEMORY USAGE`` of its keys; search
indexes are not in it), what was sent to the server and what came from it since the first turn, and
the median time of the turns before it. ``--svg FILE`` draws the memory. All work goes under
prefixes of its own, which are removed at the end.
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
from typing import Annotated, Any

import redis
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.redis.aio import AsyncRedisSaver as PythonSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from langgraph_checkpoint_redis_rs import AsyncRedisSaver as RustSaver

Saver = BaseCheckpointSaver[Any]

# How many turns before a length its median time is of.
WINDOW = 10
WORDS = ["the", "agent", "looks", "for", "a", "document", "which", "answers", "the", "question"]


class State(TypedDict):
    """The state of a conversation."""

    messages: Annotated[list[AnyMessage], add_messages]
    documents: list[dict[str, Any]]


def text(rng: random.Random, length: int) -> str:
    """Words, of this many characters together."""
    words: list[str] = []
    while sum(map(len, words)) + len(words) < length:
        words.append(rng.choice(WORDS) + str(rng.randrange(100)))
    return " ".join(words)


def documents(rng: random.Random) -> list[dict[str, Any]]:
    """What was retrieved, 8 KB of it."""
    pages = range(8)
    return [{"source": f"page-{n}", "score": rng.random(), "text": text(rng, 950)} for n in pages]


def graph(saver: Saver) -> Any:
    """A graph of two nodes, one of which answers."""
    rng = random.Random(7)
    found = documents(rng)

    def retrieve(state: State) -> Any:
        return {} if state.get("documents") else {"documents": found}

    def answer(state: State) -> Any:
        turn = len(state["messages"])
        return {"messages": [AIMessage(text(random.Random(turn), 450), id=f"a{turn}")]}

    builder = StateGraph(State)
    builder.add_node("retrieve", retrieve)
    builder.add_node("answer", answer)
    builder.add_edge(START, "retrieve")
    builder.add_edge("retrieve", "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=saver)


@contextlib.asynccontextmanager
async def savers(url: str, mark: str) -> AsyncIterator[dict[str, tuple[Saver, str]]]:
    """Each saver with the start of its keys, which are removed afterwards."""
    names = {"json": f"{mark}j", "compact": f"{mark}c", "python": f"{mark}p"}
    made: dict[str, tuple[Saver, str]] = {"InMemorySaver": (InMemorySaver(), "")}
    try:
        async with contextlib.AsyncExitStack() as stack:
            for name, prefix in names.items():
                writes = f"{prefix}w"
                opened: contextlib.AbstractAsyncContextManager[Saver]
                if name == "python":
                    opened = PythonSaver.from_conn_string(
                        url, checkpoint_prefix=prefix, checkpoint_write_prefix=writes
                    )
                else:
                    opened = RustSaver.from_conn_string(
                        url,
                        checkpoint_prefix=prefix,
                        checkpoint_write_prefix=writes,
                        layout=name,
                    )
                made[name] = (await stack.enter_async_context(opened), prefix)
            yield made
    finally:
        with redis.Redis.from_url(url) as client:
            for prefix in names.values():
                for index in (prefix, f"{prefix}w"):
                    with contextlib.suppress(redis.ResponseError):
                        client.execute_command("FT.DROPINDEX", index)
            keys = list(client.scan_iter(f"{mark}*", count=1000))
            for start in range(0, len(keys), 1000):
                client.unlink(*keys[start : start + 1000])


def traffic(client: Any) -> tuple[int, int]:
    """Bytes that the server has received and sent."""
    stats = client.info("stats")
    return stats["total_net_input_bytes"], stats["total_net_output_bytes"]


def memory(client: Any, prefix: str) -> int:
    """Bytes of Redis' memory that the keys of a prefix take."""
    if not prefix:
        return 0
    keys = list(client.scan_iter(f"{prefix}*", count=1000))
    with client.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.memory_usage(key, samples=0)
        return sum(size or 0 for size in pipeline.execute())


async def grow(url: str, lengths: list[int]) -> list[dict[str, Any]]:
    """Print the table, and give its rows."""
    rows: list[dict[str, Any]] = []
    mark = f"growth{uuid.uuid4().hex[:8]}"
    with redis.Redis.from_url(url) as client:
        version = client.info("server")["redis_version"]
        print(
            f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, "
            f"Redis {version}; the p50 is of the {WINDOW} turns before"
        )
        print(
            f"{'turns':>5} {'saver':<14} {'memory MB':>10} {'sent MB':>9} {'received MB':>12} "
            f"{'turn p50 ms':>12} {'InMemorySaver':>14}",
            flush=True,
        )
        # What the look at the counters adds to them.
        first, second = traffic(client), traffic(client)
        overhead = (second[0] - first[0], second[1] - first[1])
        async with savers(url, mark) as made:
            graphs = {name: graph(saver) for name, (saver, _) in made.items()}
            sent = {name: [0, 0] for name in made}
            times: dict[str, list[float]] = {name: [] for name in made}
            place = {"configurable": {"thread_id": mark}}
            for turn in range(1, max(lengths) + 1):
                question = HumanMessage(text(random.Random(-turn), 150), id=f"h{turn}")
                for name, compiled in graphs.items():
                    before = traffic(client)
                    begin = time.perf_counter()
                    await compiled.ainvoke({"messages": [question]}, place)
                    times[name].append((time.perf_counter() - begin) * 1000)
                    after = traffic(client)
                    for way in range(2):
                        sent[name][way] += after[way] - before[way] - overhead[way]
                if turn not in lengths:
                    continue
                base = statistics.median(times["InMemorySaver"][-WINDOW:])
                for name, (_, prefix) in made.items():
                    p50 = statistics.median(times[name][-WINDOW:])
                    row = {
                        "turns": turn,
                        "saver": name,
                        "memory_mb": memory(client, prefix) / 1e6,
                        "sent_mb": max(sent[name][0], 0) / 1e6,
                        "received_mb": max(sent[name][1], 0) / 1e6,
                        "turn_p50_ms": p50,
                        "of_memory_saver": p50 / base,
                    }
                    rows.append(row)
                    print(
                        f"{turn:>5} {name:<14} {row['memory_mb']:>10.2f} {row['sent_mb']:>9.2f} "
                        f"{row['received_mb']:>12.2f} {p50:>12.1f} {p50 / base:>13.2f}x",
                        flush=True,
                    )
    return rows


def draw(rows: list[dict[str, Any]], file: str) -> None:
    """Draw the memory of each saver by the length of the conversation."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    labels = {
        "python": "langgraph-checkpoint-redis",
        "json": "json layout",
        "compact": "compact layout",
    }
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, label in labels.items():
        points = [(row["turns"], row["memory_mb"]) for row in rows if row["saver"] == name]
        axes.plot(*zip(*points, strict=True), marker="o", label=label)
    axes.set_xlabel("turns of the conversation")
    axes.set_ylabel("memory in Redis, MB")
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Read the arguments and grow the conversations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default=os.environ.get("REDIS_URL"))
    parser.add_argument("--turns", type=int, nargs="+", default=[50, 100, 200, 400])
    parser.add_argument("--json", metavar="FILE", help="where to write the rows as well")
    parser.add_argument("--svg", metavar="FILE", help="where to draw the memory; takes matplotlib")
    arguments = parser.parse_args()
    if not arguments.url:
        parser.error("give the URL of a Redis, or set REDIS_URL")
    rows = asyncio.run(grow(arguments.url, sorted(arguments.turns)))
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(rows, file, indent=1)
    if arguments.svg:
        draw(rows, arguments.svg)


if __name__ == "__main__":
    main()
