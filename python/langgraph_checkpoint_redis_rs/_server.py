"""What of a URL may be shown."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

__all__ = ["Server", "server_of"]


class Server(NamedTuple):
    """Where a saver stores, without any credentials."""

    address: str | None
    """The host, the first of several, or the path of a socket; none behind Sentinel."""
    port: int | None
    """The port, unless it is a socket."""
    database: str
    """The index of the database."""


def server_of(url: str) -> Server:
    """Say which server a URL names that has been checked."""
    parts = urlsplit(url)
    if "unix" in parts.scheme:
        return Server(parts.path, None, parse_qs(parts.query).get("db", ["0"])[-1])
    segments = [segment for segment in parts.path.split("/") if segment]
    if parts.scheme == "redis+sentinel":
        # The first is the name of the service.
        segments = segments[1:]
    database = segments[-1] if segments and segments[-1].isdecimal() else "0"
    if "sentinel" in parts.scheme:
        return Server(None, None, database)
    host = parts.netloc.rpartition("@")[2].partition(",")[0]
    name, mark, port = host.rpartition(":")
    if not mark or host.endswith("]"):
        name, port = host, ""
    return Server(name.strip("[]"), int(port or 6379), database)
