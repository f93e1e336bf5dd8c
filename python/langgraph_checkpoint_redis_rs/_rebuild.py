"""Building values of the types that JSON does not know.

Two ways lead here: a marker in the JSON (:meth:`Rebuilder.revive`), and a
hint (:meth:`Rebuilder.rebuild`). Both treat what they read as data that
anyone may have written: a class must be allowed by LangGraph's rules and be of
a known kind, and what cannot be built comes back as its plain data.

The operations of hints that name a type:

========================  ===========  =======================================
op and arguments          on           gives
========================  ===========  =======================================
``n`` module, class       list         named tuple
``e`` module, class       value        enum member of that value
``e`` module, class, name name         enum member of that name
``c`` module, class[, n]  builtin      instance of a subclass; part n holds its
                                       attributes
``s``, ``f``              list         set, frozenset
``dd`` factory            dict         defaultdict
``sec`` module, class     str, bytes   pydantic's SecretStr, SecretBytes
``g`` module, class, ...  model        the generic model with these parameters
``a``, n                  Send         the same with the timeout of part n
``x`` kind[, argument]    any          a fixed type, see ``_EXTRAS``
========================  ===========  =======================================
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import ipaddress
import pathlib
import re
import uuid
import zoneinfo
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.store.base import Item
from langgraph.types import Interrupt, Send
from pydantic import BaseModel, RootModel, SecretBytes, SecretStr

from ._allow import Gate, warn_once

_MISSING: Any = object()


def _legacy_set(*args: Any, **kwargs: Any) -> set[Any]:
    """A set; older Python savers put its items under a name of their own."""
    return set(kwargs["__set_items__"]) if "__set_items__" in kwargs else set(*args)


_SAFE_BUILDERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("builtins", "set"): _legacy_set,
    ("builtins", "frozenset"): frozenset,
    ("collections", "deque"): deque,
    ("datetime", "datetime"): datetime.datetime,
    ("datetime", "date"): datetime.date,
    ("datetime", "time"): datetime.time,
    ("datetime", "timedelta"): datetime.timedelta,
    ("datetime", "timezone"): datetime.timezone,
    ("decimal", "Decimal"): decimal.Decimal,
    ("re", "compile"): re.compile,
    ("uuid", "UUID"): uuid.UUID,
    ("zoneinfo", "ZoneInfo"): zoneinfo.ZoneInfo,
    (Item.__module__, Item.__name__): Item,
    **{
        ("ipaddress", cls.__name__): cls
        for cls in (
            ipaddress.IPv4Address,
            ipaddress.IPv4Interface,
            ipaddress.IPv4Network,
            ipaddress.IPv6Address,
            ipaddress.IPv6Interface,
            ipaddress.IPv6Network,
        )
    },
    **{
        (module, cls.__name__): cls
        for cls in (pathlib.Path, pathlib.PosixPath, pathlib.WindowsPath)
        for module in ("pathlib", "pathlib._local")
    },
}

_FACTORIES: dict[str | None, Any] = {
    factory.__name__: factory
    for factory in (list, dict, set, frozenset, tuple, int, float, str, bool, bytes)
}

_PURE_PATHS = {
    cls.__name__: cls for cls in (pathlib.PurePath, pathlib.PurePosixPath, pathlib.PureWindowsPath)
}

# The built-in types whose subclasses are built, and how; no method that the
# subclass defines is called.
_BASES: tuple[type, ...] = (
    str,
    int,
    float,
    bytes,
    bytearray,
    list,
    tuple,
    dict,
    set,
    frozenset,
    deque,
    datetime.datetime,
    datetime.time,
    datetime.date,
    datetime.timedelta,
    decimal.Decimal,
    uuid.UUID,
)


class Rebuilder:
    """Builds values from markers and hints."""

    def __init__(self, gate: Gate, revive_lc1: Callable[[dict[str, Any]], Any]) -> None:
        """``revive_lc1`` is LangChain's reviver."""
        self._gate = gate
        self._revive_lc1 = revive_lc1

    # --- markers ---

    def revive(self, form: dict[str, Any]) -> Any:
        """Build what a dict with a marker stands for; the dict if nothing."""
        try:
            if form.get("type") == "constructor" and form.get("lc") in (1, 2):
                return self._constructor(form)
            if form.get("__interrupt__") is True and "value" in form:
                return _interrupt(form)
            if form.get("__delta_snapshot__") is True and form.keys() == _SNAPSHOT_KEYS:
                return _DeltaSnapshot(form["value"])
            if form.get("__send__") is True and form.keys() == _SEND_KEYS:
                return Send(form["node"], form["arg"])
        except Exception as error:
            name = str(form.get("id", next(iter(form), "")))
            warn_once(("revive", name), "Could not rebuild %s: %s", name, type(error).__name__)
        return form

    def _constructor(self, form: dict[str, Any]) -> Any:
        path = form.get("id")
        if not isinstance(path, list) or len(path) < 2:
            return form
        if not all(isinstance(step, str) for step in path):
            return form
        module, name = ".".join(path[:-1]), path[-1]
        if form["lc"] == 1 and path != ["builtins", "set"]:
            return self._langchain(form)
        args, kwargs = form.get("args"), form.get("kwargs")
        args = args if isinstance(args, list) else []
        kwargs = kwargs if isinstance(kwargs, dict) else {}
        if (safe := _SAFE_BUILDERS.get((module, name))) is not None:
            return safe(*args, **kwargs)
        plain = kwargs or args or form
        cls = self._gate.find(module, name)
        if cls is None:
            return plain
        if issubclass(cls, BaseModel):
            return _model(cls, kwargs, form.get("private"))
        if dataclasses.is_dataclass(cls):
            rest = form.get("set")
            return _dataclass(cls, kwargs, rest if isinstance(rest, dict) else {})
        if _is_model_v1(cls):
            return _model_v1(cls, kwargs)
        return form

    def _langchain(self, form: dict[str, Any]) -> Any:
        """Build one of LangChain's own classes; its reviver says which."""
        kwargs = form.get("kwargs", {})
        value = self._revive_lc1(form)
        if isinstance(value, BaseModel) and _differs(value, kwargs):
            return _exact_model(type(value), kwargs)
        return value

    # --- hints ---

    def rebuild(self, value: Any, op: str, args: tuple[Any, ...]) -> Any:
        """Perform a hint; ``value`` itself if it does not fit."""
        try:
            if (method := _OPS.get(op)) is not None:
                return method(self, value, *args)
        except Exception as error:
            name = " ".join((op, *(arg for arg in args if isinstance(arg, str))))
            warn_once(("hint", name), "Could not rebuild %s: %s", name, type(error).__name__)
        return value

    def _named_tuple(self, value: Any, module: str, name: str) -> Any:
        if not isinstance(value, list):
            return value
        cls = self._gate.find(module, name)
        fields = getattr(cls, "_fields", None)
        if cls is None or not issubclass(cls, tuple) or not isinstance(fields, tuple):
            return tuple(value)
        return tuple.__new__(cls, value) if len(fields) == len(value) else tuple(value)

    def _enum(self, value: Any, module: str, name: str, member: str | None = None) -> Any:
        cls = self._gate.find(module, name)
        if cls is None or not issubclass(cls, enum.Enum):
            return value
        return cls(value) if member is None else cls.__members__[member]

    def _subclass(self, value: Any, module: str, name: str, state: Any = None) -> Any:
        cls = self._gate.find(module, name)
        base = type(value)
        if cls is None or base not in _BASES or not issubclass(cls, base):
            return value
        if issubclass(cls, enum.Enum):
            return value
        result = _copy_into(cls, base, value)
        if isinstance(state, dict) and hasattr(result, "__dict__"):
            result.__dict__.update(state)
        return result

    def _set(self, value: Any) -> Any:
        return set(value) if isinstance(value, list) else value

    def _frozenset(self, value: Any) -> Any:
        return frozenset(value) if isinstance(value, list) else value

    def _defaultdict(self, value: Any, factory: str | None) -> Any:
        if not isinstance(value, dict) or not self._gate.allows("collections", "defaultdict"):
            return value
        return defaultdict(_FACTORIES.get(factory), value)

    def _generic(self, value: Any, *names: str) -> Any:
        if not isinstance(value, BaseModel):
            return value
        parameters: list[type] = []
        for module, name in zip(names[::2], names[1::2], strict=True):
            known = _FACTORIES.get(name) if module == "builtins" else None
            parameter = known or self._gate.find(module, name)
            if parameter is None:
                return value
            parameters.append(parameter)
        result = object.__new__(type(value)[tuple(parameters)])  # type: ignore[index]
        for slot in _MODEL_STATE:
            object.__setattr__(result, slot, getattr(value, slot))
        return result

    def _secret(self, value: Any, module: str, name: str) -> Any:
        cls = self._gate.find(module, name)
        if cls is None or not issubclass(cls, (SecretStr, SecretBytes)):
            return value
        return cls(value)

    def _send_timeout(self, value: Any, timeout: Any) -> Any:
        if not isinstance(value, Send):
            return value
        return Send(value.node, value.arg, timeout=timeout)

    def _extra(self, value: Any, kind: str, *args: Any) -> Any:
        build = _EXTRAS.get(kind)
        return value if build is None else build(self, value, *args)

    def _path(self, value: Any, name: str) -> Any:
        if name not in _PURE_PATHS or not isinstance(value, str):
            return value
        return _PURE_PATHS[name](value) if self._gate.allows("pathlib", name) else value

    def _numpy(self, value: Any, *args: Any) -> Any:
        from . import _numpy

        return _numpy.rebuild(value, *args)

    def _pandas(self, value: Any) -> Any:
        from . import _pandas

        return _pandas.rebuild(value)


