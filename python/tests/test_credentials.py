"""Credential providers of redis-py: passwords and tokens that change while a saver runs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.credentials import CredentialProvider, UsernamePasswordCredentialProvider

from langgraph_checkpoint_redis_rs import AsyncRedisSaver, RedisSaver, errors


class User:
    """A user of Redis, whose password is changed now and then."""

    def __init__(self, raw: redis.Redis, name: str) -> None:
        self.raw, self.name, self.password = raw, name, ""
        self.rotate()

    def rotate(self) -> None:
        self.password = uuid.uuid4().hex
        self.allow(self.name)

    def allow(self, name: str) -> None:
        rules = ("reset", "on", f">{self.password}", "~*", "&*", "+@all")
        self.raw.execute_command("ACL", "SETUSER", name, *rules)

    def connections(self, name: str | None = None) -> int:
        clients = self.raw.client_list()
        return sum(client["user"] == (name or self.name) for client in clients)

    def disconnect(self) -> None:
        self.raw.execute_command("CLIENT", "KILL", "USER", self.name)


@pytest.fixture
def user(raw: redis.Redis, thread: str) -> Iterator[User]:
    yield User(raw, thread)
    for name in (thread, f"{thread}-next"):
        raw.execute_command("ACL", "DELUSER", name)


class Blocking(CredentialProvider):
    """Gives what is good at the moment, as a blocking call."""

    def __init__(self, user: User) -> None:
        self.user, self.asked = user, 0

    def get_credentials(self) -> tuple[str, str]:
        self.asked += 1
        return self.user.name, self.user.password


class Awaited(CredentialProvider):
    """The same for those who await it alone."""

    def __init__(self, user: User) -> None:
        self.user, self.asked = user, 0

    async def get_credentials_async(self) -> tuple[str, str]:
        self.asked += 1
        return self.user.name, self.user.password


@pytest.mark.parametrize("kind", [Blocking, Awaited])
def test_a_password_that_was_changed_is_asked_for_on_the_next_connect(
    redis_url, config, user, kind
):
    provider = kind(user)
    with RedisSaver(redis_url, connection_args={"credential_provider": provider}) as saver:
        assert saver.get_tuple(config) is None
        for _ in range(2):
            asked = provider.asked
            user.rotate()
            user.disconnect()
            assert saver.get_tuple(config) is None
            assert provider.asked > asked
        assert user.connections() > 0


@pytest.mark.parametrize("kind", [Blocking, Awaited])
async def test_connections_that_live_are_given_what_is_good_by_then(redis_url, config, user, kind):
    provider, before, after = kind(user), user.name, f"{user.name}-next"
    saver = AsyncRedisSaver(
        redis_url,
        connection_args={"credential_provider": provider},
        credential_refresh=0.1,
    )
    async with saver:
        assert user.connections(before) == 2
        user.allow(after)
        user.name = after
        deadline = time.monotonic() + 30
        while user.connections(after) < 2 and time.monotonic() < deadline:
            assert await saver.aget_tuple(config) is None
        # Ends the connections of the user, of which there are none any more.
        user.raw.execute_command("ACL", "DELUSER", before)
        assert await saver.aget_tuple(config) is None
        assert user.connections(after) == 2


@pytest.mark.parametrize("library", [redis, redis.asyncio])
def test_the_provider_of_a_client_is_taken_over(redis_url, config, raw, user, library):
    provider = Blocking(user)
    where = raw.connection_pool.connection_kwargs
    client = library.Redis(host=where["host"], port=where["port"], credential_provider=provider)
    with RedisSaver(redis_client=client) as saver:
        assert saver.get_tuple(config) is None
        assert provider.asked > 0 and user.connections() > 0


class Failing(CredentialProvider):
    def get_credentials(self) -> Any:
        raise RuntimeError("the identity service is away")


class Odd(CredentialProvider):
    def __init__(self, *answer: Any) -> None:
        self.answer = answer

    def get_credentials(self) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("provider", "text"),
    [
        (Failing(), "identity service is away"),
        (UsernamePasswordCredentialProvider("nobody", "wrong"), "WRONGPASS"),
        (Odd("a", "b", "c"), "user name"),
        (Odd("a", 1), "strings"),
    ],
)
def test_credentials_that_are_not_to_be_had_are_an_authentication_error(
    redis_url, config, provider, text
):
    saver = RedisSaver(redis_url, connection_args={"credential_provider": provider})
    with pytest.raises(errors.AuthenticationError, match=text):
        saver.get_tuple(config)


def test_a_provider_beside_a_password_or_that_is_none_is_refused(redis_url):
    provider = UsernamePasswordCredentialProvider("me", "secret")
    args = {"credential_provider": provider, "password": "other"}
    with pytest.raises(ValueError, match="leave one out"):
        RedisSaver(redis_url, connection_args=args)
    with pytest.raises(TypeError, match="get_credentials"):
        RedisSaver(redis_url, connection_args={"credential_provider": object()})
