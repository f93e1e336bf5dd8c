"""Values of every kind that a graph may keep, by name."""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import ipaddress
import pathlib
import re
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import numpy as np
import pandas as pd
import value_types as t
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)
from langchain_core.prompts import ChatPromptTemplate
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.store.base import Item
from langgraph.types import Command, Interrupt, Overwrite, Send, TimeoutPolicy
from pydantic import SecretStr

UTC = dt.timezone.utc


def nest(depth: int, inner: Any = 1) -> Any:
    """Lists in lists."""
    for _ in range(depth):
        inner = [inner]
    return inner


def mixed(depth: int) -> Any:
    """Containers of every kind in each other."""
    value: Any = "end"
    for level in range(depth):
        value = ((value,), {"k": value}, [value], t.Point(value), {level: value})[level % 5]
    return value


def _private() -> t.Private:
    model = t.Private(x=1)
    model._seen = (1, 2)
    return model


def _my_list() -> t.MyList:
    value = t.MyList([1, (2,)])
    value.owner = ("me",)  # type: ignore[attr-defined]
    return value


def _mutated_message() -> AIMessage:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    message = AIMessage("x", additional_kwargs={"tool_calls": calls}, id="1")
    message.tool_calls = []
    return message


def _aware(zone: dt.tzinfo) -> dt.datetime:
    return dt.datetime(2024, 10, 27, 2, 30, tzinfo=zone, fold=1)


PARIS = zoneinfo.ZoneInfo("Europe/Paris")
TIMES = pd.date_range("2024-01-01", periods=3, freq="D")
FRAME = pd.DataFrame(
    {
        "i": [1, 2, 3],
        "f": [1.5, float("nan"), -0.0],
        "s": ["a", "b", None],
        "o": pd.Series([(1,), {"k": 1}, None], dtype=object),
        "c": pd.Categorical(["x", "y", "x"], ordered=True),
        "t": TIMES,
        "z": TIMES.tz_localize("Europe/Paris"),
        "n": pd.array([1, None, 3], dtype="Int64"),
        "b": [True, False, True],
    }
)

