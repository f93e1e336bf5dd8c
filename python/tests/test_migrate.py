"""Threads that move in from other savers are the same here, and go on."""

from __future__ import annotations

import contextlib
import enum
import hashlib
import io
import json
import os
import pathlib
import socket
import sqlite3
import subprocess
import sys
import types
import uuid
from collections.abc import Iterator
from typing import Any

import migrate_graphs as graphs
import psycopg
import pytest
import redis
from compare import difference
from langgraph.checkpoint.base import WRITES_IDX_MAP, BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.postgres import PostgresSaver, ShallowPostgresSaver
from langgraph.checkpoint.redis import RedisSaver as PythonSaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from langgraph_checkpoint_redis_rs import RedisSaver
from langgraph_checkpoint_redis_rs.migrate import (
    PostgresSource,
    Problem,
    Report,
    SourceError,
    SqliteSource,
    Write,
    migrate,
)
from langgraph_checkpoint_redis_rs.migrate.__main__ import main
from langgraph_checkpoint_redis_rs.migrate._copy import _text_of, calls_of
from langgraph_checkpoint_redis_rs.migrate._digest import digest_of
from langgraph_checkpoint_redis_rs.migrate._progress import Progress
from langgraph_checkpoint_redis_rs.migrate._secrets import redacted

SECRET = "hunter2/x@y"


class Place:
    """A source and a target that no one else has."""

    def __init__(self, kind: str, url: str, saver: Any, mark: str, redis_url: str) -> None:
        self.kind, self.url, self.saver = kind, url, saver
        self.mark, self.redis_url = mark, redis_url

    def arguments(self, *more: str) -> list[str]:
        given = ["--from", self.kind, "--to-prefix", f"{self.mark}to", *more]
        option = {"redis": "--from-prefix", "mongodb": "--from-database"}.get(self.kind)
        return [*given, option, self.mark] if option else given

    def target(self, layout: str = "json", **options: Any) -> RedisSaver:
        return RedisSaver(
            self.redis_url,
            checkpoint_prefix=f"{self.mark}to:checkpoint",
            checkpoint_write_prefix=f"{self.mark}to:checkpoint_write",
            layout=layout,
            **options,
        )

    def witness(self) -> Any:
        """What reads the source in the tests: the Python saver's own reader changes types."""
        if self.kind != "redis":
            return self.saver
        prefixes = {f"{name}_prefix": f"{self.mark}:{name}" for name in KINDS}
        return RedisSaver(self.redis_url, **prefixes)  # type: ignore[arg-type]

    def keys(self, client: redis.Redis) -> list[bytes]:
        return sorted(client.scan_iter(f"{self.mark}to:*", count=1000))

    def checkpoint_key(self, client: redis.Redis, thread: str, identity: str) -> bytes:
        return next(
            key
            for key in self.keys(client)
            if key.startswith(f"{self.mark}to:checkpoint:{thread}:".encode())
            and key.endswith(identity.encode())
        )


@pytest.fixture
def mark(redis_url: str) -> Iterator[str]:
    """A prefix and a part of thread ids that no one else has, gone after the test."""
    name = f"moving{uuid.uuid4().hex[:12]}"
    yield name
    with redis.Redis.from_url(redis_url) as client:
        for index in (f"{name}{to}:{kind}" for to in ("", "to") for kind in KINDS):
            with contextlib.suppress(redis.ResponseError):
                client.execute_command("FT.DROPINDEX", index)
        for key in client.scan_iter(f"*{name}*", count=1000):
            client.delete(key)


KINDS = ("checkpoint", "checkpoint_write")


