"""Whether a value that is written may be read as another."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import Any, Literal, TypedDict

import msgspec
import pytest

from servey.codec import Codec
from servey.codec.union import is_ambiguous


@dataclass
class Cat:
    name: str


@dataclass
class Dog:
    name: str


@dataclass
class Whale:
    name: str
    tons: int


@dataclass
class Newt:
    name: str
    tons: int = 0


@dataclass
class Basket:
    name: str
    inside: Cat | Dog
    around: Basket | None = None


class Bird(TypedDict, total=False):
    wings: int


class Ship(msgspec.Struct, tag="ship"):
    name: str


class Boat(msgspec.Struct, tag="boat"):
    name: str


class Size(Enum):
    SMALL = "small"


@dataclass
class Loop:
    next: Loop | None = None
    others: list[Loop | int] = field(default_factory=list)


@pytest.mark.parametrize(
    "tp",
    [
        int,
        Cat,
        Cat | None,
        Cat | Whale,
        list[Whale | int | str | None],
        dict[str, Ship | Boat],
        Ship | Cat,
        Loop,
        int | float | bool | str,
        Literal["a"] | int,
    ],
)
def test_types_are_told_apart_by_kinds_names_and_tags(tp: Any) -> None:
    assert not is_ambiguous(Codec(tp).root)


@pytest.mark.parametrize(
    "tp",
    [
        Cat | Dog,
        Basket,
        list[Cat | Dog],
        dict[str, tuple[int, Cat | Dog | None]],
        Whale | Newt,
        Cat | Newt,
        Cat | dict[str, str],
        Bird | Loop,
        str | date,
        date | datetime,
        str | uuid.UUID,
        str | Size,
        list[int] | set[int],
        list[int] | tuple[int, int],
    ],
)
def test_types_that_may_be_written_alike_are_not(tp: Any) -> None:
    assert is_ambiguous(Codec(tp).root)
