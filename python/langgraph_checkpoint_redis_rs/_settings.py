"""The arguments of savers as settings of the native module."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from ._credentials import Ask, asking
from ._redis_py import ALWAYS_CHECKED, FILES, WITH_MEANING, WITHOUT_MEANING, from_url, pass_over
from .errors import ConfigError

__all__ = ["Ttl", "connection", "file", "read_keys", "read_ttl", "read_ttl_scope", "seconds"]

Ttl = Mapping[str, Any] | dt.timedelta | None
"""``{"default_ttl": minutes, "refresh_on_read": bool}``, or a time, or none."""

_SCHEMES = (
    "redis",
    "rediss",
    "redis+unix",
    "unix",
    "redis-cluster",
    "rediss-cluster",
    "redis+cluster",
    "redis-sentinel",
    "rediss-sentinel",
    "redis+sentinel",
)

_POOL_SIZE = 2
"""How many connections are kept, if nobody says."""

_TTL_KEYS = frozenset({"default_ttl", "refresh_on_read", "scope"})


def connection(
    redis_url: str | None,
    redis_client: Any,
    connection_args: Mapping[str, Any] | None,
) -> tuple[dict[str, str], Ask | None]:
    """Say where Redis is, as settings, and who gives the credentials, if that is not the URL.

    Raises:
        ValueError: If neither a URL nor a client is given, or one that cannot be used.
    """
    settings: dict[str, str] = {}
    if redis_client is not None:
        url, args = _of_client(redis_client)
        args |= dict(connection_args or {})
    elif redis_url is not None:
        if not isinstance(redis_url, str):
            raise TypeError(f"redis_url must be a str, not {type(redis_url).__name__}")
        # As in redis-py, the URL goes before the arguments.
        url, in_url = from_url(redis_url)
        args = dict(connection_args or {}) | in_url
    else:
        raise ConfigError("Either redis_url or redis_client must be provided")
    args = {name: value for name, value in args.items() if value is not None}
    for name, checked in ALWAYS_CHECKED.items():
        if args.pop(name, checked[0]) not in checked:
            raise ConfigError(
                f"connection_args[{name!r}] would let anybody pass for the server: name the "
                "certificates to trust in tls_ca_file"
            )
    for name in sorted(args):
        if name not in WITH_MEANING and name not in WITHOUT_MEANING:
            hint = (
                "; TLS is set by tls_ca_file, tls_cert_file and tls_key_file"
                if name.startswith("ssl_")
                else ""
            )
            raise ConfigError(f"connection_args[{name!r}] is not known to this saver{hint}")
    pass_over("an argument of redis-py's", WITHOUT_MEANING & args.keys())
    _check(url)
    settings["url"] = _completed(url, args)
    for name, key in (
        ("socket_timeout", "command_timeout"),
        ("socket_connect_timeout", "connect_timeout"),
    ):
        if args.get(name) is not None:
            settings[key] = seconds(name, args[name])
    for name, key in FILES:
        if args.get(name) is not None:
            settings[key] = file(name, args[name])
    if args.get("client_name") is not None:
        settings["client_name"] = str(args["client_name"])
    most = args.get("max_connections")
    if most is not None:
        if isinstance(most, bool) or not isinstance(most, int):
            raise TypeError(f"max_connections must be an int, not {type(most).__name__}")
        if most < 1:
            raise ConfigError(f"max_connections must be at least 1, not {most}")
        # All calls share the connections, so more than these are not needed.
        settings["pool_size"] = str(min(most, _POOL_SIZE))
    return settings, _provider(args)


def _provider(args: Mapping[str, Any]) -> Ask | None:
    provider = args.get("credential_provider")
    if provider is None:
        return None
    if args.get("username") is not None or args.get("password") is not None:
        raise ConfigError(
            "connection_args has a credential_provider and a username or password: leave one out"
        )
    return asking(provider)


def file(name: str, path: Any) -> str:
    """The path of a file as text.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, not {type(path).__name__}")
    text = os.fspath(path)
    if not isinstance(text, str) or not text:
        raise ConfigError(f"{name} names no file")
    return text


