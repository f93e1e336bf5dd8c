"""URLs with passwords: where they come from, and how they stay out of messages."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Mapping
from urllib.parse import unquote

from ..errors import ConfigError

__all__ = ["redacted", "url_of"]

_HIDDEN = "***"


def url_of(
    option: str,
    given: str | None,
    file: str | None,
    variables: tuple[str, ...],
    environment: Mapping[str, str] = os.environ,
) -> str:
    """The URL of an option, of the file that another option names, or of the environment.

    Raises:
        ConfigError: If there is none.
    """
    if given is not None and file is not None:
        raise ConfigError(f"{option} and {option}-file are both given: leave one out")
    if file is not None:
        try:
            given = pathlib.Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise ConfigError(f"{option}-file cannot be read: {reason}") from None
    if given is None:
        given = next((environment[name] for name in variables if environment.get(name)), None)
    if not given:
        raise ConfigError(f"there is no URL: set {variables[0]}, or give {option}-file or {option}")
    return given


def redacted(text: str, *urls: str) -> str:
    """A message without the URLs and what in them may be a password."""
    for secret in sorted({one for url in urls for one in _secrets(url)}, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return text


def _secrets(url: str) -> list[str]:
    """The URL; its passwords, as they stand and decoded; their parts, if they were cut wrongly."""
    found = [url] if "@" in url or "=" in url else []
    # Up to the last @: a password that is not percent-encoded may have one, too.
    before, at, _ = url.partition("://")[2].rpartition("@")
    if at:
        password = before.partition(":")[2]
        parts = re.split(r"[:/?#@\[\]]", password)
        found += [password, *(part for part in parts if len(part) > 2)]
    for value in re.findall(r"(?i)pass(?:word|wd|file|phrase)?\s*=\s*('[^']*'|[^\s&;]+)", url):
        found += [value, value.strip("'")]
    found += [unquote(one) for one in found]
    return [one for one in found if one]
