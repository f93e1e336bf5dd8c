"""What cannot be: a fitting exception with one clear sentence, and nothing written."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
import socket
import threading

import pytest
import redis
from langgraph.checkpoint.base import empty_checkpoint

from langgraph_checkpoint_redis_rs import AsyncRedisSaver, RedisSaver, ShallowRedisSaver, errors


class Unstorable:
    def __reduce__(self):
        raise TypeError("not this one")


def one_sentence(error):
    text = str(error.value)
    assert text and "\n" not in text and len(text) < 400
    return text


@pytest.mark.parametrize("cls", [RedisSaver, AsyncRedisSaver])
@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({}, ValueError, "redis_url or redis_client"),
        ({"redis_url": "localhost"}, ValueError, "no URL"),
        ({"redis_url": "http://localhost"}, ValueError, "http"),
        ({"redis_url": "redis://"}, ValueError, "no host"),
        ({"redis_url": "redis://localhost:port"}, ValueError, "port"),
        ({"redis_url": 6379}, TypeError, "redis_url"),
        ({"redis_client": object()}, TypeError, "redis_client"),
        ({"connection_args": {"nonsense": 1}}, ValueError, "nonsense"),
        ({"connection_args": {"ssl_ca_path": "x"}}, ValueError, "tls_ca_file"),
        ({"connection_args": {"ssl_cert_reqs": "none"}}, ValueError, "anybody"),
        ({"connection_args": {"ssl_check_hostname": False}}, ValueError, "anybody"),
        ({"connection_args": {"ssl_ca_certs": 1}}, TypeError, "ssl_ca_certs"),
        ({"tls_ca_file": ""}, ValueError, "tls_ca_file"),
        ({"tls_key_file": 1}, TypeError, "tls_key_file"),
        ({"ttl": 60}, TypeError, "ttl"),
        ({"ttl": {"default_ttl": "1"}}, TypeError, "default_ttl"),
        ({"ttl": {"default_ttl": 1, "scope": "all"}}, ValueError, "scope"),
        ({"ttl": {"default_ttl": -5}}, ValueError, "ttl"),
        ({"ttl": {"default_ttl": float("nan")}}, ValueError, "default_ttl"),
        ({"ttl": {"default_ttl": 1e300}}, ValueError, "default_ttl"),
        ({"ttl": {"default_ttl": 1, "refresh_on_read": "yes"}}, TypeError, "refresh_on_read"),
        ({"ttl": dt.timedelta(0)}, ValueError, "ttl"),
        ({"checkpoint_prefix": ""}, ValueError, "checkpoint_prefix"),
        ({"checkpoint_write_prefix": 1}, TypeError, "checkpoint_write_prefix"),
        ({"connect_timeout": 0}, ValueError, "connect_timeout"),
        ({"command_timeout": "1s"}, TypeError, "command_timeout"),
        ({"pool_size": 0}, ValueError, "pool_size"),
        ({"max_document_bytes": 1.5}, TypeError, "max_document_bytes"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_when_the_saver_is_made(cls, arguments, kind, text):
    if not {"redis_url", "redis_client"} & arguments.keys() and arguments:
        arguments = {"redis_url": "redis://localhost", **arguments}
    with pytest.raises(kind, match=text) as error:
        cls(**arguments)
    one_sentence(error)


@pytest.mark.parametrize(
    ("config", "kind", "text"),
    [
        ({}, ValueError, "thread_id"),
        ({"configurable": {}}, ValueError, "thread_id"),
        ({"configurable": {"thread_id": None}}, ValueError, "thread_id"),
        ({"configurable": {"thread_id": ""}}, ValueError, "thread_id"),
        ({"configurable": {"thread_id": ["x"]}}, TypeError, "thread_id"),
        ({"configurable": {"thread_id": True}}, TypeError, "thread_id"),
        ({"configurable": {"thread_id": "\ud800"}}, ValueError, "surrogate"),
        ({"configurable": {"thread_id": "x", "checkpoint_ns": 1.5}}, TypeError, "checkpoint_ns"),
        ({"configurable": {"thread_id": "x", "checkpoint_id": {}}}, TypeError, "checkpoint_id"),
        ({"configurable": []}, TypeError, "configurable"),
        ("thread", TypeError, "config"),
        (7, TypeError, "config"),
    ],
)
async def test_a_config_that_cannot_be(saver, config, kind, text):
    calls = (
        lambda: saver.get_tuple(config),
        lambda: saver.put(config, empty_checkpoint(), {}, {}),
        lambda: saver.put_writes(config, [("a", 1)], "task"),
        lambda: list(saver.list(config)),
        lambda: saver.get_delta_channel_history(config=config, channels=["a"]),
    )
    for call in calls:
        with pytest.raises(kind, match=text) as error:
            call()
        one_sentence(error)
    awaited = (
        saver.aget_tuple(config),
        saver.aput(config, empty_checkpoint(), {}, {}),
        saver.aput_writes(config, [("a", 1)], "task"),
    )
    for call in awaited:
        with pytest.raises(kind, match=text):
            await call


def test_arguments_that_cannot_be(saver, config, thread):
    named = {"configurable": {**config["configurable"], "checkpoint_id": "1"}}
    one = empty_checkpoint()
    cases = [
        (lambda: list(saver.list(config, filter=[])), TypeError, "filter"),
        (lambda: list(saver.list(config, filter="source")), TypeError, "filter"),
        (lambda: list(saver.list(config, limit="1")), TypeError, "limit"),
        (lambda: list(saver.list(config, before="1")), TypeError, "before"),
        (lambda: saver.put(config, None, {}, {}), TypeError, "checkpoint"),
        (lambda: saver.put(config, {**one, "id": None}, {}, {}), ValueError, "id"),
        (lambda: saver.put(config, {**one, "channel_values": [1]}, {}, {}), TypeError, "values"),
        (lambda: saver.put(config, one, None, {}), TypeError, "metadata"),
        (lambda: saver.put_writes(named, [("a",)], "task"), ValueError, "pair"),
        (lambda: saver.put_writes(named, ["ab"], "task"), ValueError, "pair"),
        (lambda: saver.put_writes(named, [("a", 1), 7], "task"), ValueError, "pair"),
        (lambda: saver.put_writes(named, 7, "task"), TypeError, "pairs"),
        (lambda: saver.put_writes(named, [(1, 1)], "task"), TypeError, "channel"),
        (lambda: saver.put_writes(named, [("a", 1)], None), TypeError, "task_id"),
        (lambda: saver.put_writes(named, [("a", 1)], ""), ValueError, "task"),
        (lambda: saver.put_writes(named, [("a", 1)], "task", 1), TypeError, "task_path"),
        (lambda: saver.put_writes(config, [("a", 1)], "task"), ValueError, "checkpoint_id"),
        (lambda: saver.delete_thread(None), TypeError, "thread_id"),
        (lambda: saver.delete_thread(""), ValueError, "thread_id"),
        (lambda: saver.delete_for_runs("run"), TypeError, "run_ids"),
        (lambda: saver.copy_thread(thread, thread), ValueError, "source"),
        (lambda: saver.prune("thread"), TypeError, "thread_ids"),
        (lambda: saver.prune([thread], strategy="some"), ValueError, "strategy"),
        (lambda: saver.prune([thread], keep_last=-1), ValueError, "keep_last"),
    ]
    for call, kind, text in cases:
        with pytest.raises(kind, match=text) as error:
            call()
        one_sentence(error)
    assert saver.get_tuple(config) is None
    assert saver.get_tuple(named) is None
    assert list(saver.list(config)) == []


def test_what_cannot_be_stored_names_the_channel_and_the_type(saver, config, raw, thread):
    one = empty_checkpoint()
    one["channel_values"] = {"good": 1, "bad": {"deep": [Unstorable()]}}
    with pytest.raises(TypeError, match="(?s)bad.*Unstorable") as error:
        saver.put(config, one, {}, {})
    one_sentence(error)
    named = {"configurable": {**config["configurable"], "checkpoint_id": "1"}}
    with pytest.raises(TypeError, match="(?s)worse.*Unstorable"):
        saver.put_writes(named, [("good", 1), ("worse", Unstorable())], "task")
    assert list(raw.scan_iter(f"*{thread}*")) == []


def test_a_document_over_the_limit(redis_url, config, raw, thread):
    with RedisSaver(redis_url, max_document_bytes=2000) as saver:
        one = empty_checkpoint()
        one["channel_values"] = {"much": "x" * 3000}
        with pytest.raises(ValueError, match="max_document_bytes") as error:
            saver.put(config, one, {}, {})
        assert isinstance(error.value, errors.TooLargeError)
    assert list(raw.scan_iter(f"*{thread}*")) == []


def test_no_server(config):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    saver = RedisSaver(f"redis://127.0.0.1:{port}", connect_timeout=2)
    with pytest.raises(ConnectionError, match=str(port)) as error:
        saver.get_tuple(config)
    assert isinstance(error.value, errors.ServerConnectionError) and error.value.retryable
    one_sentence(error)


def test_a_silent_server(config):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        saver = RedisSaver(f"redis://127.0.0.1:{silent.getsockname()[1]}", connect_timeout=0.5)
        with pytest.raises((ConnectionError, TimeoutError)):
            saver.get_tuple(config)


@pytest.mark.parametrize("mark", ["/", "?", "#"])
@pytest.mark.parametrize("start", ["12", "hunter"])
def test_a_password_that_ends_the_host_early_is_refused_and_not_shown(mark, start):
    with pytest.raises(errors.ConfigError, match="%2F, %3F or %23") as refused:
        RedisSaver(f"redis://user:{start}{mark}secret@localhost:6379/1")
    text = one_sentence(refused)
    assert "secret" not in text and start not in text


def test_an_at_sign_may_be_a_part_of_a_password_or_a_parameter():
    for url in (
        "redis://user:se@cret@localhost",
        "redis://user:se%2Fcret@localhost",
        "redis+unix:///run/redis@1.sock",
        "redis-sentinel://localhost/0?sentinelServiceName=one&sentinelPassword=a@b",
        "redis://localhost?password=a@b",
    ):
        RedisSaver(url)


def test_a_wrong_password(redis_url, raw, config, thread):
    raw.execute_command("ACL", "SETUSER", thread, "on", ">right", "~*", "+@all")
    try:
        for user in (thread, "nobody"):
            credentials = {"username": user, "password": "wrong-secret"}
            saver = RedisSaver(redis_url, connection_args=credentials)
            with pytest.raises(ConnectionError) as error:
                saver.get_tuple(config)
            assert isinstance(error.value, errors.AuthenticationError)
            assert "wrong-secret" not in one_sentence(error)
        credentials = {"username": thread, "password": "right"}
        assert RedisSaver(redis_url, connection_args=credentials).get_tuple(config) is None
    finally:
        raw.execute_command("ACL", "DELUSER", thread)


def test_missing_modules(config):
    """A server that knows no module's commands."""
    listener = socket.create_server(("127.0.0.1", 0))
    replies = {"PING": b"+PONG\r\n", "SELECT": b"+OK\r\n", "AUTH": b"+OK\r\n"}

    def serve(connection):
        with connection, connection.makefile("rb") as lines:
            while line := lines.readline():
                command = []
                for _ in range(int(line[1:])):
                    lines.readline()
                    command.append(lines.readline()[:-2])
                name = command[0].decode().upper()
                if name == "INFO":
                    text = b"redis_version:7.0.0\r\nredis_mode:standalone\r\n"
                    connection.sendall(b"$%d\r\n%s\r\n" % (len(text), text))
                else:
                    unknown = f"-ERR unknown command '{name}'\r\n".encode()
                    connection.sendall(replies.get(name, unknown))

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        saver = RedisSaver(f"redis://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(RuntimeError, match="JSON|Redis 8") as error:
            saver.setup()
        assert isinstance(error.value, errors.MissingModuleError)
        one_sentence(error)
    finally:
        listener.close()


@pytest.mark.parametrize("cls", [RedisSaver, AsyncRedisSaver, ShallowRedisSaver])
def test_an_argument_that_there_is_not_is_named_at_once(cls):
    for make in (cls, cls.from_conn_string):
        with pytest.raises(TypeError, match="'nonsense'"):
            make("redis://localhost", nonsense=1)


@pytest.mark.parametrize("cls", [RedisSaver, AsyncRedisSaver, ShallowRedisSaver])
def test_a_saver_cannot_be_pickled_and_the_error_says_what_to_do(cls):
    saver = cls("redis://localhost")
    for call in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match=f"{cls.__name__}.*pass on the URL") as error:
            call(saver)
        one_sentence(error)
    assert copy.copy(saver)._native is saver._native


def test_a_client_lends_its_settings(redis_url, config):
    with redis.Redis.from_url(redis_url) as client, RedisSaver(redis_client=client) as saver:
        saver.put(config, empty_checkpoint(), {}, {})
        assert saver.get_tuple(config) is not None
        assert client.ping(), "the client is still the caller's"
