"""A digest of a checkpoint that is the same for equal values of the same types."""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple

from .._describe import describe

__all__ = ["checkpoint_digests", "digest_of"]

_Pairs = list[tuple[Any, Any]]


def checkpoint_digests(
    found: CheckpointTuple, writes: Iterable[tuple[str, str, Any]]
) -> tuple[bytes, bytes]:
    """The digest of a checkpoint without its pending writes, and with them.

    It covers the ids, the parent, all of the checkpoint, the metadata and the writes in their
    order. The order of channels and of the metadata's keys, which savers do not keep, is not in it.
    """
    place = found.config["configurable"]
    parent = (found.parent_config or {"configurable": {}})["configurable"].get("checkpoint_id")
    checkpoint: dict[str, Any] = dict(found.checkpoint)
    for name in ("channel_values", "channel_versions"):
        checkpoint[name] = _sorted(checkpoint.get(name) or {})
    seen = checkpoint.get("versions_seen") or {}
    checkpoint["versions_seen"] = _sorted({node: _sorted(seen[node]) for node in seen})
    if not checkpoint.get("pending_sends"):
        # Of old versions; an empty one is stored as none.
        checkpoint.pop("pending_sends", None)
    metadata: dict[str, Any] = dict(found.metadata)
    if isinstance(metadata.get("run_id"), uuid.UUID):
        # Stored as text.
        metadata["run_id"] = str(metadata["run_id"])
    names = [str(place["thread_id"]), place.get("checkpoint_ns", ""), place["checkpoint_id"]]
    head = digest_of([names, parent or None, _sorted(checkpoint), _sorted(metadata)])
    return head, digest_of([head, [list(write) for write in writes]])


def _sorted(values: Mapping[str, Any]) -> _Pairs:
    return sorted(values.items(), key=lambda item: item[0])


def digest_of(value: Any) -> bytes:
    """The SHA-256 of a value: its content, its types, the order of lists and of dicts.

    It does not recurse but for the members of sets, so that depth is no matter.
    """
    digest = hashlib.sha256()
    waiting = [value]
    while waiting:
        value = waiting.pop()
        cls = type(value)
        if value is None or cls is bool:
            digest.update(b"%r;" % value)
        elif cls is str:
            text = value.encode("utf-8", "surrogatepass")
            digest.update(b"s%d:" % len(text))
            digest.update(text)
        elif cls is int:
            digest.update(b"i%x;" % value)
        elif cls is float:
            digest.update(b"fnan;" if math.isnan(value) else b"f%b;" % value.hex().encode())
        elif cls is bytes or cls is bytearray:
            digest.update(b"%b%d:" % (b"b" if cls is bytes else b"a", len(value)))
            digest.update(value)
        elif cls is list or cls is tuple:
            digest.update(b"%b%d;" % (b"l" if cls is list else b"t", len(value)))
            waiting.extend(reversed(value))
        elif cls is dict:
            digest.update(b"d%d;" % len(value))
            for key, member in reversed(value.items()):
                waiting += (member, key)
        elif cls is set or cls is frozenset:
            digest.update(b"%b%d;" % (b"e" if cls is set else b"z", len(value)))
            for member in sorted(map(digest_of, value)):
                digest.update(member)
        else:
            payload, op, marker, extra = describe(value)
            digest.update(b"o")
            waiting += (extra, marker, op, payload, f"{cls.__module__}.{cls.__qualname__}")
    return digest.digest()
