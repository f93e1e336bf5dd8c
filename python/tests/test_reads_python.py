"""What the Python saver wrote is read, and it reads what this package writes."""

from __future__ import annotations

import base64
import csv
import json
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import orjson
import pytest
import value_types
from compare import difference
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.redis import RedisSaver
from langgraph.checkpoint.redis.jsonplus_redis import JsonPlusRedisSerializer
from langgraph.types import Interrupt
from zoo import ZOO

from langgraph_checkpoint_redis_rs.serde import RedisSerializer

GOLDEN = Path(__file__).parents[2] / "tests" / "golden" / "wire-format"
SERDE = RedisSerializer()


@pytest.fixture(autouse=True)
def _golden_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """The throwaway module whose classes the golden documents name."""
    module = types.ModuleType("pyformat_types")
    for name in ("Person", "Address", "Point", "Plain", "Pair", "Color", "Num"):
        monkeypatch.setattr(module, name, getattr(value_types, name), raising=False)
    monkeypatch.setitem(sys.modules, "pyformat_types", module)


def documents(folder: str) -> dict[str, Any]:
    """The JSON documents of a golden folder, by key."""
    found = {}
    with open(GOLDEN / folder / "keys.tsv") as keys:
        for file, key, kind, *_ in csv.reader(keys, delimiter="\t", quoting=csv.QUOTE_NONE):
            if kind == "ReJSON-RL" and (GOLDEN / folder / file).exists():
                try:
                    found[key] = json.loads((GOLDEN / folder / file).read_bytes())
                except ValueError:
                    continue
    return found


def python_reader() -> Any:
    """The Python saver's decoder, without a Redis."""
    saver = RedisSaver.__new__(RedisSaver)
    saver.serde = JsonPlusRedisSerializer()
    return saver


def python_reads_channel(text: bytes) -> Any:
    return python_reader()._recursive_deserialize(orjson.loads(text))


FOLDERS = [
    "custom_prefix",
    "metadata_literal_escape",
    "metadata_ns_versions",
    "odd_thread_ids",
    "send_and_error",
    "shallow",
    "subgraph",
    "sync_put",
    "typical_finished",
    "typical_interrupted",
    "typical_ttl",
    "zoo",
]


@pytest.mark.parametrize("folder", FOLDERS)
def test_golden_documents_are_read(folder: str) -> None:
    """At least as well as by the Python saver."""
    found = documents(folder)
    assert found
    for key, document in found.items():
        if "blob" in document:
            blob = base64.b64decode(document["blob"])
            ours = SERDE.loads_write(document["type"], blob)
            theirs = JsonPlusRedisSerializer().loads_typed((document["type"], blob))
        else:
            values = document["checkpoint"].get("channel_values", {})
            text = json.dumps(values).encode()
            ours = SERDE.loads_channels(text)
            theirs = python_reads_channel(text)
        where = difference(ours, theirs)
        assert where is None or is_better(ours, theirs), f"{key}: {where}"


def is_better(ours: Any, theirs: Any) -> bool:
    """Ours revived what the Python saver left as a dict, or lost."""
    if isinstance(theirs, (dict, list)) and type(ours) is type(theirs):
        pairs = (
            zip(ours.values(), theirs.values(), strict=True)
            if isinstance(ours, dict)
            else zip(ours, theirs, strict=True)
        )
        return all(difference(a, b) is None or is_better(a, b) for a, b in pairs)
    return theirs is None or isinstance(theirs, dict)


def test_golden_text_is_written_byte_for_byte() -> None:
    """Messages, documents and markers read from golden data are written as they were."""
    checked = 0
    for folder in ("typical_finished", "typical_interrupted", "zoo"):
        for key, document in documents(folder).items():
            values = document.get("checkpoint", {}).get("channel_values", {})
            text = orjson.dumps(values)
            value = SERDE.loads_channels(text)
            # Python's own form of these is lossy, or the value is no Interrupt.
            if not values or "lookalike" in key or b'"lc":2' in text:
                continue
            again, hints = SERDE.dumps_channels(value)
            if hints is None:
                assert again == text, key
                checked += 1
    assert checked > 25


def test_an_interrupt_is_revived_inside_lists() -> None:
    stored = b'{"c":[{"__interrupt__":true,"value":"v","id":"i"}]}'
    assert SERDE.loads_channels(stored)["c"] == [Interrupt(value="v", id="i")]
    old = b'{"__interrupt__":true,"value":"v","resumable":true,"ns":["a"],"when":"during"}'
    assert isinstance(SERDE.loads_json(old), Interrupt)


def test_a_bytes_lookalike_in_a_python_write_stays_a_dict() -> None:
    assert SERDE.loads_write("json", b'{"__bytes__":"AAE="}') == {"__bytes__": "AAE="}


def test_lc_ids_of_old_and_new_langchain_are_known() -> None:
    for path in (
        ["langchain", "schema", "messages", "HumanMessage"],
        ["langchain_core", "messages", "human", "HumanMessage"],
    ):
        form = {"lc": 1, "type": "constructor", "id": path, "kwargs": {"content": "x"}}
        assert isinstance(SERDE.loads_json(json.dumps(form)), BaseMessage)


def test_the_python_saver_reads_what_is_stored(capsys: pytest.CaptureFixture[str]) -> None:
    """Its reader never fails on a value, and gets right what it can hold."""
    rows = []
    for name, value in ZOO.items():
        text, _ = SERDE.dumps_json(value)
        type_, blob, _ = SERDE.dumps_write(value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            channel = python_reads_channel(text)
            try:
                write = JsonPlusRedisSerializer().loads_typed((type_, blob))
            except ValueError:
                # A dict that looks like one of LangChain's fails there
                # whoever wrote it.
                assert name == "like_message"
                write = None
        same = [difference(value, read) is None for read in (channel, write)]
        rows.append((name, *same))
    with capsys.disabled():
        print(f"\n{'value':28}{'channel':>9}{'write':>9}   (read by the Python saver)")
        for name, channel, write in rows:
            print(f"{name:28}{'ok' if channel else '-':>9}{'ok' if write else '-':>9}")
    good = {name for name, channel, write in rows if channel and write}
    assert good >= {
        "ai",
        "ai_tools",
        "bool_none",
        "bytes",
        "bytes_empty",
        "command",
        "dataclass",
        "datetime_fold",
        "datetime_offset",
        "datetime_utc",
        "datetime_zone",
        "date",
        "decimal",
        "deque",
        "document",
        "floats",
        "frozenset",
        "human",
        "human_no_id",
        "ints",
        "ip",
        "messages",
        "none",
        "snapshot",
        "path_posix",
        "regex",
        "send",
        "set_int",
        "set_dates",
        "str_nul",
        "time",
        "timedelta",
        "timezone",
        "tool",
        "uuid",
        "zoneinfo",
    }
