"""The inspector as a process, and what a browser must not see on its pages."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import subprocess
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Response

from langgraph_checkpoint_redis_rs import RedisSaver

ROOT = pathlib.Path(__file__).resolve().parents[3]
PICTURES = ROOT / "target" / "inspector"
PROGRAM = os.environ.get("LANGGRAPH_REDIS", str(ROOT / "target" / "debug" / "langgraph-redis"))


@dataclasses.dataclass
class Store:
    """Where the threads of a test run are."""

    url: str
    names: dict[str, str]

    def saver(self, **settings: Any) -> RedisSaver:
        return RedisSaver(self.url, **self.names, **settings)

    @property
    def environment(self) -> dict[str, str]:
        names = {f"LANGGRAPH_REDIS_{name.upper()}": value for name, value in self.names.items()}
        # A setting of who runs the tests is not meant for them.
        kept = {k: v for k, v in os.environ.items() if not k.startswith("LANGGRAPH_REDIS_")}
        return {**kept, **names, "REDIS_URL": self.url}


class Started:
    """A process of the command line, ended with its test run."""

    def __init__(self, arguments: list[str], environment: dict[str, str], **pipes: Any) -> None:
        if not pathlib.Path(PROGRAM).is_file():
            pytest.exit(f"there is no {PROGRAM}: run `.ci/run browser`, which builds it", 1)
        self.process = subprocess.Popen(
            [PROGRAM, *arguments], env=environment, text=True, stdin=subprocess.DEVNULL, **pipes
        )

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@dataclasses.dataclass
class Pages:
    """The inspector at an address."""

    root: str
    entrance: str
    """What is opened first."""

    @property
    def origin(self) -> str:
        parts = urlsplit(self.root)
        return f"{parts.scheme}://{parts.netloc}"

    def url(self, page: str = "", **parameters: str) -> str:
        query = f"?{urlencode(parameters)}" if parameters else ""
        return f"{self.root}/{page}{query}"


@contextlib.contextmanager
def inspecting(environment: dict[str, str], *options: str) -> Iterator[Pages]:
    """Run ``inspect`` on a free port."""
    arguments = ["inspect", "--listen", "127.0.0.1:0", *options]
    started = Started(arguments, environment, stdout=subprocess.PIPE)
    try:
        assert started.process.stdout is not None
        entrance = started.process.stdout.readline().strip()
        assert entrance, "`inspect` has printed no address"
        yield Pages(entrance.partition("/?")[0], entrance)
    finally:
        started.end()


@dataclasses.dataclass
class Service(Pages):
    """``serve --inspector`` with keys."""

    keys: dict[str, str] = dataclasses.field(default_factory=dict)


class Watch:
    """What a page must not do: fail, break its policy, run what is stored, or ask another host."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.found: list[str] = []
        self.answers: list[Response] = []
        self.allowed: set[int] = set()

    def on(self, context: BrowserContext) -> None:
        # Chromium reports what its policy refused as an error of the console.
        context.on("console", lambda m: self.note(m.type == "error", f"console: {m.text}"))
        context.on("weberror", lambda error: self.note(True, f"script: {error.error}"))
        context.on("dialog", lambda dialog: (self.note(True, "a dialog"), dialog.dismiss()))
        context.on("request", lambda request: self.asked(request.url))
        context.on("response", self.answered)

    def note(self, wrong: bool, what: str) -> None:
        expected = any(f"status of {status} " in what for status in self.allowed)
        if wrong and not expected:
            self.found.append(what)

    def asked(self, url: str) -> None:
        own = url.startswith(f"{self.origin}/") or url in ("data:,", "about:blank")
        self.note(not own, f"a request to {url}")

    def answered(self, response: Response) -> None:
        self.answers.append(response)
        wrong = response.status >= 400 and response.status not in self.allowed
        self.note(wrong, f"{response.status} of {response.url}")


Open = Callable[..., Page]


def may_answer(page: Page, *statuses: int) -> None:
    """Expect answers that are failures."""
    page.watch.allowed.update(statuses)  # type: ignore[attr-defined]
