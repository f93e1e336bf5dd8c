"""Copies threads, and compares both sides."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import WRITES_IDX_MAP, Checkpoint, CheckpointTuple

from .._saver import BaseRedisSaver
from ..errors import (
    ConflictError,
    CorruptError,
    InvalidInputError,
    TooLargeError,
    UnstorableValueError,
)
from ._digest import checkpoint_digests
from ._source import (
    Source,
    SourceCheckpoint,
    SourceError,
    SourceUnavailableError,
    Write,
    noticing_plain_data,
    quoted,
)

__all__ = ["Problem", "Report", "migrate"]

_MOST_PROBLEMS = 1000
"""How many problems a report holds; all are counted."""

_OF_A_CHECKPOINT = (
    ConflictError,
    CorruptError,
    InvalidInputError,
    TooLargeError,
    UnstorableValueError,
)
"""What goes wrong with one checkpoint of ours, and not with the server."""

_Digests = dict[tuple[str, str], tuple[bytes, bytes]]
"""By namespace and id: the digest without pending writes, and with them."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """Why something was not copied, or is not the same on both sides."""

    kind: Literal["missing", "unreadable", "differs"]
    thread_id: str
    checkpoint_ns: str | None
    checkpoint_id: str | None
    reason: str

    def __str__(self) -> str:
        place = f"thread {quoted(self.thread_id)}"
        if self.checkpoint_id is not None:
            place += f", checkpoint {quoted(self.checkpoint_id)}"
        if self.checkpoint_ns:
            place += f", namespace {quoted(self.checkpoint_ns)}"
        return f"{place}: {self.reason}"


@dataclasses.dataclass
class Report:
    """What was done."""

    threads: int = 0
    """How many threads were looked at."""
    checkpoints: int = 0
    """How many checkpoints were copied, or would be in a dry run."""
    writes: int = 0
    """How many pending writes these have, and those that only lacked writes."""
    completed: int = 0
    """How many checkpoints were there already, but not all of their writes."""
    present: int = 0
    """How many checkpoints were there already, and equal."""
    source_digest: str = ""
    """The SHA-256 of all that was read from the source."""
    target_digest: str = ""
    """That of the same threads read back; empty for a dry run."""
    problem_count: int = 0
    problems: list[Problem] = dataclasses.field(default_factory=list)
    """The first thousand problems."""

    @property
    def equal(self) -> bool:
        """Whether everything was copied and both sides are the same."""
        return not self.problem_count and self.source_digest == self.target_digest


def migrate(
    source: Source,
    target: BaseRedisSaver,
    *,
    thread_ids: Iterable[str] | None = None,
    starting_with: str = "",
    dry_run: bool = False,
    on_progress: Callable[[Report], None] | None = None,
    on_problem: Callable[[Problem], None] | None = None,
) -> Report:
    """Copy threads from another saver, then read them back and compare.

    It may be interrupted and called again: what is there is passed over, and what is half there
    is completed. Nothing that is stored is replaced. Memory holds a checkpoint of the source, a
    page of the target, and the ids and digests of one thread.

    Args:
        source: Where the threads are, for example a ``PostgresSource``.
        target: The saver that they are copied to; ``setup()`` has been called on it.
        thread_ids: Only these threads. Default: all.
        starting_with: Only threads whose ids start with this.
        dry_run: Whether to read both sides and to write nothing.
        on_progress: Called after each checkpoint.
        on_problem: Called with each problem, also those that the report does not hold.

    Raises:
        SourceError: If the source cannot serve.
        RedisSaverError: If Redis cannot; ``retryable`` says whether it may later.
    """
    run = _Run(source, target, dry_run, on_progress, on_problem)
    for thread_id in run.selected(thread_ids, starting_with):
        run.thread(thread_id)
    return run.finished()


class _Run:
    """One call of :func:`migrate`."""

    def __init__(
        self,
        source: Source,
        target: BaseRedisSaver,
        dry_run: bool,
        on_progress: Callable[[Report], None] | None,
        on_problem: Callable[[Problem], None] | None,
    ) -> None:
        self._source = source
        self._target = target
        self._dry_run = dry_run
        self._on_progress = on_progress or (lambda report: None)
        self._on_problem = on_problem or (lambda problem: None)
        self._report = Report()
        self._source_digest = hashlib.sha256()
        self._target_digest = hashlib.sha256()

    def finished(self) -> Report:
        self._report.source_digest = self._source_digest.hexdigest()
        if not self._dry_run:
            self._report.target_digest = self._target_digest.hexdigest()
        return self._report

    def selected(self, thread_ids: Iterable[str] | None, starting_with: str) -> Iterator[str]:
        if thread_ids is not None:
            yield from (one for one in dict.fromkeys(thread_ids) if one.startswith(starting_with))
            return
        for thread_id in self._asked(self._source.threads()):
            if thread_id.startswith(starting_with):
                yield thread_id

    def thread(self, thread_id: str) -> None:
        """Copy a thread and compare both sides of it."""
        before = self._stored(thread_id)
        if before is None:
            return
        wrote = False
        wanted: _Digests = {}
        count = 0
        for space, identity in self._asked(self._source.checkpoints(thread_id)):
            count += 1
            place = thread_id, space, identity
            found = self._read(place)
            if found is not None:
                found = found._replace(tuple=_with_text_versions(found.tuple))
                try:
                    digests = self._digests_of(found)
                    wrote |= self._copy(place, found, digests, before.get((space, identity)))
                    wanted[space, identity] = digests
                except _OF_A_CHECKPOINT as error:
                    self._note("unreadable", place, f"it cannot be stored: {error}")
            self._on_progress(self._report)
        if not count:
            self._note("missing", (thread_id, None, None), "the source has no such thread")
            return
        self._report.threads += 1
        self._add(self._source_digest, thread_id, wanted)
        if not self._dry_run:
            after = self._stored(thread_id) if wrote else before
            if after is None:
                return
            self._add(self._target_digest, thread_id, after)
            self._compare(thread_id, wanted, after)
        self._on_progress(self._report)

    def _asked(self, answers: Iterable[Any]) -> Iterator[Any]:
        """What the source gives, its driver's exceptions made ours."""
        try:
            yield from answers
        except self._source.unavailable as error:
            raise self._gone(error) from error

    def _gone(self, error: Exception) -> SourceUnavailableError:
        text = " ".join(str(error).split())
        return SourceUnavailableError(
            f"the {self._source.name} source failed: {type(error).__name__}: {text}"
        )

    def _read(self, place: tuple[str, str, str]) -> SourceCheckpoint | None:
        """Read a checkpoint of the source; none, and a problem, if it cannot be read in full."""
        try:
            with noticing_plain_data() as plain:
                found = self._source.read(*place)
        except self._source.unavailable as error:
            raise self._gone(error) from error
        except SourceError as error:
            self._note("unreadable", place, str(error))
            return None
        except Exception as error:
            text = " ".join(str(error).split())
            self._note(
                "unreadable", place, f"the source cannot read it: {type(error).__name__}: {text}"
            )
            return None
        if plain:
            self._note(
                "unreadable",
                place,
                f"values of {', '.join(plain)} would be copied as plain data: run where the "
                "application's modules can be imported, without LANGGRAPH_STRICT_MSGPACK",
            )
            return None
        return found

    def _digests_of(self, found: SourceCheckpoint) -> tuple[bytes, bytes]:
        writes = [(write.task_id, write.channel, write.value) for write in found.writes]
        return checkpoint_digests(found.tuple, writes)

    def _copy(
        self,
        place: tuple[str, str, str],
        found: SourceCheckpoint,
        digests: tuple[bytes, bytes],
        there: tuple[bytes, bytes] | None,
    ) -> bool:
        """Store what is not there; say whether anything was."""
        if there == digests:
            self._report.present += 1
            return False
        if there is not None and there[0] != digests[0]:
            if self._dry_run:
                self._note("differs", place, _OTHER)
            return False
        self._store(place, found, with_checkpoint=there is None)
        if there is None:
            self._report.checkpoints += 1
        else:
            self._report.completed += 1
        self._report.writes += len(found.writes)
        return True

    def _store(
        self, place: tuple[str, str, str], found: SourceCheckpoint, *, with_checkpoint: bool
    ) -> None:
        """Store a checkpoint and its writes; in a dry run, only find out whether that works."""
        thread_id, space, identity = place
        parent = (found.tuple.parent_config or {"configurable": {}})["configurable"]
        under = _config(thread_id, space, parent.get("checkpoint_id"))
        checkpoint, metadata = found.tuple.checkpoint, found.tuple.metadata
        own = _config(thread_id, space, identity)
        calls = list(calls_of(found.writes))
        # What cannot be stored is found before anything is.
        for task_id, task_path, writes in calls:
            self._target._write_arguments(own, writes, task_id, task_path)
        if self._dry_run:
            self._target._put_arguments(under, checkpoint, metadata)
            return
        if with_checkpoint:
            self._target.put(under, checkpoint, metadata, checkpoint["channel_versions"])
        for task_id, task_path, writes in calls:
            self._target.put_writes(own, writes, task_id, task_path)

    def _stored(self, thread_id: str) -> _Digests | None:
        """The digests of what the target has of a thread; none, and a problem, if unreadable."""
        found: _Digests = {}
        try:
            for one in self._target.list({"configurable": {"thread_id": thread_id}}):
                place = one.config["configurable"]
                key = place["checkpoint_ns"], place["checkpoint_id"]
                found[key] = checkpoint_digests(one, one.pending_writes or [])
        except _OF_A_CHECKPOINT as error:
            self._note("differs", (thread_id, None, None), f"the target's cannot be read: {error}")
            return None
        return found

    @staticmethod
    def _add(digest: Any, thread_id: str, digests: _Digests) -> None:
        thread = thread_id.encode("utf-8", "surrogatepass")
        digest.update(b"%d:%b%d:" % (len(thread), thread, len(digests)))
        for _, (_, whole) in sorted(digests.items()):
            digest.update(whole)

    def _compare(self, thread_id: str, wanted: _Digests, stored: _Digests) -> None:
        for (space, identity), digests in wanted.items():
            there = stored.get((space, identity))
            if there == digests:
                continue
            if there is None:
                reason = "it is not in the target"
            elif there[0] != digests[0]:
                reason = _OTHER
            else:
                reason = "its pending writes are others in the target"
            self._note("differs", (thread_id, space, identity), reason)
        for space, identity in sorted(stored.keys() - wanted.keys()):
            reason = "only the target has it"
            self._note("differs", (thread_id, space, identity), reason)

    def _note(
        self,
        kind: Literal["missing", "unreadable", "differs"],
        place: tuple[str, str | None, str | None],
        reason: str,
    ) -> None:
        problem = Problem(kind, *place, reason)
        self._report.problem_count += 1
        if len(self._report.problems) < _MOST_PROBLEMS:
            self._report.problems.append(problem)
        self._on_problem(problem)


