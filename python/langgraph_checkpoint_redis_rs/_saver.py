"""What all savers of this package share: LangGraph's saver on the native module."""

from __future__ import annotations

import datetime as dt
import os
import random
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, NoReturn, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from typing_extensions import Self

from ._bridge import waiting
from ._native import Listing, Saver
from ._redis_py import pass_over
from ._server import server_of
from ._settings import Ttl, connection, file, read_keys, read_ttl, read_ttl_scope, seconds
from ._values import Values, values_of
from .errors import ConfigError, InvalidInputError
from .serde import RedisSerializer

__all__ = ["CHECKPOINT_PREFIX", "CHECKPOINT_WRITE_PREFIX", "BaseRedisSaver", "ThreadSummary"]

CHECKPOINT_PREFIX = "checkpoint"
CHECKPOINT_WRITE_PREFIX = "checkpoint_write"

_PAGE = 32
"""How many checkpoints a listing takes at once; as many as the core reads in one pipeline."""

_Place = tuple[str, str | None, str | None]
_Writes = list[tuple[str, str, bytes, bytes | None]]
_RawTuple = tuple[
    str, str, str, str | None, bytes, bytes | None, bytes | None, bytes, bytes | None, list[Any]
]


class ThreadSummary(NamedTuple):
    """What a thread holds."""

    thread_id: str
    """The thread."""
    checkpoints: int
    """How many checkpoints it has, in all namespaces."""
    newest: str | None
    """The id of the newest checkpoint of the root namespace, else of any."""
    ttl: dt.timedelta | None
    """How long the newest checkpoint is kept, counted from now; ``None`` without a TTL."""


