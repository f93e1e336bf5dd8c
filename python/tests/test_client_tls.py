"""A redis-py client that speaks TLS is taken over with TLS, whatever kind it is."""

from __future__ import annotations

from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

from langgraph_checkpoint_redis_rs._settings import connection


def url_of(client: Any) -> str:
    """The URL that the saver connects to."""
    return connection(None, client, None)[0]["url"]


@pytest.mark.parametrize("library", [redis, redis.asyncio])
def test_a_plain_client(library: Any) -> None:
    assert url_of(library.Redis(host="h", ssl=True)).startswith("rediss://")
    assert url_of(library.Redis(host="h")).startswith("redis://")


@pytest.mark.parametrize("sentinel", [redis.sentinel, redis.asyncio.sentinel])
def test_a_client_behind_sentinel(sentinel: Any) -> None:
    secured = sentinel.Sentinel([("s", 26379)], ssl=True, password="p").master_for("mymaster")
    assert url_of(secured).startswith("rediss+sentinel://")
    plain = sentinel.Sentinel([("s", 26379)]).master_for("mymaster")
    assert url_of(plain).startswith("redis+sentinel://")


async def test_a_client_of_a_cluster() -> None:
    secured = redis.asyncio.RedisCluster(host="h", ssl=True, password="p")
    assert url_of(secured).startswith("rediss+cluster://")
    assert url_of(redis.asyncio.RedisCluster(host="h")).startswith("redis+cluster://")
