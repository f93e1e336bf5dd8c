"""Every call of an instrumented saver is a span and a duration, and of another it is neither."""

from __future__ import annotations

import asyncio
import copy
import importlib.metadata
import pathlib
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple, TypedDict

import pytest
import redis
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from langgraph_checkpoint_redis_rs import AsyncRedisSaver, RedisSaver
from langgraph_checkpoint_redis_rs._saver import BaseRedisSaver
from langgraph_checkpoint_redis_rs._server import server_of
from langgraph_checkpoint_redis_rs.opentelemetry import RedisSaverInstrumentor

OPERATIONS = {
    "copy_thread",
    "delete_for_runs",
    "delete_thread",
    "get_delta_channel_history",
    "get_tuple",
    "list",
    "pin",
    "prune",
    "put",
    "put_writes",
    "setup",
    "threads",
    "touch",
    "unpin",
}


class Recorded(NamedTuple):
    """What was recorded, and by which providers."""

    tracers: TracerProvider
    meters: MeterProvider
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]

    def points(self) -> list[Any]:
        """The points of the only metric."""
        data = self.reader.get_metrics_data()
        metrics = [
            metric
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]
        assert {(metric.name, metric.unit) for metric in metrics} <= {
            ("db.client.operation.duration", "s")
        }
        return [point for metric in metrics for point in metric.data.data_points]

    def text(self) -> str:
        """All that was recorded, as it might be sent somewhere."""
        return "".join(span.to_json() for span in self.spans) + repr(self.points())


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    """Providers whose spans and metrics stay here."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    yield Recorded(tracers, meters, exporter, reader)
    tracers.shutdown()
    meters.shutdown()


@pytest.fixture
def instrumented(recorded: Recorded) -> Iterator[Recorded]:
    """The savers are instrumented as they are by default."""
    instrumentor = RedisSaverInstrumentor()
    instrumentor.instrument(tracer_provider=recorded.tracers, meter_provider=recorded.meters)
    yield recorded
    instrumentor.uninstrument()


@pytest.fixture
def with_thread_ids(recorded: Recorded) -> Iterator[Recorded]:
    """The savers are instrumented so that spans have the ids of threads."""
    instrumentor = RedisSaverInstrumentor()
    instrumentor.instrument(
        tracer_provider=recorded.tracers,
        meter_provider=recorded.meters,
        capture_thread_ids=True,
    )
    yield recorded
    instrumentor.uninstrument()


def _checkpoint(saver: BaseRedisSaver, config: Any) -> Any:
    return saver.put(config, empty_checkpoint(), {"source": "input", "step": -1}, {})


def _every_call(saver: RedisSaver, thread: str, config: Any) -> None:
    saver.setup()
    stored = _checkpoint(saver, config)
    saver.put_writes(stored, [("channel", 1)], "task")
    saver.get_tuple(config)
    saver.get_delta_channel_history(config=stored, channels=["channel"])
    list(saver.list(config))
    list(saver.threads(thread))
    saver.touch(thread)
    saver.pin(thread)
    saver.unpin(thread)
    saver.copy_thread(thread, f"{thread}-copy")
    saver.prune([thread])
    saver.delete_for_runs([str(uuid.uuid4())])
    saver.delete_thread(thread)


async def _every_acall(saver: AsyncRedisSaver, thread: str, config: Any) -> None:
    await saver.setup()
    stored = await saver.aput(config, empty_checkpoint(), {"source": "input", "step": -1}, {})
    await saver.aput_writes(stored, [("channel", 1)], "task")
    await saver.aget_tuple(config)
    await saver.aget_delta_channel_history(config=stored, channels=["channel"])
    assert [kept async for kept in saver.alist(config)]
    assert [summary async for summary in saver.athreads(thread)]
    await saver.atouch(thread)
    await saver.apin(thread)
    await saver.aunpin(thread)
    await saver.acopy_thread(thread, f"{thread}-copy")
    await saver.aprune([thread])
    await saver.adelete_for_runs([str(uuid.uuid4())])
    await saver.adelete_thread(thread)


@pytest.mark.parametrize("is_async", [False, True])
async def test_each_call_is_one_span_and_one_duration_by_the_conventions_for_databases(
    instrumented: Recorded, redis_url: str, thread: str, config: Any, is_async: bool
) -> None:
    if is_async:
        asaver = AsyncRedisSaver(redis_url)
        await _every_acall(asaver, thread, config)
        await asaver.aclose()
    else:
        saver = RedisSaver(redis_url)
        await asyncio.to_thread(_every_call, saver, thread, config)
        saver.close()

    assert sorted(instrumented.names) == sorted(OPERATIONS)
    host, _, port = redis_url.partition("://")[2].partition(":")
    for span in instrumented.spans:
        assert dict(span.attributes or {}) == {
            "db.system.name": "redis",
            "db.namespace": "0",
            "db.operation.name": span.name,
            "server.address": host,
            "server.port": int(port.partition("/")[0]),
        }
        assert span.kind is SpanKind.CLIENT
        assert span.status.status_code is StatusCode.UNSET
        assert not span.events
    points = instrumented.points()
    assert sorted(point.attributes["db.operation.name"] for point in points) == sorted(OPERATIONS)
    spans = {span.name: dict(span.attributes or {}) for span in instrumented.spans}
    for point in points:
        assert dict(point.attributes) == spans[point.attributes["db.operation.name"]]
        assert point.count == 1
        assert 0 < point.sum < 60
        assert list(point.explicit_bounds) == [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]


def test_a_call_is_a_child_of_the_callers_span(
    instrumented: Recorded, saver: RedisSaver, config: Any
) -> None:
    instrumented.exporter.clear()
    with instrumented.tracers.get_tracer("caller").start_as_current_span("caller") as caller:
        saver.get_tuple(config)
        assert trace.get_current_span() is caller
    (span, _) = instrumented.spans
    assert span.parent == caller.get_span_context()


class State(TypedDict, total=False):
    answer: str


def test_all_calls_of_a_graph_are_in_the_trace_of_its_caller(
    instrumented: Recorded, saver: RedisSaver, thread: str
) -> None:
    instrumented.exporter.clear()
    builder = StateGraph(State)
    builder.add_node("ask", lambda _: {"answer": interrupt("?")})
    builder.add_edge(START, "ask")
    graph = builder.compile(checkpointer=saver)
    run: Any = {"configurable": {"thread_id": thread}}
    with instrumented.tracers.get_tracer("caller").start_as_current_span("caller") as caller:
        graph.invoke({}, run)
        assert graph.invoke(Command(resume="yes"), run) == {"answer": "yes"}
    calls = [span for span in instrumented.spans if span.name != "caller"]
    assert {span.name for span in calls} >= {"get_tuple", "put", "put_writes"}
    assert all(span.parent == caller.get_span_context() for span in calls)


def test_the_span_of_a_list_ends_when_it_is_exhausted(
    instrumented: Recorded, saver: RedisSaver, config: Any
) -> None:
    for _ in range(3):
        _checkpoint(saver, config)
    instrumented.exporter.clear()
    items = saver.list(config)
    next(items)
    assert instrumented.names == []
    assert not trace.get_current_span().get_span_context().is_valid
    assert len(list(items)) == 2
    assert instrumented.names == ["list"]


def test_the_span_of_a_list_ends_when_it_is_closed_or_let_go(
    instrumented: Recorded, saver: RedisSaver, config: Any
) -> None:
    _checkpoint(saver, config)
    instrumented.exporter.clear()
    for kept in saver.list(config):
        assert kept
        break
    items: Any = saver.list(config)
    next(items)
    items.close()
    assert instrumented.names == ["list", "list"]
    assert {span.status.status_code for span in instrumented.spans} == {StatusCode.UNSET}


async def test_the_span_of_an_alist_ends_when_it_is_exhausted_or_closed(
    instrumented: Recorded, asaver: AsyncRedisSaver, config: Any
) -> None:
    for _ in range(3):
        await asaver.aput(config, empty_checkpoint(), {"source": "input", "step": -1}, {})
    instrumented.exporter.clear()
    with instrumented.tracers.get_tracer("caller").start_as_current_span("caller") as caller:
        items: Any = asaver.alist(config)
        await anext(items)
        assert trace.get_current_span() is caller
        assert instrumented.names == []
        await items.aclose()
        assert instrumented.names == ["list"]
        others = asaver.alist(config)
    # The parent is the span in which it was called, wherever it is iterated.
    assert len([kept async for kept in others]) == 3
    calls = [span for span in instrumented.spans if span.name == "list"]
    assert [span.parent for span in calls] == [caller.get_span_context()] * 2
    assert {span.status.status_code for span in calls} == {StatusCode.UNSET}


def test_a_list_that_nobody_reads_is_no_span(
    instrumented: Recorded, saver: RedisSaver, config: Any
) -> None:
    instrumented.exporter.clear()
    saver.list(config)
    assert instrumented.names == []


async def test_what_is_refused_is_an_error_by_its_class(
    instrumented: Recorded, saver: RedisSaver, config: Any
) -> None:
    instrumented.exporter.clear()
    wrong: Any = {"configurable": {}}
    with pytest.raises(ValueError):
        await saver.aget_tuple(wrong)
    with pytest.raises(TypeError):
        saver.list(config, limit="all")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        saver.alist(config, limit="all")  # type: ignore[arg-type]
    assert instrumented.names == ["get_tuple", "list", "list"]
    refused = "langgraph_checkpoint_redis_rs.errors.InvalidInputError"
    types = [span.attributes["error.type"] for span in instrumented.spans if span.attributes]
    assert types == [refused, "TypeError", "TypeError"]
    for span, name in zip(instrumented.spans, types, strict=True):
        assert span.status.status_code is StatusCode.ERROR
        (event,) = span.events
        assert event.name == "exception"
        assert (event.attributes or {})["exception.type"] == name
    errors = {
        (point.attributes["db.operation.name"], point.attributes["error.type"]): point.count
        for point in instrumented.points()
        if "error.type" in point.attributes
    }
    assert errors == {("get_tuple", refused): 1, ("list", "TypeError"): 2}


async def test_a_list_that_fails_on_its_way_is_an_error(
    instrumented: Recorded, redis_url: str, config: Any
) -> None:
    saver = AsyncRedisSaver(redis_url)
    for _ in range(2):
        await saver.aput(config, empty_checkpoint(), {"source": "input", "step": -1}, {})
    items = saver.alist(config)
    await saver.aclose()
    with pytest.raises(ConnectionError):
        await anext(items)
    span = instrumented.spans[-1]
    assert span.name == "list"
    assert (span.attributes or {})["error.type"] == (
        "langgraph_checkpoint_redis_rs.errors.ClosedError"
    )


async def test_a_cancelled_call_is_an_error_and_ends_its_span(
    instrumented: Recorded, config: Any
) -> None:
    connected = asyncio.Event()

    async def never_answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await asyncio.Event().wait()
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    saver = AsyncRedisSaver(f"redis://127.0.0.1:{port}", connect_timeout=1, command_timeout=1)
    task = asyncio.create_task(saver.aget_tuple(config))
    await connected.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (span,) = instrumented.spans
    assert (span.attributes or {})["error.type"] == "asyncio.exceptions.CancelledError"
    assert span.status.status_code is StatusCode.ERROR
    server.close()


def test_neither_passwords_nor_threads_are_recorded(
    instrumented: Recorded, redis_url: str, raw: Any, thread: str, config: Any
) -> None:
    with RedisSaver(redis_url) as saver:
        stored = _checkpoint(saver, config)
        saver.put_writes(stored, [("channel", 1)], "task")
        list(saver.list(config))
        # An error whose message names the thread.
        (key, *_) = raw.scan_iter(f"checkpoint:{thread}:*", count=1000)
        raw.delete(key)
        raw.set(key, "no document")
        with pytest.raises(Exception, match=thread):
            list(saver.list(config))
        raw.delete(key)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    url = f"redis://alice17:hunter2@127.0.0.1:{port}"
    away = RedisSaver(url, command_timeout=0.2, connect_timeout=0.2)
    with pytest.raises(OSError):
        away.get_tuple(config)
    assert {"put", "list", "get_tuple"} <= set(instrumented.names)
    text = instrumented.text()
    assert str(port) in text
    assert "hunter2" not in text
    assert "alice17" not in text
    assert thread not in text


def test_thread_ids_are_recorded_on_spans_alone_and_if_asked_for(
    with_thread_ids: Recorded, saver: RedisSaver, thread: str, config: Any
) -> None:
    with_thread_ids.exporter.clear()
    stored = _checkpoint(saver, config)
    saver.get_tuple(config)
    saver.put_writes(config=stored, writes=[("channel", 1)], task_id="task")
    list(saver.list(config))
    list(saver.list(None, limit=1))
    saver.touch(thread)
    saver.copy_thread(source_thread_id=thread, target_thread_id=f"{thread}-copy")
    with pytest.raises(TypeError, match="limit"):
        saver.list(config, limit="all")  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        saver.get_tuple({"configurable": {}})
    ids = [(span.attributes or {}).get("gen_ai.conversation.id") for span in with_thread_ids.spans]
    assert ids == [thread, thread, thread, thread, None, thread, thread, thread, None]
    assert "limit must be an int" in with_thread_ids.text()
    assert thread not in repr(with_thread_ids.points())


def test_nothing_is_recorded_where_instrumentation_is_suppressed(
    instrumented: Recorded, saver: RedisSaver, config: Any
) -> None:
    instrumented.exporter.clear()
    with suppress_instrumentation():
        saver.get_tuple(config)
        list(saver.list(config))
    assert instrumented.names == []


def test_without_instrumentation_the_methods_are_the_very_same_objects(
    recorded: Recorded, saver: RedisSaver, config: Any
) -> None:
    def methods() -> dict[tuple[type, str], Any]:
        classes = (BaseRedisSaver, RedisSaver, AsyncRedisSaver)
        return {(cls, name): method for cls in classes for name, method in vars(cls).items()}

    before = methods()
    instrumentor = RedisSaverInstrumentor()
    for _ in range(2):
        instrumentor.instrument(tracer_provider=recorded.tracers, meter_provider=recorded.meters)
        saver.get_tuple(config)
        during = methods()
        instrumentor.uninstrument()
        saver.get_tuple(config)
        after = methods()
        assert after.keys() == before.keys()
        assert all(after[place] is before[place] for place in before)
    assert recorded.names == ["get_tuple", "get_tuple"]

    # Everything that asks Redis is instrumented, once.
    changed = {place for place in before if during[place] is not before[place]}
    public = {place for place, found in before.items() if place[1][0] != "_" and callable(found)}
    asks_nothing = {"get_next_version", "close", "aclose", "scoped"}
    assert {place for place in public if place[1] not in asks_nothing} - changed == {
        # It awaits `asetup`.
        (AsyncRedisSaver, "setup")
    }
    assert changed <= public


def test_the_package_imports_nothing_of_opentelemetry() -> None:
    script = (
        "import sys, langgraph.graph\n"
        "before = set(sys.modules)\n"
        "import langgraph_checkpoint_redis_rs\n"
        "print([name for name in set(sys.modules) - before if 'opentelemetry' in name])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_opentelemetry_instrument_finds_the_package() -> None:
    distribution = importlib.metadata.distribution("langgraph-checkpoint-redis-rs")
    (entry,) = distribution.entry_points.select(group="opentelemetry_instrumentor")
    assert entry.load() is RedisSaverInstrumentor
    script = (
        "from langgraph_checkpoint_redis_rs.opentelemetry import RedisSaverInstrumentor\n"
        "print(RedisSaverInstrumentor().is_instrumented_by_opentelemetry)\n"
    )
    program = pathlib.Path(sys.executable).with_name("opentelemetry-instrument")
    done = subprocess.run(
        [program, sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip().endswith("True"), done.stderr


@pytest.mark.parametrize("wrong", ["false", 1, None])
def test_a_setting_about_ids_that_is_no_bool_is_refused_and_changes_nothing(wrong: Any) -> None:
    before = BaseRedisSaver.put
    with pytest.raises(TypeError, match="capture_thread_ids must be a bool"):
        RedisSaverInstrumentor().instrument(capture_thread_ids=wrong)
    assert BaseRedisSaver.put is before
    assert not RedisSaverInstrumentor().is_instrumented_by_opentelemetry


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("redis://localhost", ("localhost", 6379, "0")),
        ("redis://user:hunter2@example.org:7000/3", ("example.org", 7000, "3")),
        ("rediss://:hunter2@[::1]:7000", ("::1", 7000, "0")),
        ("redis://[::1]", ("::1", 6379, "0")),
        ("redis-cluster://:hunter2@one:7000,two:7001?node=three:7002", ("one", 7000, "0")),
        ("redis+unix:///run/redis.sock?db=2", ("/run/redis.sock", None, "2")),
        ("redis+sentinel://:hunter2@one:26379,two:26379/name/4", (None, None, "4")),
        ("redis-sentinel://:hunter2@one:26379/1?sentinelServiceName=n", (None, None, "1")),
    ],
)
def test_a_server_is_named_by_its_url_without_credentials(
    url: str, server: tuple[str | None, int | None, str]
) -> None:
    assert server_of(url) == server


def test_a_copy_of_a_saver_and_one_by_a_client_name_the_server() -> None:
    with redis.Redis("example.org", 7000, 3, password="hunter2") as client:
        saver = RedisSaver(redis_client=client)
        assert copy.copy(saver)._server == saver._server == ("example.org", 7000, "3")
