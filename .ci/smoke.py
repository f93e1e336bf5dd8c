"""Runs a graph that stops for a person and goes on, on the Redis of `REDIS_URL`."""

import asyncio
import os
import uuid
from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from langgraph_checkpoint_redis_rs import AsyncRedisSaver, RedisSaver


class State(TypedDict):
    steps: list[str]


def ask(state: State) -> State:
    return {"steps": [*state["steps"], interrupt("go on?")]}


def graph() -> StateGraph:
    builder = StateGraph(State)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", END)
    return builder


def config() -> dict:
    return {"configurable": {"thread_id": f"smoke-{uuid.uuid4().hex}"}}


def blocking(url: str) -> None:
    with RedisSaver.from_conn_string(url) as saver:
        saver.setup()
        thread = config()
        compiled = graph().compile(checkpointer=saver)
        assert "__interrupt__" in compiled.invoke({"steps": ["asked"]}, thread)
        assert compiled.invoke(Command(resume="yes"), thread) == {"steps": ["asked", "yes"]}
        saver.delete_thread(thread["configurable"]["thread_id"])


async def awaited(url: str) -> None:
    async with AsyncRedisSaver.from_conn_string(url) as saver:
        thread = config()
        # Another saver goes on with the thread.
        with RedisSaver.from_conn_string(url) as first:
            graph().compile(checkpointer=first).invoke({"steps": ["asked"]}, thread)
        answer = await graph().compile(checkpointer=saver).ainvoke(Command(resume="yes"), thread)
        assert answer == {"steps": ["asked", "yes"]}
        await saver.adelete_thread(thread["configurable"]["thread_id"])


if __name__ == "__main__":
    redis_url = os.environ["REDIS_URL"]
    blocking(redis_url)
    asyncio.run(awaited(redis_url))
    print("a graph was interrupted and went on")
