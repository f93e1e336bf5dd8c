"""The inspector over threads that LangGraph programs left, in a real browser.

``.ci/run browser`` builds the program and runs these; `pytest python/tests` leaves them out.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import programs
import pytest
import redis
from inspected import PICTURES, PROGRAM, Open, Pages, Service, Started, Store, Watch, inspecting
from playwright.sync_api import Browser, Page, sync_playwright

LIMIT_MS = 20_000


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say whether the documents get their pictures."""
    parser.addoption("--write-pictures", action="store_true", help="write docs/images/inspector-*")


@pytest.fixture(scope="session")
def empty_store(redis_url: str) -> Iterator[Store]:
    """Prefixes that no one else has, all of which is gone in the end."""
    mark = f"browser{uuid.uuid4().hex[:12]}"
    names = {"checkpoint_prefix": f"{mark}c", "checkpoint_write_prefix": f"{mark}w"}
    yield Store(redis_url, names)
    with redis.Redis.from_url(redis_url) as client:
        for name in names.values():
            with contextlib.suppress(redis.ResponseError):
                client.execute_command("FT.DROPINDEX", name)
        for key in client.scan_iter(f"*{mark}*", count=1000):
            client.delete(key)


@pytest.fixture(scope="session")
def store(empty_store: Store) -> Store:
    """The threads of all programs."""
    with empty_store.saver() as saver:
        saver.setup()
        programs.large(saver, "large")
        programs.hostile(saver, "hostile ")
        programs.conversation(saver, "conversation", 12)
        programs.supported(saver, "supported")
        programs.researched(saver, "researched")
        programs.researched(saver, "asks-in-subgraph", asks=True)
        programs.resumed(saver, "resumed")
        programs.forked(saver, "forked")
        programs.failed(saver, "failed")
        programs.asked_twice(saver, "asked-twice")
        programs.waiting(saver, "waiting")
        programs.waiting(saver, "team-a/one")
        programs.waiting(saver, "team-b/one")
    return empty_store


@pytest.fixture(scope="session")
def inspector(store: Store) -> Iterator[Pages]:
    """``inspect``, read only."""
    with inspecting(store.environment) as pages:
        yield pages


@pytest.fixture(scope="session")
def service(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service, with a key for everything and one for each team."""
    keys, lines = {}, []
    for name, prefix in (("all", ""), ("team-a", "team-a/"), ("team-b", "team-b/")):
        keys[name] = secrets.token_hex(32)
        confined = ["--starting-with", prefix] if prefix else []
        hashed = subprocess.run(
            [PROGRAM, "hash-key", name, *confined],
            input=keys[name],
            capture_output=True,
            text=True,
            check=True,
        )
        lines.append(hashed.stdout)
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text("".join(lines))
    file.chmod(0o600)
    arguments = ["serve", "--inspector", "--listen", "127.0.0.1:0", "--api-keys", str(file)]
    started = Started(arguments, store.environment, stderr=subprocess.PIPE)
    try:
        stderr = started.process.stderr
        assert stderr is not None
        lines = []
        for line in stderr:
            lines.append(line)
            logged = json.loads(line) if line.startswith("{") else {}
            if logged.get("message") == "the service is ready":
                break
        else:
            pytest.fail("".join(lines))
        # Or it would wait for who reads its log.
        threading.Thread(target=stderr.read, daemon=True).start()
        root = f"http://{logged['listen']}/inspector"
        yield Service(root, f"{root}/", keys)
    finally:
        started.end()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser of the system."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.fail("no browser: install Chromium (Debian: apt-get install chromium)")
    # Its sandbox refuses to run as root.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=options)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens the inspector in a browser of its own, as who has the address or a key.

    The test fails if a page that was opened did what no page may.
    """
    with contextlib.ExitStack() as stack:
        watches = []

        def open_one(pages: Pages, key: str | None = None, **options: Any) -> Page:
            options = {"viewport": {"width": 1200, "height": 800}, **options}
            context = chromium.new_context(**options)
            stack.callback(context.close)
            context.set_default_timeout(LIMIT_MS)
            watch = Watch(pages.origin)
            watch.on(context)
            watches.append(watch)
            page = context.new_page()
            page.watch = watch  # type: ignore[attr-defined]
            page.goto(pages.entrance)
            if key is not None:
                page.fill("input[name=key]", key)
                page.keyboard.press("Enter")
                page.wait_for_selector("header nav")
            return page

        yield open_one
        for number, context in enumerate(context for context in chromium.contexts if context.pages):
            PICTURES.joinpath("tests").mkdir(parents=True, exist_ok=True)
            name = request.node.name.replace("/", "-")[:80]
            with contextlib.suppress(Exception):
                context.pages[0].screenshot(
                    path=PICTURES / "tests" / f"{name}-{number}.png", timeout=5_000
                )
        found = [what for watch in watches for what in watch.found]
        assert not found, "\n".join(found)


@pytest.fixture
def reader(visit: Open, inspector: Pages) -> Page:
    """A page of ``inspect``, with the threads."""
    return visit(inspector)