ZOO: dict[str, Any] = {
    # LangChain
    "human": HumanMessage("hi", id="h1"),
    "human_no_id": HumanMessage("hi"),
    "human_extra": HumanMessage("hi", id="1", foo=(1, 2), lc={"lc": 1}),
    "human_name": HumanMessage("hi", name="Ada", additional_kwargs={"t": (1,)}),
    "ai": AIMessage(
        "yo", id="a", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    ),
    "ai_tools": AIMessage(
        "", id="a", tool_calls=[{"name": "f", "args": {"x": 1.5}, "id": "c", "type": "tool_call"}]
    ),
    "ai_invalid_tools": AIMessage(
        "", invalid_tool_calls=[{"name": "f", "args": "{", "id": "c", "error": "e"}]
    ),
    "ai_metadata": AIMessage("x", response_metadata={"at": dt.datetime(2024, 1, 1), "p": [1]}),
    "ai_raw_tool_calls": _mutated_message(),
    "tool": ToolMessage("r", tool_call_id="c", id="t", artifact={"k": 1}),
    "tool_artifact": ToolMessage("r", tool_call_id="c", artifact=(1, t.Point(1)), status="error"),
    "tool_object_artifact": ToolMessage([{"type": "text", "text": "x"}], tool_call_id="c"),
    "system": SystemMessage([{"type": "text", "text": "sys"}], id="s1"),
    "chat": ChatMessage("x", role="r"),
    "function": FunctionMessage("x", name="f"),
    "remove": RemoveMessage(id="h1"),
    "ai_chunk": AIMessageChunk("ch", id="ac"),
    "ai_chunk_tools": AIMessageChunk(
        "", tool_call_chunks=[{"name": "f", "args": '{"a":1}', "id": "c", "index": 0}]
    ),
    "human_chunk": HumanMessageChunk("x"),
    "system_chunk": SystemMessageChunk("x"),
    "tool_chunk": ToolMessageChunk("x", tool_call_id="c"),
    "chat_chunk": ChatMessageChunk("x", role="r"),
    "messages": [HumanMessage("a", id="1"), AIMessage("b", id="2")],
    "message_in_dict": {"m": HumanMessage("a", id="1"), "k": [1]},
    "message_and_bytes": {"m": HumanMessage("a", id="1"), "b": b"\x00\xff"},
    "message_and_tuple": ({"m": HumanMessage("a", id="1")}, (1,)),
    "message_subclass": t.MyHuman("x", mood="bad"),
    "document": Document("pc", id="d1", metadata={"a": 1}),
    "document_tuple": Document("pc", metadata={"a": (1, {2: 3})}),
    "prompt": ChatPromptTemplate.from_messages([("system", "s"), ("human", "{x}")]),
    # LangGraph
    "send": Send("node", {"x": 1}),
    "send_message": Send("node", {"m": HumanMessage("a", id="1"), "t": (1,)}),
    "send_timeout": Send("node", 1, timeout=TimeoutPolicy(run_timeout=1.5)),
    "interrupt": Interrupt(value={"q": "?"}, id="0123456789abcdef"),
    "interrupt_tuple": (Interrupt(value="v", id="id1"),),
    "interrupt_schema": Interrupt(value=(1,), id="x", response_schema={"type": "object"}),
    "command": Command(update={"a": 1}, goto="x"),
    "command_default": Command(),
    "command_full": Command(
        update=[("a", 1)], goto=[Send("n", (1,)), "b"], resume={"i": 1}, graph="__parent__"
    ),
    "overwrite": Overwrite([1, (2,)]),
    "snapshot": _DeltaSnapshot([HumanMessage("a", id="1")]),
    "snapshot_tuple": {"x": _DeltaSnapshot((1,))},
    "item": Item(
        value={"a": 1},
        key="k",
        namespace=("a", "b"),
        created_at=dt.datetime(2024, 1, 1, tzinfo=UTC),
        updated_at=dt.datetime(2024, 1, 2, tzinfo=UTC),
    ),
    # bytes and strings
    "bytes": b"\x00\xffabc",
    "bytes_empty": b"",
    "bytearray": bytearray(b"\x01\x02"),
    "bytes_nested": {"b": b"\x00\xff", "l": [b"x", bytearray(b"y")]},
    "memoryview": memoryview(b"abc"),
    "str_nul": "a\x00b",
    "str_nul_key": {"k\x00": "v\x00"},
    "str_unicode": 'é中😀\u2028\x7f\x1b"\\/\b\f\n\r\t',
    "str_surrogate": "a\ud800b",
    "str_surrogate_key": {"\udfff": 1, "?": 2, "x": "\ud83d"},
    "str_surrogate_pair_split": "\ud83d" + "\ude00",
    "str_escaped_text": "literal \\u0000 text",
    "str_long": "x" * 5000 + '"' + "é" * 5000,
    "str_empty_key": {"": {"": ""}},
    # dates
    "datetime_utc": dt.datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC),
    "datetime_offset": dt.datetime(2024, 5, 6, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    "datetime_named": dt.datetime(2024, 5, 6, tzinfo=dt.timezone(dt.timedelta(hours=-2), "X")),
    "datetime_naive": dt.datetime(2024, 5, 6, 7, 8, 9),
    "datetime_zone": _aware(PARIS),
    "datetime_fold": dt.datetime(2024, 10, 27, 2, 30, fold=1),
    "datetime_limits": [dt.datetime.min, dt.datetime.max, dt.date.min, dt.time.max],
    "date": dt.date(2024, 5, 6),
    "time": dt.time(7, 8, 9),
    "time_zone": dt.time(7, 8, 9, 1, tzinfo=UTC, fold=1),
    "timedelta": dt.timedelta(days=1, seconds=2, microseconds=3),
    "timedelta_negative": dt.timedelta(days=-5, microseconds=1),
    "timezone": [UTC, dt.timezone(dt.timedelta(minutes=90), "Y")],
    "zoneinfo": PARIS,
    # collections
    "set_int": {1},
    "set_mixed": {1, "a", (1, 2), None, 2.5, frozenset({3}), dt.date(2024, 1, 1)},
    "set_nested": {"s": {"a"}},
    "set_enum": {t.Color.RED, t.Num.ONE},
    "set_bytes": {b"a", b"b"},
    "set_dates": {dt.date(2024, 1, 1), uuid.UUID(int=1)},
    "set_empty": [set(), frozenset()],
    "frozenset": frozenset({1}),
    "frozenset_tuples": frozenset({(1, 2), (3,)}),
    "tuple": (1, "a", (2,)),
    "tuple_empty": (),
    "tuple_many": [(1, 2), (3, 4), (5, 6)],
    "tuple_some": [(1,), [2], (3, [4, (5,)])],
    "deque": deque([1, 2]),
    "deque_maxlen": deque([1, (2,)], maxlen=3),
    "deque_empty": deque(maxlen=0),
    "namedtuple": t.Pair(1, "b"),
    "namedtuple_nested": [t.Pair((1,), t.Pair(2, {3: 4}))],
    "defaultdict": defaultdict(list, {"a": [1]}),
    "defaultdict_int_keys": defaultdict(int, {1: 2}),
    "defaultdict_none": defaultdict(None, {"a": (1,)}),
    "ordereddict": OrderedDict([("b", 1), ("a", (2,))]),
    "counter": Counter("abracadabra"),
    "range": range(1, 10, 3),
    "complex": 1 + 2j,
    # dict keys
    "keys_int": {1: "a", 2: "b", -3: (1,), 2**70: 0},
    "keys_mixed": {1: "a", "1": "b", "1#2": "c", None: 1, 1.5: 3},
    "keys_bool": {False: 0, True: 1, 0.5: 1, "false": 2},
    "keys_tuple": {(1, 2): "a", ("x", (3,)): {4: 5}},
    "keys_special": {float("inf"): 1, t.Color.RED: 2, dt.date(2024, 1, 1): 3, b"x": 4},
    "keys_enum": {t.Text.A: {"x": (1,)}},
    "keys_none": {None: None},
    "keys_int_with_lookalike": {1: {"lc": 1}, "lc": 2, "type": "constructor"},
    # models and enums
    "pydantic": t.Person(name="Ada", age=36, address=t.Address(city="London")),
    "pydantic_types": t.Person(
        name="A", age=1, born=dt.datetime(2024, 1, 1), tags=("a",), kind=t.Color.PAIR
    ),
    "pydantic_list": [t.Address(city="Paris", zip="75001")],
    "pydantic_extra": t.Extra(x=1, y=(1, 2), lc=3),  # type: ignore[call-arg]
    "pydantic_alias": t.Aliased(**{"the-x": 5}),
    "pydantic_private": _private(),
    "pydantic_validator": t.Shouting(name="a"),
    "pydantic_unvalidated": t.Address.model_construct(city=(5,)),  # type: ignore[arg-type]
    "pydantic_frozen": t.FrozenModel(x=1),
    "pydantic_root": t.Numbers([1, 2]),
    "pydantic_inner": t.Outer.Inner(x=1),
    "pydantic_generic": [
        t.GenericModel[int](item=1),
        t.GenericModel[t.Address](item=t.Address(city="x")),
        t.GenericModel(item=(1,)),
    ],
    "pydantic_v1": t.OldModel(name="x", at=dt.datetime(2024, 1, 1)),
    "secret": {"k": SecretStr("s")},
    "dataclass": t.Point(1, [2]),
    "dataclass_nested": t.Point((1,), t.Point(2, {3: 4})),
    "dataclass_frozen": t.Frozen(t.Frozen((1,))),
    "dataclass_slots": t.Slots(x=(1,)),
    "dataclass_init_false": t.Derived(3),
    "dataclass_growing": t.Growing("a"),
    "dataclass_initvar": t.WithInitVar(1, seed=5),
    "dataclass_generic": t.Box[int](5),
    "dataclass_message": t.Point(HumanMessage("a", id="1"), Send("n", 1)),
    "enum": t.Color.RED,
    "enum_tuple": [t.Color.PAIR, t.Color.OBJECT, t.Color.NONE],
    "enum_str": t.Text.A,
    "enum_int": t.Num.ONE,
    "enum_flag": [t.Perm.R, t.Perm.R | t.Perm.W, t.Perm(0)],
    "enum_intflag": t.IntPerm.R | t.IntPerm.W,
    "enum_inner": t.Outer.Mode.ON,
    # subclasses of built-in types
    "sub_str": t.MyStr("x"),
    "sub_int": t.MyInt(5),
    "sub_float": t.MyFloat(1.5),
    "sub_float_nan": t.MyFloat("nan"),
    "sub_bytes": t.MyBytes(b"x"),
    "sub_list": _my_list(),
    "sub_dict": t.MyDict({1: 2, "lc": (3,)}),
    "sub_tuple": t.MyTuple((1, 2)),
    "sub_set": t.MySet({1}),
    "sub_deque": t.MyDeque([1], 2),
    "sub_datetime": t.MyDatetime(2024, 1, 1, tzinfo=UTC),
    # scalars
    "uuid": uuid.UUID("12345678-1234-5678-1234-567812345678"),
    "decimal": decimal.Decimal("1.10"),
    "decimal_special": [
        decimal.Decimal("NaN"),
        decimal.Decimal("-Infinity"),
        decimal.Decimal("-0"),
    ],
    "path_pure": pathlib.PurePosixPath("/a/b"),
    "path_windows": pathlib.PureWindowsPath("C:\\a"),
    "path_posix": pathlib.Path("/a/b"),
    "regex": re.compile("a+", re.IGNORECASE),
    "regex_bytes": re.compile(b"a+"),
    "ip": [
        ipaddress.ip_address("127.0.0.1"),
        ipaddress.ip_address("::1"),
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_interface("10.0.0.1/8"),
        ipaddress.ip_network("fe80::/10"),
    ],
    "float_nan": float("nan"),
    "float_inf": [float("inf"), float("-inf")],
    "floats": [
        1.0,
        -0.0,
        1e22,
        1e-7,
        0.1,
        1.7976931348623157e308,
        5e-324,
        1e16,
        123456789012345680.0,
    ],
    "ints": [0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1],
    "int_big": 2**70,
    "int_big_negative": {"a": [-(2**63) - 1, 2**64]},
    "int_huge": 10**5000,
    "bool_none": [True, False, None],
    "none": None,
    "empty": {"d": {}, "l": [], "s": ""},
    # dicts that look like something else
    "like_bytes": {"__bytes__": "AAE="},
    "like_send": {"__send__": True, "node": "n", "arg": 1},
    "like_interrupt": {"__interrupt__": True, "value": 1},
    "like_snapshot": {"__delta_snapshot__": True, "value": 1},
    "like_lc": {"lc": 1, "type": "constructor", "id": ["builtins", "set"], "args": [[1]]},
    "like_lc2": [{"lc": 2, "type": "constructor", "id": ["decimal", "Decimal"], "args": ["1"]}],
    "like_message": {"lc": 1, "type": "constructor", "id": ["a", "b"], "kwargs": {"t": (1,)}},
    "like_secret": {"lc": 1, "type": "secret", "id": ["OPENAI_API_KEY"]},
    "like_hint": {"v": 1, "h": "t", "p": [], "*": ["*", "t"], "@": ("@",)},
    "like_in_kwargs": t.Point({"lc": 2, "type": "constructor", "id": ["a", "b"]}),
    # numpy and pandas
    "numpy": np.arange(3),
    "numpy_2d": np.arange(6, dtype="f4").reshape(2, 3),
    "numpy_fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "numpy_0d": np.array(5),
    "numpy_empty": np.zeros((0, 3)),
    "numpy_bool_str": [np.array([True]), np.array(["ab", "c"]), np.array([b"x"])],
    "numpy_time": np.array(["2024-01-01", "NaT"], dtype="M8[s]"),
    "numpy_complex": np.array([1 + 2j]),
    "numpy_struct": np.array([(1, 2.5)], dtype=[("a", "<i4"), ("b", "<f8")]),
    "numpy_object": np.array([[1, (2,)], [None, "x"]], dtype=object),
    "numpy_scalars": [
        np.float64(1.5),
        np.float32(0.1),
        np.float64("nan"),
        np.int8(-3),
        np.uint64(2**64 - 1),
        np.bool_(True),
        np.str_("x"),
        np.bytes_(b"x"),
        np.datetime64("2024-01-01"),
        np.timedelta64(5, "s"),
        np.complex128(1 + 2j),
        np.longdouble("1.5"),
    ],
    "numpy_keys": {np.int64(1): np.float32(2)},
    "frame": FRAME,
    "frame_index": FRAME.set_index(["s", "i"]),
    "frame_time_index": FRAME[["i"]].set_index(TIMES),
    "frame_empty": pd.DataFrame(),
    "series": pd.Series([1, 2], name=("a", 1), index=["x", "y"]),
    "index": [pd.Index([1, 2], name="n"), pd.RangeIndex(3), TIMES, TIMES.tz_localize("UTC")],
    "pandas_scalars": [
        pd.Timestamp("2024-01-01T01:02:03.123456789"),
        pd.Timestamp("2024-01-01", tz="Europe/Paris"),
        pd.Timedelta("1 day 3 ns"),
        pd.NaT,
        pd.NA,
        pd.Period("2024-01", "M"),
        pd.Interval(1, 2),
    ],
    # depth
    "deep_119": nest(119),
    "deep_125": nest(125, (1,)),
    "deep_200": nest(200),
    "deep_1000_mixed": mixed(1000),
    "deep_message": nest(300, HumanMessage("a", id="1")),
    "deep_tuples": functools.reduce(lambda inner, _: (inner,), range(110), 1),
}
