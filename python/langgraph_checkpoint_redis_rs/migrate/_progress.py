"""What a migration shows on stderr while it runs."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from ._copy import Problem, Report

__all__ = ["Progress", "plural"]

_TERMINAL_SECONDS = 0.2
_LOG_SECONDS = 30.0
_MOST_SHOWN = 100
"""How many problems are shown; all are counted."""


class Progress:
    """One line that changes on a terminal, and one from time to time elsewhere."""

    def __init__(self, *, quiet: bool, stream: TextIO | None = None) -> None:
        self._quiet = quiet
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._every = _TERMINAL_SECONDS if self._terminal else _LOG_SECONDS
        self._next = time.monotonic() + self._every
        self._line = ""
        self._shown = 0

    def report(self, report: Report) -> None:
        """Show how far it is, if the last time is long enough ago."""
        now = time.monotonic()
        if self._quiet or now < self._next:
            return
        self._next = now + self._every
        line = (
            f"{plural(report.threads, 'thread')}, {plural(report.checkpoints, 'checkpoint')} "
            f"copied, {report.present} there already"
        )
        if self._terminal:
            self._stream.write(f"\r{line.ljust(len(self._line))}")
            self._line = line
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def problem(self, problem: Problem) -> None:
        """Show a problem, on a line of its own."""
        self._shown += 1
        if self._shown <= _MOST_SHOWN:
            self.say(str(problem))
        elif self._shown == _MOST_SHOWN + 1:
            self.say("more problems are only counted")

    def say(self, text: str) -> None:
        """Write a line that stays."""
        self.clear()
        self._stream.write("".join(map(_visible, text)) + "\n")
        self._stream.flush()

    def clear(self) -> None:
        """Take the changing line away."""
        if self._line:
            self._stream.write(f"\r{' ' * len(self._line)}\r")
            self._line = ""


def plural(count: int, noun: str) -> str:
    """A number and its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _visible(character: str) -> str:
    """Stored text may have control characters, which a terminal would obey."""
    return character if character.isprintable() else character.encode("unicode_escape").decode()
