"""pandas values with zones of pytz's, which pandas 2 makes of names."""

from __future__ import annotations

import sys
from typing import Any

import pandas as pd
import pytest
import pytz

from langgraph_checkpoint_redis_rs import RedisSerializer

BERLIN = pytz.timezone("Europe/Berlin")
ZONES = [BERLIN, pytz.utc, pytz.FixedOffset(330), pytz.FixedOffset(-90), "Europe/Berlin", "UTC"]


def days(zone: Any) -> pd.DatetimeIndex:
    """Three days around a change of the clock, in a zone."""
    moments = [f"2024-03-{day} 02:30" for day in (30, 31)] + ["2024-04-01 02:30"]
    return pd.DatetimeIndex(moments, tz="UTC").tz_convert(zone)


def zone_of(value: Any) -> Any:
    return getattr(getattr(value, "dtype", value), "tz", None)


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_zones_of_pytz_come_back(zone):
    serde = RedisSerializer()
    index = days(zone)
    for value in (
        index,
        index[0],
        index.array,
        pd.Series(index),
        pd.Series(["a", "b", "c"], index),
    ):
        found = serde.loads_typed(serde.dumps_typed(value))
        assert type(found) is type(value)
        same = found == value
        assert same if isinstance(same, bool) else same.all()
        assert type(zone_of(found)) is type(zone_of(value))
        assert str(zone_of(found)) == str(zone_of(value))
    frame = pd.DataFrame({"when": index, "n": [1, 2, 3]}, index=index)
    found = serde.loads_typed(serde.dumps_typed(frame))
    pd.testing.assert_frame_equal(found, frame)


@pytest.mark.parametrize("zone", [BERLIN, pytz.FixedOffset(330)], ids=str)
def test_zones_of_pytz_are_read_where_it_is_not_installed(zone, monkeypatch):
    serde = RedisSerializer()
    moment = days(zone)[1]
    stored = serde.dumps_typed(moment)
    monkeypatch.setitem(sys.modules, "pytz", None)
    found = serde.loads_typed(stored)
    assert found == moment and found.utcoffset() == moment.utcoffset()