@pytest.fixture
def database(postgres: str, mark: str) -> str:
    """The URL of a schema of its own."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{mark}"')
    return f"{postgres}&options=-csearch_path%3D{mark}"


MONGODB_URL = os.environ.get("MONGODB_URL")
NO_MONGODB = pytest.mark.skipif(MONGODB_URL is None, reason="MONGODB_URL names no server")


@pytest.fixture(params=["sqlite", "postgres", "redis", pytest.param("mongodb", marks=NO_MONGODB)])
def place(request: Any, mark: str, redis_url: str, monkeypatch: Any) -> Iterator[Place]:
    """Each kind of source, with the URLs in the environment."""
    kind = request.param
    with contextlib.ExitStack() as stack:
        if kind == "sqlite":
            url = str(request.getfixturevalue("tmp_path") / "checkpoints.db")
            saver = stack.enter_context(fast_sqlite(url))
        elif kind == "postgres":
            url = request.getfixturevalue("database")
            saver = stack.enter_context(PostgresSaver.from_conn_string(url))
            saver.setup()
        elif kind == "mongodb":
            mongodb = pytest.importorskip("langgraph.checkpoint.mongodb")
            url = str(MONGODB_URL)
            saver = stack.enter_context(mongodb.MongoDBSaver.from_conn_string(url, mark))
            stack.callback(saver.client.drop_database, mark)
        else:
            url = redis_url
            prefixes = {f"{name}_prefix": f"{mark}:{name}" for name in KINDS}
            saver = stack.enter_context(PythonSaver.from_conn_string(url, **prefixes))
            saver.setup()
        monkeypatch.setenv("LANGGRAPH_REDIS_FROM_URL", url)
        monkeypatch.setenv("LANGGRAPH_REDIS_URL", redis_url)
        yield Place(kind, url, saver, mark, redis_url)


@pytest.fixture
def sqlite(request: Any, mark: str, redis_url: str, monkeypatch: Any) -> Iterator[Place]:
    """The source that is made fastest."""
    url = str(request.getfixturevalue("tmp_path") / "checkpoints.db")
    monkeypatch.setenv("LANGGRAPH_REDIS_FROM_URL", url)
    monkeypatch.setenv("LANGGRAPH_REDIS_URL", redis_url)
    with fast_sqlite(url) as saver:
        yield Place("sqlite", url, saver, mark, redis_url)


@contextlib.contextmanager
def fast_sqlite(path: str) -> Iterator[SqliteSaver]:
    """A saver that does not wait for the disk."""
    with SqliteSaver.from_conn_string(path) as saver:
        saver.setup()
        saver.conn.execute("PRAGMA synchronous=OFF")
        yield saver


def tuples(saver: Any, thread: str) -> dict[tuple[str, str], Any]:
    """All that a saver gives of a thread, without the order of channels and keys."""
    found = {}
    for one in saver.list(graphs.config_of(thread)):
        place = one.config["configurable"]
        parent = one.parent_config and one.parent_config["configurable"]["checkpoint_id"]
        found[place["checkpoint_ns"], place["checkpoint_id"]] = [
            parent,
            sorted(
                (name, ordered(part))
                for name, part in one.checkpoint.items()
                if (name, part) != ("pending_sends", [])
            ),
            sorted(one.metadata.items()),
            [list(write) for write in one.pending_writes or []],
        ]
    return found


def ordered(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    return sorted(((name, ordered(one)) for name, one in part.items()), key=lambda item: item[0])


def same(source: Any, target: Any, thread: str) -> None:
    theirs, ours = tuples(source, thread), tuples(target, thread)
    assert theirs.keys() == ours.keys() and theirs
    for key, one in theirs.items():
        assert difference(one, ours[key]) is None, key


@pytest.mark.parametrize("layout", ["json", "compact"])
def test_threads_are_the_same_and_go_on(
    place: Place, layout: str, capsys: Any, raw: redis.Redis
) -> None:
    names = {name: f"{name}-{place.mark}" for name in graphs.ALL}
    for name, leave in graphs.ALL.items():
        leave(place.saver, names[name])
    assert main(place.arguments("--layout", layout, "--ttl", "2h")) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("copied 4 threads") and out[1].split()[2] == out[2].split()[2]
    keys = place.keys(raw)
    assert len(keys) > 50 or layout == "compact"

    with place.target(layout) as target:
        if place.kind != "mongodb":
            # Its versions are numbers, and its writes in no order.
            for thread in names.values():
                same(place.witness(), target, thread)

        thread = names["asked"]
        waiting = graphs.asking(target).get_state(graphs.config_of(thread))
        assert [one.value["question"] for one in waiting.interrupts] == ["go on?"]
        ours = graphs.answered(target, thread)
        theirs = graphs.answered(place.saver, thread)
        assert ours["answers"] == theirs["answers"] and ours["answers"][-1] == "at last"
        assert [one.content for one in ours["messages"]] == [
            one.content for one in theirs["messages"]
        ]
        assert ours["n"] == theirs["n"]

        flaky = graphs.Flaky(target)
        flaky.broken = False
        answers = flaky.graph.invoke(None, graphs.config_of(names["failed"]))["answers"]
        assert sorted(answers) == ["bad", "good"]
        assert flaky.calls == ["bad"]

        # The other two do not keep the order of tasks.
        two = place.kind in ("sqlite", "postgres")
        for one in (target, place.saver) if two else (target,):
            state = graphs.fanning(one).get_state(graphs.config_of(names["fanned"]))
            parts = [f"part {n}" for n in range(10)]
            assert state.values["texts"] == ["first", *parts, "second", *parts]


def test_every_key_has_the_ttl(sqlite: Place, raw: redis.Redis) -> None:
    graphs.asked(sqlite.saver, "a")
    assert main(sqlite.arguments("--ttl", "2h")) == 0
    # The set of recent threads is shared by all.
    keys = [key for key in sqlite.keys(raw) if b"checkpoint_recent" not in key]
    assert keys and all(0 < raw.ttl(key) <= 7200 * 1.25 for key in keys)


def test_a_second_run_changes_nothing(place: Place, capsys: Any, raw: redis.Redis) -> None:
    thread = f"asked-{place.mark}"
    graphs.asked(place.saver, thread)
    assert main(place.arguments()) == 0
    first = capsys.readouterr().out.splitlines()
    before = {key: raw.dump(key) for key in place.keys(raw)}
    assert main(place.arguments()) == 0
    second = capsys.readouterr().out.splitlines()
    assert {key: raw.dump(key) for key in place.keys(raw)} == before
    assert second[0].startswith("copied 1 thread with 0 checkpoints and 0 writes; ")
    assert first[1:] == second[1:]


def test_an_interrupted_run_is_completed(sqlite: Place) -> None:
    for number in range(4):
        graphs.asked(sqlite.saver, f"thread {number}")

    def stop(report: Report) -> None:
        if report.checkpoints == 20:
            raise KeyboardInterrupt

    with sqlite.target() as target, SqliteSource.open(sqlite.url) as source:
        with pytest.raises(KeyboardInterrupt):
            migrate(source, target, on_progress=stop)
        # What a crash between a checkpoint and its writes leaves.
        found = next(source.read("thread 3", *one) for one in source.checkpoints("thread 3"))
        assert found is not None and found.writes
        under = {"configurable": {"thread_id": "thread 3", "checkpoint_ns": ""}}
        target.put(under, found.tuple.checkpoint, found.tuple.metadata, {})

        report = migrate(source, target)
        assert report.equal, report.problems
        assert (report.threads, report.present, report.completed) == (4, 20, 1)
        for number in range(4):
            same(sqlite.saver, target, f"thread {number}")


def test_writes_that_came_since_are_added(sqlite: Place) -> None:
    graphs.asked(sqlite.saver, "a")
    assert main(sqlite.arguments()) == 0
    graphs.answered(sqlite.saver, "a")
    assert main(sqlite.arguments()) == 0
    with sqlite.target() as target:
        same(sqlite.saver, target, "a")


def test_a_value_that_changed_in_the_target_is_named_and_left(
    sqlite: Place, capsys: Any, raw: redis.Redis
) -> None:
    graphs.forked(sqlite.saver, "a")
    graphs.forked(sqlite.saver, "b")
    assert main(sqlite.arguments()) == 0
    out = capsys.readouterr().out.splitlines()
    newest = sqlite.saver.get_tuple(graphs.config_of("b")).checkpoint["id"]
    key = sqlite.checkpoint_key(raw, "b", newest)
    raw.json().set(key, "$.checkpoint.channel_values.n", 7)
    assert main(sqlite.arguments()) == 4
    again = capsys.readouterr()
    assert again.err.splitlines() == [
        f"thread b, checkpoint {newest}: the target has another checkpoint under this id, "
        "which was left"
    ]
    done, source, target = again.out.splitlines()[:3]
    assert done.endswith("0 writes; 15 there already, 0 completed")
    assert source == out[1] and target.split()[2] != source.split()[2]
    assert raw.json().get(key, "$.checkpoint.channel_values.n") == [7]


def test_a_value_that_changes_while_it_is_copied_is_found(sqlite: Place, raw: redis.Redis) -> None:
    graphs.forked(sqlite.saver, "a")
    first = min(identity for _, identity in tuples(sqlite.saver, "a"))

    def change(report: Report) -> None:
        if report.checkpoints == 1:
            key = sqlite.checkpoint_key(raw, "a", first)
            raw.json().set(key, "$.checkpoint.ts", "another")

    with sqlite.target() as target, SqliteSource.open(sqlite.url) as source:
        report = migrate(source, target, on_progress=change)
    assert not report.equal and report.source_digest != report.target_digest
    assert [(one.kind, one.thread_id, one.checkpoint_id) for one in report.problems] == [
        ("differs", "a", first)
    ]


def test_what_only_the_target_has_is_named(sqlite: Place, capsys: Any) -> None:
    graphs.asked(sqlite.saver, "a")
    assert main(sqlite.arguments()) == 0
    with sqlite.target() as target:
        graphs.answered(target, "a")
    assert main(sqlite.arguments()) == 4
    assert "thread a, checkpoint" in (err := capsys.readouterr().err)
    assert "only the target has it" in err and "pending writes are others" in err


HOSTILE = ["a:b", "a,b", 'q"q', "line\nline", "émigré 💥", "*", "{x}", "__empty__", "A:B", "%s"]


class Counting(SqliteSaver):
    """Its versions are numbers, as those of MongoDBSaver."""

    get_next_version = BaseCheckpointSaver.get_next_version


def test_a_thread_whose_versions_are_numbers_goes_on(sqlite: Place) -> None:
    saver = Counting(sqlite.saver.conn)
    graphs.asked(saver, "a")
    newest = saver.get_tuple(graphs.config_of("a")).checkpoint
    assert {type(version) for version in newest["channel_versions"].values()} == {int}
    assert main(sqlite.arguments()) == 0 == main(sqlite.arguments())
    with sqlite.target() as target:
        ours, theirs = graphs.answered(target, "a"), graphs.answered(saver, "a")
        assert ours["answers"] == theirs["answers"] and ours["n"] == theirs["n"]


def test_versions_sort_as_text_as_the_numbers_do() -> None:
    numbers = [0, 1, 1.5, 2, 9, 10, 10.25, 999, 2**40]
    texts = [_text_of(number) for number in numbers]
    assert texts == sorted(set(texts))
    assert _text_of("1") == "1"
    assert _text_of(9) < RedisSaver("redis://unused").get_next_version(texts[4], None)


@pytest.mark.parametrize("place", ["sqlite", "postgres"], indirect=True)
def test_hostile_ids_and_one_id_in_two_namespaces(place: Place, monkeypatch: Any) -> None:
    # Pages end between them.
    for kind in ("sqlite", "postgres"):
        monkeypatch.setattr(f"langgraph_checkpoint_redis_rs.migrate._{kind}._PAGE", 2)
    identity = str(uuid6())
    parent = str(uuid6())
    for thread in HOSTILE:
        for space in ("", "sub:1|x", "other"):
            under = {"thread_id": thread, "checkpoint_ns": space, "checkpoint_id": parent}
            checkpoint = empty_checkpoint() | {"id": identity}
            checkpoint["channel_values"] = {"where": f"{thread} {space}", "odd:ch,an": None}
            checkpoint["channel_versions"] = {"where": "1", "odd:ch,an": "1"}
            stored = place.saver.put(
                {"configurable": under}, checkpoint, {"source": "loop", "step": 1, "a b": "\n"}, {}
            )
            place.saver.put_writes(stored, [("where", thread), ("x", space)], "task:1", "~p,1")
    assert main(place.arguments("--quiet")) == 0
    with place.target() as target:
        for thread in HOSTILE:
            same(place.saver, target, thread)


def test_selected_threads_alone_are_copied(sqlite: Place, capsys: Any) -> None:
    for thread in ("a1", "a2", "b1", "c"):
        graphs.forked(sqlite.saver, thread)
    assert main(sqlite.arguments("--starting-with", "a")) == 0
    assert main(sqlite.arguments("c", "none")) == 3
    assert capsys.readouterr().err == "thread none: the source has no such thread\n"
    with sqlite.target() as target:
        assert sorted(one.thread_id for one in target.threads()) == ["a1", "a2", "c"]


def test_a_dry_run_writes_nothing(sqlite: Place, capsys: Any, raw: redis.Redis) -> None:
    graphs.asked(sqlite.saver, "a")
    assert main(sqlite.arguments("--dry-run")) == 0
    dry = capsys.readouterr().out.splitlines()
    assert dry[0].startswith("would copy 1 thread with 1") and len(dry) == 2
    assert sqlite.keys(raw) == []
    assert main(sqlite.arguments()) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].replace("copied", "would copy") == dry[0] and out[1] == dry[1]


def test_the_source_is_only_read(tmp_path: pathlib.Path, database: str, sqlite: Place) -> None:
    # Not in WAL mode, which SqliteSaver's setup would switch it to.
    graphs.asked(sqlite.saver, "a")
    copy = tmp_path / "copy.db"
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        sqlite.saver.conn.backup(connection)
        connection.execute("PRAGMA journal_mode=DELETE")
    before = hashlib.sha256(copy.read_bytes()).digest()
    assert main(sqlite.arguments("--from-url", str(copy))) == 0
    assert hashlib.sha256(copy.read_bytes()).digest() == before
    assert [file.name for file in tmp_path.glob("copy.db*")] == ["copy.db"]

    with PostgresSaver.from_conn_string(database) as saver:
        saver.setup()
    refused = pytest.raises(psycopg.errors.ReadOnlySqlTransaction)
    with PostgresSource.open(database) as source, refused:
        source._saver.delete_thread("a")


def test_tables_that_cannot_be_read_are_named(database: str) -> None:
    with pytest.raises(SourceError, match="no tables"), PostgresSource.open(database):
        pass
    with psycopg.connect(database, autocommit=True) as connection:
        deprecated = pytest.warns(DeprecationWarning)
        with deprecated, ShallowPostgresSaver.from_conn_string(database) as saver:
            saver.setup()
        with pytest.raises(SourceError, match="Shallow"), PostgresSource.open(database):
            pass
        connection.execute("ALTER TABLE checkpoint_writes DROP COLUMN task_path")
        with pytest.raises(SourceError, match="older"), PostgresSource.open(database):
            pass


def test_a_redis_without_an_index_is_not_taken_for_an_empty_one(sqlite: Place, capsys: Any) -> None:
    place = Place("redis", sqlite.redis_url, None, sqlite.mark, sqlite.redis_url)
    assert main(place.arguments("--from-url", place.url)) == 2
    assert f"no index {place.mark}:checkpoint: call" in capsys.readouterr().err


def test_a_database_from_before_task_paths_is_read(sqlite: Place) -> None:
    graphs.failed(sqlite.saver, "a")
    with contextlib.closing(sqlite3.connect(sqlite.url)) as connection:
        connection.execute("ALTER TABLE writes DROP COLUMN task_path")
    assert main(sqlite.arguments()) == 0
    with sqlite.target() as target:
        assert tuples(target, "a")
    assert "task_path" not in str(
        sqlite3.connect(sqlite.url)
        .execute("SELECT sql FROM sqlite_master WHERE name = 'writes'")
        .fetchone()
    )


def test_sends_of_old_postgres_checkpoints_are_kept(
    database: str, mark: str, redis_url: str
) -> None:
    """Before version 4 they were in the parent's writes; PostgresSaver puts them in a channel."""
    with PostgresSaver.from_conn_string(database) as saver:
        saver.setup()
        config: Any = {"configurable": {"thread_id": "old", "checkpoint_ns": ""}}
        for step in range(2):
            checkpoint = empty_checkpoint() | {"v": 3, "id": str(uuid6())}
            checkpoint["channel_versions"] = {"n": f"{step}"}
            checkpoint["channel_values"] = {"n": step}
            metadata: Any = {"source": "loop", "step": step}
            config = saver.put(config, checkpoint, metadata, {"n": f"{step}"})
            saver.put_writes(config, [("__pregel_tasks", {"send": step})], "task", "~path")
        place = Place("postgres", database, saver, mark, redis_url)
        with place.target() as target, PostgresSource.open(database) as source:
            report = migrate(source, target)
            assert report.equal, report.problems
            newest = target.get_tuple({"configurable": {"thread_id": "old"}})
            assert newest.checkpoint["channel_values"] == {
                "n": 1,
                "__pregel_tasks": [{"send": 0}],
            }
            same(saver, target, "old")


