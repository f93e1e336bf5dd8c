"""Random values come back equal and of the same type."""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import json
from collections import deque
from typing import Any

import orjson
import value_types as t
from compare import difference
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.types import Interrupt, Send
from test_values import SERDE, check_redis_accepts

any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
names = st.one_of(
    any_text, st.sampled_from(["lc", "type", "id", "kwargs", "__bytes__", "__send__"])
)
hashable = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        any_text,
        st.binary(max_size=8),
        st.sampled_from([*t.Color, *t.Num, t.Text.A]),
        st.dates(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3)
    ),
    max_leaves=4,
)
leaves = st.one_of(
    hashable,
    st.floats(),
    st.integers(-(2**70), 2**70),
    st.datetimes(timezones=st.one_of(st.none(), st.timezones())),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.decimals(allow_nan=None),
    st.binary(max_size=8).map(bytearray),
    st.sampled_from(
        [1 << 63, (1 << 64) - 1, 1 << 64, -(1 << 63) - 1, "\ud800", decimal.Decimal("-0")]
    ),
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(names, inner, max_size=4),
        st.dictionaries(st.integers(), inner, max_size=4),
        st.dictionaries(hashable, inner, max_size=4),
        st.sets(hashable, max_size=4),
        st.builds(deque, st.lists(inner, max_size=3), st.none() | st.integers(3, 5)),
        st.builds(t.Point, inner, inner),
        st.builds(t.Pair, inner, inner),
        st.builds(t.Slots, x=inner),
        st.builds(t.MyList, st.lists(inner, max_size=3)),
        st.builds(t.Private, x=st.integers()),
        st.builds(Send, any_text, inner),
        st.builds(Interrupt, inner, st.just("id")),
        st.builds(HumanMessage, st.text(), additional_kwargs=st.dictionaries(st.text(), inner)),
        st.builds(AIMessage, st.text(), response_metadata=st.dictionaries(st.text(), inner)),
        st.builds(ToolMessage, st.text(max_size=5), tool_call_id=st.just("c"), artifact=inner),
    )  # fmt: skip


values = st.recursive(leaves, containers, max_leaves=12)
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.text(),
              st.floats(allow_nan=False, allow_infinity=False)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(values)
def test_random_values(value: Any) -> None:
    text, hints = SERDE.dumps_json(value)
    check_redis_accepts(text)
    if hints is not None:
        check_redis_accepts(hints)
    assert difference(SERDE.loads_json(text, hints), value) is None
    assert difference(SERDE.loads_typed(SERDE.dumps_typed(value)), value) is None
    assert difference(SERDE.loads_write(*SERDE.dumps_write(value)), value) is None


@settings(max_examples=300, deadline=None)
@given(plain)
def test_plain_json_agrees_with_other_parsers(value: Any) -> None:
    text, _ = SERDE.dumps_json(value)
    assert difference(json.loads(text), value) is None
    assert difference(orjson.loads(text), value) is None
    for writer in (json.dumps, lambda v: json.dumps(v, indent=1, ensure_ascii=False)):
        theirs = writer(value)
        back = SERDE.loads_json(theirs, b'{"v":1,"h":["d",null]}' if type(value) is dict else None)
        if "lc" not in theirs and "__" not in theirs:
            assert difference(back, value) is None


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.binary(), st.text(alphabet='[]{}",:\\u0123eE+-.ntf "')))
def test_random_text_never_crashes_the_reader(text: Any) -> None:
    for read in (SERDE.loads_json, lambda x: SERDE.loads_json("[{}]", x)):
        try:
            read(text)
        except (ValueError, UnicodeError):
            continue


nodes = st.recursive(
    st.none()
    | st.sampled_from(
        ["t", "d", "i", "k", "I", "w", "B", "p", "n", "e", "c", "s", "f", "dd", "x", "*", "@"]
    ),
    lambda inner: (
        st.lists(inner | st.integers(-1, 3) | st.text(max_size=3), max_size=5)
        | st.dictionaries(st.sampled_from(["0", "1", "a"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    plain,
    nodes,
    st.lists(st.tuples(plain.map(json.dumps), nodes), max_size=3),
    st.lists(nodes, max_size=3),
)
def test_random_hints_never_crash_the_reader(value: Any, node: Any, parts: Any, pool: Any) -> None:
    sidecar = json.dumps({"v": 1, "h": node, "p": parts, "q": pool})
    with contextlib.suppress(ValueError):
        SERDE.loads_json(json.dumps(value), sidecar)


def test_dates_keep_their_type() -> None:
    assert type(SERDE.loads_json(*SERDE.dumps_json(dt.date(2024, 1, 1)))) is dt.date
