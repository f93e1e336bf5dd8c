"""A Redis for the tests, and savers on it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import redis

from langgraph_checkpoint_redis_rs import AsyncRedisSaver, RedisSaver

ROOT = pathlib.Path(__file__).resolve().parents[2]


# Before Python 3.11 LangGraph's own `interrupt` and subgraphs do not work in async runs, with any
# saver: "Called get_config outside of a runnable context".
_LANGGRAPH_NEEDS_3_11 = {
    *(
        f"test_answers_are_those_of_the_memory_saver[{saver}-{scenario}-async]"
        for saver in ("AsyncRedisSaver", "RedisSaver")
        for scenario in ("human_in_the_loop", "subgraphs", "functional")
    ),
    *(
        f"test_one_reads_lists_resumes_and_deletes_what_the_other_wrote[{case}]"
        for case in ("ours-theirs-False", "theirs-ours-False", "theirs-ours-True")
    ),
    *(
        f"test_answers_in_the_compact_layout_are_those_of_the_memory_saver[{scenario}]"
        for scenario in ("human_in_the_loop", "subgraphs", "functional")
    ),
    "test_an_interrupted_graph_gives_the_answers_of_the_memory_saver",
}
_WHERE_ASYNC = {
    "test_a_thread_of_their_blocking_saver_is_taken_over",
    "test_an_answer_to_an_older_checkpoint_reaches_the_open_question",
    "test_deleting_a_threads_graph_leaves_no_key",
    "test_every_key_has_the_ttl",
    "test_one_reads_resumes_and_deletes_what_the_other_wrote",
    "test_their_blocking_saver_reads_checkpoints_but_no_writes",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what LangGraph itself cannot do."""
    if sys.version_info < (3, 11):
        reason = "LangGraph's interrupts in async runs need Python 3.11"
        for item in items:
            test = item.name.partition("[")[0]
            is_async = test in _WHERE_ASYNC and ", async" in item.name
            if is_async or {test, item.name} & _LANGGRAPH_NEEDS_3_11:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """``REDIS_URL``, or a server that lives as long as the tests."""
    given = os.environ.get("REDIS_URL")
    if given:
        yield given
        return
    with started() as url:
        yield url


@pytest.fixture(scope="session")
def plain_redis_url() -> Iterator[str]:
    """A server without modules that lives as long as the tests."""
    with started("--without-modules") as url:
        yield url


@contextlib.contextmanager
def started(*options: str) -> Iterator[str]:
    """Start a server and give its URL."""
    built = os.environ.get("REDIS_MODULES")
    command = [built] if built else ["cargo", "run", "--quiet", "--package", "redis-modules", "--"]
    command += ["up", "standalone", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            if not url:
                pytest.exit("no Redis: set REDIS_URL, or mend `cargo run -p redis-modules`", 1)
            yield url
        finally:
            server.terminate()


def binary(name: str) -> str:
    """The program of a PostgreSQL that is installed."""
    found = shutil.which(name) or next(
        iter(sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None
    )
    if found is None:
        pytest.fail(f"no {name}: install PostgreSQL (Debian: apt-get install postgresql)")
    return str(found)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL in a folder of its own, on a socket; it refuses to run as root."""
    user: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            other = pwd.getpwnam("nobody")
            os.chown(folder, other.pw_uid, other.pw_gid)
            user = {"user": other.pw_uid, "group": other.pw_gid, "extra_groups": []}
        subprocess.run(
            [binary("initdb"), "-D", f"{folder}/data", "-U", "saver", "-A", "trust", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **user,
        )
        server = subprocess.Popen(
            [binary("postgres"), "-D", f"{folder}/data", "-k", folder, "-h", "", "-F"],
            stderr=subprocess.DEVNULL,
            cwd=folder,
            **user,
        )
        try:
            ready = [binary("pg_isready"), "-h", folder, "-U", "saver", "-d", "postgres", "-q"]
            for _ in range(100):
                if subprocess.run(ready).returncode == 0:
                    break
                with contextlib.suppress(subprocess.TimeoutExpired):
                    pytest.fail(f"PostgreSQL ended with {server.wait(0.1)}")
            yield f"postgresql://saver@/postgres?host={folder}"
        finally:
            server.terminate()
            server.wait(30)


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    """A plain client, to look at what is stored."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def thread(redis_url: str) -> Iterator[str]:
    """The id of a thread that no one else has, gone after the test."""
    name = f"test-{uuid.uuid4().hex}"
    yield name
    with RedisSaver(redis_url) as saver:
        for summary in list(saver.threads(name)):
            saver.delete_thread(summary.thread_id)


@pytest.fixture
def config(thread: str) -> Any:
    """The config of that thread's root."""
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


@pytest.fixture
def prefixes(redis_url: str) -> Iterator[dict[str, str]]:
    """Prefixes that no one else has, all of which is gone after the test."""
    mark = f"test{uuid.uuid4().hex[:12]}"
    names = {"checkpoint_prefix": f"{mark}c", "checkpoint_write_prefix": f"{mark}w"}
    yield names
    with redis.Redis.from_url(redis_url) as client:
        for name in names.values():
            with contextlib.suppress(redis.ResponseError):
                client.execute_command("FT.DROPINDEX", name)
        for key in client.scan_iter(f"*{mark}*", count=1000):
            client.delete(key)


@pytest.fixture
def saver(redis_url: str) -> Iterator[RedisSaver]:
    """The blocking saver."""
    with RedisSaver(redis_url) as saver:
        yield saver


@pytest.fixture
async def asaver(redis_url: str) -> AsyncIterator[AsyncRedisSaver]:
    """The async saver."""
    async with AsyncRedisSaver.from_conn_string(redis_url) as saver:
        yield saver


@pytest.fixture
def python_process(redis_url: str) -> Callable[..., subprocess.Popen[str]]:
    """Starts Python on a script, with the URL as its first argument."""

    def start(script: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", script, redis_url, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=pathlib.Path(__file__).parent,
        )

    return start
