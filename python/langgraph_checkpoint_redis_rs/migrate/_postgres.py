"""Threads of langgraph-checkpoint-postgres."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from ._source import Row, SourceCheckpoint, SourceError, SourceUnavailableError, package, read_whole

__all__ = ["PostgresSource"]

_PAGE = 1000
_DISTRIBUTION = "langgraph-checkpoint-postgres"
_LIMITS = {"connect_timeout": "10", "tcp_user_timeout": "60000"}
"""libpq's, unless the URL has its own: seconds to connect, milliseconds for an answer's packets."""
_STATEMENT_TIMEOUT = "60s"


class PostgresSource:
    """Reads a ``PostgresSaver``, on one connection or a pool."""

    name = "postgres"

    def __init__(self, saver: Any) -> None:
        psycopg = package("psycopg", _DISTRIBUTION)
        self._saver = saver
        self.unavailable: tuple[type[Exception], ...] = (psycopg.Error,)

    @classmethod
    @contextmanager
    def open(cls, url: str, serde: SerializerProtocol | None = None) -> Iterator[PostgresSource]:
        """Connect, for reading only.

        Raises:
            SourceError: If the database cannot be reached, or holds no checkpoints.
        """
        saver_class = package("langgraph.checkpoint.postgres", _DISTRIBUTION).PostgresSaver
        psycopg = package("psycopg", _DISTRIBUTION)
        rows = package("psycopg.rows", _DISTRIBUTION)
        try:
            # psycopg's own message quotes the text, and so the password.
            wanted = _LIMITS | psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.Error:
            raise SourceError(
                "the source's URL is none of PostgreSQL's: write "
                "postgresql://user:password@host:port/database, special characters "
                "percent-encoded"
            ) from None
        try:
            connection = psycopg.Connection.connect(
                autocommit=True, prepare_threshold=None, row_factory=rows.dict_row, **wanted
            )
        except psycopg.Error as error:
            raise SourceUnavailableError(
                f"the postgres source cannot be reached: {error}"
            ) from error
        with closing(connection):
            source = cls(saver_class(connection, serde=serde))
            source._begin(connection, psycopg)
            yield source

    def _begin(self, connection: Any, psycopg: Any) -> None:
        try:
            connection.execute("SET default_transaction_read_only = on")
            connection.execute(f"SET statement_timeout = '{_STATEMENT_TIMEOUT}'")
            self._query("SELECT task_path FROM checkpoint_writes LIMIT 1")
            shallow = not self._query(
                "SELECT FROM pg_attribute WHERE attrelid = 'checkpoints'::regclass "
                "AND attname = 'checkpoint_id'"
            )
        except psycopg.errors.UndefinedTable:
            raise SourceError(
                "the database has no tables of a PostgresSaver: name another one, or set "
                "search_path in the URL's options"
            ) from None
        except psycopg.errors.UndefinedColumn:
            raise SourceError(
                "the tables are of an older langgraph-checkpoint-postgres: call setup() of the "
                "installed one's PostgresSaver once, which migrates them"
            ) from None
        except psycopg.Error as error:
            raise SourceUnavailableError(f"the postgres source cannot be read: {error}") from error
        if shallow:
            raise SourceError(
                "the tables are of a ShallowPostgresSaver, whose checkpoints have no ids of their "
                "own: they cannot be copied"
            )

    def _query(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with self._saver._cursor() as cursor:
            found: list[dict[str, Any]] = cursor.execute(query, values).fetchall()
        return found

    def threads(self) -> Iterator[str]:
        """The ids of all threads, a page at a time."""
        query = "SELECT DISTINCT thread_id FROM checkpoints{} ORDER BY thread_id LIMIT %s"
        page = self._query(query.format(""), _PAGE)
        while page:
            yield from (row["thread_id"] for row in page)
            last = page[-1]["thread_id"]
            page = self._query(query.format(" WHERE thread_id > %s"), last, _PAGE)

    def checkpoints(self, thread_id: str) -> Iterator[tuple[str, str]]:
        """Namespace and id of each checkpoint of a thread; in a namespace, the oldest first."""
        query = (
            "SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = %s{} "
            "ORDER BY checkpoint_ns, checkpoint_id LIMIT %s"
        )
        page = self._query(query.format(""), thread_id, _PAGE)
        after = query.format(" AND (checkpoint_ns, checkpoint_id) > (%s, %s)")
        while page:
            for row in page:
                yield row["checkpoint_ns"], row["checkpoint_id"]
            last = page[-1]
            page = self._query(
                after, thread_id, last["checkpoint_ns"], last["checkpoint_id"], _PAGE
            )

    def read(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str
    ) -> SourceCheckpoint | None:
        """Read a checkpoint; ``None`` if it is there no more."""
        place = thread_id, checkpoint_ns, checkpoint_id
        return read_whole(self._saver, place, self._rows, self.name)

    def _rows(self, place: tuple[str, str, str]) -> list[Row]:
        found = self._query(
            "SELECT task_id, channel, task_path, idx FROM checkpoint_writes "
            "WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s",
            *place,
        )
        return [(row["task_id"], row["channel"], row["task_path"], row["idx"]) for row in found]
