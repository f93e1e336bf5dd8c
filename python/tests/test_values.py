"""Every value comes back equal and of the same type."""

from __future__ import annotations

import json
from typing import Any

import pytest
from compare import difference
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from zoo import ZOO

from langgraph_checkpoint_redis_rs.serde import RedisSerializer

SERDE = RedisSerializer()
REDIS_MAX_DEPTH = 127


def depth_of(text: bytes) -> int:
    """How deep a JSON text nests; strings are skipped."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in text:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is not JSON")


def check_redis_accepts(text: bytes) -> None:
    """RedisJSON keeps this text as it is, three levels down in a document."""
    assert depth_of(text) <= REDIS_MAX_DEPTH - 3
    text.decode("utf-8")

    def number(digits: str) -> int:
        assert -(2**63) <= int(digits) < 2**64
        return int(digits)

    json.loads(text, parse_constant=refuse, parse_int=number)
    assert b"\\ud" not in text.lower()


@pytest.mark.parametrize("name", ZOO)
def test_json_and_hints(name: str) -> None:
    value = ZOO[name]
    text, hints = SERDE.dumps_json(value)
    check_redis_accepts(text)
    if hints is not None:
        check_redis_accepts(hints)
    assert difference(SERDE.loads_json(text, hints), value) is None


@pytest.mark.parametrize("name", ZOO)
def test_typed(name: str) -> None:
    value = ZOO[name]
    type_, blob = SERDE.dumps_typed(value)
    assert "+" not in type_
    assert difference(SERDE.loads_typed((type_, blob)), value) is None


@pytest.mark.parametrize("name", ZOO)
def test_write(name: str) -> None:
    value = ZOO[name]
    type_, blob, hints = SERDE.dumps_write(value)
    assert type_ in ("null", "bytes", "bytearray", "json", "msgpack")
    assert difference(SERDE.loads_write(type_, blob, hints), value) is None


def test_channels() -> None:
    text, hints = SERDE.dumps_channels(ZOO)
    check_redis_accepts(text)
    assert hints is not None
    check_redis_accepts(hints)
    assert difference(SERDE.loads_channels(memoryview(text), hints), ZOO) is None
    assert difference(SERDE.loads_metadata(*SERDE.dumps_metadata(ZOO)), ZOO) is None


@pytest.mark.parametrize("name", ZOO)
def test_encrypted(name: str) -> None:
    serde = EncryptedSerializer.from_pycryptodome_aes(serde=SERDE, key=b"0123456789abcdef")
    value = ZOO[name]
    assert difference(serde.loads_typed(serde.dumps_typed(value)), value) is None


@pytest.mark.parametrize(
    "name",
    [
        "human",
        "ai_tools",
        "messages",
        "message_in_dict",
        "document",
        "send",
        "interrupt",
        "command",
        "snapshot",
        "bytes_empty",
        "datetime_zone",
        "set_int",
        "frozenset",
        "deque",
        "pydantic_list",
        "dataclass",
        "decimal",
        "uuid",
        "floats",
        "ints",
        "empty",
    ],
)
def test_the_common_case_needs_no_hints(name: str) -> None:
    assert SERDE.dumps_json(ZOO[name])[1] is None


def test_hints_are_compact() -> None:
    hints = SERDE.dumps_json([(1, 2)] * 1000)[1]
    assert hints == b'{"v":1,"h":["*","t"]}'
    assert SERDE.dumps_json({"a": (1,)})[1] == b'{"v":1,"h":{"a":"t"}}'
    assert SERDE.dumps_json({1: ()})[1] == b'{"v":1,"h":["i",{"1":"t"}]}'


@pytest.mark.parametrize("error", [ValueError("boom"), RuntimeError("x", 1), KeyError("k")])
def test_an_exception_becomes_its_repr(error: Exception) -> None:
    assert SERDE.loads_typed(SERDE.dumps_typed(error)) == repr(error)
    assert SERDE.loads_json(*SERDE.dumps_json([error])) == [repr(error)]


def test_there_are_enough_values() -> None:
    assert len(ZOO) >= 110
