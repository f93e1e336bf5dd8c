"""A comparison that takes types seriously."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections import defaultdict, deque
from typing import Any

import numpy as np
import pandas as pd
from langgraph.store.base import Item
from langgraph.types import Send
from pydantic import BaseModel


def difference(left: Any, right: Any) -> str | None:
    """Say where two values differ in type or content; None if they do not.

    It does not recurse, so that depth is no matter.
    """
    waiting: list[Any] = [(None, left, right)]
    while waiting:
        path, a, b = waiting.pop()
        if type(a) is not type(b):
            return f"{_text(path)}: {_show(a)} is not {_show(b)}"
        if isinstance(a, (set, frozenset)):
            found = {item: item for item in b}
            if a != b:
                return f"{_text(path)}: {_show(a)} is not {_show(b)}"
            waiting += [((path, "*"), item, found[item]) for item in a]
            continue
        children = _children(a)
        if children is not None:
            others = _children(b)
            if len(children) != len(others or ()):
                return f"{_text(path)}: {_show(a)} is not {_show(b)}"
            for at, (x, y) in enumerate(zip(children, others or (), strict=True)):
                waiting.append(((path, at), x, y))
        elif not _equal(a, b):
            return f"{_text(path)}: {_show(a)} is not {_show(b)}"
    return None


def _text(path: Any) -> str:
    """The steps of a path, which is a chain of (path before, step)."""
    steps = []
    while path is not None and len(steps) < 50:
        path, step = path
        steps.append(str(step))
    return "/".join(reversed(steps))


def _show(value: Any) -> str:
    try:
        return f"{type(value).__qualname__} {value!r:.80}"
    except (ValueError, RecursionError):
        return f"{type(value).__qualname__} that is too large to show"


def _children(value: Any) -> list[Any] | None:
    state: list[Any] = []
    if isinstance(value, (list, tuple, dict, deque)):
        state = [getattr(value, "__dict__", None)]
    if isinstance(value, defaultdict):
        state.append(value.default_factory)
    if isinstance(value, dict):
        return [*state, *(part for item in value.items() for part in item)]
    if isinstance(value, deque):
        return [*state, value.maxlen, *value]
    if isinstance(value, (list, tuple)):
        return [*state, *value]
    if isinstance(value, BaseModel):
        fields = {name: value.__dict__.get(name) for name in type(value).model_fields}
        return [fields, value.__pydantic_extra__, value.__pydantic_private__]
    if hasattr(type(value), "__fields__"):
        return [value.__dict__]
    if isinstance(value, Send):
        return [value.node, value.arg, value.timeout]
    if isinstance(value, Item):
        return [getattr(value, name) for name in Item.__slots__]
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    return None


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        same = a.dtype == b.dtype and a.shape == b.shape and a.flags.writeable
        if a.dtype.kind == "O":
            return bool(same and difference(list(a.ravel()), list(b.ravel())) is None)
        return bool(same and a.tobytes() == b.tobytes())
    if isinstance(a, np.generic):
        # A long double has bytes of padding, which are not compared.
        same = a == b if a.dtype.itemsize == 16 else a.tobytes() == b.tobytes()
        return bool(a.dtype == b.dtype and same)
    if isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_freq=True)
        return bool(a.attrs == b.attrs)
    if isinstance(a, pd.Series):
        pd.testing.assert_series_equal(a, b, check_freq=True)
        return bool(a.attrs == b.attrs)
    if isinstance(a, pd.Index):
        pd.testing.assert_index_equal(a, b)
        return True
    if isinstance(a, pd.api.extensions.ExtensionArray):
        pd.testing.assert_extension_array_equal(a, b)
        return True
    if a is pd.NaT or a is pd.NA:
        return a is b
    if isinstance(a, float):
        return repr(a) == repr(b)
    if isinstance(a, (datetime.datetime, datetime.time)):
        return a == b and a.fold == b.fold and repr(a) == repr(b)
    if isinstance(a, re.Pattern):
        return bool(a.pattern == b.pattern and a.flags == b.flags)
    if hasattr(a, "get_secret_value"):
        return bool(a.get_secret_value() == b.get_secret_value())
    if type(a).__name__ == "Decimal":
        return repr(a) == repr(b)
    return bool(a == b)
