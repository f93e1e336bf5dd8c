"""The checkpointer that ``langgraph.json`` names is as the environment says."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from conftest import ROOT
from langgraph.checkpoint.base import empty_checkpoint

from langgraph_checkpoint_redis_rs import AsyncRedisSaver
from langgraph_checkpoint_redis_rs.errors import ConfigError, ServerConnectionError
from langgraph_checkpoint_redis_rs.factory import _SETTINGS, checkpointer


@pytest.fixture(autouse=True)
def environment(
    monkeypatch: pytest.MonkeyPatch, redis_url: str, prefixes: dict[str, str]
) -> Iterator[pytest.MonkeyPatch]:
    """An environment that names the server, under another name than the one that goes before."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    for name, value in prefixes.items():
        monkeypatch.setenv(f"LANGGRAPH_REDIS_{name.upper()}", value)
    return monkeypatch


async def _put(saver: AsyncRedisSaver, config: Any) -> None:
    await saver.aput(config, empty_checkpoint(), {"source": "input", "step": -1}, {})


async def test_a_saver_is_made_by_the_environment_set_up_and_closed(
    environment: pytest.MonkeyPatch, raw: redis.Redis, prefixes: dict[str, str], config: Any
) -> None:
    environment.setenv("LANGGRAPH_REDIS_TTL", "1h 30m")
    environment.setenv("LANGGRAPH_REDIS_CLIENT_NAME", prefixes["checkpoint_prefix"])
    async with checkpointer() as saver:
        assert type(saver) is AsyncRedisSaver
        await _put(saver, config)
        names = [client["name"] for client in raw.client_list()]
        assert prefixes["checkpoint_prefix"] in names
        keys = list(raw.scan_iter(f"{prefixes['checkpoint_prefix']}:{_id(config)}:*", count=1000))
        assert keys
        assert all(5000 < raw.ttl(key) <= 5400 for key in keys)
    with pytest.raises(ConnectionError):
        await saver.aget_tuple(config)


async def test_each_entry_is_a_saver_of_its_own(config: Any) -> None:
    async with checkpointer() as first:
        async with checkpointer() as second:
            assert first is not second
            await _put(second, config)
        assert await first.aget_tuple(config) is not None


async def test_the_url_of_this_package_goes_before_the_common_one(
    environment: pytest.MonkeyPatch, redis_url: str, config: Any
) -> None:
    environment.setenv("REDIS_URL", "redis://127.0.0.1:1")
    environment.setenv("LANGGRAPH_REDIS_URL", redis_url)
    async with checkpointer() as saver:
        assert await saver.aget_tuple(config) is None


async def test_encryption_keys_of_the_environment_seal(
    redis_url: str, prefixes: dict[str, str], config: Any
) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LANGGRAPH_REDIS_LAYOUT", "compact")
        key = b64encode(bytes(32)).decode()
        environment.setenv("LANGGRAPH_REDIS_ENCRYPTION_KEYS", f"2026-11:{key}")
        async with checkpointer() as saver:
            await _put(saver, config)
            assert await saver.aget_tuple(config) is not None
    keyless = AsyncRedisSaver(redis_url, **prefixes, layout="compact", encryption_keys={})
    with pytest.raises(ConfigError, match="sealed, and the saver has no keys"):
        async with keyless:
            pass


async def test_without_a_url_the_error_names_both_variables(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.delenv("REDIS_URL")
    with pytest.raises(ConfigError, match=r"LANGGRAPH_REDIS_URL.*REDIS_URL"):
        async with checkpointer():
            pass


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ttl", "soon"),
        ("layout", "xml"),
        ("pool_size", "0"),
        ("recent_threads", "maybe"),
        ("command_timeout", "2h"),
        ("tls_ca_file", ""),
    ],
)
async def test_a_setting_that_cannot_be_is_refused_by_its_name(
    environment: pytest.MonkeyPatch, redis_url: str, name: str, value: str
) -> None:
    url = redis_url.replace("redis://", "redis://default:hunter2@")
    environment.setenv("REDIS_URL", url)
    environment.setenv(f"LANGGRAPH_REDIS_{name.upper()}", value)
    with pytest.raises(ConfigError, match=name) as refused:
        async with checkpointer():
            pass
    assert "hunter2" not in str(refused.value)


async def test_a_server_that_is_not_there_is_an_error_without_the_password(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("REDIS_URL", "redis://default:hunter2@127.0.0.1:1")
    environment.setenv("LANGGRAPH_REDIS_COMMAND_TIMEOUT", "200ms")
    environment.setenv("LANGGRAPH_REDIS_CONNECT_TIMEOUT", "200ms")
    with pytest.raises((ServerConnectionError, TimeoutError)) as refused:
        async with checkpointer():
            pass
    assert "hunter2" not in str(refused.value)


def test_the_settings_are_those_of_the_core() -> None:
    source = (ROOT / "src" / "redis" / "config.rs").read_text()
    names = set(re.findall(r'Self::\w+ => "(\w+)",', source))
    assert "ttl_scope" in names
    names -= {"url", "encryption_keys_file", "json", "compact"}
    assert set(_SETTINGS) == names


def _id(config: Any) -> str:
    return str(config["configurable"]["thread_id"])
