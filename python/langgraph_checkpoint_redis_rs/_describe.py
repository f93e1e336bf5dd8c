"""What is stored for a value of a type that JSON does not know.

The native code asks :func:`describe` about each such value. The answer is a
tuple ``(payload, op, marker, extra)``:

* ``payload`` is written in the value's place; with ``marker`` it is a dict
  that stands for something else (``lc``, ``__send__`` and the like), which
  the Python saver knows as well;
* ``op``, if any, is the name and the arguments of the hint that gives back
  what the payload lost, see :mod:`._rebuild`;
* ``extra``, if not None, is a value stored in the hints, as the last argument.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import ipaddress
import pathlib
import re
import types
import uuid
import weakref
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

from langchain_core.load.serializable import Serializable
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.store.base import Item
from langgraph.types import Interrupt, Send
from pydantic import BaseModel, SecretBytes, SecretStr

from ._allow import find_class, warn_once
from ._langchain import is_revived
from ._native import UnstorableValueError

Answer = tuple[Any, "tuple[str | None, ...] | None", bool, Any]
Handler = Callable[[Any], Answer]

_FACTORIES: dict[Any, str] = {
    factory: factory.__name__
    for factory in (list, dict, set, frozenset, tuple, int, float, str, bool, bytes)
}


def describe(value: Any) -> Answer:
    """Say what to write in place of ``value``."""
    cls = type(value)
    handler = _exact.get(cls) or _found.get(cls)
    if handler is None:
        handler = _found[cls] = _handler(cls)
    return handler(value)


def name_of_key(key: Any) -> str:
    """Make a JSON name for a dict key that is no string."""
    if isinstance(key, enum.Enum):
        key = key.value
    if key is None:
        return "null"
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, (datetime.date, datetime.time)):
        return key.isoformat()
    try:
        return str(key).encode("utf-8", "replace").decode()
    except Exception:
        return type(key).__name__


def dropped(marker: dict[str, Any], reason: str) -> None:
    """Warn that the private attributes of a model are not stored."""
    name = ".".join(marker["id"])
    warn_once(("private", name), "Private attributes of %s are not stored: %s", name, reason)


def envelope(cls_id: tuple[str, str], **content: Any) -> Answer:
    """Answer with a constructor envelope."""
    module, name = cls_id
    head = {"lc": 2, "type": "constructor", "id": [*module.split("."), name]}
    return head | content, None, True, None


def class_id(cls: type) -> tuple[str, str]:
    """Name a class; warn if the name will not lead back to it."""
    module, name = cls.__module__, cls.__qualname__
    if find_class(module, name) is not cls:
        warn_once(
            ("local", module, name),
            "%s.%s cannot be found by its name: its values will come back as plain data. "
            "Define it at the top level of a module.",
            module,
            name,
        )
    return module, name


def _args(module: str, name: str, values: Callable[[Any], list[Any]]) -> Handler:
    return lambda value: envelope((module, name), args=values(value))


def _unstorable(value: Any) -> Answer:
    cls = type(value)
    if isinstance(value, type):
        what = f"a class ({value.__module__}.{value.__qualname__})"
    elif isinstance(value, (types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
        what = f"a function ({getattr(value, '__qualname__', '?')})"
    elif isinstance(value, types.GeneratorType):
        what = "a generator"
    elif isinstance(value, types.ModuleType):
        what = f"a module ({value.__name__})"
    else:
        what = f"an object of type {cls.__module__}.{cls.__qualname__}"
    raise UnstorableValueError(f"{what} cannot be stored")


# --- the standard library ---


def _zone(zone: datetime.tzinfo | None, moment: Any) -> datetime.tzinfo | None:
    """The zone itself if it can be stored, else its offset, as LangGraph does."""
    if zone is None or type(zone) in (datetime.timezone, zoneinfo.ZoneInfo):
        return zone
    offset = moment.utcoffset()
    return None if offset is None else datetime.timezone(offset)


def _moment(name: str, fields: tuple[str, ...]) -> Handler:
    def handle(value: Any) -> Answer:
        zone = _zone(value.tzinfo, value)
        args = [getattr(value, field) for field in fields]
        if zone is not None:
            args.append(zone)
        answer = envelope(("datetime", name), args=args)
        if value.fold:
            answer[0]["kwargs"] = {"fold": value.fold}
        return answer

    return handle


_CLOCK = ("hour", "minute", "second", "microsecond")
_datetime = _moment("datetime", ("year", "month", "day", *_CLOCK))
_time = _moment("time", _CLOCK)
_date = _args("datetime", "date", lambda value: [value.year, value.month, value.day])
_timedelta = _args(
    "datetime", "timedelta", lambda value: [value.days, value.seconds, value.microseconds]
)
_decimal = _args("decimal", "Decimal", lambda value: [str(value)])
_uuid = _args("uuid", "UUID", lambda value: [str(value)])


def _timezone(value: datetime.timezone) -> Answer:
    return envelope(("datetime", "timezone"), args=list(value.__getinitargs__()))  # type: ignore[attr-defined]


def _zoneinfo(value: zoneinfo.ZoneInfo) -> Answer:
    if value.key is None:
        raise UnstorableValueError("a ZoneInfo without a key cannot be stored")
    return envelope(("zoneinfo", "ZoneInfo"), args=[value.key])


def _pattern(value: re.Pattern[Any]) -> Answer:
    return envelope(("re", "compile"), args=[value.pattern, value.flags])


def _path(value: pathlib.PurePath) -> Answer:
    name = type(value).__name__
    if isinstance(value, pathlib.Path):
        return envelope(("pathlib", name), args=[str(value)])
    return str(value), ("x", "path", name), False, None


_SCALARS = (str, int, float, bool, type(None))


def _plain_set(value: Any) -> bool:
    """Say whether the Python saver can hold all elements in a set."""
    return all(type(item) in _SCALARS or type(item) in _IN_SETS for item in value)


def _set(value: set[Any]) -> Answer:
    items = list(value)
    if _plain_set(items):
        return envelope(("builtins", "set"), args=[items])
    return items, ("s",), False, None


def _frozenset(value: frozenset[Any]) -> Answer:
    items = list(value)
    if _plain_set(items):
        return envelope(("builtins", "frozenset"), args=[items])
    return items, ("f",), False, None


def _deque(value: deque[Any]) -> Answer:
    args: list[Any] = [list(value)]
    if value.maxlen is not None:
        args.append(value.maxlen)
    return envelope(("collections", "deque"), args=args)


def _defaultdict(value: defaultdict[Any, Any]) -> Answer:
    factory = value.default_factory
    name = None
    if factory is not None:
        name = _FACTORIES.get(factory)
        if name is None:
            warn_once(
                ("factory", repr(factory)),
                "The default_factory of a defaultdict (%r) is not stored.",
                factory,
            )
    return dict(value), ("dd", name), False, None


def _subclass(base: type, plain: Callable[[Any], Any]) -> Handler:
    """A handler for subclasses of a built-in type: its value, and the class."""

    def handle(value: Any) -> Answer:
        state = getattr(value, "__dict__", None) or None
        if state is not None:
            state = dict(state)
        return plain(value), ("c", *class_id(type(value))), False, state

    return handle


def _naive(value: Any) -> Any:
    """The ``datetime`` or ``time`` that a subclass's instance holds."""
    base: Any = datetime.datetime if isinstance(value, datetime.datetime) else datetime.time
    fields = ("year", "month", "day", *_CLOCK) if base is datetime.datetime else _CLOCK
    args = [getattr(value, field) for field in fields]
    return base(*args, tzinfo=_zone(value.tzinfo, value), fold=value.fold)


