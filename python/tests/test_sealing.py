"""Encryption keys, from arguments and from the environment."""

from __future__ import annotations

import base64
import os

import pytest
import redis
from langgraph.checkpoint.base import empty_checkpoint

from langgraph_checkpoint_redis_rs import AsyncRedisSaver, RedisSaver, ShallowRedisSaver
from langgraph_checkpoint_redis_rs.errors import ConfigError, CorruptError

PLACE = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
NEW, OLD = bytes([171] * 32), bytes([172] * 32)


@pytest.fixture
def compact(plain_redis_url, prefixes):
    """How a saver of the compact layout is made."""

    def make(cls=RedisSaver, **arguments):
        return cls(plain_redis_url, **{"layout": "compact", **prefixes, **arguments})

    return make


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("LANGGRAPH_REDIS_ENCRYPTION_KEYS", "LANGGRAPH_REDIS_ENCRYPTION_KEYS_FILE"):
        monkeypatch.delenv(name, raising=False)


def store(saver):
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"messages": ["a secret piece of text "] * 1000}
    checkpoint["channel_versions"] = {"messages": 1}
    saver.put(PLACE, checkpoint, {"source": "input", "step": -1}, {"messages": 1})
    return checkpoint


def text(name, key):
    return f"{name}:{base64.b64encode(key).decode()}"


def test_what_is_stored_is_sealed(compact, plain_redis_url, prefixes):
    with compact(encryption_keys={"new": NEW}) as saver:
        saver.setup()
        checkpoint = store(saver)
    with redis.Redis.from_url(plain_redis_url) as client:
        dumps = [client.dump(key) for key in client.scan_iter(f"{prefixes['checkpoint_prefix']}*")]
    # Two of the thread, the mark of the layout, and the set of recent threads.
    assert len(dumps) == 4
    assert not any(b"secret" in dump or b"messages" in dump for dump in dumps)
    with compact(encryption_keys={"newer": OLD, "new": NEW}) as saver:
        assert saver.get_tuple(PLACE).checkpoint == checkpoint


async def test_what_is_sealed_is_read_with_its_key_alone(compact):
    with compact(encryption_keys={"old": OLD}) as saver:
        checkpoint = store(saver)
    for arguments in ({}, {"encryption_keys": {}}, {"encryption_keys": {"new": NEW}}):
        saver = compact(AsyncRedisSaver, **arguments)
        with pytest.raises(ConfigError, match="`old`"):
            await saver.aget_tuple(PLACE)
    with pytest.raises(ConfigError, match="has no keys"):
        compact().setup()
    async with compact(AsyncRedisSaver, encryption_keys={"old": OLD}) as saver:
        assert (await saver.aget_tuple(PLACE)).checkpoint == checkpoint


def test_what_is_not_sealed_is_refused_unless_it_is_allowed(compact):
    with compact() as saver:
        checkpoint = store(saver)
    with (
        compact(encryption_keys={"new": NEW}) as saver,
        pytest.raises(CorruptError, match="allow_unsealed"),
    ):
        saver.get_tuple(PLACE)
    with compact(encryption_keys={"new": NEW}, allow_unsealed=True) as saver:
        assert saver.get_tuple(PLACE).checkpoint == checkpoint


def test_keys_come_from_the_environment(compact, monkeypatch, tmp_path):
    monkeypatch.setenv("LANGGRAPH_REDIS_ENCRYPTION_KEYS", f"{text('new', NEW)},{text('old', OLD)}")
    with compact() as saver:
        checkpoint = store(saver)
    # An argument goes before the environment.
    with pytest.raises(ConfigError, match="`new`"):
        compact(encryption_keys={}).get_tuple(PLACE)
    monkeypatch.delenv("LANGGRAPH_REDIS_ENCRYPTION_KEYS")
    file = tmp_path / "keys"
    file.write_text(f"# keys\n{text('new', NEW)}\n")
    file.chmod(0o600)
    monkeypatch.setenv("LANGGRAPH_REDIS_ENCRYPTION_KEYS_FILE", os.fspath(file))
    with compact() as saver:
        assert saver.get_tuple(PLACE).checkpoint == checkpoint
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod o="):
        compact().get_tuple(PLACE)


@pytest.mark.parametrize(
    "keys",
    [
        {"": NEW},
        {"k" * 33: NEW},
        {"a b": NEW},
        {"a": NEW[:31]},
        {"a": NEW, "b": NEW},
        {base64.b64encode(NEW).decode(): NEW},
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(compact, keys):
    with pytest.raises(ConfigError, match="encryption_keys") as refused:
        compact(encryption_keys=keys)
    shown = repr(refused.value)
    assert "q6ur" not in shown and "171" not in shown and "\\xab" not in shown


@pytest.mark.parametrize("keys", ["secret", [NEW], {"a": "secret"}, {NEW: b"secret"}, {"a": None}])
def test_what_is_no_dict_of_bytes_is_refused_and_not_shown(compact, keys):
    with pytest.raises(TypeError, match="encryption_keys") as refused:
        compact(encryption_keys=keys)
    assert "secret" not in repr(refused.value) and "\\xab" not in repr(refused.value)


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (RedisSaver, {"layout": "json", "encryption_keys": {"new": NEW}}),
        (ShallowRedisSaver, {"layout": "json", "encryption_keys": {"new": NEW}}),
        (RedisSaver, {"allow_unsealed": True}),
    ],
)
def test_keys_that_would_seal_nothing_are_refused(compact, cls, arguments):
    with pytest.raises(ConfigError, match="encryption_keys"):
        compact(cls, **arguments).get_tuple(PLACE)