class BaseRedisSaver(BaseCheckpointSaver[str]):
    """Keeps checkpoints in Redis: every method blocking and awaitable.

    Use :class:`~langgraph_checkpoint_redis_rs.RedisSaver` or
    :class:`~langgraph_checkpoint_redis_rs.AsyncRedisSaver`.

    Args:
        redis_url: Where Redis is: ``redis://[[user]:password@]host[:port][/database]``,
            ``rediss://`` for TLS, ``redis+unix:///path``, ``redis-cluster://``,
            ``redis-sentinel://host:port/database?sentinelServiceName=NAME`` or
            ``redis+sentinel://host:port/NAME/database``.
        redis_client: A client of redis-py to take the address, credentials, database and TLS
            from. The saver makes its own connections, and the client stays as it is.
        connection_args: More of the connection, by redis-py's names: ``username``,
            ``password``, ``credential_provider``, ``db``, ``ssl``, ``ssl_ca_certs``,
            ``ssl_certfile``, ``ssl_keyfile``, ``socket_timeout``, ``socket_connect_timeout``,
            ``max_connections``, ``client_name``. Those that have no meaning here are passed over
            with a warning, unknown ones refused. All but the provider may stand in the URL as
            well, which goes first.
        ttl: How long things are kept: ``{"default_ttl": minutes, "refresh_on_read": bool}``, in
            which ``default_ttl`` may be a ``timedelta``, or only a ``timedelta``. Default: for
            ever. Other keys are passed over with a warning: Redis itself removes what has
            expired. With ``"scope": "thread"`` a thread expires as a whole: nothing of it before
            the TTL has passed since the last write (or read, if that refreshes).
        checkpoint_prefix: The prefix of checkpoints' keys and the name of their index.
        checkpoint_write_prefix: The prefix of writes' keys and the name of their index.
        serde: A serializer of LangGraph's, such as ``EncryptedSerializer``. Then nothing of a
            value is stored but what it gives; metadata stays readable. Default: a
            :class:`~langgraph_checkpoint_redis_rs.RedisSerializer`.
        connect_timeout: How long making a connection may take, in seconds. Default: 5.
        command_timeout: How long a command may take, in seconds. Default: 10.
        pool_size: How many connections are kept; all calls share them. Default: 2.
        wait_replicas: How many replicas must have a write before its call returns, so that it is
            not lost with the primary. Default: none.
        wait_replicas_timeout: How long a write waits for them, in seconds. Default: 1.
        max_document_bytes: The largest document that is stored. Default: 64 MiB.
        hash_tag_threads: Whether all keys of a thread go to one slot of a cluster. The Python
            saver does not find such keys. Default: no.
        layout: How checkpoints are stored: ``json``, as documents that langgraph-checkpoint-redis
            reads and search finds, or ``compact``, each piece of a value once and compressed, on
            any Redis, without modules; a thread then expires as a whole. Default: ``json``.
        search: Whether RediSearch is used: ``auto`` where the server has it, ``required`` so that
            ``setup`` fails where it has not, or ``off``. Every call works without; those over all
            threads then walk over the keys. Default: ``auto``.
        tls_ca_file: A file of certificates (PEM) of authorities that are trusted beside the
            system's, for a URL with TLS. The server must show a certificate for its name that
            one of them signed; there is no way around that. Default: the system's alone.
        tls_cert_file: The file of the client's own certificate (PEM), for servers that ask for
            one. Default: none.
        tls_key_file: The file of that certificate's key (PEM, not encrypted). Default: none.
        encryption_keys: The keys that the layout ``compact`` seals with, 32 random bytes each by
            its id: the first seals, and all open. ``{}`` for none. Default: those of
            ``LANGGRAPH_REDIS_ENCRYPTION_KEYS`` in the environment, ``id:base64`` separated by
            commas, or of the file that ``LANGGRAPH_REDIS_ENCRYPTION_KEYS_FILE`` names, one a line;
            without either nothing is sealed.
        allow_unsealed: Whether a saver with keys also reads what is not sealed, as was stored
            before it had keys, until ``langgraph-redis reseal`` has run. Default: no.
        recent_threads: Whether the threads are kept by the time of their last write, so that
            ``threads`` gives the newest first. No call waits for it. Default: yes.
        credential_refresh: How soon a ``credential_provider`` is asked again for connections that
            live, in seconds; it is asked for each new connection as well. Default: 60.
        key_cache_max_size: Of langgraph-checkpoint-redis' shallow savers; there is no such cache,
            and it is passed over with a warning.
        channel_cache_max_size: The same.

    Nothing connects before the first call. A saver may be used by many threads and event loops,
    one after the other or at once, and in the children of a fork.

    Raises:
        ValueError: If a setting cannot be used.
        TypeError: If one is of the wrong type.
    """

    _shallow: ClassVar[bool] = False
    """Whether only the newest checkpoint of each thread and namespace is kept."""

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        redis_client: Any = None,
        connection_args: Mapping[str, Any] | None = None,
        ttl: Ttl = None,
        checkpoint_prefix: str = CHECKPOINT_PREFIX,
        checkpoint_write_prefix: str = CHECKPOINT_WRITE_PREFIX,
        serde: SerializerProtocol | None = None,
        connect_timeout: float | dt.timedelta | None = None,
        command_timeout: float | dt.timedelta | None = None,
        pool_size: int | None = None,
        max_document_bytes: int | None = None,
        hash_tag_threads: bool = False,
        wait_replicas: int = 0,
        wait_replicas_timeout: float | dt.timedelta | None = None,
        layout: str = "json",
        search: str = "auto",
        tls_ca_file: str | os.PathLike[str] | None = None,
        tls_cert_file: str | os.PathLike[str] | None = None,
        tls_key_file: str | os.PathLike[str] | None = None,
        encryption_keys: Mapping[str, bytes] | None = None,
        allow_unsealed: bool = False,
        recent_threads: bool = True,
        credential_refresh: float | dt.timedelta | None = None,
        key_cache_max_size: int | None = None,
        channel_cache_max_size: int | None = None,
    ) -> None:
        super().__init__(serde=serde or RedisSerializer())
        settings, credentials = connection(redis_url, redis_client, connection_args)
        self._server = server_of(settings["url"])
        caches = {
            "key_cache_max_size": key_cache_max_size,
            "channel_cache_max_size": channel_cache_max_size,
        }
        pass_over("an argument", (name for name, size in caches.items() if size is not None), 3)
        for name, prefix in (
            ("checkpoint_prefix", checkpoint_prefix),
            ("checkpoint_write_prefix", checkpoint_write_prefix),
        ):
            if not isinstance(prefix, str):
                raise TypeError(f"{name} must be a str, not {type(prefix).__name__}")
            if not prefix:
                raise ConfigError(f"{name} is empty")
            settings[name] = prefix
        for name, limit in (
            ("connect_timeout", connect_timeout),
            ("command_timeout", command_timeout),
            ("wait_replicas_timeout", wait_replicas_timeout),
        ):
            if limit is not None:
                settings[name] = seconds(name, limit)
        for name, number in (("pool_size", pool_size), ("max_document_bytes", max_document_bytes)):
            if number is not None:
                if isinstance(number, bool) or not isinstance(number, int):
                    raise TypeError(f"{name} must be an int, not {type(number).__name__}")
                if number < 1:
                    raise ConfigError(f"{name} must be at least 1, not {number}")
                settings[name] = str(number)
        if isinstance(wait_replicas, bool) or not isinstance(wait_replicas, int):
            raise TypeError(f"wait_replicas must be an int, not {type(wait_replicas).__name__}")
        if wait_replicas < 0:
            raise ConfigError(f"wait_replicas must be 0 or more, not {wait_replicas}")
        settings["wait_replicas"] = str(wait_replicas)
        if hash_tag_threads:
            settings["hash_tag_threads"] = "true"
        if layout not in ("json", "compact"):
            raise ConfigError(f"layout must be 'json' or 'compact', not {layout!r}")
        settings["layout"] = layout
        if search not in ("auto", "required", "off"):
            raise ConfigError(f"search must be 'auto', 'required' or 'off', not {search!r}")
        settings["search"] = search
        for name, path in (
            ("tls_ca_file", tls_ca_file),
            ("tls_cert_file", tls_cert_file),
            ("tls_key_file", tls_key_file),
        ):
            if path is not None:
                settings[name] = file(name, path)
        if allow_unsealed:
            settings["allow_unsealed"] = "true"
        if not recent_threads:
            settings["recent_threads"] = "false"
        time, refresh_on_read = read_ttl(ttl)
        scope = read_ttl_scope(ttl)
        if scope is not None:
            settings["ttl_scope"] = scope
        refresh = 60.0 if credential_refresh is None else credential_refresh
        self._native = Saver(
            list(settings.items()),
            time,
            refresh_on_read,
            self._shallow,
            credentials,
            float(seconds("credential_refresh", refresh)),
            read_keys(encryption_keys),
        )
        self._used_serde: SerializerProtocol = self.serde
        self._used_values: Values = values_of(self.serde)

    def __copy__(self) -> Self:
        # Of LangGraph's, to give a graph's classes to the serializer.
        clone = type(self).__new__(type(self))
        clone.__dict__.update(self.__dict__)
        return clone

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} holds connections and cannot be pickled: pass on the URL, "
            "and make a saver of it there"
        )

    @property
    def _values(self) -> Values:
        # The serializer is a plain attribute of LangGraph's, which anyone may set.
        if self.serde is not self._used_serde:
            self._used_values = values_of(self.serde)
            self._used_serde = self.serde
        return self._used_values

    def _before_blocking(self, name: str) -> None:
        """Be called at the start of every blocking method; a hook for savers that refuse some."""

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Make the version after ``current``: a number of 32 digits and a random fraction."""
        if current is None:
            number = 0
        elif isinstance(current, (int, float)):
            number = int(current)
        else:
            number = int(current.partition(".")[0])
        return f"{number + 1:032}.{random.random():016}"

    # --- reading ---

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Read the checkpoint that ``config`` names, or the newest of its namespace."""
        self._before_blocking("get_tuple")
        place = _place(config)
        return self._tuple_or_none(self._native.get_tuple(None, place), place)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Read the checkpoint that ``config`` names, or the newest of its namespace."""
        place = _place(config)
        return self._tuple_or_none(await self._native.get_tuple(waiting(), place), place)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """List checkpoints with their pending writes, newest first, without a cap.

        A config without ``checkpoint_ns`` means every namespace of the thread, ``""`` the root
        alone; no config means every thread. ``filter`` takes any key of the metadata, with Python's
        equality; its ``thread_id`` means the checkpoint's thread.
        """
        self._before_blocking("list")
        listing = self._listing(config, filter, before, limit)
        return self._iterate(listing, _PAGE if limit is None else min(limit, _PAGE))

    def _iterate(self, listing: Listing, count: int) -> Iterator[CheckpointTuple]:
        more = count > 0
        while more:
            page, more = listing.page(None, count)
            for raw in page:
                yield self._tuple(raw)

    def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """List checkpoints as :meth:`list` does."""
        listing = self._listing(config, filter, before, limit)
        return self._aiterate(listing, _PAGE if limit is None else min(limit, _PAGE))

    async def _aiterate(self, listing: Listing, count: int) -> AsyncIterator[CheckpointTuple]:
        more = count > 0
        while more:
            page, more = await listing.page(waiting(), count)
            for raw in page:
                yield self._tuple(raw)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Read what channels were given along the ancestors of a checkpoint."""
        self._before_blocking("get_delta_channel_history")
        place, names = _place(config), _texts("channels", channels)
        return self._deltas(names, self._native.delta_channel_history(None, place, names))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Read what channels were given along the ancestors of a checkpoint."""
        place, names = _place(config), _texts("channels", channels)
        return self._deltas(
            names, await self._native.delta_channel_history(waiting(), place, names)
        )

    # --- writing ---

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint: its document, TTL and the pointer to it together or not at all."""
        self._before_blocking("put")
        arguments = self._put_arguments(config, checkpoint, metadata)
        self._native.put(None, *arguments, self._shallow and _has_read_nothing(config))
        return _config(arguments[0], checkpoint["id"])

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint: its document, TTL and the pointer to it together or not at all.

        If the task is cancelled, the checkpoint has been stored as a whole or will be, or not
        at all.
        """
        arguments = self._put_arguments(config, checkpoint, metadata)
        expects_none = self._shallow and _has_read_nothing(config)
        await self._native.put(waiting(), *arguments, expects_none)
        return _config(arguments[0], checkpoint["id"])

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store the writes of a task, all of them together."""
        self._before_blocking("put_writes")
        self._native.put_writes(None, *self._write_arguments(config, writes, task_id, task_path))

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store the writes of a task, all of them together."""
        arguments = self._write_arguments(config, writes, task_id, task_path)
        await self._native.put_writes(waiting(), *arguments)

    # --- whole threads ---

    def delete_thread(self, thread_id: str) -> None:
        """Delete all of a thread, also what langgraph-checkpoint-redis wrote."""
        self._before_blocking("delete_thread")
        self._native.delete_thread(None, _text("thread_id", thread_id))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all of a thread, also what langgraph-checkpoint-redis wrote."""
        await self._native.delete_thread(waiting(), _text("thread_id", thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that runs made, with their writes, in every thread."""
        self._before_blocking("delete_for_runs")
        self._native.delete_for_runs(None, _texts("run_ids", run_ids))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that runs made, with their writes, in every thread."""
        await self._native.delete_for_runs(waiting(), _texts("run_ids", run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all of a thread, its history and pending writes included."""
        self._before_blocking("copy_thread")
        source = _text("source_thread_id", source_thread_id)
        self._native.copy_thread(None, source, _text("target_thread_id", target_thread_id))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all of a thread, its history and pending writes included."""
        source = _text("source_thread_id", source_thread_id)
        target = _text("target_thread_id", target_thread_id)
        await self._native.copy_thread(waiting(), source, target)

    def prune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        keep_last: int | None = None,
        max_results: int | None = None,
    ) -> None:
        """Remove old checkpoints, never one that a kept checkpoint's delta channels need.

        Args:
            thread_ids: The threads.
            strategy: ``"keep_latest"`` keeps the newest checkpoint of each namespace,
                ``"delete"`` none.
            keep_last: How many to keep in each namespace; goes before ``strategy``.
            max_results: Taken for the sake of langgraph-checkpoint-redis, and without meaning:
                there is no limit.
        """
        self._before_blocking("prune")
        names, keep = _texts("thread_ids", thread_ids), _kept(strategy, keep_last)
        self._native.prune(None, names, keep)

    async def aprune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        keep_last: int | None = None,
        max_results: int | None = None,
    ) -> None:
        """Remove old checkpoints as :meth:`prune` does."""
        names, keep = _texts("thread_ids", thread_ids), _kept(strategy, keep_last)
        await self._native.prune(waiting(), names, keep)

    # --- beyond LangGraph ---

    def threads(self, prefix: str = "") -> Iterator[ThreadSummary]:
        """List the threads whose ids start with ``prefix``, those written to last first."""
        self._before_blocking("threads")
        return self._iterate_threads(self._native.threads(_text("prefix", prefix)))

    def _iterate_threads(self, listing: Listing) -> Iterator[ThreadSummary]:
        more = True
        while more:
            page, more = listing.page(None, 100)
            for summary in page:
                yield ThreadSummary(*summary)

    async def athreads(self, prefix: str = "") -> AsyncIterator[ThreadSummary]:
        """List the threads whose ids start with ``prefix``, those written to last first."""
        listing = self._native.threads(_text("prefix", prefix))
        more = True
        while more:
            page, more = await listing.page(waiting(), 100)
            for summary in page:
                yield ThreadSummary(*summary)

    def scoped(self, prefix: str) -> Self:
        """Make a saver of one tenant's threads: of those whose ids start with ``prefix``.

        Under it they have their ids without the prefix, and no call reads, changes or lists another
        tenant's; so tenants may use the same ids. End prefixes in a separator that tenants' names
        cannot have (``tenant-a/``): one that begins with another is within it.

        It shares this saver's connections and settings: closing it does nothing, and closing this
        saver ends its calls, too.

        Raises:
            ValueError: If the prefix is empty, or leaves no room for ids.
            TypeError: If it is no ``str``.
        """
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a str, not {type(prefix).__name__}")
        view = self.__copy__()
        view._native = self._native.scoped(prefix)
        return view

    def touch(self, thread_id: str) -> bool:
        """Reset the TTL of every key of a thread to the saver's, unless the thread is pinned.

        Returns ``False`` if there is no such thread, or the saver has no TTL.
        """
        self._before_blocking("touch")
        found: bool = self._native.change_ttl(None, _text("thread_id", thread_id), "touch")
        return found

    async def atouch(self, thread_id: str) -> bool:
        """Reset the TTL of every key of a thread, as :meth:`touch` does."""
        thread = _text("thread_id", thread_id)
        found: bool = await self._native.change_ttl(waiting(), thread, "touch")
        return found

    def pin(self, thread_id: str) -> bool:
        """Keep a thread without a TTL until :meth:`unpin`. ``False`` if there is no such thread."""
        self._before_blocking("pin")
        found: bool = self._native.change_ttl(None, _text("thread_id", thread_id), "pin")
        return found

    async def apin(self, thread_id: str) -> bool:
        """Keep a thread without a TTL, as :meth:`pin` does."""
        found: bool = await self._native.change_ttl(waiting(), _text("thread_id", thread_id), "pin")
        return found

    def unpin(self, thread_id: str) -> bool:
        """Give every key of a thread the saver's TTL, pinned or not.

        Returns ``False`` if there is no such thread, or the saver has no TTL.
        """
        self._before_blocking("unpin")
        found: bool = self._native.change_ttl(None, _text("thread_id", thread_id), "unpin")
        return found

    async def aunpin(self, thread_id: str) -> bool:
        """Give every key of a thread the saver's TTL, as :meth:`unpin` does."""
        thread = _text("thread_id", thread_id)
        found: bool = await self._native.change_ttl(waiting(), thread, "unpin")
        return found

    async def asetup(self) -> None:
        """Connect and make the indexes; to be awaited once, and harmless when repeated."""
        self._native.open()
        await self._native.setup(waiting())

    async def aclose(self) -> None:
        """Wait for the calls under way and close the connections."""
        await self._native.close(waiting())

    # --- to and from the native module ---

    def _put_arguments(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> tuple[_Place, bytes, bytes, bytes | None, bytes, bytes | None]:
        place = _place(config)
        if not isinstance(checkpoint, dict):
            raise TypeError(f"checkpoint must be a dict, not {type(checkpoint).__name__}")
        if not isinstance(metadata, dict):
            raise TypeError(f"metadata must be a dict, not {type(metadata).__name__}")
        rest: dict[str, Any] = dict(checkpoint)
        values = rest.pop("channel_values", None) or {}
        if not isinstance(values, dict):
            raise TypeError(f"channel_values must be a dict, not {type(values).__name__}")
        if type(rest.get("id")) is not str:
            raise InvalidInputError("the checkpoint has no id, which must be a str")
        json, types = self._values.dump_channels(values)
        joined = cast(dict[str, Any], get_checkpoint_metadata(config, metadata))
        run = joined.get("run_id") or config["configurable"].get("run_id")
        if isinstance(run, uuid.UUID):
            joined["run_id"] = str(run)
        metadata_json, metadata_types = _PLAIN.dumps_metadata(joined)
        return (
            place,
            _PLAIN.dumps_json(rest)[0],
            json,
            types,
            metadata_json,
            metadata_types,
        )

    def _write_arguments(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
    ) -> tuple[_Place, _Writes, str, str]:
        place = _place(config)
        dump = self._values.dump_write
        dumped = []
        try:
            pairs = iter(writes)
        except TypeError:
            raise TypeError(f"writes must be pairs, not {type(writes).__name__}") from None
        for write in pairs:
            if not isinstance(write, (tuple, list)) or len(write) != 2:
                raise InvalidInputError(
                    "each of writes must be a pair of a channel and a value, not "
                    + (
                        f"{len(write)} items"
                        if isinstance(write, (tuple, list))
                        else type(write).__name__
                    )
                )
            channel, value = write
            if not isinstance(channel, str):
                raise TypeError(
                    f"the channel of a write must be a str, not {type(channel).__name__}"
                )
            dumped.append(dump(channel, value))
        if not isinstance(task_path, str):
            raise TypeError(f"task_path must be a str, not {type(task_path).__name__}")
        return place, dumped, _text("task_id", task_id), task_path

    def _listing(
        self,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> Listing:
        place = None if config is None else _place(config, None)
        packed = None
        if filter is not None:
            if not isinstance(filter, dict):
                raise TypeError(f"filter must be a dict, not {type(filter).__name__}")
            wanted = {key: _wanted(key, value) for key, value in filter.items()}
            packed = _PLAIN.dumps_metadata(wanted)[0] if wanted else None
        if limit is not None:
            if isinstance(limit, bool) or not isinstance(limit, int):
                raise TypeError(f"limit must be an int, not {type(limit).__name__}")
            limit = max(limit, 0)
        return self._native.list(place, packed, _before(before), limit)

    def _tuple_or_none(self, raw: _RawTuple | None, place: _Place) -> CheckpointTuple | None:
        return None if raw is None else self._tuple(raw)

    def _tuple(self, raw: _RawTuple) -> CheckpointTuple:
        thread, space, identity, parent, rest, json, types, metadata, more_types, writes = raw
        values = self._values
        checkpoint = _PLAIN.loads_json(rest)
        checkpoint["channel_values"] = {} if json is None else values.load_channels(json, types)
        load = values.load_write
        return CheckpointTuple(
            {
                "configurable": {
                    "thread_id": thread,
                    "checkpoint_ns": space,
                    "checkpoint_id": identity,
                }
            },
            checkpoint,
            cast(CheckpointMetadata, _PLAIN.loads_metadata(metadata, more_types)),
            None
            if parent is None
            else {
                "configurable": {
                    "thread_id": thread,
                    "checkpoint_ns": space,
                    "checkpoint_id": parent,
                }
            },
            [(task, channel, load(channel, *value)) for task, channel, *value in writes],
        )

    def _deltas(
        self, channels: Sequence[str], raw: Mapping[str, Any]
    ) -> dict[str, DeltaChannelHistory]:
        values = self._values
        histories: dict[str, DeltaChannelHistory] = {}
        for channel in channels:
            writes, seed = raw.get(channel, ((), None))
            history: DeltaChannelHistory = {
                "writes": [
                    (task, name, values.load_write(name, *value)) for task, name, *value in writes
                ]
            }
            if seed is not None:
                history["seed"] = values.load_channels(*seed)[channel]
            histories[channel] = history
        return histories


_PLAIN = RedisSerializer()
"""For what is no channel's value: metadata, versions, and the like."""


def _config(place: _Place, checkpoint_id: str) -> RunnableConfig:
    thread, space, _ = place
    return {
        "configurable": {
            "thread_id": thread,
            "checkpoint_ns": space,
            "checkpoint_id": checkpoint_id,
        }
    }


def _place(config: RunnableConfig, missing: str | None = "") -> _Place:
    """The thread, the namespace and the checkpoint that a config names."""
    try:
        configurable = config["configurable"]
        thread = configurable["thread_id"]
        space = configurable.get("checkpoint_ns", missing)
        checkpoint = configurable.get("checkpoint_id")
    except (KeyError, TypeError, AttributeError, IndexError):
        raise _no_thread(config) from None
    if type(thread) is not str:
        if thread is None:
            raise _no_thread(config)
        thread = _text("thread_id", thread)
    if type(space) is not str and space is not missing:
        space = missing if space is None else _text("checkpoint_ns", space)
    if type(checkpoint) is not str and checkpoint is not None:
        checkpoint = _text("checkpoint_id", checkpoint)
    # An empty id is no id, as for LangGraph's other savers.
    return thread, space, checkpoint or None


def _has_read_nothing(config: RunnableConfig) -> bool:
    """Whether a run of LangGraph's puts the first checkpoint that it knows of.

    Its configs name the parent, unless it found none. Other callers may leave it out.
    """
    configurable = config["configurable"]
    return "__pregel_runtime" in configurable and not configurable.get("checkpoint_id")


def _wanted(key: Any, value: Any) -> Any:
    """What a filter looks for; ids are stored as text."""
    if key in ("thread_id", "run_id") and isinstance(value, uuid.UUID):
        return str(value)
    if key == "thread_id" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _no_thread(config: Any) -> Exception:
    if not isinstance(config, Mapping):
        return TypeError(f"config must be a dict, not {type(config).__name__}")
    if not isinstance(config.get("configurable", {}), Mapping):
        return TypeError('config["configurable"] must be a dict')
    return InvalidInputError(
        'config["configurable"] has no thread_id: name the thread, for example '
        '{"configurable": {"thread_id": "1"}}'
    )


def _before(before: RunnableConfig | None) -> str | None:
    if before is None:
        return None
    try:
        checkpoint = before["configurable"].get("checkpoint_id")
    except (KeyError, TypeError, AttributeError):
        raise TypeError('before must be a config: {"configurable": {"checkpoint_id": …}}') from None
    return None if not checkpoint else _text("before", checkpoint)


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, uuid.UUID)) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"{name} must be a str, not {type(value).__name__}")


def _texts(name: str, values: Any) -> list[str]:
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise TypeError(f"{name} must be a list of str, not {type(values).__name__}")
    return [_text(f"each of {name}", value) for value in values]


def _kept(strategy: str, keep_last: int | None) -> int:
    if keep_last is not None:
        if isinstance(keep_last, bool) or not isinstance(keep_last, int):
            raise TypeError(f"keep_last must be an int, not {type(keep_last).__name__}")
        if keep_last < 0:
            raise InvalidInputError(f"keep_last must be at least 0, not {keep_last}")
        return keep_last
    if strategy == "keep_latest":
        return 1
    if strategy == "delete":
        return 0
    raise InvalidInputError(f"strategy must be 'keep_latest' or 'delete', not {strategy!r}")