def test_encrypted_values_are_read_and_written(
    sqlite: Place, capsys: Any, monkeypatch: Any, raw: redis.Redis
) -> None:
    monkeypatch.delenv("LANGGRAPH_AES_KEY", raising=False)
    assert main(sqlite.arguments("--from-encrypted")) == 2
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "k" * 16)
    sqlite.saver.serde = serde = EncryptedSerializer.from_pycryptodome_aes()
    graphs.asked(sqlite.saver, "a")
    assert main(sqlite.arguments()) == 7
    assert "aes" in capsys.readouterr().err
    assert main(sqlite.arguments("--from-encrypted", "--to-encrypted")) == 0
    documents = [raw.json().get(key) for key in sqlite.keys(raw) if raw.type(key) == b"ReJSON-RL"]
    assert "loop" in str(documents) and "answer 1" not in str(documents)
    with sqlite.target(serde=serde) as target:
        same(sqlite.saver, target, "a")
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "x" * 16)
    elsewhere = f"{sqlite.mark}elsewhere"
    assert main(sqlite.arguments("--from-encrypted", "--to-prefix", elsewhere)) == 7
    assert "MAC" in (err := capsys.readouterr().err) and "k" * 16 not in err


class Color(enum.Enum):
    RED = "red"


@pytest.mark.parametrize("allowed", [True, None])
def test_values_of_classes_that_are_not_here_are_not_copied_as_plain_data(
    sqlite: Place, monkeypatch: Any, allowed: Any
) -> None:
    module = types.ModuleType("gone_tomorrow")
    module.Color = Color  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gone_tomorrow", module)
    monkeypatch.setattr(Color, "__module__", "gone_tomorrow")
    under: Any = {"configurable": {"thread_id": "a", "checkpoint_ns": ""}}
    for value in (Color.RED, "plain"):
        checkpoint = empty_checkpoint() | {"id": str(uuid6()), "channel_values": {"c": value}}
        sqlite.saver.put(under, checkpoint, {"source": "loop", "step": 1}, {})
    if allowed:
        monkeypatch.delitem(sys.modules, "gone_tomorrow")
    # `None` is what LANGGRAPH_STRICT_MSGPACK makes the default.
    serde = JsonPlusSerializer(allowed_msgpack_modules=allowed)
    with sqlite.target() as target, SqliteSource.open(sqlite.url, serde) as source:
        report = migrate(source, target)
        assert "values of gone_tomorrow.Color would be" in str(report.problems[0])
        assert (report.checkpoints, report.problem_count, report.equal) == (1, 1, False)
        assert len(tuples(target, "a")) == 1


