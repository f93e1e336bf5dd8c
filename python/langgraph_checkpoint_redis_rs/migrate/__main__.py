"""The command line of the migration."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import re
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from .._sync import RedisSaver
from ..errors import ConfigError
from ._copy import Report, migrate
from ._mongodb import MongoDBSource
from ._postgres import PostgresSource
from ._progress import Progress, plural
from ._redis import RedisSource
from ._secrets import redacted, url_of
from ._source import Source, SourceError
from ._sqlite import SqliteSource

__all__ = ["main"]

_FROM = ("LANGGRAPH_REDIS_FROM_URL",)
_TO = ("LANGGRAPH_REDIS_TO_URL", "LANGGRAPH_REDIS_URL", "REDIS_URL")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

_DESCRIPTION = """\
Copies threads from another checkpoint saver of LangGraph's to Redis, with their ids, namespaces,
metadata, parents and pending writes, then reads them back and compares both sides. The source is
only read. It may be interrupted and run again: what is there is passed over, what is half there is
completed, and nothing that is stored is replaced.
"""

_EPILOG = """\
URLs hold passwords, and other users of the machine can see arguments: prefer the environment or
files. Run it where the application's modules can be imported (from its directory, in its virtual
environment), because values of its classes are read and written.

exit codes:
  0    everything was copied, and both sides are equal
  1    failure
  2    invalid arguments or settings
  3    a thread that was named is not in the source
  4    both sides differ
  5    a server is unavailable: run it again
  7    some checkpoints cannot be read or stored
  130  interrupted by Ctrl-C: run it again

example:
  export LANGGRAPH_REDIS_FROM_URL=postgresql://user:password@db/app
  export LANGGRAPH_REDIS_URL=redis://:password@cache:6379
  python -m langgraph_checkpoint_redis_rs.migrate --from postgres --dry-run
  python -m langgraph_checkpoint_redis_rs.migrate --from postgres
