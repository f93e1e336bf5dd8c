"""What moving in costs: threads from SQLite and, with ``--postgres URL``, from Postgres.

Run ``python benches/migrate.py [redis-url]``; the default is ``REDIS_URL``. A graph leaves
``--threads`` threads in the source, half of which wait for a human. They are copied, copied again
(which finds that all is there), and one that waits is answered on both sides. All work goes under a
prefix, a file and a schema of its own, which are removed at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import operator
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from typing import Annotated, Any

import psycopg
import redis
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from langgraph_checkpoint_redis_rs import RedisSaver
from langgraph_checkpoint_redis_rs.migrate import PostgresSource, Report, SqliteSource, migrate


class State(TypedDict, total=False):
    """The state of a conversation."""

    messages: Annotated[list[AnyMessage], add_messages]
    answers: Annotated[list[str], operator.add]


def think(state: State) -> Any:
    """Answer in about 500 characters."""
    return {"messages": [AIMessage(f"answer {len(state['messages'])} " * 50)]}


def ask(state: State) -> Any:
    """Ask a human."""
    return {"answers": [interrupt("go on?")]}


def graph_on(saver: BaseCheckpointSaver[Any]) -> Any:
    """A graph that answers and asks."""
    graph = StateGraph(State)
    graph.add_node("think", think)
    graph.add_node("ask", ask)
    graph.add_edge(START, "think")
    graph.add_edge("think", "ask")
    return graph.compile(checkpointer=saver)


def config_of(number: int) -> Any:
    """The config of a thread."""
    return {"configurable": {"thread_id": f"thread-{number:06}"}}


def fill(saver: BaseCheckpointSaver[Any], threads: int) -> None:
    """Leave threads, of which every second waits for an answer."""
    graph = graph_on(saver)
    for number in range(threads):
        question = HumanMessage(f"question {number} " * 10)
        graph.invoke({"messages": [question]}, config_of(number))
        if number % 2:
            graph.invoke(Command(resume="yes"), config_of(number))


@contextlib.contextmanager
def sqlite() -> Iterator[tuple[Any, str]]:
    """A saver on a file of its own that does not wait for the disk, and its path."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/checkpoints.db"
        with SqliteSaver.from_conn_string(path) as saver:
            saver.setup()
            saver.conn.execute("PRAGMA synchronous=OFF")
            yield saver, path


@contextlib.contextmanager
def postgres(url: str) -> Iterator[tuple[Any, str]]:
    """A saver on a schema of its own, and its URL."""
    schema = f"bench{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        try:
            own = f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{schema}"
            with PostgresSaver.from_conn_string(own) as saver:
                saver.setup()
                yield saver, own
        finally:
            connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


@contextlib.contextmanager
def target_of(url: str, layout: str) -> Iterator[RedisSaver]:
    """A saver under prefixes of its own."""
    mark = f"bench{uuid.uuid4().hex[:12]}"
    try:
        with RedisSaver(
            url,
            checkpoint_prefix=f"{mark}:checkpoint",
            checkpoint_write_prefix=f"{mark}:checkpoint_write",
            layout=layout,
        ) as saver:
            yield saver
    finally:
        with redis.Redis.from_url(url) as client:
            for index in (f"{mark}:checkpoint", f"{mark}:checkpoint_write"):
                with contextlib.suppress(redis.ResponseError):
                    client.execute_command("FT.DROPINDEX", index)
            for key in client.scan_iter(f"*{mark}*", count=1000):
                client.delete(key)


def timed(source: Any, target: RedisSaver, name: str) -> Report:
    """Copy, and say what it took."""
    start = time.monotonic()
    report = migrate(source, target)
    seconds = time.monotonic() - start
    print(
        f"{name:28} {report.threads} threads, {report.checkpoints} checkpoints and "
        f"{report.writes} writes copied, {report.present} there already, {seconds:.1f} s, "
        f"digests {'equal' if report.equal else 'DIFFER'}"
    )
    if not report.equal:
        raise SystemExit("\n".join(map(str, report.problems[:20])))
    return report


def measure(name: str, opened: Any, saver: Any, url: str, layout: str) -> None:
    """Copy twice, and answer a thread that waits on both sides."""
    with opened as source, target_of(url, layout) as target:
        first = timed(source, target, f"{name} to {layout}")
        timed(source, target, f"{name} to {layout}, again")
        print(f"{'':28} sha256 {first.source_digest} = {first.target_digest}")
        ours = graph_on(target).invoke(Command(resume="at last"), config_of(0))
    theirs = graph_on(saver).get_state(config_of(0))
    if not theirs.interrupts or ours["answers"] != ["at last"]:
        raise SystemExit("the thread that waits did not go on")
    print(f"{'':28} {config_of(0)['configurable']['thread_id']} went on: {ours['answers']}")


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("redis_url", nargs="?", default=os.environ.get("REDIS_URL"))
    parser.add_argument("--postgres", metavar="URL", help="a database of PostgreSQL")
    parser.add_argument("--threads", type=int, default=1000)
    options = parser.parse_args()
    if not options.redis_url:
        parser.error("name a Redis, or set REDIS_URL")
    places: list[tuple[str, Any, Any]] = [("sqlite", sqlite(), SqliteSource)]
    if options.postgres:
        places.append(("postgres", postgres(options.postgres), PostgresSource))
    for name, place, source in places:
        with place as (saver, address):
            start = time.monotonic()
            fill(saver, options.threads)
            print(f"{name:28} {options.threads} threads made, {time.monotonic() - start:.1f} s")
            for layout in ("json", "compact"):
                measure(name, source.open(address), saver, options.redis_url, layout)


if __name__ == "__main__":
    main()