def test_what_cannot_be_stored_is_named_and_the_rest_is_copied(sqlite: Place) -> None:
    sqlite.saver.serde = serde = JsonPlusSerializer(pickle_fallback=True)
    under: Any = {"configurable": {"thread_id": "a", "checkpoint_ns": ""}}
    for value in ("copied", len, "plain"):
        checkpoint = empty_checkpoint() | {"id": str(uuid6()), "channel_values": {"c": value}}
        stored = sqlite.saver.put(under, checkpoint, {"source": "loop", "step": 1}, {})
    sqlite.saver.put_writes(stored, [("w", print)], "task")
    with sqlite.target() as target, SqliteSource.open(sqlite.url, serde) as source:
        for dry_run in (True, False):
            report = migrate(source, target, dry_run=dry_run)
            assert [one.kind for one in report.problems] == ["unreadable"] * 2
            assert "a function (len) cannot be stored" in str(report.problems[0])
        # Nothing of a checkpoint with a write that cannot be.
        (one,) = target.list(under)
        assert one.checkpoint["channel_values"] == {"c": "copied"}


def test_problems_are_shown_without_control_characters_up_to_a_hundred() -> None:
    stream = io.StringIO()
    progress = Progress(quiet=True, stream=stream)
    for number in range(150):
        progress.problem(Problem("differs", f"\x1b[2J{number}", "", "id", "bad\r"))
    lines = stream.getvalue().splitlines()
    assert lines[0] == 'thread "\\u001b[2J0", checkpoint id: bad\\r'
    assert len(lines) == 101 and lines[-1] == "more problems are only counted"


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize("kind", ["postgres", "redis"])
@pytest.mark.parametrize(
    "form",
    [
        "{scheme}://me:{secret}@127.0.0.1:{port}/0",
        "{scheme}://me:{quoted}@127.0.0.1:{port}/0",
        "{scheme}://me:{secret}@127.0.0.1:{port}x/0",
        "{scheme}:/me:{secret}@127.0.0.1:{port}/0",
        "host=127.0.0.1 port={port} user=me password={secret} wrong=1",
    ],
)
def test_no_password_is_shown(
    kind: str, form: str, sqlite: Place, capsys: Any, monkeypatch: Any, tmp_path: pathlib.Path
) -> None:
    graphs.forked(sqlite.saver, "a")
    quoted = SECRET.replace("/", "%2F").replace("@", "%40")
    scheme = "postgresql" if kind == "postgres" else "redis"
    url = form.format(scheme=scheme, secret=SECRET, quoted=quoted, port=closed_port())
    file = tmp_path / "url"
    file.write_text(f"{url}\n")
    codes = [main(["--from", kind, "--from-url-file", str(file), "--to-url", sqlite.redis_url])]
    if kind == "redis":
        codes.append(main(["--from", "sqlite", "--to-url-file", str(file)]))
    shown = capsys.readouterr()
    assert 0 not in codes and shown.err
    for part in ("hunter2", "x@y", "x%40y", quoted, SECRET):
        assert part not in shown.err + shown.out


