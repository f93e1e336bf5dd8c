"""Record the threads of ``langgraph-redis inspect --demo``.

    cargo build --features cli,server
    python python/tests/browser/record_demo.py src/cli/demo/threads.jsonl.zst

Real LangGraph runs the programs, on the Redis of ``REDIS_URL`` or a throwaway one, with a clock
that goes on where a real program would wait; ``langgraph-redis export`` writes what they stored.
Needs ``zstd`` on the ``PATH``.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import pathlib
import subprocess
import sys
import types
import uuid
from collections.abc import Iterator
from typing import Any

import langgraph.checkpoint.base.id
import langgraph.pregel._checkpoint
import programs

from langgraph_checkpoint_redis_rs import RedisSaver

ROOT = pathlib.Path(__file__).resolve().parents[3]
HOUR = 3600.0


class Clock:
    """What LangGraph takes for the time: it goes on when it is told to, and a little each look."""

    def __init__(self) -> None:
        self.now = dt.datetime(2026, 11, 29, 8, 0, tzinfo=dt.timezone.utc)

    def take(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)

    def look(self, _: Any = None) -> dt.datetime:
        self.now += dt.timedelta(milliseconds=4)
        return self.now

    def time_ns(self) -> int:
        return int(self.look().timestamp() * 1e6) * 1000

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        changes: list[tuple[Any, str, Any]] = [
            (langgraph.checkpoint.base.id, "time", types.SimpleNamespace(time_ns=self.time_ns)),
            (langgraph.pregel._checkpoint, "datetime", types.SimpleNamespace(now=self.look)),
        ]
        before = [(module, name, getattr(module, name)) for module, name, _ in changes]
        for module, name, value in changes:
            setattr(module, name, value)
        try:
            yield
        finally:
            for module, name, value in before:
                setattr(module, name, value)


def run_programs(saver: Any, expiring: Any, clock: Clock) -> None:
    """Leave the threads, the oldest first; those of one saver expire."""
    take = clock.take
    programs.conversation(saver, "tutor-ada", 40, take)
    take(9 * HOUR)
    programs.supported(expiring, "support-4688", take)
    take(7 * HOUR)
    programs.researched(saver, "research-heat-pumps", take)
    take(5 * HOUR)
    programs.resumed(saver, "refund-1997", take)
    take(4 * HOUR)
    programs.forked(expiring, "trip-sofia", take)
    take(3 * HOUR)
    programs.failed(saver, "orders-2026-11-30", take)
    take(2 * HOUR)
    programs.researched(saver, "research-ventilation", take, asks=True)
    take(1.4 * HOUR)
    programs.asked_twice(saver, "press-release-17", take)
    take(0.6 * HOUR)
    programs.waiting(saver, "refund-2041", take)
    take(240)
    programs.supported(saver, "support-4711", take)


def record(url: str, target: pathlib.Path) -> None:
    prefix = f"demo{uuid.uuid4().hex[:12]}"
    names = {"checkpoint_prefix": f"{prefix}c", "checkpoint_write_prefix": f"{prefix}w"}
    clock = Clock()
    common: dict[str, Any] = {"layout": "compact", **names}
    week = {"default_ttl": 7 * 24 * 60}
    with RedisSaver(url, **common) as saver, RedisSaver(url, **common, ttl=week) as expiring:
        saver.setup()
        with clock.installed():
            run_programs(saver, expiring, clock)
        threads = [summary.thread_id for summary in saver.threads()]
    exported = target.with_suffix("")
    command = ROOT / "target" / "debug" / "langgraph-redis"
    options = [f"--{name.replace('_', '-')}={value}" for name, value in names.items()]
    program = [str(command), *options, "--layout=compact"]
    environment = {**os.environ, "REDIS_URL": url}
    try:
        subprocess.run(
            [*program, "export", *threads, "--output", str(exported)], check=True, env=environment
        )
        compress = ["zstd", "-19", "--rm", "-f", "-q", str(exported), "-o", str(target)]
        subprocess.run(compress, check=True)
    finally:
        subprocess.run([*program, "delete", "--yes", *threads], check=True, env=environment)
    print(f"{target}: {len(threads)} threads, {target.stat().st_size} bytes")


def main() -> None:
    sys.path.insert(0, str(ROOT / "python" / "tests"))
    from conftest import started

    target = pathlib.Path(sys.argv[1]).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        record(os.environ.get("REDIS_URL") or stack.enter_context(started()), target)


if __name__ == "__main__":
    main()