_SUBCLASSES: tuple[tuple[type, Handler], ...] = tuple(
    (base, _subclass(base, plain))
    for base, plain in (
        (str, str.__str__),
        (int, int.__int__),
        (float, float.__float__),
        (bytes, lambda value: bytes(memoryview(value))),
        (bytearray, lambda value: bytearray(memoryview(value))),
        (list, lambda value: list(list.__iter__(value))),
        (tuple, lambda value: tuple(tuple.__iter__(value))),
        (dict, lambda value: dict(dict.items(value))),
        (set, lambda value: set(set.__iter__(value))),
        (frozenset, lambda value: frozenset(frozenset.__iter__(value))),
        (deque, lambda value: deque(deque.__iter__(value), value.maxlen)),
        (datetime.datetime, _naive),
        (datetime.time, _naive),
        (datetime.date, lambda value: datetime.date(value.year, value.month, value.day)),
        (
            datetime.timedelta,
            lambda value: datetime.timedelta(value.days, value.seconds, value.microseconds),
        ),
        (decimal.Decimal, lambda value: decimal.Decimal(value)),
        (uuid.UUID, lambda value: uuid.UUID(int=value.int)),
    )
)


# --- enums, dataclasses, models ---


def _enum(value: enum.Enum) -> Answer:
    plain = value.value
    cls_id = class_id(type(value))
    if isinstance(value, enum.Flag) or _is_plain(plain):
        return plain, ("e", *cls_id), False, None
    return value.name, ("e", *cls_id, value.name), False, None


