"""Threads of langgraph-checkpoint-mongodb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from langgraph.checkpoint.base import writes_sort_key
from langgraph.checkpoint.serde.base import SerializerProtocol

from ._source import SourceCheckpoint, SourceError, SourceUnavailableError, Write, package

__all__ = ["MongoDBSource"]

_DISTRIBUTION = "langgraph-checkpoint-mongodb"
_DATABASE = "checkpointing_db"
"""The default of MongoDBSaver."""
_LIMITS = {
    "serverSelectionTimeoutMS": 10_000,
    "connectTimeoutMS": 10_000,
    "socketTimeoutMS": 60_000,
}


class MongoDBSource:
    """Reads a ``MongoDBSaver``."""

    name = "mongodb"

    def __init__(self, saver: Any) -> None:
        errors = package("pymongo.errors", _DISTRIBUTION)
        self._saver = saver
        self._checkpoints = saver.checkpoint_collection
        self._writes = saver.writes_collection
        self.unavailable: tuple[type[Exception], ...] = (errors.PyMongoError,)

    @classmethod
    @contextmanager
    def open(
        cls, url: str, database: str | None = None, serde: SerializerProtocol | None = None
    ) -> Iterator[MongoDBSource]:
        """Connect to a database, by default that of ``MongoDBSaver``.

        Raises:
            SourceError: If there are no checkpoints in it.
        """
        saver_class = package("langgraph.checkpoint.mongodb", _DISTRIBUTION).MongoDBSaver
        pymongo = package("pymongo", _DISTRIBUTION)
        errors = package("pymongo.errors", _DISTRIBUTION)
        try:
            client = pymongo.MongoClient(url, **_LIMITS)
        except (errors.PyMongoError, ValueError, TypeError):
            # The messages quote parts of the URL.
            raise SourceError(
                "the source's URL is none of MongoDB's: write "
                "mongodb://user:password@host:port, special characters percent-encoded"
            ) from None
        with closing(client):
            name = database or _DATABASE
            try:
                collections = client[name].list_collection_names()
            except errors.PyMongoError as error:
                raise SourceUnavailableError(
                    f"the mongodb source cannot be reached: {error}"
                ) from error
            # The saver would make the collections and their indexes.
            if "checkpoints" not in collections:
                raise SourceError(
                    f"the database {name} has no collections of a MongoDBSaver: name another one"
                )
            yield cls(saver_class(client, db_name=name, serde=serde))

    def threads(self) -> Iterator[str]:
        """The ids of all threads, each found by the index."""
        wanted: dict[str, Any] = {}
        while True:
            found = self._checkpoints.find_one(
                wanted, {"_id": 0, "thread_id": 1}, sort=[("thread_id", 1)]
            )
            if found is None:
                return
            yield found["thread_id"]
            wanted = {"thread_id": {"$gt": found["thread_id"]}}

    def checkpoints(self, thread_id: str) -> Iterator[tuple[str, str]]:
        """Namespace and id of each checkpoint of a thread; in a namespace, the oldest first."""
        # The index of the saver, backwards.
        order = [("thread_id", -1), ("checkpoint_ns", -1), ("checkpoint_id", 1)]
        fields = {"_id": 0, "checkpoint_ns": 1, "checkpoint_id": 1}
        for found in self._checkpoints.find({"thread_id": thread_id}, fields, sort=order):
            yield found["checkpoint_ns"], found["checkpoint_id"]

    def read(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str
    ) -> SourceCheckpoint | None:
        """Read a checkpoint; ``None`` if it is there no more."""
        place = {
            "thread_id": thread_id,
            "checkpoint_ns": checkpoint_ns,
            "checkpoint_id": checkpoint_id,
        }
        found = self._saver.get_tuple({"configurable": place})
        if found is None:
            return None
        # MongoDBSaver does not order them, so they are read here once more.
        load = self._saver.serde.loads_typed
        writes = [
            Write(
                write["task_id"],
                write.get("task_path", ""),
                write["idx"],
                write["channel"],
                load((write["type"], write["value"])),
            )
            for write in self._writes.find(place)
        ]
        writes.sort(key=lambda write: writes_sort_key(write.task_path, write.task_id, write.idx))
        return SourceCheckpoint(found, writes)
