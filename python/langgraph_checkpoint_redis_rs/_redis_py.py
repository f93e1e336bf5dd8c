"""What redis-py calls things: the parameters of its clients, in arguments and in URLs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from .errors import ConfigError

__all__ = ["ALWAYS_CHECKED", "FILES", "WITHOUT_MEANING", "WITH_MEANING", "from_url", "pass_over"]

# Arguments of redis-py that have no meaning for the native client, which keeps a few
# connections that all calls share, always speaks bytes and always reconnects.
WITHOUT_MEANING = frozenset(
    {
        "auto_close_connection_pool",
        "cache",
        "cache_config",
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
        "ssl_ciphers",
        "ssl_exclude_verify_flags",
        "ssl_include_verify_flags",
        "ssl_min_version",
        "timeout",
    }
)

WITH_MEANING = (
    "username",
    "password",
    "credential_provider",
    "client_name",
    "db",
    "max_connections",
    "ssl",
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "socket_timeout",
    "socket_connect_timeout",
)

# Files, by redis-py's names and by ours.
FILES = (
    ("ssl_ca_certs", "tls_ca_file"),
    ("ssl_certfile", "tls_cert_file"),
    ("ssl_keyfile", "tls_key_file"),
)

# Arguments of redis-py about verifying the server, which is always verified.
ALWAYS_CHECKED: dict[str, tuple[Any, ...]] = {
    "ssl_cert_reqs": ("required", 2),
    "ssl_check_hostname": (True,),
}

# What a URL of ours takes.
_OURS = frozenset({"node", "sentinelServiceName", "sentinelUsername", "sentinelPassword"})

_SWITCHES = frozenset({"ssl", "ssl_check_hostname"})
_NUMBERS = {
    "db": int,
    "max_connections": int,
    "socket_connect_timeout": float,
    "socket_timeout": float,
}


def from_url(url: str) -> tuple[str, dict[str, Any]]:
    """Take redis-py's parameters out of a URL.

    Raises:
        ValueError: If one has a value that it cannot have.
    """
    start, mark, query = url.partition("?")
    if not mark:
        return url, {}
    query, hash_, fragment = query.partition("#")
    known = WITHOUT_MEANING | set(WITH_MEANING) | set(ALWAYS_CHECKED)
    kept, args = [], {}
    is_socket = "unix" in urlsplit(url).scheme
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known or name in _OURS or (name == "db" and is_socket):
            kept.append((name, value))
        else:
            args[name] = _read(name, value)
    if not args:
        return url, {}
    more = f"?{urlencode(kept)}" if kept else ""
    return f"{start}{more}{hash_}{fragment}", args


def _read(name: str, value: str) -> Any:
    if name in _NUMBERS:
        try:
            return _NUMBERS[name](value)
        except ValueError:
            raise ConfigError(f"redis_url has the {name} {value!r}, which is no number") from None
    if name in _SWITCHES:
        return value.upper() not in ("", "0", "F", "FALSE", "N", "NO")
    return value


def pass_over(what: str, names: Iterable[str], level: int = 4) -> None:
    """Warn, once, of what is given and has no meaning here.

    ``level`` is that of a saver's caller: past this, the settings, and the class.
    """
    named = ", ".join(sorted(map(str, names)))
    if named:
        warnings.warn(f"{what} has no meaning here: {named}", UserWarning, stacklevel=level)
