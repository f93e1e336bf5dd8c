"""NumPy arrays and scalars, as ``.npy`` bytes or JSON numbers; never pickled."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from ._native import UnstorableValueError

Answer = tuple[Any, "tuple[str | None, ...] | None", bool, Any]


def describe(value: Any) -> Answer:
    """Say what to write for an array or a scalar."""
    if isinstance(value, np.generic):
        return _scalar(value)
    if type(value) is np.ndarray:
        return _array(value)
    if isinstance(value, np.dtype):
        descr = np.lib.format.dtype_to_descr(value)
        if isinstance(descr, str):
            return descr, ("x", "numpy", "dtype"), False, None
    cls = type(value)
    raise UnstorableValueError(
        f"an object of type {cls.__module__}.{cls.__qualname__} cannot be stored"
    )


def _scalar(value: np.generic) -> Answer:
    op = ("x", "numpy", "scalar", value.dtype.str)
    plain = value.item()
    kind = value.dtype.kind
    if kind in "biuU" or (kind == "f" and type(plain) is float and math.isfinite(plain)):
        return plain, op, False, None
    return _npy(np.asarray(value)), op, False, None


def _array(value: np.ndarray[Any, Any]) -> Answer:
    if value.dtype.kind == "O":
        shape = ",".join(map(str, value.shape))
        return list(value.ravel()), ("x", "numpy", "objects", shape), False, None
    if value.dtype.hasobject or value.dtype.kind == "T":
        raise UnstorableValueError(f"an array of dtype {value.dtype} cannot be stored")
    return _npy(value), ("x", "numpy", "array"), False, None


def _npy(value: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, value, allow_pickle=False)
    return out.getvalue()


def rebuild(value: Any, kind: str, argument: str | None = None) -> Any:
    """Undo :func:`describe`."""
    if kind == "dtype":
        return np.dtype(value)
    if kind == "objects" and isinstance(value, list) and argument is not None:
        array = np.empty(len(value), dtype=object)
        for index, item in enumerate(value):
            array[index] = item
        return array.reshape([int(size) for size in argument.split(",") if size])
    if isinstance(value, bytes):
        array = np.lib.format.read_array(io.BytesIO(value), allow_pickle=False)
        return array[()] if kind == "scalar" else array
    if kind == "scalar" and isinstance(value, (bool, int, float, str)) and argument is not None:
        dtype = np.dtype(argument)
        return dtype.type(value) if dtype.kind in "biufU" else value
    return value
