"""The checkpointer of a LangGraph server: one line of ``langgraph.json``, set by the environment.

::

    {"checkpointer": {"path": "langgraph_checkpoint_redis_rs.factory.checkpointer"}}
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ._native import Saver
from ._settings import connection
from .aio import AsyncRedisSaver
from .errors import ConfigError

__all__ = ["checkpointer"]

_SETTINGS = (
    "checkpoint_prefix",
    "checkpoint_write_prefix",
    "ttl",
    "refresh_on_read",
    "ttl_scope",
    "layout",
    "pool_size",
    "command_timeout",
    "connect_timeout",
    "max_document_bytes",
    "hash_tag_threads",
    "page_size",
    "wait_replicas",
    "wait_replicas_timeout",
    "search",
    "tls_ca_file",
    "tls_cert_file",
    "tls_key_file",
    "client_name",
    "allow_unsealed",
    "recent_threads",
)
"""The core's settings but the URL and the encryption keys, which are read apart."""


@asynccontextmanager
async def checkpointer() -> AsyncIterator[AsyncRedisSaver]:
    """Make a saver as the environment says, set it up, and close it at the end.

    The environment is that of the core's ``RedisSaver::from_env``: ``LANGGRAPH_REDIS_URL``, else
    ``REDIS_URL``; ``LANGGRAPH_REDIS_`` and the name of a setting in capitals, such as
    ``LANGGRAPH_REDIS_TTL=24h``; and ``LANGGRAPH_REDIS_ENCRYPTION_KEYS``.

    Raises:
        ConfigError: If no URL is set, or a setting cannot be used.
        RedisSaverError: If the server cannot be reached or lacks what the saver needs.
    """
    url = os.environ.get("LANGGRAPH_REDIS_URL", os.environ.get("REDIS_URL"))
    if url is None:
        raise ConfigError(
            "neither LANGGRAPH_REDIS_URL nor REDIS_URL is set in the environment: set one of them "
            "to redis://host:port, for example"
        )
    saver = AsyncRedisSaver(url)
    settings, _ = connection(url, None, None)
    for name in _SETTINGS:
        text = os.environ.get(f"LANGGRAPH_REDIS_{name.upper()}")
        if text is not None:
            settings[name] = text
    # The texts go to the core as they are, so that they mean there what they mean to every other
    # program that reads them.
    saver._native = Saver(list(settings.items()), None, False, False, None, 60.0, None)
    async with saver:
        yield saver
