"""Spans and metrics of every call of a saver, by OpenTelemetry's conventions for database clients.

::

    from langgraph_checkpoint_redis_rs.opentelemetry import RedisSaverInstrumentor

    RedisSaverInstrumentor().instrument()

It needs ``pip install "langgraph-checkpoint-redis-rs[opentelemetry]"``. Without this module nothing
of OpenTelemetry is imported, and no call does more.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Mapping
from contextlib import aclosing, closing
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from types import TracebackType
from typing import Any

from opentelemetry import context, metrics, trace
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.semconv.attributes.db_attributes import (
    DB_NAMESPACE,
    DB_OPERATION_NAME,
    DB_SYSTEM_NAME,
)
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.exception_attributes import (
    EXCEPTION_STACKTRACE,
    EXCEPTION_TYPE,
)
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT
from opentelemetry.semconv.metrics.db_metrics import DB_CLIENT_OPERATION_DURATION

from ._saver import BaseRedisSaver
from ._server import Server
from ._sync import RedisSaver

__all__ = ["RedisSaverInstrumentor"]

_DISTRIBUTION = "langgraph-checkpoint-redis-rs"
_SCHEMA_URL = "https://opentelemetry.io/schemas/1.33.0"

_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
"""The seconds that the conventions advise."""

_THREAD_ID = "gen_ai.conversation.id"
"""What OpenTelemetry's conventions for generative AI call a thread."""

_CALLS = (
    "get_tuple",
    "get_delta_channel_history",
    "put",
    "put_writes",
    "delete_thread",
    "delete_for_runs",
    "copy_thread",
    "prune",
    "touch",
    "pin",
    "unpin",
)
_STREAMS = ("list", "threads")

_END = object()


