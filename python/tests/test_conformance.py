"""LangGraph's own suites for savers."""

from __future__ import annotations

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import ALL_CAPABILITIES

from langgraph_checkpoint_redis_rs import AsyncRedisSaver, RedisSaver


@pytest.mark.parametrize("layout", ["json", "compact"])
@pytest.mark.parametrize("cls", [AsyncRedisSaver, RedisSaver])
async def test_every_capability_is_there_and_every_test_passes(
    cls, layout, redis_url, plain_redis_url, prefixes
):
    url = redis_url if layout == "json" else plain_redis_url

    @checkpointer_test(name=cls.__name__)
    async def factory():
        async with cls(url, layout=layout, **prefixes) as saver:
            yield saver

    report = await validate(factory)
    found = {result_name: result for result_name, result in report.results.items()}
    assert {name for name, result in found.items() if result.detected} == {
        capability.value for capability in ALL_CAPABILITIES
    }
    failures = [failure for result in found.values() for failure in result.failures or []]
    assert failures == []
    assert sum(result.tests_passed for result in found.values()) >= 70
    assert all(result.passed for result in found.values())