_OPS: dict[str, Callable[..., Any]] = {
    "n": Rebuilder._named_tuple,
    "e": Rebuilder._enum,
    "c": Rebuilder._subclass,
    "s": Rebuilder._set,
    "f": Rebuilder._frozenset,
    "dd": Rebuilder._defaultdict,
    "g": Rebuilder._generic,
    "sec": Rebuilder._secret,
    "a": Rebuilder._send_timeout,
    "x": Rebuilder._extra,
}

_EXTRAS: dict[str, Callable[..., Any]] = {
    "path": Rebuilder._path,
    "memoryview": lambda _, value: memoryview(value) if isinstance(value, bytes) else value,
    "complex": lambda _, value: complex(*value),
    "range": lambda _, value: range(*value),
    "numpy": Rebuilder._numpy,
    "pandas": Rebuilder._pandas,
}

_MODEL_STATE = (
    "__dict__",
    "__pydantic_fields_set__",
    "__pydantic_extra__",
    "__pydantic_private__",
)
_SNAPSHOT_KEYS = {"__delta_snapshot__", "value"}
_SEND_KEYS = {"__send__", "node", "arg"}


def _interrupt(form: dict[str, Any]) -> Interrupt:
    fields = {field.name for field in dataclasses.fields(Interrupt)}
    return Interrupt(**{name: form[name] for name in form if name in fields})


