"""Which classes named in stored data may be built.

The rules are those of LangGraph's own msgpack serializer, and one more: a
class that is allowed is still built only if it is of a kind that this package
knows (a pydantic model, a dataclass, an enum, a named tuple, a subclass of a
built-in type, or one of LangGraph's safe types). Nothing else that data may
name is ever called.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import Any, Literal

from langgraph.checkpoint.serde import _msgpack

try:
    from langgraph.checkpoint.serde.event_hooks import emit_serde_event
except ImportError:  # older langgraph-checkpoint

    def emit_serde_event(event: Any) -> None:  # type: ignore[misc]
        """Do nothing: this LangGraph has no such events."""


logger = logging.getLogger(__name__)

Allowed = set[tuple[str, ...]] | Literal[True] | None

SAFE: frozenset[tuple[str, ...]] = frozenset(getattr(_msgpack, "SAFE_MSGPACK_TYPES", ()))

_MAX_WARNED = 1000
_warned: set[tuple[str, ...]] = set()


def strict_from_environment() -> bool:
    """Say whether ``LANGGRAPH_STRICT_MSGPACK`` is set."""
    known = getattr(_msgpack, "STRICT_MSGPACK_ENABLED", None)
    if known is not None:
        return bool(known)
    value = os.getenv("LANGGRAPH_STRICT_MSGPACK", "false")
    return value.lower() in ("1", "true", "yes")


def warn_once(key: tuple[str, ...], message: str, *args: object) -> None:
    """Log a warning, the first time that it concerns ``key``."""
    if key in _warned or len(_warned) >= _MAX_WARNED:
        return
    _warned.add(key)
    logger.warning(message, *args)


class Gate:
    """Decides which classes may be built, and finds them."""

    def __init__(self, msgpack: Allowed, json: Allowed) -> None:
        self._msgpack = msgpack
        self._json = json

    def allows(self, module: str, qualname: str) -> bool:
        """Say whether the class may be built; LangGraph's rules."""
        name = qualname.rpartition(".")[2]
        key = (module, name)
        if (module, qualname) in SAFE:
            return True
        if self._json is True or (
            self._json and (*module.split("."), *qualname.split(".")) in self._json
        ):
            return True
        if self._msgpack is True:
            emit_serde_event(
                {"kind": "msgpack_unregistered_allowed", "module": module, "name": name}
            )
            warn_once(
                ("allowed", *key),
                "Deserializing unregistered type %s.%s from checkpoint. "
                "Set LANGGRAPH_STRICT_MSGPACK=true to block it, or add it to "
                "allowed_msgpack_modules to allow it explicitly: [(%r, %r)]",
                module,
                qualname,
                *key,
            )
            return True
        if self._msgpack and (key in self._msgpack or (module, qualname) in self._msgpack):
            return True
        emit_serde_event({"kind": "msgpack_blocked", "module": module, "name": name})
        warn_once(
            ("blocked", *key),
            "Blocked deserialization of %s.%s: not in allowed_msgpack_modules. "
            "Add to allowed_msgpack_modules to allow: [(%r, %r)]",
            module,
            qualname,
            *key,
        )
        return False

    def find(self, module: str, qualname: str) -> type | None:
        """Find an allowed class; None if it is refused or is not there."""
        if not self.allows(module, qualname):
            return None
        found = find_class(module, qualname)
        if found is None:
            warn_once(
                ("missing", module, qualname),
                "There is no class %s.%s; its plain data is returned instead.",
                module,
                qualname,
            )
        return found


def find_class(module: str, qualname: str) -> type | None:
    """Find a class by name, importing its module if need be."""
    try:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
        for step in qualname.split("."):
            found = getattr(found, step)
    except Exception:
        return None
    return found if isinstance(found, type) else None