def test_a_message_is_cleared_of_what_may_be_a_password() -> None:
    url = f"redis://me:{SECRET}@host"
    assert redacted(f"port 'hunter2' of {url}", url) == "port '***' of ***"
    assert redacted("host not found", url, "redis://host") == "host not found"
    assert redacted("no role me", "postgresql://me@host") == "no role me"
    assert redacted("bad key 's3'", "host=h password='s3' user=me") == "bad key ***"


def test_a_package_that_is_missing_is_named(capsys: Any, monkeypatch: Any) -> None:
    for name in ("mongodb", "sqlite", "postgres", "redis"):
        monkeypatch.setitem(sys.modules, f"langgraph.checkpoint.{name}", None)
        monkeypatch.setenv("LANGGRAPH_REDIS_FROM_URL", "x")
        monkeypatch.setenv("LANGGRAPH_REDIS_URL", "redis://localhost:1")
        assert main(["--from", name]) == 2
        assert f"run pip install langgraph-checkpoint-{name}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--from", "sqlite"], "LANGGRAPH_REDIS_FROM_URL"),
        (["--from", "sqlite", "--from-url", "x", "--from-url-file", "y"], "leave one out"),
        (["--from", "sqlite", "--from-url-file", "/nowhere"], "No such file"),
        (["--from", "sqlite", "--from-url", "/nowhere"], "LANGGRAPH_REDIS_TO_URL"),
        (["--from", "sqlite", "--from-url", "/nowhere", "--to-url", "redis://h"], "names no file"),
        (
            ["--from", "sqlite", "--from-url", "x", "--to-url", "redis://h", "--from-prefix", "y"],
            "for",
        ),
        (["--from", "redis", "--from-url", "redis://h", "--to-url", "redis://h"], "same store"),
    ],
)
def test_what_is_missing_is_said(
    arguments: list[str], text: str, capsys: Any, monkeypatch: Any
) -> None:
    for name in ("LANGGRAPH_REDIS_FROM_URL", "LANGGRAPH_REDIS_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert text in err and len(err.splitlines()) == 1


def test_a_file_that_is_no_database_is_said(
    sqlite: Place, capsys: Any, tmp_path: pathlib.Path
) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(b"no database" * 100)
    assert main(sqlite.arguments("--from-url", str(other))) == 2
    assert "not a database" in capsys.readouterr().err


def test_a_source_that_goes_away_is_said_and_the_next_run_goes_on(
    database: str, mark: str, redis_url: str
) -> None:
    with PostgresSaver.from_conn_string(database) as saver:
        saver.setup()
        graphs.forked(saver, "a")
        place = Place("postgres", database, saver, mark, redis_url)

        def end(report: Report) -> None:
            if report.checkpoints == 2:
                saver.conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = %s",
                    (mark,),
                )

        with place.target() as target:
            named = f"{database}&application_name={mark}"
            with PostgresSource.open(named) as source, pytest.raises(SourceError) as ended:
                migrate(source, target, on_progress=end)
            assert ended.value.retryable and "postgres source failed" in str(ended.value)
            with PostgresSource.open(database) as source:
                report = migrate(source, target)
            assert report.equal and report.present == 2
            same(saver, target, "a")


