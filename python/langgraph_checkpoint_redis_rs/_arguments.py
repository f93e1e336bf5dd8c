"""The keyword arguments of savers."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from typing import Any, TypedDict

from langgraph.checkpoint.serde.base import SerializerProtocol

from ._settings import Ttl

__all__ = ["Arguments"]


class Arguments(TypedDict, total=False):
    """What every saver takes beside the URL; each is described with the class."""

    redis_client: Any
    connection_args: Mapping[str, Any] | None
    ttl: Ttl
    checkpoint_prefix: str
    checkpoint_write_prefix: str
    serde: SerializerProtocol | None
    connect_timeout: float | dt.timedelta | None
    command_timeout: float | dt.timedelta | None
    pool_size: int | None
    max_document_bytes: int | None
    hash_tag_threads: bool
    layout: str
    search: str
    wait_replicas: int
    wait_replicas_timeout: float | dt.timedelta | None
    tls_ca_file: str | os.PathLike[str] | None
    tls_cert_file: str | os.PathLike[str] | None
    tls_key_file: str | os.PathLike[str] | None
    encryption_keys: Mapping[str, bytes] | None
    allow_unsealed: bool
    recent_threads: bool
    credential_refresh: float | dt.timedelta | None
    key_cache_max_size: int | None
    channel_cache_max_size: int | None