def _is_plain(value: Any) -> bool:
    """Say whether an enum can be found again by this value of a member."""
    if type(value) is tuple:
        return all(map(_is_plain, value))
    return type(value) in (*_SCALARS, bytes) and value == value  # not NaN


def _named_tuple(value: tuple[Any, ...]) -> Answer:
    return list(value), ("n", *class_id(type(value))), False, None


def _dataclass(value: Any) -> Answer:
    kwargs: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        try:
            (kwargs if field.init else rest)[field.name] = getattr(value, field.name)
        except AttributeError:
            continue
    content: dict[str, Any] = {"kwargs": kwargs}
    if rest:
        content["set"] = rest
    return envelope(class_id(type(value)), **content)


def _model(value: BaseModel) -> Answer:
    cls = type(value)
    state = value.__dict__
    kwargs = {name: state[name] for name in cls.__pydantic_fields__ if name in state}
    if value.__pydantic_extra__:
        kwargs |= value.__pydantic_extra__
    content: dict[str, Any] = {"kwargs": kwargs}
    private = getattr(value, "__pydantic_private__", None)
    if private:
        content["private"] = dict(private)
    generic = _generic(cls)
    if generic is None:
        return envelope(class_id(cls), **content)
    origin, names = generic
    payload, _, marker, extra = envelope(class_id(origin), **content)
    return payload, ("g", *names), marker, extra


def _generic(cls: type[BaseModel]) -> tuple[type, list[str]] | None:
    """The class and the names of the parameters of a generic model like ``Box[int]``."""
    generic = cls.__pydantic_generic_metadata__
    origin, names = generic["origin"], []
    for parameter in generic["args"]:
        if not isinstance(parameter, type):
            return None
        module, name = parameter.__module__, parameter.__qualname__
        if find_class(module, name) is not parameter:
            return None
        names += [module, name]
    return (origin, names) if origin is not None and names else None


def _model_v1(value: Any) -> Answer:
    return envelope(class_id(type(value)), kwargs=dict(value.__dict__))


def _langchain(value: Serializable) -> Answer:
    """Anything that LangChain itself stores and revives, such as a prompt."""
    form = value.to_json()
    if form["type"] != "constructor":
        return _model(value)
    return dict(form), None, True, None


def _secret(value: Any) -> Answer:
    return value.get_secret_value(), ("sec", *class_id(type(value))), False, None


# --- LangGraph ---


