"""How long values take to write and to read, side by side with others.

Run ``python benches/values.py``. Each number is the best of several rounds, in
microseconds a call.
"""

from __future__ import annotations

import gc
import random
import timeit
from collections.abc import Callable
from typing import Any

import orjson
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.redis.jsonplus_redis import JsonPlusRedisSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langgraph_checkpoint_redis_rs.serde import RedisSerializer


def plain(size: int) -> Any:
    """JSON-like data of about ``size`` bytes."""
    rng = random.Random(1)
    rows: list[Any] = []
    while len(orjson.dumps(rows)) < size:
        rows.append(
            {
                "id": rng.randrange(10**9),
                "title": " ".join(rng.choices(["alpha", "beta", "gamma", "delta"], k=6)),
                "score": rng.random(),
                "tags": rng.choices(["red", "green", "blue"], k=3),
                "nested": {"ok": True, "none": None, "values": [1, 2.5, -3]},
            }
        )
    return rows


def conversation(count: int) -> list[Any]:
    """Messages as an agent makes them."""
    messages: list[Any] = []
    for turn in range(0, count, 4):
        call = {
            "name": "search",
            "args": {"q": f"term {turn}"},
            "id": f"c{turn}",
            "type": "tool_call",
        }
        usage = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}
        messages += [
            HumanMessage(f"What about {turn}? " * 5, id=f"h{turn}"),
            AIMessage("", id=f"a{turn}", tool_calls=[call], usage_metadata=usage),
            ToolMessage("some result " * 20, tool_call_id=f"c{turn}", id=f"t{turn}"),
            AIMessage("An answer. " * 20, id=f"b{turn}", usage_metadata=usage),
        ]
    return messages[:count]


def best(call: Callable[[], Any]) -> float:
    """Microseconds a call."""
    timer = timeit.Timer(call)
    number, _ = timer.autorange()
    gc.collect()
    return min(timer.repeat(7, max(1, number // 4))) / max(1, number // 4) * 1e6


def measure(name: str, value: Any) -> None:
    """Print how long one value takes, with each of the serializers."""
    ours, theirs, packed = RedisSerializer(), JsonPlusRedisSerializer(), JsonPlusSerializer()
    text, hints = ours.dumps_json(value)
    assert ours.loads_json(text, hints) == value
    their_blob, packed_blob = theirs.dumps_typed(value), packed.dumps_typed(value)
    rows: dict[str, list[Callable[[], Any]]] = {
        "dumps": [
            lambda: ours.dumps_json(value),
            lambda: theirs.dumps_typed(value),
            lambda: packed.dumps_typed(value),
        ],
        "loads": [
            lambda: ours.loads_json(text, hints),
            lambda: theirs.loads_typed(their_blob),
            lambda: packed.loads_typed(packed_blob),
            lambda: orjson.loads(text),
        ],
    }
    if not name.endswith("messages"):
        rows["dumps"].append(lambda: orjson.dumps(value))
    for verb, calls in rows.items():
        print(f"{name:14}{verb:8}" + "".join(f"{best(call):10.1f}" for call in calls))


def main() -> None:
    """Print the table."""
    messages = conversation(40)
    print(f"{'':22}{'ours':>10}{'python':>10}{'msgpack':>10}{'orjson':>10}")
    measure("plain 20 KB", plain(20_000))
    measure("40 messages", messages)
    measure("1000 tuples", [(i, str(i)) for i in range(1000)])
    kwargs = [(type(m), m.to_json()["kwargs"]) for m in messages]
    print(f"building the 40 messages alone: {best(lambda: [c(**k) for c, k in kwargs]):.1f}")


if __name__ == "__main__":
    main()
