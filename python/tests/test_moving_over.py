"""What those who come from langgraph-checkpoint-redis bring with them works, or is passed over."""

from __future__ import annotations

import uuid
import warnings
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.redis import RedisSaver as PythonSaver

from langgraph_checkpoint_redis_rs import AsyncShallowRedisSaver, RedisSaver, ShallowRedisSaver
from langgraph_checkpoint_redis_rs._settings import connection


def test_parameters_of_redis_py_in_the_url_work_as_arguments(redis_url, config):
    """Each is the same in the URL and in ``connection_args``."""
    args = {
        "socket_timeout": 7.5,
        "socket_connect_timeout": 3,
        "max_connections": 1,
        "db": 0,
        "protocol": 3,
        "decode_responses": True,
        "health_check_interval": 30,
        "retry_on_timeout": True,
        "client_name": "app",
        "ssl_min_version": 771,
    }
    query = "&".join(f"{name}={value}" for name, value in args.items())
    ignored = "decode_responses, health_check_interval, protocol, retry_on_timeout"
    for url, given in ((f"{redis_url}?{query}", None), (redis_url, args)):
        with pytest.warns(UserWarning, match=f"{ignored}, ssl_min_version") as warned:
            settings, credentials = connection(url, None, given)
        assert len(warned) == 1 and credentials is None
        assert settings == {
            "url": redis_url,
            "command_timeout": "7.500",
            "connect_timeout": "3.000",
            "client_name": "app",
            "pool_size": "1",
        }
        with pytest.warns(UserWarning) as warned, RedisSaver(url, connection_args=given) as saver:
            assert saver.get_tuple(config) is None
        assert len(warned) == 1 and warned[0].filename == __file__


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("redis://h?db=3", {"url": "redis://h/3"}),
        ("redis://h?ssl=true&ssl_ca_certs=/ca", {"url": "rediss://h", "tls_ca_file": "/ca"}),
        (
            "rediss://h:1/2?ssl_certfile=/c&ssl_keyfile=/k&ssl_cert_reqs=required",
            {"url": "rediss://h:1/2", "tls_cert_file": "/c", "tls_key_file": "/k"},
        ),
        ("redis://h?username=me&password=p%20w", {"url": "redis://me:p%20w@h"}),
        (
            "unix:///s?db=2&socket_timeout=1",
            {"url": "redis+unix:///s?db=2", "command_timeout": "1.000"},
        ),
        ("redis://h?max_connections=50", {"url": "redis://h", "pool_size": "2"}),
        (
            "redis-sentinel://h/0?sentinelServiceName=m&node=i:1&socket_timeout=2",
            {
                "url": "redis-sentinel://h/0?sentinelServiceName=m&node=i%3A1",
                "command_timeout": "2.000",
            },
        ),
        ("redis://h", {"url": "redis://h"}),
    ],
)
def test_a_url_of_redis_py_is_read_as_one_of_ours(url, settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert connection(url, None, None) == (settings, None)


def test_the_url_goes_before_the_arguments():
    args = {"socket_timeout": 9, "socket_connect_timeout": 9}
    settings, _ = connection("redis://h?socket_timeout=1", None, args)
    assert settings["command_timeout"] == "1.000" and settings["connect_timeout"] == "9.000"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://h?socket_timeout=soon", "socket_timeout"),
        ("redis://h?max_connections=0", "max_connections"),
        ("rediss://h?ssl_cert_reqs=none", "anybody"),
        ("rediss://h?ssl_check_hostname=false", "anybody"),
    ],
)
def test_what_cannot_be_or_is_not_safe_is_refused_in_the_url_too(url, text):
    with pytest.raises(ValueError, match=text):
        RedisSaver(url)


@pytest.mark.parametrize("cls", [RedisSaver, ShallowRedisSaver])
def test_other_keys_of_ttl_are_passed_over_with_one_warning(redis_url, config, raw, thread, cls):
    ttl = {"default_ttl": 10, "sweep_interval_minutes": 5, "strategy": "delete"}
    with pytest.warns(UserWarning, match="'strategy', 'sweep_interval_minutes'") as warned:
        saver = cls(redis_url, ttl=ttl)
    assert len(warned) == 1 and warned[0].filename == __file__
    saver.put(config, empty_checkpoint(), {}, {})
    keys = list(raw.scan_iter(f"*{thread}*"))
    assert keys and all(590 <= raw.ttl(key) <= 600 for key in keys)


@pytest.mark.parametrize("cls", [ShallowRedisSaver, AsyncShallowRedisSaver])
def test_sizes_of_caches_are_passed_over_with_one_warning(redis_url, cls):
    sizes = {"key_cache_max_size": 10, "channel_cache_max_size": 10}
    text = "channel_cache_max_size, key_cache_max_size"
    for make in (cls, cls.from_conn_string):
        with pytest.warns(UserWarning, match=text) as warned:
            make(redis_url, **sizes)
        assert len(warned) == 1


def stored(saver: Any, config: Any, **metadata: Any) -> Any:
    return saver.put(config, {**empty_checkpoint(), "id": str(uuid6())}, metadata, {})


def found(saver: Any, config: Any, **filter: Any) -> list[Any]:
    return [one.metadata.get("step") for one in saver.list(config, filter=filter)]


def test_a_filter_finds_threads_and_runs_as_the_other_package_does(
    redis_url, saver, thread, config
):
    run = uuid.uuid4()
    other = {"configurable": {"thread_id": f"{thread}-2", "checkpoint_ns": ""}}
    stored(saver, config, source="loop", step=1, run_id=str(run))
    stored(saver, other, source="loop", step=2, run_id=run)
    in_config = {"configurable": {**other["configurable"], "run_id": run}}
    stored(saver, in_config, source="loop", step=3)
    with PythonSaver.from_conn_string(redis_url) as theirs:
        theirs.setup()
        for one in (saver, theirs):
            assert found(one, None, thread_id=thread) == [1]
            assert found(one, None, thread_id=f"{thread}-2", step=2) == [2]
            assert found(one, config, thread_id=f"{thread}-2") == []
            assert found(one, config, run_id=run) == [1]
            assert sorted(found(one, None, run_id=run)) == [1, 2, 3]
    assert found(saver, None, run_id=str(run), thread_id=f"{thread}-2") == [3, 2]
    saver.delete_for_runs([run])
    assert found(saver, None, run_id=run) == []


@pytest.mark.parametrize("given", [True, 1, 1.0, False, 0, 0.0, [True, {"a": 0}], None, "", "1"])
def test_a_filter_compares_as_python_does(saver, config, given):
    values = [True, 1, 1.0, False, 0, -0.0, [1, {"a": False}], [1.0, {"a": 0}], None, "", "1", 2]
    for step, value in enumerate(values):
        stored(saver, config, step=step, flag=value)
    wanted = [step for step, value in enumerate(values) if value == given]
    assert sorted(found(saver, config, flag=given)) == wanted