_OTHER = "the target has another checkpoint under this id, which was left"


def _with_text_versions(found: CheckpointTuple) -> CheckpointTuple:
    """The tuple with versions of channels as this package's savers make them.

    Those of some savers are numbers, and LangGraph compares the ones that are there with the ones
    that its saver makes: a thread with numbers could not go on here.
    """
    checkpoint: dict[str, Any] = dict(found.checkpoint)
    versions = checkpoint.get("channel_versions") or {}
    checkpoint["channel_versions"] = {name: _text_of(it) for name, it in versions.items()}
    seen = checkpoint.get("versions_seen") or {}
    checkpoint["versions_seen"] = {
        node: {name: _text_of(it) for name, it in one.items()} for node, one in seen.items()
    }
    return found._replace(checkpoint=cast(Checkpoint, checkpoint))


def _text_of(version: Any) -> Any:
    """A version as text that sorts as the number does."""
    if isinstance(version, (int, float)):
        whole = int(version)
        return f"{whole:032}.{f'{version - whole:.6f}'[2:] if version != whole else '0'}"
    return version


def _config(thread_id: str, space: str, identity: str | None) -> RunnableConfig:
    place = {"thread_id": thread_id, "checkpoint_ns": space}
    if identity:
        place["checkpoint_id"] = identity
    return {"configurable": place}


def calls_of(
    writes: Sequence[Write],
) -> Iterator[tuple[str, str, list[tuple[str, Any]]]]:
    """The calls of ``put_writes`` that store these writes at their positions.

    A call gives a write of an ordinary channel the position that it has in the call, so a special
    write, whose position is always the same, stands in each gap.
    """
    tasks: dict[tuple[str, str], list[Write]] = {}
    for write in writes:
        tasks.setdefault((write.task_id, write.task_path), []).append(write)
    for (task_id, task_path), group in tasks.items():
        special = [(one.channel, one.value) for one in group if one.channel in WRITES_IDX_MAP]
        call: list[tuple[str, Any]] = []
        for one in sorted(group, key=lambda write: write.idx):
            if one.channel in WRITES_IDX_MAP:
                continue
            while len(call) < one.idx and special:
                call.append(special.pop())
            call.append((one.channel, one.value))
        yield task_id, task_path, call + special
