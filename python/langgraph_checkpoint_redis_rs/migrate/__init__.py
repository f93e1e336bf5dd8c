"""Moves threads from LangGraph's other savers to Redis.

On the command line, with the URLs in the environment or in files::

    python -m langgraph_checkpoint_redis_rs.migrate --from postgres

and in Python, where the savers may have serializers of their own::

    from langgraph_checkpoint_redis_rs import RedisSaver
    from langgraph_checkpoint_redis_rs.migrate import PostgresSource, migrate

    with RedisSaver("redis://localhost:6379") as target:
        report = migrate(PostgresSource(postgres_saver), target)
    assert report.equal, report.problems
"""

from __future__ import annotations

from ._copy import Problem, Report, migrate
from ._mongodb import MongoDBSource
from ._postgres import PostgresSource
from ._redis import RedisSource
from ._source import (
    MissingPackageError,
    Source,
    SourceCheckpoint,
    SourceError,
    SourceUnavailableError,
    Write,
)
from ._sqlite import SqliteSource

__all__ = [
    "MissingPackageError",
    "MongoDBSource",
    "PostgresSource",
    "Problem",
    "RedisSource",
    "Report",
    "Source",
    "SourceCheckpoint",
    "SourceError",
    "SourceUnavailableError",
    "SqliteSource",
    "Write",
    "migrate",
]