def seconds(name: str, value: Any) -> str:
    """A time limit as text.

    Raises:
        ValueError: If it is none.
    """
    if isinstance(value, dt.timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be seconds or a timedelta, not {type(value).__name__}")
    if not 0.001 <= value <= 3600:
        raise ConfigError(f"{name} must be between a millisecond and an hour, not {value!r}")
    return f"{value:.3f}"


def read_keys(keys: Mapping[str, bytes] | None) -> list[tuple[str, bytes]] | None:
    """Read encryption keys in their order; none for those of the environment."""
    if keys is None:
        return None
    if not isinstance(keys, Mapping):
        raise TypeError(
            f"encryption_keys must be a dict of bytes by their ids, not {type(keys).__name__}"
        )
    for name, key in keys.items():
        # The message of a key in the place of its id would show it.
        if not isinstance(name, str) or not isinstance(key, bytes):
            raise TypeError(
                "encryption_keys must be a dict of bytes by their ids, which are strings"
            )
    return list(keys.items())


def read_ttl(ttl: Ttl) -> tuple[dt.timedelta | None, bool]:
    """Read a TTL: how long things are kept, and whether a read resets it.

    Raises:
        ValueError: If it is none.
    """
    if ttl is None:
        return None, False
    if isinstance(ttl, dt.timedelta):
        return _positive(ttl), False
    if not isinstance(ttl, Mapping):
        raise TypeError(f"ttl must be a dict or a timedelta, not {type(ttl).__name__}")
    # LangGraph's `sweep_interval_minutes` among them: Redis itself removes what has expired.
    pass_over("a key of ttl", (repr(name) for name in set(ttl) - _TTL_KEYS))
    refresh = ttl.get("refresh_on_read", False)
    if refresh is not None and not isinstance(refresh, bool):
        raise TypeError(f"ttl['refresh_on_read'] must be a bool, not {type(refresh).__name__}")
    default = ttl.get("default_ttl")
    # The Python saver's -1 means without a TTL.
    if default is None or default == -1:
        return None, bool(refresh)
    if isinstance(default, bool) or not isinstance(default, (int, float, dt.timedelta)):
        raise TypeError(
            f"ttl['default_ttl'] must be minutes or a timedelta, not {type(default).__name__}"
        )
    try:
        time = default if isinstance(default, dt.timedelta) else dt.timedelta(minutes=default)
    except (OverflowError, ValueError) as error:
        raise ConfigError(f"ttl['default_ttl'] cannot be {default!r} minutes") from error
    return _positive(time), bool(refresh)


def read_ttl_scope(ttl: Ttl) -> str | None:
    """Read what expires together: each ``checkpoint``, or the whole ``thread``; none if not given.

    Raises:
        ValueError: If it is neither.
    """
    scope = ttl.get("scope") if isinstance(ttl, Mapping) else None
    if scope is None:
        return None
    if scope not in ("checkpoint", "thread"):
        raise ConfigError(f"ttl['scope'] must be 'checkpoint' or 'thread', not {scope!r}")
    return str(scope)


def _positive(time: dt.timedelta) -> dt.timedelta:
    if not dt.timedelta(milliseconds=1) <= time <= dt.timedelta(days=36_500):
        raise ConfigError(f"ttl must be between a millisecond and 100 years, not {time}")
    return time


def _check(url: str) -> None:
    """Refuse what is no URL before anything connects."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        raise ConfigError("redis_url is no URL: write redis://host:port, for example")
    if scheme not in _SCHEMES:
        raise ConfigError(
            f"redis_url has the scheme {scheme!r}, which is not known: use redis, rediss, "
            "redis+unix, redis-cluster or redis-sentinel"
        )
    if "unix" in scheme:
        return
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    path, _, query = rest[len(authority) :].partition("?")
    if "@" in path or any("@" in pair.partition("=")[0] for pair in query.split("&")):
        # No message shows what follows: it is a part of the password.
        raise ConfigError(
            "redis_url has an @ after its host: write a /, ? or # in the user name or password "
            "as %2F, %3F or %23"
        )
    place = authority.rpartition("@")[2]
    if not place:
        raise ConfigError("redis_url names no host")
    for host in place.split(","):
        port = host.rpartition("]")[2].rpartition(":")
        if port[1] and not (port[2].isdigit() and int(port[2]) < 65_536):
            raise ConfigError(f"redis_url has the port {port[2]!r}, which is none")


def _completed(url: str, args: Mapping[str, Any]) -> str:
    """The URL with the credentials, the database and TLS that stand in the arguments."""
    parts = urlsplit(url)
    scheme, netloc, path, query = parts.scheme, parts.netloc, parts.path, parts.query
    if scheme == "unix":
        scheme = "redis+unix"
    if args.get("ssl") and scheme.startswith("redis") and not scheme.startswith("rediss"):
        scheme = "rediss" + scheme[len("redis") :]
    user, password = args.get("username"), args.get("password")
    if password is not None:
        place = netloc.rpartition("@")[2]
        netloc = f"{quote(str(user or ''), safe='')}:{quote(str(password), safe='')}@{place}"
    elif user is not None and "@" not in netloc:
        raise ConfigError("connection_args has a username but no password")
    db = args.get("db")
    if db:
        if "unix" in scheme:
            query = f"db={int(db)}"
        elif "sentinel" not in scheme and path.strip("/") in ("", "0"):
            path = f"/{int(db)}"
    # Never through `urlunsplit` alone: it drops the `//` of a scheme that it does not know.
    rest = urlunsplit(("", "", path, query, parts.fragment))
    return f"{scheme}://{netloc}{rest}"


def _of_client(client: Any) -> tuple[str, dict[str, Any]]:
    """Where a redis-py client connects to, and how."""
    pool = getattr(client, "connection_pool", None)
    if pool is not None and hasattr(pool, "sentinel_manager"):
        args = dict(pool.connection_kwargs)
        hosts = [
            _host(s.connection_pool.connection_kwargs) for s in pool.sentinel_manager.sentinels
        ]
        url = f"redis+sentinel://{','.join(hosts)}/{pool.service_name}/{args.get('db') or 0}"
    elif pool is not None and hasattr(pool, "connection_kwargs"):
        args = dict(pool.connection_kwargs)
        path = args.get("path")
        url = f"redis+unix://{path}" if path else f"redis://{_host(args)}/{args.get('db') or 0}"
    elif hasattr(client, "nodes_manager"):
        manager = client.nodes_manager
        args = dict(getattr(manager, "connection_kwargs", None) or {})
        nodes = manager.startup_nodes.values()
        hosts = [_host({"host": node.host, "port": node.port}) for node in nodes]
        url = f"redis+cluster://{','.join(hosts)}"
    else:
        raise TypeError(
            f"redis_client must be a client of redis-py, not {type(client).__name__}; "
            "or give redis_url"
        )
    # A client that speaks TLS says so by the class of its connections, each kind in its own place.
    classes = (getattr(pool, "connection_class", None), args.get("connection_class"))
    if any("SSL" in getattr(found, "__name__", "") for found in classes):
        args["ssl"] = True
    known = {name: args[name] for name in WITH_MEANING if args.get(name) is not None}
    # A client's limits may be none at all, or meant for other calls than ours.
    for name in ("socket_timeout", "socket_connect_timeout", "max_connections"):
        known.pop(name, None)
    return url, known


def _host(args: Mapping[str, Any]) -> str:
    host = str(args.get("host") or "localhost")
    return f"{f'[{host}]' if ':' in host else host}:{args.get('port') or 6379}"
