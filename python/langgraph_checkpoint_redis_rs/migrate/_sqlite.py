"""Threads of langgraph-checkpoint-sqlite."""

from __future__ import annotations

import pathlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from ._source import Row, SourceCheckpoint, SourceError, package, read_whole

__all__ = ["SqliteSource"]

_PAGE = 1000
_DISTRIBUTION = "langgraph-checkpoint-sqlite"
_BUSY_SECONDS = 10
"""How long a locked database is waited for."""


class SqliteSource:
    """Reads a ``SqliteSaver``."""

    name = "sqlite"
    unavailable: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, saver: Any) -> None:
        self._saver = saver
        try:
            with saver.cursor(transaction=False) as cursor:
                columns = {row[1] for row in cursor.execute("PRAGMA table_info(writes)")}
        except sqlite3.Error as error:
            raise SourceError(f"the sqlite source cannot be read: {error}") from error
        if not columns:
            raise SourceError("the database has no tables of a SqliteSaver: name another file")
        # Databases of earlier versions have none, and their writes no path.
        self._task_path = "task_path" if "task_path" in columns else "''"
        if hasattr(saver, "_has_task_path"):
            saver._has_task_path = "task_path" in columns

    @classmethod
    @contextmanager
    def open(cls, path: str, serde: SerializerProtocol | None = None) -> Iterator[SqliteSource]:
        """Open a database's file, for reading only.

        Raises:
            SourceError: If there is no such file, or no checkpoints in it.
        """
        saver_class = package("langgraph.checkpoint.sqlite", _DISTRIBUTION).SqliteSaver
        file = pathlib.Path(path)
        if not file.is_file():
            raise SourceError("the source's URL names no file: for sqlite, give the file's path")
        address = f"{file.resolve().as_uri()}?mode=ro"
        try:
            connection = sqlite3.connect(
                address, uri=True, timeout=_BUSY_SECONDS, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise SourceError(f"the sqlite source cannot be opened: {error}") from error
        with closing(connection):
            saver = saver_class(connection, serde=serde)
            # Its setup would write to the database.
            saver.is_setup = True
            yield cls(saver)

    def _query(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._saver.cursor(transaction=False) as cursor:
            found: list[tuple[Any, ...]] = cursor.execute(query, values).fetchall()
        return found

    def threads(self) -> Iterator[str]:
        """The ids of all threads, a page at a time."""
        query = "SELECT DISTINCT thread_id FROM checkpoints{} ORDER BY thread_id LIMIT ?"
        page = self._query(query.format(""), _PAGE)
        while page:
            yield from (thread for (thread,) in page)
            page = self._query(query.format(" WHERE thread_id > ?"), page[-1][0], _PAGE)

    def checkpoints(self, thread_id: str) -> Iterator[tuple[str, str]]:
        """Namespace and id of each checkpoint of a thread; in a namespace, the oldest first."""
        query = (
            "SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = ?{} "
            "ORDER BY checkpoint_ns, checkpoint_id LIMIT ?"
        )
        page = self._query(query.format(""), thread_id, _PAGE)
        after = query.format(" AND (checkpoint_ns, checkpoint_id) > (?, ?)")
        while page:
            yield from ((space, identity) for space, identity in page)
            page = self._query(after, thread_id, *page[-1], _PAGE)

    def read(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str
    ) -> SourceCheckpoint | None:
        """Read a checkpoint; ``None`` if it is there no more."""
        place = thread_id, checkpoint_ns, checkpoint_id
        return read_whole(self._saver, place, self._rows, self.name)

    def _rows(self, place: tuple[str, str, str]) -> list[Row]:
        found = self._query(
            f"SELECT task_id, channel, {self._task_path}, idx FROM writes "
            "WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?",
            *place,
        )
        return [(task, channel, path, idx) for task, channel, path, idx in found]
