"""Whatever default or text an action has, its GraphQL schema can be asked for, written, and read by others."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from dataclasses import field as member
from typing import Any, Literal

import pytest
from graphql import GraphQLSchema, build_schema, introspection_from_schema, validate_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from servey import WEB_POST, BigInt
from servey.action.action import action
from servey.servey_strawberry.schema import create_schema
from servey.service import Service
from support.length import length

pytestmark = pytest.mark.long


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


@dataclass
class Place:
    x: int
    names: dict[str, Any] | None = None


@dataclass
class Nothing:
    pass


TYPES = (
    *(int, str, float, bool, bytes, Any, BigInt, decimal.Decimal, datetime.datetime, datetime.timedelta),
    *(list[int], list[Any], set[str], tuple[int, str], dict[str, Any], dict[str, list[int]], int | str, int | None),
    *(Colour, list[Colour], Literal["a", "b"], Literal[1, 2], Place, list[Place], Place | None, Nothing),
)
TEXT = st.text(st.characters(), max_size=8)
"""Lone surrogates, control characters, quotes and backslashes, too."""
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | TEXT
    | st.binary(max_size=4)
    | st.decimals()
    | st.sampled_from((*Colour, "a", 1, Nothing(), datetime.timedelta(days=1), datetime.datetime(2026, 1, 1)))
)
KEYS = TEXT | st.sampled_from(("x", "names", "by_name", "by-name", "__x"))
VALUES = st.recursive(
    SCALARS | st.builds(Place, st.integers(0, 9), st.dictionaries(KEYS, SCALARS, max_size=2)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
PARAMETERS = st.lists(st.tuples(st.sampled_from(TYPES), VALUES), min_size=1, max_size=6)


def taking(parameters: list[tuple[Any, Any]]) -> Callable[..., Any]:
    """Return an action with parameters of such types and defaults, and a nested action that has them, too."""

    found = make_dataclass("Found", [("id", int)])
    names = [f"p{place}" for place in range(len(parameters))]
    scope: dict[str, Any] = {"defaults": [default for _, default in parameters]}
    signature = ", ".join(f"{name}=defaults[{place}]" for place, name in enumerate(names))
    exec(f"def again(self, {signature}): return 1\ndef search(asked, {signature}): return None", scope)
    again, search = scope["again"], scope["search"]
    types = {name: tp for name, (tp, _) in zip(names, parameters, strict=True)}
    again.__annotations__ = {**types, "return": int}
    found.again = action(again)
    fields = [
        (name, tp, member(default_factory=lambda default=default: default))
        if type(default).__hash__ is None
        else (name, tp, member(default=default))
        for name, (tp, default) in zip(names, parameters, strict=True)
    ]
    search.__annotations__ = {"asked": make_dataclass("Asked", fields), **types, "return": list[found]}
    return action(triggers=(WEB_POST,))(search)


def types_of(schema: GraphQLSchema) -> dict[str, Any]:
    """Return what introspection tells of each type of a schema's own."""
    told: Any = introspection_from_schema(schema)["__schema"]
    own = (item for item in told["types"] if not item["name"].startswith("__"))
    return {item["name"]: item for item in own if item["name"] not in ("Int", "Float", "String", "Boolean")}


def check(actions: list[Any]) -> dict[str, Any]:
    """Return the types of a schema, after writing and reading it."""
    schema = create_schema(Service(actions))
    told = types_of(schema.core)
    json.dumps(told, ensure_ascii=False).encode()
    read = build_schema(schema.as_str())
    assert validate_schema(read) == []
    assert types_of(read) == told
    return told


@given(PARAMETERS)
@settings(max_examples=length(10, 100))
def test_a_schema_with_any_defaults_can_be_written_and_read(parameters: list[tuple[Any, Any]]) -> None:
    check([taking(parameters)])


@given(TEXT, TEXT)
@settings(max_examples=length(10, 100))
def test_a_schema_with_any_texts_can_be_written_and_read(text: str, other: str) -> None:
    @dataclass
    class Book:
        title: str = other

    class Shelf(enum.Enum):
        FICTION = text

    Book.__doc__ = f"{text}\n\nArgs:\n    title: {other}"
    Shelf.__doc__ = other

    @action(triggers=(WEB_POST,), description=text)
    def find(book: Book, shelf: Shelf = Shelf.FICTION) -> Book:
        return book

    check([find])


@given(
    st.recursive(
        st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    )
)
@settings(max_examples=length(10, 100))
def test_a_default_that_graphql_can_write_is_told(default: Any) -> None:
    def search(by: Any = default) -> int:
        return 1

    told = check([action(triggers=(WEB_POST,))(search)])
    (field,) = told["Mutation"]["fields"]
    assert field["args"][0]["defaultValue"] is not None
    assert not isinstance(default, float) or math.isclose(float(field["args"][0]["defaultValue"]), default)