def _interrupt(value: Interrupt) -> Answer:
    form = {"__interrupt__": True, "value": value.value}
    for field in dataclasses.fields(value):
        if field.name == "value":
            continue
        content = getattr(value, field.name)
        if field.name != "response_schema" or content is not None:
            form[field.name] = content
    return form, None, True, None


def _send(value: Send) -> Answer:
    form = {"__send__": True, "node": value.node, "arg": value.arg}
    timeout = getattr(value, "timeout", None)
    return form, None if timeout is None else ("a",), True, timeout


def _snapshot(value: _DeltaSnapshot) -> Answer:
    return {"__delta_snapshot__": True, "value": value.value}, None, True, None


def _item(value: Item) -> Answer:
    kwargs = {name: getattr(value, name) for name in Item.__slots__}
    return envelope((Item.__module__, Item.__name__), kwargs=kwargs)


# --- which handler serves which class ---


def _handler(cls: type) -> Handler:
    """Find the handler of a class that is not in the table."""
    module = cls.__module__.partition(".")[0]
    if issubclass(cls, enum.Enum):
        return _enum
    if issubclass(cls, BaseException):
        return lambda value: (repr(value), None, False, None)
    if issubclass(cls, Serializable) and cls.is_lc_serializable():
        return _langchain if is_revived(tuple(cls.lc_id()), cls) else _model
    if issubclass(cls, BaseModel):
        return _model
    if issubclass(cls, (SecretStr, SecretBytes)):
        return _secret
    if hasattr(cls, "__fields__") and any(
        base.__module__ == "pydantic.v1.main" and base.__name__ == "BaseModel"
        for base in cls.__mro__
    ):
        return _model_v1
    if dataclasses.is_dataclass(cls):
        return _dataclass
    if issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple):
        return _named_tuple
    if module == "numpy":
        from . import _numpy

        return _numpy.describe
    if module == "pandas":
        from . import _pandas

        return _pandas.describe
    if issubclass(cls, pathlib.PurePath):
        return _path
    if issubclass(cls, defaultdict):
        return _unstorable if cls is not defaultdict else _defaultdict
    for base, handler in _SUBCLASSES:
        if issubclass(cls, base):
            return handler
    return _unstorable


_ip: dict[type, Handler] = {
    cls: _args("ipaddress", cls.__name__, lambda value: [str(value)])
    for cls in (
        ipaddress.IPv4Address,
        ipaddress.IPv4Interface,
        ipaddress.IPv4Network,
        ipaddress.IPv6Address,
        ipaddress.IPv6Interface,
        ipaddress.IPv6Network,
    )
}

_hashable: dict[type, Handler] = {
    **_ip,
    datetime.datetime: _datetime,
    datetime.time: _time,
    datetime.date: _date,
    datetime.timedelta: _timedelta,
    datetime.timezone: _timezone,
    zoneinfo.ZoneInfo: _zoneinfo,
    decimal.Decimal: _decimal,
    uuid.UUID: _uuid,
    re.Pattern: _pattern,
}

_IN_SETS = frozenset(_hashable)

_exact: dict[type, Handler] = {
    **_hashable,
    set: _set,
    frozenset: _frozenset,
    deque: _deque,
    defaultdict: _defaultdict,
    OrderedDict: lambda value: (dict(value), ("c", "collections", "OrderedDict"), False, None),
    Counter: lambda value: (dict(value), ("c", "collections", "Counter"), False, None),
    memoryview: lambda value: (bytes(value), ("x", "memoryview"), False, None),
    complex: lambda value: ([value.real, value.imag], ("x", "complex"), False, None),
    range: lambda value: ([value.start, value.stop, value.step], ("x", "range"), False, None),
    Interrupt: _interrupt,
    Send: _send,
    _DeltaSnapshot: _snapshot,
    Item: _item,
}

_found: weakref.WeakKeyDictionary[type, Handler] = weakref.WeakKeyDictionary()
