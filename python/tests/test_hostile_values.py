"""What stored data may not do, and what cannot be stored."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import logging
import os
import pathlib
import subprocess
import sys
import threading
from typing import Any

import pytest
import value_types as t
from compare import difference
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_TYPES
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.types import Command, Send
from pydantic import BaseModel
from zoo import ZOO, nest

from langgraph_checkpoint_redis_rs.serde import RedisSerializer, UnstorableValueError

SERDE = RedisSerializer()
STRICT = RedisSerializer(allowed_msgpack_modules=None)
POINT = ("value_types", "Point")


def lc2(module: str, name: str, **content: Any) -> str:
    form = {"lc": 2, "type": "constructor", "id": [*module.split("."), name]}
    return json.dumps(form | content)


def hints(node: Any, **more: Any) -> str:
    return json.dumps({"v": 1, "h": node, **more})


# --- the allowlist ---


@pytest.mark.parametrize("name", ["pydantic", "dataclass", "enum", "namedtuple", "sub_list"])
def test_strict_mode_refuses_the_classes_of_others(name: str) -> None:
    text, sidecar = SERDE.dumps_json(ZOO[name])
    value = STRICT.loads_json(text, sidecar)
    assert type(value) in (dict, str, tuple, list)


@pytest.mark.parametrize(
    "name", ["human", "document", "send", "command", "overwrite", "ip", "item"]
)
def test_strict_mode_keeps_the_safe_types(name: str) -> None:
    value = STRICT.loads_json(*STRICT.dumps_json(ZOO[name]))
    assert difference(value, ZOO[name]) is None


def test_refused_values_come_back_as_their_plain_data() -> None:
    def back(value: Any) -> Any:
        return STRICT.loads_json(*STRICT.dumps_json(value))

    assert back(t.Point(1, (2,))) == {"x": 1, "y": (2,)}
    assert back([t.Color.RED]) == ["red"]
    assert back({"p": t.Pair(1, 2)}) == {"p": (1, 2)}
    assert back(t.Address(city="x")) == {"city": "x", "zip": None}
    assert type(back(t.MyDict(a=1))) is dict
    assert type(back(pathlib.PurePosixPath("/a"))) is str


def test_an_allowlist_allows_exactly_its_classes() -> None:
    serde = RedisSerializer(allowed_msgpack_modules=[POINT])
    value = {"a": t.Point(1, 2), "b": t.Frozen(1)}
    assert serde.loads_json(*serde.dumps_json(value)) == {"a": t.Point(1, 2), "b": {"x": 1}}
    by_class = RedisSerializer(allowed_msgpack_modules=[t.Frozen])
    assert by_class.loads_json(*serde.dumps_json(t.Frozen(1))) == t.Frozen(1)
    by_json = RedisSerializer(allowed_msgpack_modules=None, allowed_json_modules=[POINT])
    assert by_json.loads_json(*serde.dumps_json(t.Point(1, 2))) == t.Point(1, 2)


def test_with_allowlist_of_the_saver_reaches_the_serializer() -> None:
    saver: Any = BaseCheckpointSaver(serde=STRICT)
    wider = saver.with_allowlist([POINT]).serde
    stored = wider.dumps_typed(t.Point(1, 2))
    assert wider.loads_typed(stored) == t.Point(1, 2)
    assert STRICT.loads_typed(stored) == {"x": 1, "y": 2}
    saver.serde = EncryptedSerializer.from_pycryptodome_aes(serde=STRICT, key=b"0" * 16)
    wider = saver.with_allowlist([POINT]).serde
    assert wider.loads_typed(wider.dumps_typed(t.Point(1, 2))) == t.Point(1, 2)


def test_the_environment_makes_it_strict() -> None:
    code = (
        "from langgraph_checkpoint_redis_rs.serde import RedisSerializer as S\n"
        "import value_types as t\n"
        "s = S(); print(s.loads_json(*s.dumps_json([t.Point(1, 2), t.Color.RED])))"
    )
    here = pathlib.Path(__file__).parent
    # As this process finds modules: the package may be the installed one.
    path = os.pathsep.join([str(here), *sys.path])
    env = {**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[{'x': 1, 'y': 2}, 'red']"


def test_an_unregistered_class_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    @dataclasses.dataclass
    class Once:
        x: int

    Once.__qualname__ = Once.__name__
    t.Once = Once  # type: ignore[attr-defined]
    Once.__module__ = "value_types"
    text, sidecar = SERDE.dumps_json([Once(1), Once(2)])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert SERDE.loads_json(text, sidecar) == [Once(1), Once(2)]
    assert sum("value_types.Once" in record.getMessage() for record in caplog.records) == 1


# --- nothing that data names is called ---

CALLED: list[Any] = []


class Trap:
    """Not of a kind that is built."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        CALLED.append(args)

    def __setstate__(self, state: Any) -> None:
        CALLED.append(state)


