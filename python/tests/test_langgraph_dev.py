"""``langgraph dev`` keeps its checkpoints in Redis: the example of ``examples/langgraph-dev``."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import ROOT

from langgraph_checkpoint_redis_rs import RedisSaver

pytest.importorskip("langgraph_api", reason="needs langgraph-cli[inmem], which needs Python 3.11")

from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from langgraph_sdk.errors import NotFoundError

EXAMPLE = ROOT / "examples" / "langgraph-dev"
GRAPH = "approval"


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the example, in which the server leaves its files."""
    folder = tmp_path / "langgraph-dev"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".langgraph_api", "__pycache__"))
    return folder


@pytest.fixture
def environment(redis_url: str, prefixes: dict[str, str]) -> dict[str, str]:
    """What the server is set by."""
    settings = {f"LANGGRAPH_REDIS_{name.upper()}": value for name, value in prefixes.items()}
    return {**settings, "LANGGRAPH_REDIS_URL": redis_url}


@pytest.fixture
def saver(redis_url: str, prefixes: dict[str, str]) -> Iterator[RedisSaver]:
    """Reads what the server stores, past it."""
    with RedisSaver(redis_url, **prefixes) as saver:
        yield saver


@contextlib.contextmanager
def serving(
    folder: pathlib.Path, environment: dict[str, str]
) -> Iterator[tuple[SyncLangGraphClient, pathlib.Path]]:
    """Run the server, and give a client of it and the file of what it says."""
    log = folder / "server.log"
    command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload"]
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LANGGRAPH_", "LANGSMITH_", "LANGCHAIN_"))
    }
    quiet = {
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
        "LANGGRAPH_NO_VERSION_CHECK": "true",
        "LANGSMITH_TRACING": "false",
        "NO_COLOR": "1",
    }
    with (
        log.open("w") as output,
        subprocess.Popen(
            command,
            cwd=folder,
            env={**inherited, **quiet, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            with get_sync_client(url=_address(process, log), api_key=None, timeout=60) as client:
                yield client, log
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _address(process: subprocess.Popen[Any], log: pathlib.Path) -> str:
    """Where the server answers; it takes another port than it is given if that is not free."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        said = log.read_text()
        address = re.search(r"API: \S*?(http://127\.0\.0\.1:\d+)", said)
        if address and "Application started up" in said:
            return address[1]
        time.sleep(0.05)
    raise AssertionError(f"the server did not start:\n{log.read_text()}")


def _checkpoints(saver: RedisSaver, thread: str) -> list[str]:
    found = saver.list({"configurable": {"thread_id": thread}})
    return [kept.checkpoint["id"] for kept in found]


def test_a_run_that_waits_for_a_person_is_resumed_after_the_server_lost_all_its_files(
    folder: pathlib.Path, environment: dict[str, str], saver: RedisSaver
) -> None:
    thread = str(uuid.uuid4())
    with serving(folder, environment) as (client, log):
        client.threads.create(thread_id=thread)
        asked = client.runs.wait(thread, GRAPH, input={"amount": 12})
        assert [question["value"] for question in asked["__interrupt__"]] == ["Pay 12?"]
        before = _checkpoints(saver, thread)
        assert len(before) == 2
        assert "Using custom checkpointer: AsyncRedisSaver" in log.read_text()
    shutil.rmtree(folder / ".langgraph_api")

    with serving(folder, environment) as (client, _):
        # The rows of threads and runs were in the files; the state is in Redis.
        with pytest.raises(NotFoundError):
            client.threads.get_state(thread)
        client.threads.create(thread_id=thread, graph_id=GRAPH)
        state = client.threads.get_state(thread)
        assert state["next"] == ["approve"]
        assert state["values"] == {"amount": 12}
        assert [question["value"] for question in state["interrupts"]] == ["Pay 12?"]

        answer = client.runs.wait(thread, GRAPH, command={"resume": True})
        assert answer == {"amount": 12, "approved": True, "receipt": "paid 12"}
        after = _checkpoints(saver, thread)
        assert after[2:] == before
        history = client.threads.get_history(thread)
        assert [seen["checkpoint"]["checkpoint_id"] for seen in history] == after


def test_threads_are_forked_copied_and_deleted_in_redis_and_runs_taken_back(
    folder: pathlib.Path, environment: dict[str, str], saver: RedisSaver
) -> None:
    with serving(folder, environment) as (client, _):
        thread = client.threads.create()["thread_id"]
        client.runs.wait(thread, GRAPH, input={"amount": 5})
        asked = client.threads.get_state(thread)["checkpoint"]
        paid = client.runs.wait(thread, GRAPH, command={"resume": True})
        assert paid["receipt"] == "paid 5"
        once = _checkpoints(saver, thread)

        # From the question on, again and otherwise.
        again = client.runs.wait(thread, GRAPH, checkpoint_id=asked["checkpoint_id"])
        assert [question["value"] for question in again["__interrupt__"]] == ["Pay 5?"]
        refused = client.runs.wait(thread, GRAPH, command={"resume": False})
        assert refused["receipt"] == "refused"
        assert set(once) < set(_checkpoints(saver, thread))

        for run in client.runs.list(thread)[:2]:
            client.runs.delete(thread, run["run_id"])
        assert _checkpoints(saver, thread) == once
        copy = client.threads.copy(thread)["thread_id"]
        assert _checkpoints(saver, copy) == once

        client.threads.delete(thread)
        assert [summary.thread_id for summary in saver.threads()] == [copy]
        assert client.threads.get_state(copy)["values"] == paid


def test_a_setting_that_cannot_be_stops_the_server_with_its_name_and_no_password(
    folder: pathlib.Path, environment: dict[str, str]
) -> None:
    url = environment["LANGGRAPH_REDIS_URL"].replace("redis://", "redis://app:hunter2@")
    wrong = {**environment, "LANGGRAPH_REDIS_URL": url, "LANGGRAPH_REDIS_TTL": "soon"}
    with pytest.raises(AssertionError, match="the server did not start") as refused:  # noqa: SIM117
        with serving(folder, wrong):
            pass
    said = str(refused.value)
    assert "ttl" in said and "soon" in said
    assert "hunter2" not in said
