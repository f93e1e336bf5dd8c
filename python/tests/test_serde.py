"""Serializers of the caller's own: nothing of a value is stored in the clear."""

from __future__ import annotations

import base64
import pickle
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.base import maybe_add_typed_methods
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from value_types import Color

from langgraph_checkpoint_redis_rs import (
    RedisSaver,
    RedisSerializer,
    UnstorableValueError,
    errors,
)

KEY = b"0123456789abcdef"
SECRET = "the-secret-word"
VALUES = {
    "text": SECRET,
    "message": HumanMessage(SECRET, id="1"),
    "tuple": (SECRET, {SECRET: {1, 2}}),
    "bytes": SECRET.encode(),
    "none": None,
    "delta": _DeltaSnapshot([SECRET]),
}


class Pickles:
    """A serializer that knows nothing of this package, without typed methods."""

    def dumps(self, obj):
        return pickle.dumps(obj)

    def loads(self, data):
        return pickle.loads(data)


def encrypted(inner=None):
    return EncryptedSerializer.from_pycryptodome_aes(inner or RedisSerializer(), key=KEY)


def checkpoint(values):
    made = empty_checkpoint()
    made["id"] = str(uuid6(clock_seq=1))
    made["channel_values"] = values
    made["channel_versions"] = dict.fromkeys(values, "1")
    return made


def stored(raw, thread):
    found = b""
    for key in raw.scan_iter(f"*{thread}*", count=1000):
        kind = raw.type(key)
        if kind == b"ReJSON-RL":
            found += raw.execute_command("JSON.GET", key)
    return found


def as_given_back(serde):
    """The values as the serializer gives them back: LangGraph's turns tuples into lists."""
    typed = maybe_add_typed_methods(serde)
    return {name: typed.loads_typed(typed.dumps_typed(value)) for name, value in VALUES.items()}


def everything_that_says(secret):
    for shift in range(3):
        text = base64.b64encode(b"x" * shift + secret.encode()).strip(b"=")
        yield text[4:-4]
    yield secret.encode()


@pytest.mark.parametrize(
    "serde",
    [
        pytest.param(encrypted, id="over this package's"),
        pytest.param(lambda: encrypted(JsonPlusSerializer()), id="over LangGraph's"),
    ],
)
async def test_encryption_leaves_nothing_in_the_clear(redis_url, config, raw, thread, serde):
    values = as_given_back(serde())
    with RedisSaver(redis_url, serde=serde()) as saver:
        config = saver.put(config, checkpoint(VALUES), {"source": "loop", "step": 1}, {})
        saver.put_writes(config, list(VALUES.items()), "task")
        document = stored(raw, thread)
        assert document.count(b"blob") >= 2 * len(VALUES)
        for text in everything_that_says(SECRET):
            assert text not in document
        found = await saver.aget_tuple(config)
        assert found.checkpoint["channel_values"] == values
        assert [write[1:] for write in found.pending_writes] == list(values.items())
        assert found.metadata == {"source": "loop", "step": 1}
        child = saver.put(config, checkpoint({}), {}, {})
        history = saver.get_delta_channel_history(config=child, channels=["delta", "text"])
        assert history["delta"]["seed"] == values["delta"]
        assert [write[2] for write in history["text"]["writes"]] == [SECRET]


@pytest.mark.parametrize("serde", [JsonPlusSerializer(), Pickles()])
def test_any_serializer_of_langgraphs_kind(redis_url, config, serde):
    values = as_given_back(serde)
    with RedisSaver(redis_url, serde=serde) as saver:
        config = saver.put(config, checkpoint(VALUES), {}, {})
        saver.put_writes(config, list(VALUES.items()), "task")
        found = saver.get_tuple(config)
        assert found.checkpoint["channel_values"] == values
        assert [write[1:] for write in found.pending_writes] == list(values.items())


def test_what_was_stored_before_encryption_came_is_still_read(redis_url, config):
    with RedisSaver(redis_url) as plain, RedisSaver(redis_url, serde=encrypted()) as secret:
        config = plain.put(config, checkpoint(VALUES), {}, {})
        plain.put_writes(config, list(VALUES.items()), "task")
        found = secret.get_tuple(config)
        assert found.checkpoint["channel_values"] == VALUES
        assert [write[1:] for write in found.pending_writes] == list(VALUES.items())


def test_the_wrong_serializer_or_key_is_reported(redis_url, config):
    other = EncryptedSerializer.from_pycryptodome_aes(RedisSerializer(), key=KEY[::-1])
    with (
        RedisSaver(redis_url, serde=encrypted()) as secret,
        RedisSaver(redis_url) as plain,
        RedisSaver(redis_url, serde=other) as wrong,
    ):
        config = secret.put(config, checkpoint({"text": SECRET}), {}, {})
        with pytest.raises(errors.CorruptError, match="serde"):
            plain.get_tuple(config)
        with pytest.raises(errors.CorruptError, match="text.*EncryptedSerializer.*key"):
            wrong.get_tuple(config)
        secret.put_writes(config, [("text", SECRET)], "task")
        secret.put(
            config, {**checkpoint({}), "id": config["configurable"]["checkpoint_id"]}, {}, {}
        )
        with pytest.raises(errors.CorruptError, match="text.*EncryptedSerializer.*key"):
            wrong.get_tuple(config)


def test_a_serializer_that_fails_stores_nothing(redis_url, config, raw, thread):
    saver = RedisSaver(redis_url, serde=Pickles())
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda") as error:
        saver.put(config, checkpoint({"good": 1, "bad": lambda: None}), {}, {})
    assert not hasattr(error.value, "add_note") or "'bad'" in error.value.__notes__[0]
    assert list(raw.scan_iter(f"*{thread}*")) == []


class Refuses(JsonPlusSerializer):
    """A serializer with a mind of its own."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        raise self.error


@pytest.mark.parametrize("error", [ValueError("too secret"), KeyError("x"), OSError("no key")])
def test_what_a_serializer_raises_is_what_is_raised(redis_url, config, raw, thread, error):
    with RedisSaver(redis_url, serde=Refuses(error)) as saver:
        with pytest.raises(type(error)) as raised:
            saver.put(config, checkpoint({"a": 1}), {}, {})
        assert raised.value is error
        named = {"configurable": {**config["configurable"], "checkpoint_id": "1"}}
        with pytest.raises(type(error)) as raised:
            saver.put_writes(named, [("a", 1)], "task")
        assert raised.value is error
    with (
        RedisSaver(redis_url, serde=Refuses(TypeError("never"))) as saver,
        pytest.raises(UnstorableValueError, match="channel 'a'.*never"),
    ):
        saver.put(config, checkpoint({"a": 1}), {}, {})
    assert list(raw.scan_iter(f"*{thread}*")) == []


def test_the_allowlist_makes_another_saver_on_the_same_connections(redis_url, config):
    value = Color.RED
    with RedisSaver(redis_url, serde=RedisSerializer(allowed_msgpack_modules=None)) as strict:
        config = strict.put(config, checkpoint({"value": value}), {}, {})
        kind = type(value)
        allowing = strict.with_allowlist({(kind.__module__, kind.__name__)})
        assert allowing is not strict
        assert strict.get_tuple(config).checkpoint["channel_values"]["value"] is not value
        assert allowing.get_tuple(config).checkpoint["channel_values"] == {"value": value}
        assert type(strict.get_tuple(config).checkpoint["channel_values"]["value"]) is not kind
