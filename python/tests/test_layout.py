"""The layouts of what is stored."""

from __future__ import annotations

import datetime as dt

import pytest
import redis
from langgraph.checkpoint.base import empty_checkpoint

from langgraph_checkpoint_redis_rs import RedisSaver, ShallowRedisSaver
from langgraph_checkpoint_redis_rs.errors import ConfigError, MissingModuleError

PLACE = {"configurable": {"thread_id": "t {1} 100%", "checkpoint_ns": ""}}


def stored(saver):
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"messages": ["a piece of text "] * 1000}
    checkpoint["channel_versions"] = {"messages": 1}
    saver.put(PLACE, checkpoint, {"source": "input", "step": -1}, {"messages": 1})
    return checkpoint


@pytest.mark.parametrize("in_url", [False, True])
def test_the_compact_layout_needs_no_modules(plain_redis_url, prefixes, in_url):
    url = f"{plain_redis_url}?layout=compact" if in_url else plain_redis_url
    layout = {} if in_url else {"layout": "compact"}
    with RedisSaver(url, **layout, **prefixes) as saver:
        saver.setup()
        checkpoint = stored(saver)
        assert saver.get_tuple(PLACE).checkpoint == checkpoint
    with RedisSaver(url, **layout, **prefixes) as saver:
        assert saver.get_tuple(PLACE).checkpoint == checkpoint
        assert [summary.thread_id for summary in saver.threads("t {")] == ["t {1} 100%"]
        saver.delete_thread("t {1} 100%")
        assert saver.get_tuple(PLACE) is None


def test_without_modules_the_json_layout_names_the_compact_one(plain_redis_url, prefixes):
    with (
        pytest.raises(MissingModuleError, match="compact"),
        RedisSaver(plain_redis_url, **prefixes) as saver,
    ):
        saver.setup()


def test_a_saver_of_the_other_layout_is_refused(redis_url, prefixes):
    with RedisSaver(redis_url, layout="compact", **prefixes) as saver:
        saver.setup()
    with (
        pytest.raises(ConfigError, match="compact"),
        RedisSaver(redis_url, **prefixes) as saver,
    ):
        saver.setup()


def test_a_thread_of_the_compact_layout_expires_as_a_whole(plain_redis_url, prefixes):
    hour = dt.timedelta(hours=1)
    with RedisSaver(plain_redis_url, layout="compact", ttl=hour, **prefixes) as saver:
        stored(saver)
    with redis.Redis.from_url(plain_redis_url) as client:
        keys = set(client.scan_iter(f"{prefixes['checkpoint_prefix']}*{{*"))
        recent = {key for key in keys if b"_recent:" in key}
        of_thread = keys - recent
        assert of_thread and all(0 < client.ttl(key) <= 3600 for key in of_thread)
        # The sets of recent threads outlive the threads, and not for ever.
        assert recent and all(0 < client.ttl(key) <= 7 * 24 * 3600 for key in recent)


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (RedisSaver, {"layout": "xml"}),
        (RedisSaver, {"layout": None}),
        (RedisSaver, {"layout": "compact", "ttl": {"default_ttl": 1, "scope": "checkpoint"}}),
        (RedisSaver, {"layout": "compact", "search": "required"}),
        (ShallowRedisSaver, {"layout": "compact"}),
    ],
)
def test_what_does_not_go_with_a_layout_is_refused(plain_redis_url, cls, arguments):
    with pytest.raises(ConfigError, match="layout"), cls(plain_redis_url, **arguments) as saver:
        saver.setup()