"""


def _ttl(text: str) -> dt.timedelta:
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if match is None:
        raise argparse.ArgumentTypeError("write a number and a unit, for example 24h or 7d")
    return dt.timedelta(**{_UNITS[match[2]]: int(match[1])})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m langgraph_checkpoint_redis_rs.migrate",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "threads", nargs="*", metavar="THREAD", help="only these threads; default: all"
    )
    parser.add_argument(
        "--starting-with", default="", metavar="TEXT", help="only threads whose ids start with this"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="read both sides, say what would be copied, write nothing",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="no progress; problems and the result alone"
    )
    source = parser.add_argument_group("source")
    source.add_argument(
        "--from",
        dest="kind",
        required=True,
        choices=("postgres", "sqlite", "mongodb", "redis"),
        help="the saver that stored the threads; its package must be installed",
    )
    source.add_argument(
        "--from-url",
        metavar="URL",
        help=f"where it is, for sqlite a path; default: {_FROM[0]} of the environment",
    )
    source.add_argument("--from-url-file", metavar="FILE", help="a file whose content is that URL")
    source.add_argument(
        "--from-database", metavar="NAME", help="mongodb: the database; default: checkpointing_db"
    )
    source.add_argument(
        "--from-prefix", metavar="PREFIX", help="redis: read PREFIX:checkpoint and its writes"
    )
    source.add_argument(
        "--from-encrypted",
        action="store_true",
        help="read with EncryptedSerializer and the key in LANGGRAPH_AES_KEY",
    )
    target = parser.add_argument_group("target")
    target.add_argument(
        "--to-url", metavar="URL", help=f"the Redis; default: {', then '.join(_TO)}"
    )
    target.add_argument("--to-url-file", metavar="FILE", help="a file whose content is that URL")
    target.add_argument(
        "--to-prefix", metavar="PREFIX", help="store under PREFIX:checkpoint; default: checkpoint"
    )
    target.add_argument(
        "--to-encrypted",
        action="store_true",
        help="write with EncryptedSerializer and the key in LANGGRAPH_AES_KEY",
    )
    target.add_argument(
        "--layout", choices=("json", "compact"), default="json", help="default: json"
    )
    target.add_argument(
        "--hash-tag-threads",
        action="store_true",
        help="all keys of a thread go to one slot of a cluster",
    )
    target.add_argument(
        "--ttl", type=_ttl, metavar="TIME", help="how long threads are kept, such as 24h or 7d"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(arguments)
    progress = Progress(quiet=options.quiet)
    urls: list[str] = []
    try:
        from_url = url_of("--from-url", options.from_url, options.from_url_file, _FROM)
        urls.append(from_url)
        to_url = url_of("--to-url", options.to_url, options.to_url_file, _TO)
        urls.append(to_url)
        report = _run(options, from_url, to_url, progress)
    except KeyboardInterrupt:
        progress.say("interrupted: run it again to go on")
        return 130
    except Exception as error:
        text = redacted(" ".join(str(error).split()), *urls)
        again = getattr(error, "retryable", False)
        progress.say(f"{text}{'; run it again to go on' if again else ''}")
        return _code_of(error)
    progress.clear()
    _print(report, options.dry_run)
    return _code(report)


def _run(options: argparse.Namespace, from_url: str, to_url: str, progress: Progress) -> Report:
    if options.kind == "redis" and from_url == to_url and options.from_prefix == options.to_prefix:
        raise ConfigError("source and target are the same store: give another --to-prefix")
    for option, value, kind in (
        ("--from-database", options.from_database, "mongodb"),
        ("--from-prefix", options.from_prefix, "redis"),
    ):
        if value is not None and options.kind != kind:
            raise ConfigError(f"{option} is for --from {kind}: leave it out")
    with ExitStack() as stack:
        source = stack.enter_context(_source(options, from_url))
        target = stack.enter_context(_target(options, to_url))
        if not options.dry_run:
            target.setup()
        return migrate(
            source,
            target,
            thread_ids=options.threads or None,
            starting_with=options.starting_with,
            dry_run=options.dry_run,
            on_progress=progress.report,
            on_problem=progress.problem,
        )


def _source(options: argparse.Namespace, url: str) -> AbstractContextManager[Source]:
    serde = _encrypted("--from-encrypted") if options.from_encrypted else None
    if options.kind == "postgres":
        return PostgresSource.open(url, serde)
    if options.kind == "sqlite":
        return SqliteSource.open(url, serde)
    if options.kind == "mongodb":
        return MongoDBSource.open(url, options.from_database, serde)
    return RedisSource.open(url, options.from_prefix, serde)


def _target(options: argparse.Namespace, url: str) -> AbstractContextManager[RedisSaver]:
    prefix = f"{options.to_prefix}:" if options.to_prefix else ""
    return RedisSaver.from_conn_string(
        url,
        ttl=options.ttl,
        checkpoint_prefix=f"{prefix}checkpoint",
        checkpoint_write_prefix=f"{prefix}checkpoint_write",
        serde=_encrypted("--to-encrypted") if options.to_encrypted else None,
        hash_tag_threads=options.hash_tag_threads,
        layout=options.layout,
    )


def _encrypted(option: str) -> SerializerProtocol:
    if not os.environ.get("LANGGRAPH_AES_KEY"):
        raise ConfigError(f"{option} needs the key in LANGGRAPH_AES_KEY")
    return EncryptedSerializer.from_pycryptodome_aes()


def _print(report: Report, dry_run: bool) -> None:
    print(
        f"{'would copy' if dry_run else 'copied'} {plural(report.threads, 'thread')} with "
        f"{plural(report.checkpoints, 'checkpoint')} and {plural(report.writes, 'write')}; "
        f"{report.present} there already, {report.completed} completed"
    )
    print(f"source sha256 {report.source_digest}")
    if not dry_run:
        print(f"target sha256 {report.target_digest}")
    if report.problem_count:
        print(plural(report.problem_count, "problem"))


def _code(report: Report) -> int:
    kinds = {problem.kind for problem in report.problems}
    for kind, code in (("differs", 4), ("unreadable", 7), ("missing", 3)):
        if kind in kinds:
            return code
    return 0


def _code_of(error: Exception) -> int:
    if isinstance(error, (ConfigError, SourceError)) and not error.retryable:
        return 2
    return 5 if getattr(error, "retryable", False) else 1


if __name__ == "__main__":
    sys.exit(main())