class RedisSaverInstrumentor(BaseInstrumentor):
    """Instruments the savers of this package, those that exist and those to come.

    Each call is a span of the kind ``CLIENT``, a child of the caller's, and a duration in the
    histogram ``db.client.operation.duration``, from which errors are counted by ``error.type``. A
    span of ``list`` or ``threads`` ends when the iterator is exhausted or closed; its duration in
    the histogram is the time in which pages were awaited.

    The arguments of :meth:`instrument` are ``tracer_provider`` and ``meter_provider``, by default
    the global ones, and ``capture_thread_ids``: whether spans have ids of threads and messages of
    errors, which may name threads and keys. By default they have neither. Metrics never do.
    """

    _originals: Mapping[tuple[type, str], Any]

    def instrumentation_dependencies(self) -> Collection[str]:
        """Name no package: what is instrumented is this one."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        recorder = _Recorder(
            kwargs.get("tracer_provider"),
            kwargs.get("meter_provider"),
            kwargs.get("capture_thread_ids", False),
        )
        wrapped: dict[tuple[type, str], Any] = {
            (BaseRedisSaver, "asetup"): recorder.awaitable(BaseRedisSaver.asetup, "setup"),
            (RedisSaver, "setup"): recorder.blocking(RedisSaver.setup, "setup"),
        }
        for name in _CALLS:
            for method, wrap in ((name, recorder.blocking), (f"a{name}", recorder.awaitable)):
                wrapped[BaseRedisSaver, method] = wrap(getattr(BaseRedisSaver, method), name)
        for name in _STREAMS:
            for method, wrap in ((name, recorder.iterator), (f"a{name}", recorder.aiterator)):
                wrapped[BaseRedisSaver, method] = wrap(getattr(BaseRedisSaver, method), name)
        self._originals = {(cls, name): vars(cls)[name] for cls, name in wrapped}
        for (cls, name), method in wrapped.items():
            setattr(cls, name, method)

    def _uninstrument(self, **kwargs: Any) -> None:
        for (cls, name), method in self._originals.items():
            setattr(cls, name, method)
        self._originals = {}


class _Recorder:
    """Wraps methods so that their calls are recorded."""

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None,
        meter_provider: metrics.MeterProvider | None,
        capture_thread_ids: bool,
    ) -> None:
        if not isinstance(capture_thread_ids, bool):
            raise TypeError(
                f"capture_thread_ids must be a bool, not {type(capture_thread_ids).__name__}"
            )
        try:
            release = version(_DISTRIBUTION)
        except PackageNotFoundError:
            release = ""
        name = "langgraph_checkpoint_redis_rs"
        self.tracer = trace.get_tracer(name, release, tracer_provider, _SCHEMA_URL)
        self.durations = metrics.get_meter(
            name, release, meter_provider, _SCHEMA_URL
        ).create_histogram(
            DB_CLIENT_OPERATION_DURATION,
            unit="s",
            description="Duration of database client operations.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self.capture_thread_ids = capture_thread_ids

    def blocking(self, method: Callable[..., Any], operation: str) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapper(saver: BaseRedisSaver, *args: Any, **kwargs: Any) -> Any:
            if not is_instrumentation_enabled():
                return method(saver, *args, **kwargs)
            call = _Call(self, saver, operation, args, kwargs)
            try:
                with call:
                    result = method(saver, *args, **kwargs)
            except BaseException as error:
                call.end(error)
                raise
            call.end()
            return result

        return wrapper

    def awaitable(self, method: Callable[..., Any], operation: str) -> Callable[..., Any]:
        @functools.wraps(method)
        async def wrapper(saver: BaseRedisSaver, *args: Any, **kwargs: Any) -> Any:
            if not is_instrumentation_enabled():
                return await method(saver, *args, **kwargs)
            call = _Call(self, saver, operation, args, kwargs)
            try:
                with call:
                    result = await method(saver, *args, **kwargs)
            except BaseException as error:
                call.end(error)
                raise
            call.end()
            return result

        return wrapper

    def iterator(self, method: Callable[..., Any], operation: str) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapper(saver: BaseRedisSaver, *args: Any, **kwargs: Any) -> Any:
            if not is_instrumentation_enabled():
                return method(saver, *args, **kwargs)
            start = functools.partial(
                _Call, self, saver, operation, args, kwargs, context.get_current()
            )
            return _iterate(_opened(method, saver, args, kwargs, start), start)

        return wrapper

    def aiterator(self, method: Callable[..., Any], operation: str) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapper(saver: BaseRedisSaver, *args: Any, **kwargs: Any) -> Any:
            if not is_instrumentation_enabled():
                return method(saver, *args, **kwargs)
            start = functools.partial(
                _Call, self, saver, operation, args, kwargs, context.get_current()
            )
            return _aiterate(_opened(method, saver, args, kwargs, start), start)

        return wrapper


class _Call:
    """A call from its start to :meth:`end`; it is under way, and timed, where it is entered."""

    __slots__ = ("_attributes", "_recorder", "_seconds", "_since", "_span", "_token")

    def __init__(
        self,
        recorder: _Recorder,
        saver: BaseRedisSaver,
        operation: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        parent: context.Context | None = None,
    ) -> None:
        self._recorder = recorder
        self._attributes = _attributes(saver._server, operation)
        self._span = recorder.tracer.start_span(
            operation, parent, trace.SpanKind.CLIENT, self._attributes
        )
        if recorder.capture_thread_ids and self._span.is_recording():
            thread = _thread_id(args, kwargs)
            if thread is not None:
                self._span.set_attribute(_THREAD_ID, thread)
        self._seconds = 0.0

    def __enter__(self) -> None:
        self._token = context.attach(trace.set_span_in_context(self._span))
        self._since = perf_counter()

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._seconds += perf_counter() - self._since
        context.detach(self._token)

    def end(self, error: BaseException | None = None) -> None:
        """Record how long the call was under way, and what it failed with."""
        attributes = self._attributes
        if error is not None:
            name = _name(type(error))
            attributes = {**attributes, ERROR_TYPE: name}
            self._span.set_attribute(ERROR_TYPE, name)
            if self._recorder.capture_thread_ids:
                self._span.record_exception(error)
                self._span.set_status(trace.StatusCode.ERROR, str(error))
            else:
                # The lines of the source, without the message.
                stack = "".join(traceback.format_tb(error.__traceback__))
                event = {EXCEPTION_TYPE: name, EXCEPTION_STACKTRACE: stack}
                self._span.add_event("exception", event)
                self._span.set_status(trace.StatusCode.ERROR)
        self._recorder.durations.record(
            self._seconds, attributes, trace.set_span_in_context(self._span)
        )
        self._span.end()


def _opened(
    method: Callable[..., Any],
    saver: BaseRedisSaver,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    start: Callable[[], _Call],
) -> Any:
    """An iterator that has not begun; what is refused before it does is a call of its own."""
    try:
        return method(saver, *args, **kwargs)
    except BaseException as error:
        start().end(error)
        raise


def _iterate(
    items: Generator[Any, None, None], start: Callable[[], _Call]
) -> Generator[Any, None, None]:
    call = start()
    try:
        with closing(items):
            while True:
                with call:
                    item = next(items, _END)
                if item is _END:
                    break
                yield item
    except GeneratorExit:
        call.end()
        raise
    except BaseException as error:
        call.end(error)
        raise
    call.end()


async def _aiterate(
    items: AsyncGenerator[Any, None], start: Callable[[], _Call]
) -> AsyncGenerator[Any, None]:
    call = start()
    try:
        async with aclosing(items):
            while True:
                with call:
                    item = await anext(items, _END)
                if item is _END:
                    break
                yield item
    except GeneratorExit:
        call.end()
        raise
    except BaseException as error:
        call.end(error)
        raise
    call.end()


@functools.lru_cache(maxsize=1024)
def _attributes(server: Server, operation: str) -> Mapping[str, str | int]:
    attributes: dict[str, str | int] = {
        DB_SYSTEM_NAME: "redis",
        DB_NAMESPACE: server.database,
        DB_OPERATION_NAME: operation,
    }
    if server.address is not None:
        attributes[SERVER_ADDRESS] = server.address
    if server.port is not None:
        attributes[SERVER_PORT] = server.port
    return attributes


def _thread_id(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """The thread that a call is about: all take it, or a config that has it, first."""
    names = ("config", "thread_id", "source_thread_id")
    first = args[0] if args else next((kwargs[name] for name in names if name in kwargs), None)
    if isinstance(first, Mapping):
        configurable = first.get("configurable")
        first = configurable.get("thread_id") if isinstance(configurable, Mapping) else None
    return str(first) if first is not None and not isinstance(first, (list, tuple)) else None


def _name(error: type[BaseException]) -> str:
    """The name of an exception, as OpenTelemetry's SDK writes it."""
    module = error.__module__
    return error.__qualname__ if module == "builtins" else f"{module}.{error.__qualname__}"
