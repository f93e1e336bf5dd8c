"""Classes whose instances the tests store."""

from __future__ import annotations

import dataclasses
import datetime
import enum
from collections import deque
from typing import Any, Generic, NamedTuple, TypeVar

from langchain_core.messages import HumanMessage
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel, field_validator
from pydantic import v1 as pydantic_v1


class Color(enum.Enum):
    RED = "red"
    PAIR = (1, "a")
    OBJECT = frozenset({1})
    NONE = None


class Text(str, enum.Enum):
    A = "a"


class Num(enum.IntEnum):
    ONE = 1


class Perm(enum.Flag):
    R = 4
    W = 2


class IntPerm(enum.IntFlag):
    R = 4
    W = 2


class Pair(NamedTuple):
    a: Any
    b: Any = "b"


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: Any


@dataclasses.dataclass(slots=True, frozen=True, kw_only=True)
class Slots:
    x: Any
    y: Any = 1


@dataclasses.dataclass
class Derived:
    x: int
    total: Any = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.total = self.x * 2


@dataclasses.dataclass
class Growing:
    """A dataclass whose constructor is not idempotent."""

    name: str

    def __post_init__(self) -> None:
        self.name += "!"


@dataclasses.dataclass
class WithInitVar:
    x: int
    seed: dataclasses.InitVar[int]

    def __post_init__(self, seed: int) -> None:
        self.x += seed


class Address(BaseModel):
    city: str
    zip: str | None = None


class Person(BaseModel):
    name: str
    age: int
    address: Address | None = None
    born: datetime.datetime | None = None
    tags: tuple[str, ...] = ()
    kind: Color = Color.RED


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int


class Aliased(BaseModel):
    x: int = Field(default=0, alias="the-x")


class Private(BaseModel):
    x: int
    _seen: Any = PrivateAttr(default=None)


class Shouting(BaseModel):
    """A model whose validator is not idempotent."""

    name: str

    @field_validator("name")
    @classmethod
    def shout(cls, value: str) -> str:
        return value + "!"


class FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True)
    x: int


class Numbers(RootModel[list[int]]):
    pass


class OldModel(pydantic_v1.BaseModel):
    name: str
    at: datetime.datetime | None = None


T = TypeVar("T")


@dataclasses.dataclass
class Box(Generic[T]):
    item: T


class GenericModel(BaseModel, Generic[T]):
    item: T


class Outer:
    class Inner(BaseModel):
        x: int

    class Mode(enum.Enum):
        ON = 1


class MyStr(str):
    pass


class MyInt(int):
    pass


class MyFloat(float):
    pass


class MyBytes(bytes):
    pass


class MyList(list):  # type: ignore[type-arg]
    pass


class MyDict(dict):  # type: ignore[type-arg]
    pass


class MyTuple(tuple):  # type: ignore[type-arg]
    pass


class MySet(set):  # type: ignore[type-arg]
    pass


class MyDeque(deque):  # type: ignore[type-arg]
    pass


class MyDatetime(datetime.datetime):
    pass


class MyHuman(HumanMessage):
    mood: str = "good"


class Plain:
    """A class of no kind that can be stored."""

    def __init__(self, v: Any) -> None:
        self.v = v