def _copy_into(cls: type, base: type, value: Any) -> Any:
    """Make an instance of ``cls``, a subclass of ``base``, that holds ``value``."""
    if base in (list, dict, set, bytearray, deque):
        result: Any = base.__new__(cls)
        if base is list:
            list.extend(result, value)
        elif base is dict:
            # An OrderedDict keeps its order apart.
            fill = OrderedDict if issubclass(cls, OrderedDict) else dict
            for key, item in value.items():
                fill.__setitem__(result, key, item)
        elif base is set:
            set.update(result, value)
        elif base is deque:
            deque.__init__(result, value, value.maxlen)
        else:
            bytearray.extend(result, value)
        return result
    if base is uuid.UUID:
        result = uuid.UUID.__new__(cls)
        object.__setattr__(result, "int", value.int)
        object.__setattr__(result, "is_safe", value.is_safe)
        return result
    if base is datetime.datetime:
        clock = (value.hour, value.minute, value.second, value.microsecond, value.tzinfo)
        day = (value.year, value.month, value.day)
        return datetime.datetime.__new__(cls, *day, *clock, fold=value.fold)
    if base is datetime.time:
        clock = (value.hour, value.minute, value.second, value.microsecond, value.tzinfo)
        return datetime.time.__new__(cls, *clock, fold=value.fold)
    if base is datetime.date:
        return datetime.date.__new__(cls, value.year, value.month, value.day)
    if base is datetime.timedelta:
        parts = (value.days, value.seconds, value.microseconds)
        return datetime.timedelta.__new__(cls, *parts)
    return base.__new__(cls, value)


