import asyncio
import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

_Text = bytes | bytearray | memoryview | str

class UnstorableValueError(TypeError): ...

class Codec:
    def __init__(
        self,
        describe: Callable[[Any], tuple[Any, tuple[str | None, ...] | None, bool, Any]],
        name_of_key: Callable[[Any], str],
        revive: Callable[[dict[str, Any]], Any],
        rebuild: Callable[[Any, str, tuple[Any, ...]], Any],
        dropped: Callable[[dict[str, Any], str], None],
        plans: Sequence[tuple[type, tuple[str, list[tuple[str, str, Any, bool]], list[str]]]],
        classes: Sequence[tuple[list[str], type]],
    ) -> None: ...
    def dumps(
        self, value: Any, label: str | None = None, force_hints: bool = False
    ) -> tuple[bytes, bytes | None, bool, bool]: ...
    def loads(
        self,
        json: _Text,
        hints: _Text | None = None,
        bytes_markers: bool = True,
    ) -> Any: ...
    @staticmethod
    def join(json: bytes, hints: bytes) -> bytes: ...
    def loads_joined(self, joined: _Text) -> Any: ...

_Into = tuple[Bridge, asyncio.Future[Any]]
_Place = tuple[str, str | None, str | None]
_Write = tuple[str, str, bytes, bytes | None]

class Bridge:
    def __init__(self) -> None: ...
    def fileno(self) -> int: ...
    def drain(self) -> None: ...
    def __len__(self) -> int: ...

class Listing:
    @overload
    def page(self, into: None, count: int) -> tuple[list[Any], bool]: ...
    @overload
    def page(self, into: _Into, count: int) -> asyncio.Future[tuple[list[Any], bool]]: ...

class Saver:
    def __init__(
        self,
        settings: list[tuple[str, str]],
        ttl: dt.timedelta | None,
        refresh_on_read: bool,
        shallow: bool,
        credentials: Callable[[], tuple[str | None, str]] | None,
        credential_refresh: float,
        encryption_keys: list[tuple[str, bytes]] | None,
    ) -> None: ...
    def scoped(self, prefix: str) -> Saver: ...
    def open(self) -> None: ...
    def list(
        self,
        place: _Place | None,
        filter: bytes | None,
        before: str | None,
        limit: int | None,
    ) -> Listing: ...
    def threads(self, prefix: str) -> Listing: ...
    @overload
    def setup(self, into: None) -> Any: ...
    @overload
    def setup(self, into: _Into) -> asyncio.Future[Any]: ...
    @overload
    def close(self, into: None) -> Any: ...
    @overload
    def close(self, into: _Into) -> asyncio.Future[Any]: ...
    @overload
    def put(
        self,
        into: None,
        place: _Place,
        rest: bytes,
        values: bytes,
        value_types: bytes | None,
        metadata: bytes,
        metadata_types: bytes | None,
        expects_none: bool,
    ) -> Any: ...
    @overload
    def put(
        self,
        into: _Into,
        place: _Place,
        rest: bytes,
        values: bytes,
        value_types: bytes | None,
        metadata: bytes,
        metadata_types: bytes | None,
        expects_none: bool,
    ) -> asyncio.Future[Any]: ...
    @overload
    def put_writes(
        self,
        into: None,
        place: _Place,
        writes: Sequence[_Write],
        task_id: str,
        task_path: str,
    ) -> Any: ...
    @overload
    def put_writes(
        self,
        into: _Into,
        place: _Place,
        writes: Sequence[_Write],
        task_id: str,
        task_path: str,
    ) -> asyncio.Future[Any]: ...
    @overload
    def get_tuple(self, into: None, place: _Place) -> Any: ...
    @overload
    def get_tuple(self, into: _Into, place: _Place) -> asyncio.Future[Any]: ...
    @overload
    def delete_thread(self, into: None, thread_id: str) -> Any: ...
    @overload
    def delete_thread(self, into: _Into, thread_id: str) -> asyncio.Future[Any]: ...
    @overload
    def delete_for_runs(self, into: None, run_ids: Sequence[str]) -> Any: ...
    @overload
    def delete_for_runs(self, into: _Into, run_ids: Sequence[str]) -> asyncio.Future[Any]: ...
    @overload
    def copy_thread(self, into: None, source: str, target: str) -> Any: ...
    @overload
    def copy_thread(self, into: _Into, source: str, target: str) -> asyncio.Future[Any]: ...
    @overload
    def prune(self, into: None, thread_ids: Sequence[str], keep_last: int) -> Any: ...
    @overload
    def prune(
        self,
        into: _Into,
        thread_ids: Sequence[str],
        keep_last: int,
    ) -> asyncio.Future[Any]: ...
    @overload
    def delta_channel_history(self, into: None, place: _Place, channels: Sequence[str]) -> Any: ...
    @overload
    def delta_channel_history(
        self,
        into: _Into,
        place: _Place,
        channels: Sequence[str],
    ) -> asyncio.Future[Any]: ...
    @overload
    def change_ttl(
        self,
        into: None,
        thread_id: str,
        change: Literal["touch", "pin", "unpin"],
    ) -> Any: ...
    @overload
    def change_ttl(
        self,
        into: _Into,
        thread_id: str,
        change: Literal["touch", "pin", "unpin"],
    ) -> asyncio.Future[Any]: ...
