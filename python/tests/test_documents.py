"""Every block of code in the documents runs or is parsed, or says why it is not.

The blocks of a page run one after the other, under prefixes of the page's own: Python's in one
namespace, those of the shell in one directory. A block that cannot run has a comment before it,
``<!-- not run: REASON -->``.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import types
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import redis
import yaml
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import START, MessagesState, StateGraph

from langgraph_checkpoint_redis_rs import RedisSaver, errors
from langgraph_checkpoint_redis_rs._saver import BaseRedisSaver

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ["README.md", "python/README.md", *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]

# Why blocks are not run in pages that are written for the repository first, by their first line.
NOT_RUN = {
    ("README.md", "cargo run --example conversation"): "the step `examples` of .ci/run runs it",
    ("README.md", "pip install ./python"): "it installs",
    ("README.md", "cargo add langgraph-checkpoint-redis --path ."): "it changes a crate",
    ("README.md", "cargo install --path . --features cli,server"): "it installs",
    ("README.md", "cargo run --features cli,server -- inspect --demo"): "other tests run it",
    ("python/README.md", "pip install ./python"): "it installs",
    ("python/README.md", "pip install './python[test]'"): "it runs these tests",
}

# What blocks of the shell may run beside `langgraph-redis`: nothing that installs, builds or starts
# what stays.
PROGRAMS = (
    "bash",
    "cat",
    "curl",
    "cut",
    "grep",
    "head",
    "mkdir",
    "openssl",
    "sed",
    "sha256sum",
    "tee",
)

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`]*)$")
MARK = re.compile(r"^ *<!-- not run: (?P<reason>.+) -->$")

# What the pages write for a server, for a measurement and for a port.
SERVER = re.compile(r"redis://(?:localhost:6379|old|new)\b")
LONG, SHORT = "--time 2s", "--time 50ms"
PORT = re.compile(r"\b8080\b")
PREFIX = re.compile(r"(?<=prefix )(?=\w)|(?<=_prefix=\")")


class Block(NamedTuple):
    """A fenced block."""

    page: str
    line: int
    language: str
    text: str
    reason: str | None
    """Why it is not run, if it is not."""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def treatment(self) -> str:
        """What is done with it."""
        if self.reason is not None:
            return "marked"
        return {
            "python": "ran",
            "sh": "ran",
            "console": "ran",
            "rust": "doctest",
            "json": "parsed",
            "yaml": "parsed",
            "redis": "parsed",
            "promql": "parsed",
            "toml": "parsed",
            "text": "text",
        }.get(self.language, "unknown")


def blocks(page: str) -> list[Block]:
    """Find the blocks of a page."""
    found: list[Block] = []
    lines = (ROOT / page).read_text().splitlines()
    start, fence, before = 0, None, ""
    for number, line in enumerate(lines, 1):
        match = FENCE.match(line)
        if fence is None:
            if match:
                start, fence = number, match
            elif line.strip():
                before = line
        elif match and not match["info"].strip():
            text = textwrap.dedent("\n".join(lines[start : number - 1]))
            mark = MARK.match(before)
            first = text.partition("\n")[0].strip()
            reason = mark["reason"] if mark else NOT_RUN.get((page, first))
            language = fence["info"].strip().partition(",")[0]
            found.append(Block(page, start, language, text, reason))
            fence, before = None, ""
    assert fence is None, f"{page}:{start}: the block does not end"
    return found


class Page:
    """Runs the blocks of a page."""

    def __init__(self, url: str, mark: str, directory: pathlib.Path, binary: pathlib.Path) -> None:
        self.url, self.mark, self.directory = url, mark, directory
        self.port = str(free_port())
        self.loop = asyncio.new_event_loop()
        # A module, so that classes of the page are found again by their names.
        self.module = types.ModuleType(f"page_{mark}")
        sys.modules[self.module.__name__] = self.module
        self.namespace = vars(self.module)
        self.shells: list[subprocess.Popen[bytes]] = []
        programs = directory / "programs"
        programs.mkdir()
        (programs / "langgraph-redis").symlink_to(binary)
        for name in PROGRAMS:
            found = shutil.which(name)
            assert found, f"the documents use {name}, which is not installed"
            (programs / name).symlink_to(found)
        kept = ("LANG", "LD_LIBRARY_PATH")
        self.environment = {name: os.environ[name] for name in kept if name in os.environ} | {
            "PATH": str(programs),
            "HOME": str(directory),
            "REDIS_URL": url,
            "THREAD": "THREAD",
            "OLD": url,
            "NEW": url,
            "LANGGRAPH_REDIS_CHECKPOINT_PREFIX": f"{mark}checkpoint",
            "LANGGRAPH_REDIS_CHECKPOINT_WRITE_PREFIX": f"{mark}checkpoint_write",
        }

    def run(self, block: Block) -> None:
        """Run or parse a block."""
        getattr(self, f"run_{block.language}")(block)

    def run_python(self, block: Block) -> None:
        text = PREFIX.sub(self.mark, SERVER.sub(self.url, block.text))
        source = "\n" * block.line + text
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(source, block.page, "exec", flags, dont_inherit=True)
        given = eval(code, self.namespace)
        if code.co_flags & inspect.CO_COROUTINE:
            self.loop.run_until_complete(asyncio.wait_for(given, 60))

    def run_sh(self, block: Block) -> None:
        code, said = self.shell(block.text)
        assert code != 127, f"{block.place} runs what is not in PROGRAMS; it needs a mark: {said}"
        assert code == 0, f"{block.place} ends with code {code}: {said}"

    def run_console(self, block: Block) -> None:
        """Run what follows the prompts; a command that shows an error must have one."""
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            code, said = self.shell(command)
            wanted = re.search(r"^langgraph-redis: (.*)", shown, re.MULTILINE)
            if wanted:
                assert code not in (0, 1, 2), f"{block.place}: {command} ends with {code}: {said}"
            else:
                assert code == 0, f"{block.place}: {command} ends with {code}: {said}"

    def run_rust(self, block: Block) -> None:
        """`cargo test --doc` runs it, if the crate includes the page."""
        included = f'include_str!("../{block.page}")'
        assert included in (ROOT / "src/lib.rs").read_text(), (
            f"{block.place}: {included} is missing"
        )

    def run_json(self, block: Block) -> None:
        json.loads(block.text)

    def run_toml(self, block: Block) -> None:
        if sys.version_info >= (3, 11):
            import tomllib

            tomllib.loads(block.text)

    def run_yaml(self, block: Block) -> None:
        assert yaml.safe_load(block.text), f"{block.place} is empty"
        self.check_metrics(block)

    def run_promql(self, block: Block) -> None:
        for opening, closing in ("()", "[]", "{}"):
            counts = block.text.count(opening), block.text.count(closing)
            assert counts[0] == counts[1], f"{block.place}: {opening} and {closing}: {counts}"
        self.check_metrics(block)

    def check_metrics(self, block: Block) -> None:
        """The service has every metric that is named, and errors every kind."""
        described = (ROOT / "src/server/telemetry.rs").read_text()
        for name in re.findall(r"\blanggraph_(?:http|checkpoint|redis)_\w+", block.text):
            known = re.sub(r"_(bucket|sum|count)$", "", name)
            assert f'"{known}"' in described, f"{block.place}: there is no metric {name}"
        errors = (ROOT / "src/error.rs").read_text()
        for kinds in re.findall(r'\bkind=~?"([^"]+)"', block.text):
            for kind in kinds.split("|"):
                assert f'=> "{kind}"' in errors, f"{block.place}: there is no kind {kind}"

    def run_redis(self, block: Block) -> None:
        """The server knows every command."""
        with redis.Redis.from_url(self.url, decode_responses=True) as client:
            known = {name.lower() for name in client.command_list()}
        for line in block.text.splitlines():
            words = line.partition("#")[0].lower().split()
            names = {words[0], "|".join(words[:2])} if words else known
            assert names & known, f"{block.place}: Redis does not know {line}"

    def run_text(self, block: Block) -> None:
        """It is no code."""

    def shell(self, text: str) -> tuple[int, str]:
        """Run commands; what they leave in the background lives until the page has run."""
        self.store_threads()
        text = SERVER.sub(self.url, text).replace(LONG, SHORT)
        text = PREFIX.sub(self.mark, PORT.sub(self.port, text))
        said = self.directory / "said"
        with said.open("wb") as output:
            shell = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", text],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self.shells.append(shell)
            code = shell.wait(60)
        return code, said.read_text(errors="replace")

    def store_threads(self) -> None:
        """Store the threads that the pages name, unless they are there."""
        with RedisSaver(self.url) as saver:
            for thread in ("user:42", "draft:9", "order:7421", "weather-bot", "THREAD"):
                config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
                if saver.get_tuple(config) is not None:
                    continue
                for identity in ("CHECKPOINT_A", "CHECKPOINT_B"):
                    one = empty_checkpoint()
                    one["id"] = identity
                    one["channel_values"] = {"messages": [identity]}
                    one["channel_versions"] = {"messages": identity}
                    config = saver.put(config, one, {"source": "loop", "step": 1}, {})

    def close(self) -> None:
        """End what blocks have left running."""
        for shell in self.shells:
            try:
                os.killpg(shell.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        del sys.modules[self.module.__name__]
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def binary() -> pathlib.Path:
    """The command line: ``LANGGRAPH_REDIS_BINARY``, or what its own tests are built with."""
    given = os.environ.get("LANGGRAPH_REDIS_BINARY")
    if given:
        return pathlib.Path(given).resolve()
    build = ["cargo", "test", "--quiet", "--locked", "--all-features", "--no-run", "--test", "cli"]
    subprocess.run(build, cwd=ROOT, check=True)
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    return ROOT / target / "debug" / "langgraph-redis"


@pytest.fixture
def page(
    redis_url: str,
    prefixes: dict[str, str],
    binary: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Page]:
    """A page whose savers have prefixes of its own, without saying so."""
    mark = prefixes["checkpoint_prefix"]
    defaults = BaseRedisSaver.__init__.__kwdefaults__
    for name in ("checkpoint", "checkpoint_write"):
        monkeypatch.setitem(defaults, f"{name}_prefix", f"{mark}{name}")
    monkeypatch.chdir(tmp_path)
    one = Page(redis_url, mark, tmp_path, binary)
    yield one
    one.close()
    with redis.Redis.from_url(redis_url) as client, contextlib.suppress(redis.ResponseError):
        for index in client.execute_command("FT._LIST"):
            if index.decode().startswith(mark):
                client.execute_command("FT.DROPINDEX", index)


def given() -> dict[str, Any]:
    """What the two READMEs take for given."""
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": ["Hello."]})
    builder.add_edge(START, "answer")
    return {"builder": builder, "inputs": {"messages": ["Hi."]}, "key": bytes(range(16))}


@pytest.mark.parametrize("name", PAGES)
def test_the_blocks_of_a_page_run(page: Page, name: str) -> None:
    if name.endswith("README.md"):
        page.namespace.update(given())
    for block in blocks(name):
        if block.reason is None:
            assert block.treatment != "unknown", (
                f"{block.place}: nothing is known of how to check `{block.language}`; "
                "write <!-- not run: REASON --> before it if it cannot be"
            )
            page.run(block)


def test_no_block_is_passed_over_without_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    all_blocks = [block for page in PAGES for block in blocks(page)]
    counted = Counter(block.treatment for block in all_blocks)
    fences = sum(
        len(re.findall(r"^ *```", (ROOT / page).read_text(), re.MULTILINE)) for page in PAGES
    )
    assert len(all_blocks) * 2 == fences
    with capsys.disabled():
        counts = ", ".join(f"{number} {what}" for what, number in sorted(counted.items()))
        print(f"\n{len(all_blocks)} blocks in {len(PAGES)} documents: {counts}")
        for block in all_blocks:
            if block.reason is not None:
                print(f"  {block.place}: {block.reason}")
    assert not counted["unknown"]


def test_every_error_is_in_the_page_on_troubleshooting() -> None:
    page = " ".join((ROOT / "docs/troubleshooting.md").read_text().split())
    source = (ROOT / "src/error.rs").read_text()
    messages = re.findall(r'#\[error\(\s*"((?:[^"\\]|\\.)*)"', source)
    assert len(messages) > 15
    for message in messages:
        shown = re.sub(r"\{[^}]*\}", "…", message)
        assert shown in page, f"the message is not in docs/troubleshooting.md: {shown}"
    for name in errors.__all__:
        assert name in page, f"{name} is not in docs/troubleshooting.md"


def test_every_reason_of_a_server_is_in_the_page_on_troubleshooting() -> None:
    page = " ".join((ROOT / "docs/troubleshooting.md").read_text().split())
    source = (ROOT / "src/redis/error.rs").read_text().partition("#[cfg(test)]")[0]
    body = source.partition("fn into_public(self")[2].partition("\n    }\n")[0]
    words = (ROOT / "src/redis/error/words.rs").read_text()
    table = words.partition("const TLS_REFUSALS")[2].partition("];")[0]
    reasons = re.findall(r'"([^"{}\n]{20,})"', body) + re.findall(r'"([^"{}\n]{30,})"', table)
    reasons += re.findall(r'SEVERAL_SLOTS: &str = "(.*)"', source)
    reasons = [reason for reason in reasons if " " in reason]
    assert len(reasons) > 20
    for reason in reasons:
        assert reason in page, f"the reason is not in docs/troubleshooting.md: {reason}"
