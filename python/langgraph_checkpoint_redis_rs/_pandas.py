"""pandas objects, taken apart into arrays, lists and names; never pickled."""

from __future__ import annotations

import datetime
import zoneinfo
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped,unused-ignore]

from ._native import UnstorableValueError

Answer = tuple[Any, "tuple[str | None, ...] | None", bool, Any]

_OP = ("x", "pandas")


def describe(value: Any) -> Answer:
    """Say what to write for a pandas object."""
    return _plain(value), _OP, False, None


def _plain(value: Any) -> dict[str, Any]:
    if value is pd.NaT or value is pd.NA:
        return {"kind": "NaT" if value is pd.NaT else "NA"}
    cls = type(value)
    if cls is pd.DataFrame:
        return {
            "kind": "DataFrame",
            "index": _index(value.index),
            "columns": _index(value.columns),
            "data": [_array(value.iloc[:, at].array) for at in range(value.shape[1])],
            "attrs": value.attrs,
        }
    if cls is pd.Series:
        return {
            "kind": "Series",
            "index": _index(value.index),
            "data": _array(value.array),
            "name": value.name,
            "attrs": value.attrs,
        }
    if isinstance(value, pd.Index):
        return {"kind": "Index", "index": _index(value)}
    if isinstance(value, pd.api.extensions.ExtensionArray):
        return {"kind": "array", "data": _array(value)}
    if cls is pd.Timestamp:
        moment = value if value.tz is None else value.tz_convert("UTC").tz_localize(None)
        return {"kind": "Timestamp", "moment": moment.to_datetime64(), "tz": _zone(value.tz)}
    if cls is pd.Timedelta:
        return {"kind": "Timedelta", "delta": value.to_timedelta64()}
    if cls is pd.Period:
        return {"kind": "Period", "ordinal": value.ordinal, "freq": value.freqstr}
    if cls is pd.Interval:
        ends = {"left": value.left, "right": value.right, "closed": value.closed}
        return {"kind": "Interval", **ends}
    raise UnstorableValueError(
        f"an object of type {cls.__module__}.{cls.__qualname__} cannot be stored"
    )


def _array(array: Any) -> dict[str, Any]:
    dtype = array.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return {
            "codes": np.asarray(array.codes),
            "categories": _index(dtype.categories),
            "ordered": bool(dtype.ordered),
        }
    if isinstance(dtype, pd.DatetimeTZDtype):
        naive = pd.DatetimeIndex(array).tz_convert("UTC").tz_localize(None)
        return {"utc": naive.to_numpy(), "tz": _zone(dtype.tz)}
    if isinstance(dtype, np.dtype):
        return {"numpy": np.asarray(array)}
    return {"dtype": str(dtype), "values": [None if _is_missing(x) else x for x in array]}


def _zone(zone: Any) -> Any:
    """A zone, or the name or offset in minutes of one of pytz's, which pandas 2 uses."""
    if type(zone).__module__.partition(".")[0] != "pytz":
        return zone
    if zone.zone is not None:
        return {"pytz": zone.zone}
    return {"pytz": zone.utcoffset(None) // datetime.timedelta(minutes=1)}


def _zone_of(form: Any) -> Any:
    if not isinstance(form, dict):
        return form
    place = form["pytz"]
    try:
        import pytz  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        if isinstance(place, str):
            return zoneinfo.ZoneInfo(place)
        return datetime.timezone(datetime.timedelta(minutes=place))
    return pytz.timezone(place) if isinstance(place, str) else pytz.FixedOffset(place)


def _is_missing(value: Any) -> bool:
    missing = pd.isna(value)
    return missing is True or (isinstance(missing, np.bool_) and bool(missing))


def _index(index: Any) -> dict[str, Any]:
    if isinstance(index, pd.RangeIndex):
        return {"range": [index.start, index.stop, index.step], "name": index.name}
    if isinstance(index, pd.MultiIndex):
        return {
            "levels": [_index(level) for level in index.levels],
            "codes": [np.asarray(codes) for codes in index.codes],
            "names": list(index.names),
        }
    return {
        "array": _array(index.array),
        "name": index.name,
        "freq": getattr(index, "freqstr", None),
    }


def rebuild(form: Any) -> Any:
    """Undo :func:`describe`."""
    kind = form["kind"]
    if kind == "NaT":
        return pd.NaT
    if kind == "NA":
        return pd.NA
    if kind == "DataFrame":
        index = _index_of(form["index"])
        data = dict(enumerate(map(_array_of, form["data"])))
        frame = pd.DataFrame(data, index=index)
        frame.columns = _index_of(form["columns"])
        frame.attrs.update(form["attrs"])
        return frame
    if kind == "Series":
        series = pd.Series(_array_of(form["data"]), _index_of(form["index"]), name=form["name"])
        series.attrs.update(form["attrs"])
        return series
    if kind == "Index":
        return _index_of(form["index"])
    if kind == "array":
        array = _array_of(form["data"])
        return pd.array(array) if isinstance(array, np.ndarray) else array
    if kind == "Timestamp":
        moment = pd.Timestamp(form["moment"])
        zone = _zone_of(form["tz"])
        return moment if zone is None else moment.tz_localize("UTC").tz_convert(zone)
    if kind == "Timedelta":
        return pd.Timedelta(form["delta"])
    if kind == "Period":
        return pd.Period(ordinal=form["ordinal"], freq=form["freq"])
    if kind == "Interval":
        return pd.Interval(form["left"], form["right"], form["closed"])
    return form


def _array_of(form: dict[str, Any]) -> Any:
    if "numpy" in form:
        return form["numpy"]
    if "codes" in form:
        dtype = pd.CategoricalDtype(_index_of(form["categories"]), form["ordered"])
        return pd.Categorical.from_codes(form["codes"], dtype=dtype)
    if "utc" in form:
        utc = pd.DatetimeIndex(form["utc"]).tz_localize("UTC")
        return utc.tz_convert(_zone_of(form["tz"])).array
    return pd.array(form["values"], dtype=form["dtype"])


def _index_of(form: dict[str, Any]) -> Any:
    if "range" in form:
        return pd.RangeIndex(*form["range"], name=form["name"])
    if "levels" in form:
        levels = [_index_of(level) for level in form["levels"]]
        return pd.MultiIndex(levels, form["codes"], names=form["names"])
    array = _array_of(form["array"])
    if isinstance(array, np.ndarray):
        index = pd.Index(array, dtype=array.dtype, name=form["name"])
    else:
        index = pd.Index(array, name=form["name"])
    if form["freq"] is not None and isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        index.freq = form["freq"]
    return index