def test_help_is_there_without_other_packages() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "langgraph_checkpoint_redis_rs.migrate", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"COLUMNS": "100"},
    )
    assert result.returncode == 0 and not result.stderr
    assert "LANGGRAPH_REDIS_FROM_URL" in result.stdout and "exit codes:" in result.stdout


@pytest.mark.parametrize(
    "positions",
    [
        {"a": 0, "b": 1},
        {"a": 0, "b": 1, "__interrupt__": -3, "__resume__": -4},
        {"__error__": -1, "a": 1, "b": 2},
        {"a": 0, "__error__": -1, "b": 2, "__resume__": -4},
    ],
)
def test_writes_are_stored_at_their_positions(positions: dict[str, int]) -> None:
    writes = [Write("task", "path", idx, channel, channel) for channel, idx in positions.items()]
    ((task, path, call),) = calls_of(writes)
    assert (task, path) == ("task", "path") and len(call) == len(writes)
    stored = {name: WRITES_IDX_MAP.get(name, at) for at, (name, _) in enumerate(call)}
    assert stored == positions


def test_a_digest_tells_types_and_order_and_no_order_of_sets() -> None:
    values: list[Any] = [
        *(1, 1.0, True, "1", b"1", bytearray(b"1"), None, "None", [1], (1,), [[1]], [1, 2], [2, 1]),
        *({"a": 1, "b": 2}, {"b": 2, "a": 1}, {1: "a"}, {"1": "a"}, {1}, frozenset({1}), -0.0, 0.0),
        *([], {}, set(), "", b"", [None], ["a", "b"], ["ab"], json.loads("[1e400]")),
    ]
    assert len({digest_of(value) for value in values}) == len(values)
    one = {f"{n * 1009}" for n in range(500)}
    other = set(sorted(one, reverse=True))
    assert list(one) != list(other) and digest_of(one) == digest_of(other)
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert digest_of(deep) != digest_of([])