class TrapList(list):  # type: ignore[type-arg]
    def __init__(self, *args: Any) -> None:
        CALLED.append(args)

    extend = append = __init__  # type: ignore[assignment]


def trap(*args: Any, **kwargs: Any) -> None:
    CALLED.append(args)


HOSTILE_JSON = [
    lc2("os", "system", args=["true"]),
    lc2("subprocess", "Popen", args=[["true"]]),
    lc2("builtins", "eval", args=["1"]),
    lc2("builtins", "getattr", args=["a", "upper"]),
    lc2("test_hostile_values", "Trap", args=[1]),
    lc2("test_hostile_values", "trap", args=[1]),
    lc2("test_hostile_values", "trap", kwargs={"a": 1}),
    lc2("value_types", "Plain", kwargs={"v": 1}),
    lc2("pathlib", "Path.write_text", args=["x"]),
    lc2("no.such.module", "X", kwargs={"a": 1}),
    lc2("value_types", "", kwargs={"a": 1}),
    lc2("", "", kwargs={"a": 1}),
    '{"lc":2,"type":"constructor","id":"os.system","args":["true"]}',
    '{"lc":2,"type":"constructor","id":[1,2],"args":["true"]}',
    '{"lc":2,"type":"constructor","id":[],"args":5,"kwargs":5}',
    '{"lc":1,"type":"constructor","id":["os","system"],"kwargs":{}}',
    '{"lc":1,"type":"not_implemented","id":["os","system"],"repr":"x"}',
    '{"lc":1,"type":"constructor","id":["langchain","schema","messages","HumanMessage"]}',
    '{"lc":1,"type":"constructor","id":["langchain","schema","messages","HumanMessage"],"kwargs":{"content":{}}}',
    lc2("datetime", "datetime", args=["x"]),
    lc2("builtins", "set", args=[[[1]]]),
    lc2("zoneinfo", "ZoneInfo", args=["../../etc/passwd"]),
    '{"__send__":true,"node":1,"arg":2}',
    '{"__interrupt__":true,"value":1,"id":[]}',
    '{"__bytes__":"%%%"}',
    '{"__bytes__":5}',
]


@pytest.mark.parametrize("serde", [SERDE, STRICT], ids=["permissive", "strict"])
@pytest.mark.parametrize("text", HOSTILE_JSON)
def test_hostile_json_is_data(text: str, serde: RedisSerializer) -> None:
    CALLED.clear()
    value = serde.loads_json(text)
    assert CALLED == []
    assert type(value) in (dict, list, Send, str) or type(value).__name__ == "Interrupt"


HOSTILE_NODES = [
    ["n", None, "os", "system"],
    ["e", None, "os", "system"],
    ["e", None, "test_hostile_values", "trap"],
    ["c", None, "test_hostile_values", "Trap"],
    ["c", None, "os", "system", 0],
    ["c", None, "builtins", "type"],
    ["n", None, "builtins", "type"],
    ["e", None, "builtins", "object"],
    ["g", None, "os", "system"],
    ["sec", None, "test_hostile_values", "Trap"],
    ["x", None, "numpy", "scalar", "O"],
    ["x", None, "numpy", "array"],
    ["x", None, "pandas"],
    ["x", None, "path", "Path"],
    ["x", None, "eval"],
    ["dd", None, "eval"],
    ["__class__", None],
    ["p", None, 0],
    ["p", None, 99],
    ["p", None, -1],
    ["@", None, 0],
    ["@", None, 99],
    ["k", None, {"a": [0]}],
    ["k", None, 5],
    ["w", None, "!"],
    ["I", None],
    ["t", ["t", ["t", None]]],
    ["d", ["d", None]],
    ["*", ["*", "t"]],
    [],
    [[]],
    5,
    "t",
    "nan",
    {"a": "t", "0": {"x": "t"}},
]


