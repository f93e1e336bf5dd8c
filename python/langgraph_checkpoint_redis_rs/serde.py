"""The serializer: Python values as JSON that the Python saver reads, and back.

A value becomes one JSON text and, where JSON cannot say it all, a second one
of *type hints*. The first holds what langgraph-checkpoint-redis 0.5 would
store or can revive, so that saver reads it; the hints give this one the exact
types back. Most values need no hints.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Literal

from langgraph.checkpoint.serde.jsonplus import LC_REVIVER, JsonPlusSerializer

from . import _langchain
from ._allow import Gate, strict_from_environment
from ._describe import describe, dropped, name_of_key
from ._native import Codec, UnstorableValueError
from ._rebuild import Rebuilder

__all__ = ["TYPED_JSON", "RedisSerializer", "UnstorableValueError"]

TYPED_JSON = "json_typed"
"""The type of a blob that holds a JSON text and its hints in one.

It has no ``+`` in it, at which LangGraph's ``EncryptedSerializer`` splits.
"""

Json = bytes | bytearray | memoryview | str

_FROM_ENVIRONMENT: Any = object()


@functools.cache
def _langchain_tables() -> tuple[list[tuple[type, Any]], list[tuple[list[str], type]]]:
    classes = _langchain.classes()
    return _langchain.plans(classes), classes


class RedisSerializer(JsonPlusSerializer):
    """Stores values as JSON; each comes back equal and of the same type.

    It never pickles or unpickles. Which classes data may name is decided as in
    LangGraph's ``JsonPlusSerializer``: ``allowed_msgpack_modules`` is ``True``
    (any, with a warning), a collection of ``(module, name)`` or classes (those
    and LangGraph's safe types), or ``None`` (the safe types alone). The default
    is ``True``, or ``None`` if ``LANGGRAPH_STRICT_MSGPACK`` is set.
    """

    def __init__(
        self,
        *,
        allowed_json_modules: Iterable[tuple[str, ...]] | Literal[True] | None = None,
        allowed_msgpack_modules: Iterable[tuple[str, ...] | type]
        | Literal[True]
        | None = _FROM_ENVIRONMENT,
    ) -> None:
        if allowed_msgpack_modules is _FROM_ENVIRONMENT:
            allowed_msgpack_modules = None if strict_from_environment() else True
        super().__init__(
            allowed_json_modules=allowed_json_modules,
            allowed_msgpack_modules=allowed_msgpack_modules,
        )
        self._codec = self._new_codec()

    def _new_codec(self) -> Codec:
        gate = Gate(self._allowed_msgpack_modules, self._allowed_json_modules)
        rebuilder = Rebuilder(gate, LC_REVIVER)
        return Codec(
            describe,
            name_of_key,
            rebuilder.revive,
            rebuilder.rebuild,
            dropped,
            *_langchain_tables(),
        )

    def with_msgpack_allowlist(
        self, extra_allowlist: Iterable[tuple[str, ...] | type]
    ) -> JsonPlusSerializer:
        """Return a serializer that allows these classes as well."""
        clone = super().with_msgpack_allowlist(extra_allowlist)
        if clone is not self and isinstance(clone, RedisSerializer):
            clone._codec = clone._new_codec()
        return clone

    # --- a value as JSON and hints ---

    def dumps_json(self, obj: Any) -> tuple[bytes, bytes | None]:
        """Turn a value into JSON and, if it needs them, type hints.

        Raises:
            UnstorableValueError: If the value, or one inside it, cannot be
                stored; the message says which.
        """
        json, hints, _, _ = self._codec.dumps(obj)
        return json, hints

    def loads_json(self, json: Json, hints: Json | None = None) -> Any:
        """Turn JSON and its type hints back into the value.

        Without hints this also reads what the Python saver stored inside a
        checkpoint.

        Raises:
            ValueError: If either text is malformed.
        """
        return self._codec.loads(json, hints)

    def dumps_channels(self, values: dict[str, Any]) -> tuple[bytes, bytes | None]:
        """Turn all channel values into one JSON object and its hints.

        Raises:
            UnstorableValueError: As :meth:`dumps_json`; the message names the
                channel.
        """
        json, hints, _, _ = self._codec.dumps(values, "channel")
        return json, hints

    def loads_channels(self, json: Json, hints: Json | None = None) -> dict[str, Any]:
        """Turn the JSON object of channel values back into a dict."""
        return self._dict(self._codec.loads(json, hints))

    def dumps_metadata(self, metadata: Any) -> tuple[bytes, bytes | None]:
        """Turn metadata into one JSON object and its hints.

        Raises:
            UnstorableValueError: As :meth:`dumps_json`; the message names the
                key.
        """
        json, hints, _, _ = self._codec.dumps(metadata, "metadata")
        return json, hints

    def loads_metadata(self, json: Json, hints: Json | None = None) -> dict[str, Any]:
        """Turn the JSON object of metadata back into a dict."""
        return self._dict(self._codec.loads(json, hints))

    @staticmethod
    def _dict(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"expected a JSON object, not {type(value).__name__}")
        return value

    # --- a value as a typed blob ---

    def dumps_write(self, obj: Any) -> tuple[str, bytes, bytes | None]:
        """Turn a pending write's value into a type, a blob and its hints.

        The type and the blob are what the Python saver reads as well: for a
        value that holds bytes or has keys other than strings that is msgpack,
        if LangGraph's own serializer gives back the same value.

        Raises:
            UnstorableValueError: As :meth:`dumps_json`.
        """
        if obj is None:
            return "null", b"", None
        if type(obj) is bytes:
            return "bytes", obj, None
        if type(obj) is bytearray:
            return "bytearray", bytes(obj), None
        json, hints, has_bytes, has_odd_keys = self._codec.dumps(obj)
        # LangGraph keeps no type that needs the hint `x`, or a changed form
        # of it: its arrays, for instance, come back read-only.
        if (has_bytes or has_odd_keys) and not (hints and b'"x"' in hints):
            packed = self._faithful_msgpack(obj, json, hints)
            if packed is not None:
                return "msgpack", packed, None
        if has_bytes and hints is None:
            # Hints, even empty ones, say that `__bytes__` is a marker here.
            json, hints, _, _ = self._codec.dumps(obj, force_hints=True)
        return "json", json, hints

    def _faithful_msgpack(self, obj: Any, json: bytes, hints: bytes | None) -> bytes | None:
        """The value packed by LangGraph, if that comes back the same."""
        try:
            kind, packed = super().dumps_typed(obj)
            if kind != "msgpack":
                return None
            again = self._codec.dumps(super().loads_typed((kind, packed)))
        except Exception:
            return None
        return packed if again[:2] == (json, hints) else None

    def loads_write(self, type_: str, blob: Any, hints: Json | None = None) -> Any:
        """Turn what :meth:`dumps_write` gave back into the value.

        Also reads every type that the Python saver writes.
        """
        if type_ == "json":
            return self._codec.loads(blob, hints, hints is not None)
        return self.loads_typed((type_, blob))

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Turn a value into a type and a blob that needs nothing beside it.

        Raises:
            UnstorableValueError: As :meth:`dumps_json`.
        """
        type_, blob, hints = self.dumps_write(obj)
        if hints is not None:
            return TYPED_JSON, Codec.join(blob, hints)
        return type_, blob

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Turn what :meth:`dumps_typed` gave back into the value.

        Also reads every type that the Python saver writes.

        Raises:
            ValueError: If the blob is malformed.
            NotImplementedError: If the type is unknown; ``pickle`` always is.
        """
        type_, blob = data
        if type_ == "json":
            return self._codec.loads(blob, None, False)
        if type_ == TYPED_JSON:
            return self._codec.loads_joined(blob)
        if type_ == "pickle":
            raise NotImplementedError("pickled values are never read")
        return super().loads_typed((type_, bytes(blob)))
