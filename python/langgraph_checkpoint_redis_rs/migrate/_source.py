"""What threads are copied from: another saver, read through its own package."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from langgraph.checkpoint.base import CheckpointTuple, writes_sort_key
from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener

from .._allow import find_class
from ..errors import RedisSaverError

__all__ = [
    "MissingPackageError",
    "Source",
    "SourceCheckpoint",
    "SourceError",
    "SourceUnavailableError",
    "Write",
    "noticing_plain_data",
    "package",
    "paired",
    "quoted",
    "read_whole",
]

_ATTEMPTS = 5
"""How often a checkpoint is read whose writes change meanwhile."""


class SourceError(RedisSaverError, RuntimeError):
    """The source cannot be read."""


class SourceUnavailableError(SourceError):
    """The source cannot be reached, or failed while it was read; a later run goes on."""

    retryable = True


class MissingPackageError(SourceError, ImportError):
    """The package of the other saver is not installed."""


class Write(NamedTuple):
    """A pending write, with what LangGraph's tuples do not tell of it."""

    task_id: str
    task_path: str
    idx: int
    """The position in its call; negative for special channels, as in ``WRITES_IDX_MAP``."""
    channel: str
    value: Any


class SourceCheckpoint(NamedTuple):
    """A checkpoint as the other saver gives it, and its writes in LangGraph's order."""

    tuple: CheckpointTuple
    writes: list[Write]


class Source(Protocol):
    """A saver that threads are copied from. Nothing in it is changed."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    @property
    def unavailable(self) -> tuple[type[Exception], ...]:
        """The driver's exceptions for a source that cannot serve, whatever is asked."""

    def threads(self) -> Iterator[str]:
        """The ids of all threads, a page at a time."""

    def checkpoints(self, thread_id: str) -> Iterator[tuple[str, str]]:
        """Namespace and id of each checkpoint of a thread; in a namespace, the oldest first."""

    def read(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str
    ) -> SourceCheckpoint | None:
        """Read a checkpoint; ``None`` if it is there no more."""


Row = tuple[str, str, str, int]
"""What is stored of a write beside its value: task id, channel, task path, position."""


def paired(writes: Sequence[tuple[str, str, Any]], rows: Sequence[Row]) -> list[Write] | None:
    """Join the writes of a tuple with their rows; ``None`` if they are not of one time."""
    rows = sorted(rows, key=lambda row: writes_sort_key(row[2], row[0], row[3]))
    if [write[:2] for write in writes] != [row[:2] for row in rows]:
        return None
    return [
        Write(task, path, idx, channel, value)
        for (task, channel, value), (_, _, path, idx) in zip(writes, rows, strict=True)
    ]


def read_whole(
    saver: Any, place: tuple[str, str, str], rows: Any, name: str
) -> SourceCheckpoint | None:
    """Read a checkpoint and, by ``rows``, what is stored of its writes beside their values.

    Raises:
        SourceError: If it is written to all the while.
    """
    thread, space, identity = place
    config = {
        "configurable": {"thread_id": thread, "checkpoint_ns": space, "checkpoint_id": identity}
    }
    for _ in range(_ATTEMPTS):
        found: CheckpointTuple | None = saver.get_tuple(config)
        if found is None:
            return None
        writes = paired(found.pending_writes or [], rows(place))
        if writes is not None:
            return SourceCheckpoint(found, writes)
    raise SourceError(f"the {name} source writes to this checkpoint all the while: run again later")


def package(module: str, distribution: str) -> Any:
    """Import a module of another saver's package.

    Raises:
        MissingPackageError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = error.name or module
        hint = f" ({missing} is missing)" if not module.startswith(missing) else ""
        raise MissingPackageError(
            f"{distribution} is not installed{hint}: run pip install {distribution}"
        ) from error


@contextmanager
def noticing_plain_data() -> Iterator[list[str]]:
    """Note the classes whose values LangGraph's serializer reads as plain data meanwhile.

    It does so for a class that cannot be imported here, and for one that
    ``LANGGRAPH_STRICT_MSGPACK`` blocks; copied, the values would be plain data for good.
    """
    noted: list[str] = []

    def listen(event: SerdeEvent) -> None:
        module, name = event["module"], event["name"]
        if event["kind"] == "msgpack_unregistered_allowed" and find_class(module, name):
            return
        if (text := f"{module}.{name}") not in noted:
            noted.append(text)

    unregister = register_serde_event_listener(listen)
    try:
        yield noted
    finally:
        unregister()


def quoted(text: str) -> str:
    """An id for people: as it is, or as JSON text if that would be ambiguous."""
    plain = text.isprintable() and text and not text.startswith('"') and " " not in text
    return text if plain else json.dumps(text, ensure_ascii=False)