@pytest.mark.parametrize("node", HOSTILE_NODES, ids=json.dumps)
@pytest.mark.parametrize(
    "text", ["null", '"a"', "1", "[1,[2]]", '{"a":[1]}', '{"__bytes__":"AAE="}', "1.5"]
)
def test_hostile_hints_do_nothing(node: Any, text: str) -> None:
    CALLED.clear()
    sidecar = hints(node, p=[["[1]", ["p", None, 0]]], q=[["@", None, 0]])
    SERDE.loads_json(text, sidecar)
    STRICT.loads_json(text, sidecar)
    assert CALLED == []


def test_a_hint_that_names_os_system_is_refused() -> None:
    for op in ("n", "e", "c", "sec"):
        assert SERDE.loads_json('["true"]', hints([op, None, "os", "system"])) in (
            ["true"],
            ("true",),
        )


def test_building_a_subclass_calls_none_of_its_methods() -> None:
    CALLED.clear()
    value = SERDE.loads_json("[1,2]", hints(["c", None, "test_hostile_values", "TrapList"]))
    assert type(value) is TrapList and list(value) == [1, 2]
    assert CALLED == []


def test_pickles_are_never_read(tmp_path: pathlib.Path) -> None:
    import pickle

    with pytest.raises(NotImplementedError):
        SERDE.loads_typed(("pickle", pickle.dumps(1)))
    import io

    import numpy as np

    out = io.BytesIO()
    np.save(out, np.array([Trap], dtype=object), allow_pickle=True)
    text = json.dumps({"__bytes__": base64.b64encode(out.getvalue()).decode()})
    assert type(SERDE.loads_json(text, hints(["x", None, "numpy", "array"]))) is bytes


@pytest.mark.parametrize(
    "sidecar",
    ["", "null", "[]", "{}", '{"v":2}', '{"v":1,"p":[1]}', '{"v":1,"p":[[1,2]]}', "[" * 9999],
)
def test_malformed_hints_are_an_error(sidecar: str) -> None:
    with pytest.raises(ValueError, match="invalid type hints"):
        SERDE.loads_json("1", sidecar)


@pytest.mark.parametrize(
    "text",
    ["", " ", "[", "]", "{", '{"a"', '{"a":', '{"a":1', "[1,", "[1 2]", '"', '"\\', '"\\u12',
     '"\\x"',
     "1\0", "\0", "nul", "-", "1 2", "{1:2}", "[,]", '{"a":1,}', "tru",
     "1e", "1.e", b"\xff", "+1"],
)  # fmt: skip
def test_malformed_json_is_an_error(text: Any) -> None:
    with pytest.raises(ValueError, match="JSON|float"):
        SERDE.loads_json(text)


def test_a_part_may_be_had_once_and_not_by_itself() -> None:
    node = ["p", None, 0]
    value = SERDE.loads_json("[null,null]", hints(["*", node], p=[["[1]", None]]))
    assert value == [[1], None]


def test_keys_that_cannot_be_keys_stay_names() -> None:
    sidecar = hints(["k", None, {"a": [0]}], p=[["[1]", None]])
    assert SERDE.loads_json('{"a":1}', sidecar) == {"a": 1}


# --- depth and cycles ---


def test_great_depth_works() -> None:
    value = nest(100_000)
    for back in (
        SERDE.loads_json(*SERDE.dumps_json(value)),
        SERDE.loads_typed(SERDE.dumps_typed(value)),
    ):
        assert difference(back, value) is None
    assert difference(SERDE.loads_json("[" * 100_000 + "1" + "]" * 100_000), value) is None


def test_great_depth_of_other_containers_works() -> None:
    value: Any = "end"
    for level in range(20_000):
        value = ({"k": value}, (value,), {level: value}, {"lc": value})[level % 4]
    assert difference(SERDE.loads_json(*SERDE.dumps_json(value)), value) is None


def test_depth_on_a_thread_with_a_small_stack() -> None:
    threading.stack_size(256 * 1024)
    results: list[Any] = []

    def work() -> None:
        value = nest(5000, t.Point(HumanMessage("x", id="1")))
        results.append(difference(SERDE.loads_json(*SERDE.dumps_json(value)), value))

    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(0)
    assert results == [None]


def cyclic_list() -> Any:
    value: list[Any] = [1]
    value.append(value)
    return value