# --- models and dataclasses ---

# The types under which the Python saver may have stored something else.
_DEGRADED = (str, list, int, dict, type(None))


def _same(left: Any, right: Any) -> bool:
    try:
        return bool(left == right)
    except Exception:
        return True


def _differs(built: Any, fields: dict[str, Any]) -> bool:
    """Say whether a constructor changed a value that was stored exactly.

    A value of another type that the Python saver could only store as a string
    or a list is right as the constructor converts it.
    """
    for name, stored in fields.items():
        value = getattr(built, name, _MISSING)
        if value is stored or value is _MISSING:
            continue
        if type(value) is type(stored):
            if not _same(value, stored):
                return True
        elif type(stored) not in _DEGRADED:
            return True
    return False


def _model(cls: type[BaseModel], kwargs: dict[str, Any], private: Any) -> BaseModel:
    try:
        aliased = any(
            field.validation_alias is not None for field in cls.__pydantic_fields__.values()
        )
        if aliased and kwargs.keys() <= cls.__pydantic_fields__.keys():
            result = _exact_model(cls, kwargs)
        else:
            result = cls(kwargs["root"]) if issubclass(cls, RootModel) else cls(**kwargs)
            if _differs(result, kwargs):
                result = _exact_model(cls, kwargs)
    except Exception:
        result = _exact_model(cls, kwargs)
    if isinstance(private, dict) and cls.__private_attributes__:
        known = {name: private[name] for name in cls.__private_attributes__ if name in private}
        state = {**(result.__pydantic_private__ or {}), **known}
        object.__setattr__(result, "__pydantic_private__", state)
    return result


def _exact_model(cls: type[BaseModel], kwargs: dict[str, Any]) -> BaseModel:
    """Build a model of these values as they are."""
    result = cls.model_construct(**kwargs)
    fields = {name: kwargs[name] for name in cls.__pydantic_fields__ if name in kwargs}
    result.__dict__.update(fields)
    return result


def _is_model_v1(cls: type) -> bool:
    return any(
        base.__module__ == "pydantic.v1.main" and base.__name__ == "BaseModel"
        for base in cls.__mro__
    )


def _model_v1(cls: Any, kwargs: dict[str, Any]) -> Any:
    try:
        result = cls(**kwargs)
        if not _differs(result, kwargs):
            return result
    except Exception:
        pass
    result = cls.construct(**kwargs)
    result.__dict__.update({name: kwargs[name] for name in cls.__fields__ if name in kwargs})
    return result


def _dataclass(cls: type, kwargs: dict[str, Any], rest: dict[str, Any]) -> Any:
    fields = {field.name: field for field in dataclasses.fields(cls)}
    stored = {name: value for name, value in {**kwargs, **rest}.items() if name in fields}
    try:
        result = cls(**{name: value for name, value in kwargs.items() if fields[name].init})
        exact = not _differs(result, stored)
    except Exception:
        result, exact = object.__new__(cls), False
        for field in fields.values():
            if field.default is not dataclasses.MISSING:
                object.__setattr__(result, field.name, field.default)
            elif field.default_factory is not dataclasses.MISSING:
                object.__setattr__(result, field.name, field.default_factory())
    if not exact:
        for name, value in stored.items():
            object.__setattr__(result, name, value)
    return result
