"""The arguments of savers as settings of the native module."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from .errors import ConfigError

__all__ = ["Ttl", "connection", "file", "read_ttl", "seconds"]

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

# What redis-py can be told that has no meaning for the native client, which keeps a few
# connections that all calls share, always speaks bytes and always reconnects.
_WITHOUT_MEANING = frozenset(
    {
        "auto_close_connection_pool",
        "cache",
        "cache_config",
        "client_name",
        "decode_responses",
        "driver_info",
        "encoding",
        "encoding_errors",
        "event_dispatcher",
        "health_check_interval",
        "legacy_responses",
        "lib_name",
        "lib_version",
        "maint_notifications_config",
        "max_connections",
        "oss_cluster_maint_notifications_handler",
        "parser_class",
        "protocol",
        "redis_connect_func",
        "retry",
        "retry_on_error",
        "retry_on_timeout",
        "single_connection_client",
        "socket_keepalive",
        "socket_keepalive_options",
        "socket_read_size",
        "socket_type",
    }
)

_WITH_MEANING = (
    "username",
    "password",
    "db",
    "ssl",
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "socket_timeout",
    "socket_connect_timeout",
)

# Files, by redis-py's names and by ours.
_FILES = (
    ("ssl_ca_certs", "tls_ca_file"),
    ("ssl_certfile", "tls_cert_file"),
    ("ssl_keyfile", "tls_key_file"),
)

# What redis-py can be told about checking the server, and what is done in any case.
_ALWAYS_CHECKED = {"ssl_cert_reqs": ("required", 2), "ssl_check_hostname": (True,)}


def connection(
    redis_url: str | None,
    redis_client: Any,
    connection_args: Mapping[str, Any] | None,
) -> list[tuple[str, str]]:
    """Say where Redis is, as settings.

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
        url, args = redis_url, dict(connection_args or {})
    else:
        raise ConfigError("Either redis_url or redis_client must be provided")
    for name, checked in _ALWAYS_CHECKED.items():
        if args.pop(name, None) not in (None, *checked):
            raise ConfigError(
                f"connection_args[{name!r}] would let anybody pass for the server: name the "
                "certificates to trust in tls_ca_file"
            )
    for name in sorted(args):
        if name not in _WITH_MEANING and name not in _WITHOUT_MEANING and args[name] is not None:
            hint = (
                "; TLS is set by tls_ca_file, tls_cert_file and tls_key_file"
                if name.startswith("ssl_")
                else ""
            )
            raise ConfigError(f"connection_args[{name!r}] is not known to this saver{hint}")
    _check(url)
    settings["url"] = _completed(url, args)
    for name, key in (
        ("socket_timeout", "command_timeout"),
        ("socket_connect_timeout", "connect_timeout"),
    ):
        if args.get(name) is not None:
            settings[key] = seconds(name, args[name])
    for name, key in _FILES:
        if args.get(name) is not None:
            settings[key] = file(name, args[name])
    return list(settings.items())


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


def read_ttl(ttl: Ttl) -> tuple[dt.timedelta | None, bool]:
    """Read a TTL: how long things are kept, and whether reading them starts that anew.

    Raises:
        ValueError: If it is none.
    """
    if ttl is None:
        return None, False
    if isinstance(ttl, dt.timedelta):
        return _positive(ttl), False
    if not isinstance(ttl, Mapping):
        raise TypeError(f"ttl must be a dict or a timedelta, not {type(ttl).__name__}")
    unknown = set(ttl) - {"default_ttl", "refresh_on_read", "scope"}
    if unknown:
        names = ", ".join(sorted(map(repr, unknown)))
        raise ConfigError(f"ttl has no {names}; it takes default_ttl, refresh_on_read and scope")
    refresh = ttl.get("refresh_on_read", False)
    if refresh is not None and not isinstance(refresh, bool):
        raise TypeError(f"ttl['refresh_on_read'] must be a bool, not {type(refresh).__name__}")
    default = ttl.get("default_ttl")
    # The Python saver's -1 means for ever.
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


def read_ttl_scope(ttl: Ttl) -> str:
    """Read what a TTL keeps together: each ``checkpoint`` by itself, or the whole ``thread``.

    Raises:
        ValueError: If it is neither.
    """
    scope = ttl.get("scope", "checkpoint") if isinstance(ttl, Mapping) else "checkpoint"
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
    place = rest.partition("?")[0].partition("/")[0].rpartition("@")[2]
    if "unix" in scheme:
        return
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
    if args.get("credential_provider") is not None:
        raise ConfigError("redis_client has a credential provider, which cannot be taken over")
    known = {name: args[name] for name in _WITH_MEANING if args.get(name) is not None}
    # A client's time limit may be none at all, or meant for other calls than ours.
    known.pop("socket_timeout", None)
    known.pop("socket_connect_timeout", None)
    return url, known


def _host(args: Mapping[str, Any]) -> str:
    host = str(args.get("host") or "localhost")
    return f"{f'[{host}]' if ':' in host else host}:{args.get('port') or 6379}"
