"""LangChain's own classes, described once for the native code.

Their JSON form is that of ``Serializable.to_json``. The native code writes it
from a plan made here, and calls the classes with the kwargs that it reads, as
LangChain's ``Reviver`` does.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

from langchain_core.load import mapping
from langchain_core.load.serializable import Serializable
from langchain_core.messages import ai
from langgraph.checkpoint.serde.jsonplus import LC_REVIVER
from pydantic_core import PydanticUndefined

Plan = tuple[str, list[tuple[str, str, Any, bool]], list[str]]

_ATTRIBUTES = ["tool_calls", "invalid_tool_calls"]
_PLAIN_MEMBERS = ("to_json", "lc_secrets", "__iter__", "__getattribute__")
_MAX_FIELDS = 64


def _plan(cls: type[Serializable]) -> Plan | None:
    """Describe how instances are written; None if only ``to_json`` knows."""
    if any(getattr(cls, name) is not getattr(Serializable, name) for name in _PLAIN_MEMBERS):
        return None
    attributes: list[str] = []
    for base in cls.__mro__:
        if base is Serializable:
            break
        if "lc_attributes" in vars(base):
            if base.__module__ != ai.__name__:
                return None
            attributes = _ATTRIBUTES
    fields: list[tuple[str, str, Any, bool]] = []
    for name, field in cls.model_fields.items():
        if field.is_required():
            kind, default = "required", None
        elif field.default_factory is dict:
            kind, default = "dict", None
        elif field.default_factory is list:
            kind, default = "list", None
        else:
            default = field.get_default()
            kind, default = "value", None if default is PydanticUndefined else default
        fields.append((name, kind, default, bool(field.exclude)))
    if len(fields) > _MAX_FIELDS:
        return None
    head = {"lc": 1, "type": "constructor", "id": cls.lc_id()}
    prefix = json.dumps(head, separators=(",", ":"))[:-1] + ',"kwargs":'
    return prefix, fields, attributes


def classes() -> list[tuple[list[str], type]]:
    """List the messages and documents that LangChain revives, by their ``lc`` ids."""
    found: dict[tuple[str, ...], type] = {}
    tables = (
        mapping.SERIALIZABLE_MAPPING,
        mapping.OLD_CORE_NAMESPACES_MAPPING,
        mapping._OG_SERIALIZABLE_MAPPING,
        mapping._JS_SERIALIZABLE_MAPPING,
    )
    for table in tables:
        for old, new in table.items():
            if new[:2] not in (("langchain_core", "messages"), ("langchain_core", "documents")):
                continue
            cls = getattr(importlib.import_module(".".join(new[:-1])), new[-1], None)
            if not isinstance(cls, type) or not issubclass(cls, Serializable):
                continue
            for path in (old, new):
                if is_revived(path, cls):
                    found[path] = cls
    return [(list(path), cls) for path, cls in found.items()]


def is_revived(path: tuple[str, ...], cls: type) -> bool:
    """Say whether LangChain's reviver makes exactly ``cls`` from this ``lc`` id."""
    allowed = getattr(LC_REVIVER, "allowed_class_paths", None)
    if allowed is not None and path not in allowed:
        return False
    target = LC_REVIVER.import_mappings.get(path)
    if target is None:
        if path[0] in ("langchain", "langchain_community"):
            return False
        target = path
    if target[0] not in LC_REVIVER.valid_namespaces:
        return False
    try:
        return getattr(importlib.import_module(".".join(target[:-1])), target[-1]) is cls
    except (ImportError, AttributeError):
        return False


def plans(known: list[tuple[list[str], type]]) -> list[tuple[type, Plan]]:
    """Describe how the classes among ``known`` are written."""
    found: dict[type, Plan] = {}
    for _, cls in known:
        if not issubclass(cls, Serializable) or not cls.is_lc_serializable():
            continue
        if is_revived(tuple(cls.lc_id()), cls) and (plan := _plan(cls)):
            found[cls] = plan
    return list(found.items())


__all__ = ["Plan", "classes", "is_revived", "plans"]