def cyclic_wide() -> Any:
    value: list[Any] = []
    value.extend([value] * 10)
    return value


def cyclic_long() -> Any:
    value: list[Any] = []
    inner = nest(500, value)
    value.append(inner)
    return value


def cyclic_dataclass() -> Any:
    value = t.Point(1)
    value.y = {"back": value}
    return value


@pytest.mark.parametrize("make", [cyclic_list, cyclic_wide, cyclic_long, cyclic_dataclass])
def test_a_cycle_is_an_error(make: Any) -> None:
    for dumps in (SERDE.dumps_json, SERDE.dumps_typed):
        with pytest.raises(UnstorableValueError, match="contains itself"):
            dumps(make())


def test_a_value_met_twice_is_no_cycle() -> None:
    shared = [1]
    assert SERDE.loads_json(*SERDE.dumps_json([shared, shared])) == [[1], [1]]


# --- what cannot be stored ---


class Holder(BaseModel):
    model_config = {"arbitrary_types_allowed": True}
    thing: Any = None
    _lock: Any = None


def test_the_error_names_the_type_and_the_place() -> None:
    call = {"a": [1, {"callback": len}]}
    with pytest.raises(TypeError) as error:
        SERDE.dumps_channels({"ok": 1, "messages": [0, t.Point(call)]})
    assert str(error.value) == (
        "channel 'messages' → [1].x.a[1].callback: a function (len) cannot be stored"
    )
    with pytest.raises(UnstorableValueError, match=r"^metadata 'x': a class \(builtins.int\)"):
        SERDE.dumps_metadata({"x": int})
    with pytest.raises(UnstorableValueError, match=r"^\['a b'\]\.artifact: an object of type"):
        SERDE.dumps_json({"a b": HumanMessage("x", artifact=object())})
    with pytest.raises(UnstorableValueError, match=r"^…(\[0\])+: a generator cannot"):
        SERDE.dumps_json(nest(300, (x for x in ())))


@pytest.mark.parametrize(
    "value",
    [
        lambda: 1,
        len,
        int,
        object(),
        (x for x in ()),
        sys,
        threading.Lock(),
        t.Plain(1),
        iter([]),
        {}.keys(),
        Ellipsis,
        NotImplemented,
        Holder(thing=len),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_stored_is_an_error(value: Any) -> None:
    for inside in (value, [value], {"a": (value,)}, {(1, 2): value}, Command(update=value)):
        for dumps in (SERDE.dumps_json, SERDE.dumps_typed, SERDE.dumps_write):
            with pytest.raises(UnstorableValueError, match="cannot be stored"):
                dumps(inside)


def test_an_open_file_is_an_error(tmp_path: pathlib.Path) -> None:
    with open(tmp_path / "x", "w") as file, pytest.raises(UnstorableValueError, match="TextIO"):
        SERDE.dumps_json(file)


def test_private_attributes_that_cannot_be_stored_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    holder = Holder(thing=(1,))
    holder._lock = threading.Lock()
    back = SERDE.loads_json(*SERDE.dumps_json([holder]))
    assert type(back[0]) is Holder and back[0].thing == (1,) and back[0]._lock is None
    assert "Private attributes" in caplog.text


def test_an_exception_raised_by_a_value_is_passed_on() -> None:
    class Odd(dict):  # type: ignore[type-arg]
        def __getattribute__(self, name: str) -> Any:
            if name == "__dict__":
                raise ZeroDivisionError
            return super().__getattribute__(name)

    with pytest.raises(ZeroDivisionError):
        SERDE.dumps_json([Odd()])


def test_a_dict_that_changes_meanwhile_is_no_panic() -> None:
    data: dict[str, Any] = {}

    class Meddler(t.MyInt):
        @property
        def __dict__(self) -> Any:  # type: ignore[override]
            data[f"k{len(data)}"] = 1
            return {}

    data["a"] = Meddler(1)
    data["b"] = 2
    SERDE.dumps_json(data)


def test_the_serializer_can_be_copied() -> None:
    for other in (copy.copy(SERDE), copy.deepcopy(SERDE)):
        assert other.loads_typed(other.dumps_typed((1,))) == (1,)


def test_safe_types_are_langgraphs() -> None:
    from langgraph_checkpoint_redis_rs import _allow

    assert _allow.SAFE == SAFE_MSGPACK_TYPES
