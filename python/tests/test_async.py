"""Event loops, threads, forks and cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from langgraph_checkpoint_redis_rs import AsyncRedisSaver, RedisSaver, _bridge

METADATA = {"source": "loop", "step": 1, "parents": {}}


def checkpoint(value):
    made = empty_checkpoint()
    made["id"] = str(uuid6(clock_seq=1))
    made["channel_values"] = {"value": value}
    made["channel_versions"] = {"value": "1"}
    return made


def test_one_saver_serves_many_loops_one_after_the_other(redis_url, config):
    saver = AsyncRedisSaver(redis_url)
    for number in range(20):

        async def turn(number=number):
            await saver.aput(config, checkpoint(number), METADATA, {})
            found = await saver.aget_tuple(config)
            return found.checkpoint["channel_values"]["value"]

        assert asyncio.run(turn()) == number
    gc.collect()
    assert len(_bridge._bridges) == 0, "a closed loop leaves nothing behind"


def test_one_saver_serves_many_loops_and_threads_at_once(redis_url, thread):
    saver = AsyncRedisSaver(redis_url)

    def turn(number):
        place = {"configurable": {"thread_id": f"{thread}-{number}", "checkpoint_ns": ""}}

        async def awaited():
            for step in range(10):
                await saver.aput(place, checkpoint((number, step)), METADATA, {})
            return (await saver.aget_tuple(place)).checkpoint["channel_values"]["value"]

        def blocking():
            for step in range(10):
                saver.put(place, checkpoint((number, step)), METADATA, {})
            return saver.get_tuple(place).checkpoint["channel_values"]["value"]

        return asyncio.run(awaited()) if number % 2 else blocking()

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(turn, range(16))) == [(number, 9) for number in range(16)]


async def test_many_calls_at_once_each_get_their_own_answer(asaver, thread):
    async def turn(number):
        place = {"configurable": {"thread_id": f"{thread}-{number}", "checkpoint_ns": ""}}
        await asaver.aput(place, checkpoint(number), METADATA, {})
        return (await asaver.aget_tuple(place)).checkpoint["channel_values"]["value"]

    assert await asyncio.gather(*map(turn, range(200))) == list(range(200))


async def test_a_blocking_call_in_the_loop_is_refused_and_elsewhere_works(asaver, config):
    await asaver.aput(config, checkpoint("x"), METADATA, {})
    for call in (
        lambda: asaver.get(config),
        lambda: asaver.get_tuple(config),
        lambda: asaver.list(config),
        lambda: asaver.put(config, checkpoint("y"), METADATA, {}),
        lambda: asaver.put_writes(config, [], "task"),
        lambda: asaver.delete_thread("x"),
        lambda: asaver.delete_for_runs([]),
        lambda: asaver.copy_thread("a", "b"),
        lambda: asaver.prune([]),
        lambda: asaver.get_delta_channel_history(config=config, channels=[]),
        lambda: asaver.threads(),
        lambda: asaver.pin("x"),
        lambda: asaver.unpin("x"),
        lambda: asaver.touch("x"),
    ):
        with pytest.raises(asyncio.InvalidStateError, match="await a"):
            call()
    found = await asyncio.to_thread(asaver.get_tuple, config)
    assert found.checkpoint["channel_values"] == {"value": "x"}
    listed = await asyncio.to_thread(lambda: list(asaver.list(config)))
    assert len(listed) == 1


async def test_the_blocking_saver_is_awaitable_too(saver, config):
    stored = await saver.aput(config, checkpoint("x"), METADATA, {})
    assert await saver.aget_tuple(stored) == saver.get_tuple(stored)
    assert [found async for found in saver.alist(config)] == list(saver.list(config))


async def test_a_cancelled_put_leaves_a_complete_checkpoint_or_none(asaver, config, thread):
    errors = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    made = []
    for number in range(60):
        one = checkpoint("x" * 20_000 + str(number))
        made.append(one)
        task = asyncio.create_task(asaver.aput(config, one, METADATA, {}))
        await asyncio.sleep(number % 4 * 0.0003)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await asyncio.sleep(0.3)
    by_id = {one["id"]: one["channel_values"] for one in made}
    found = [found async for found in asaver.alist(config)]
    assert found, "calls that were cancelled after they began run to their end"
    for one in found:
        assert one.checkpoint["channel_values"] == by_id[one.checkpoint["id"]]
    newest = await asaver.aget_tuple(config)
    assert newest.checkpoint["id"] == max(one.checkpoint["id"] for one in found)
    assert errors == []


async def test_a_blocking_call_lets_other_threads_run(saver, config):
    ticks = 0
    stop = threading.Event()

    def tick():
        nonlocal ticks
        while not stop.is_set():
            ticks += 1
            time.sleep(0.0005)

    counter = threading.Thread(target=tick)
    counter.start()
    try:
        before = ticks
        for _ in range(100):
            saver.put(config, checkpoint("x"), METADATA, {})
        assert ticks > before
    finally:
        stop.set()
        counter.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_saver_made_before_a_fork_works_on_both_sides(python_process, thread):
    script = """
import asyncio, os, sys
from langgraph.checkpoint.base import empty_checkpoint
from langgraph_checkpoint_redis_rs import AsyncRedisSaver, RedisSaver

url, thread = sys.argv[1:]
blocking, awaited = RedisSaver(url), AsyncRedisSaver(url)
config = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}

def work(name):
    one = empty_checkpoint()
    one["channel_values"] = {"from": name}
    blocking.put(config, one, {}, {})
    async def read():
        return [found async for found in awaited.alist(config)]
    assert asyncio.run(read())[0].checkpoint["channel_values"] == {"from": name}

work("parent")
for name in ("first", "second"):
    child = os.fork()
    if child == 0:
        work(name)
        grandchild = os.fork()
        if grandchild == 0:
            work(name + "'s child")
            os._exit(0)
        _, status = os.waitpid(grandchild, 0)
        os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    work("parent")
print("done")
"""
    process = python_process(script, thread)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out.strip()) == (0, "done"), err


def test_ctrl_c_interrupts_a_blocking_call(python_process):
    script = """
import os, signal, socket, sys, threading, time
from langgraph_checkpoint_redis_rs import RedisSaver

# Whoever started the tests may have ignored the signal, as a shell does for a job of its own.
signal.signal(signal.SIGINT, signal.default_int_handler)
silent = socket.create_server(("127.0.0.1", 0))
saver = RedisSaver(f"redis://127.0.0.1:{silent.getsockname()[1]}", connect_timeout=30)
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
start = time.monotonic()
try:
    saver.get_tuple({"configurable": {"thread_id": "x"}})
except KeyboardInterrupt:
    print(time.monotonic() - start < 5)
"""
    process = python_process(script)
    out, err = process.communicate(timeout=60)
    assert out.strip() == "True", err


def test_a_closed_saver_fails_and_opens_again(redis_url, config):
    with RedisSaver(redis_url) as saver:
        saver.put(config, checkpoint("x"), METADATA, {})
    with pytest.raises(ConnectionError, match="closed"):
        saver.get_tuple(config)
    with saver:
        assert saver.get_tuple(config).checkpoint["channel_values"] == {"value": "x"}


def test_dropped_savers_leave_no_connections(redis_url, raw, config):
    def count():
        return raw.info("clients")["connected_clients"]

    RedisSaver(redis_url).get_tuple(config)
    before = count()
    for _ in range(20):
        RedisSaver(redis_url).get_tuple(config)
    gc.collect()
    deadline = time.monotonic() + 10
    while count() > before + 10 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert count() <= before + 10
