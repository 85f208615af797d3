"""The one table of docs/types.md: type by (JSON in, text in, JSON out, schema), over every engine that can hold it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import ipaddress
import json
import pathlib
import types
import typing
import uuid
from collections import deque
from typing import Annotated, Any, Literal

import annotated_types as at
import attrs
import jsonschema
import msgspec
import pydantic
import pytest

from servey.codec import ArgumentsCodec, Codec, Parameter, ResultError
from servey.codec.decimal_pattern import ANY_DECIMAL, decimal_pattern
from servey.codec.patterns import DURATION, TIME
from servey.errors import CallError, InvalidError


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Point(typing.NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Address:
    street: str
    zip: str | None = None


UTC = dt.UTC
IDENTIFIER = uuid.UUID("00000000-0000-0000-0000-00000000002a")
MOMENT = dt.datetime(2026, 11, 22, 12, 30, tzinfo=UTC)


@dataclasses.dataclass
class Row:
    """One type's row: how it looks, what is refused, and where an engine differs."""

    name: str
    tp: Any
    good: list[tuple[str, Any]]
    """JSON texts, and the value that each is."""
    out: list[tuple[Any, str]]
    """Values, and the JSON that each becomes."""
    bad: list[str]
    text: list[tuple[str, Any]]
    bad_text: list[str]
    schema: dict[str, Any]
    bad_out: list[Any] = dataclasses.field(default_factory=list)
    differs: dict[str, str] = dataclasses.field(default_factory=dict)
    """Engines that cannot hold the type, or read it otherwise, and why: the list that docs/types.md repeats."""


TABLE = [
    Row(
        "str",
        str,
        [('"x"', "x"), ('""', ""), ('"\\u00e9"', "é")],
        [("x", '"x"'), (Color.RED.value, '"red"')],
        ["1", "null", "true", "[]", "{}"],
        [("x", "x"), ("", ""), ("null", "null"), ("5", "5")],
        [],
        {"type": "string"},
        bad_out=[1, None, b"x", object()],
    ),
    Row(
        "int",
        int,
        [
            ("5", 5),
            ("-3", -3),
            ("5.0", 5),
            ("1e2", 100),
            ("123456789012345678901234567890", 123456789012345678901234567890),
        ],
        [(5, "5"), (Level.HIGH, "2")],
        ['"5"', "1.5", "1e400", "true", "null"],
        [("5", 5), ("-3", -3), ("007", 7), ("5.0", 5)],
        ["", "5.1", "5.", " 5", "1_0", "0x1", "+5", "true", "null", "٣"],
        {"type": "integer"},
        bad_out=["5", 1.5, None],
        differs={"marshy:in": "schemey takes a whole number of any size, however it is written"},
    ),
    Row(
        "float",
        float,
        [("1.5", 1.5), ("2", 2.0), ("-1e3", -1000.0)],
        [(1.5, "1.5")],
        ['"1.5"', "1e999", "true", "null"],
        [("1.5", 1.5), ("2", 2.0), ("-1E3", -1000.0)],
        ["nan", "inf", "1.", ".5", "1e999", "1_0", ""],
        {"type": "number"},
        bad_out=[float("nan"), float("inf"), -float("inf"), "1.5"],
    ),
    Row(
        "bool",
        bool,
        [("true", True), ("false", False)],
        [(True, "true")],
        ["1", '"true"', "null"],
        [("true", True), ("False", False), ("TRUE", True)],
        ["1", "yes", "on", ""],
        {"type": "boolean"},
        bad_out=["true"],
    ),
    Row(
        "optional int",
        int | None,
        [("5", 5), ("null", None)],
        [(5, "5"), (None, "null")],
        ['"5"', '"null"'],
        [("5", 5), ("null", None)],
        ["None", ""],
        {"type": ["integer", "null"]},
        bad_out=["5"],
    ),
    Row(
        "optional str",
        str | None,
        [('"x"', "x"), ("null", None)],
        [("x", '"x"'), (None, "null")],
        ["5"],
        [("x", "x"), ("null", "null")],
        [],
        {"type": ["string", "null"]},
        bad_out=[5],
    ),
    Row(
        "bytes",
        bytes,
        [('"YWI="', b"ab")],
        [(b"ab", '"YWI="')],
        ['"a"', "1"],
        [("YWI=", b"ab")],
        ["a"],
        {"type": "string", "contentEncoding": "base64"},
        bad_out=[5],
        differs={
            "pydantic": "a definition error: pydantic would read UTF-8; say val_json_bytes='base64'",
            "marshy": "marshy has no marshaller for it",
        },
    ),
    Row(
        "datetime",
        dt.datetime,
        [
            ('"2026-11-22T12:30:00Z"', MOMENT),
            ('"2026-11-22T13:30:00+01:00"', MOMENT),
            ('"2026-11-22T12:30:00"', dt.datetime(2026, 11, 22, 12, 30)),
        ],
        [(MOMENT, '"2026-11-22T12:30:00Z"')],
        ['"x"', '"2026-11-22"', "1", '"2026-13-01T00:00:00Z"'],
        [("2026-11-22T12:30:00Z", MOMENT)],
        ["1", "tomorrow"],
        {"type": "string", "format": "date-time"},
        bad_out=[1, "x"],
        differs={"marshy": "marshy writes and reads datetimes its own way"},
    ),
    Row(
        "date",
        dt.date,
        [('"2026-11-22"', dt.date(2026, 11, 22))],
        [(dt.date(2026, 11, 22), '"2026-11-22"')],
        ['"x"', '"2026-02-30"'],
        [("2026-11-22", dt.date(2026, 11, 22))],
        ["x"],
        {"type": "string", "format": "date"},
        bad_out=["x"],
        differs={"marshy": "marshy has no marshaller for it"},
    ),
    Row(
        "time",
        dt.time,
        [('"12:30:00"', dt.time(12, 30))],
        [(dt.time(12, 30), '"12:30:00"')],
        ['"25:00:00"', '"x"'],
        [("12:30:00", dt.time(12, 30))],
        ["x"],
        {"type": "string", "pattern": TIME},
        bad_out=["x"],
        differs={"marshy": "marshy has no marshaller for it"},
    ),
    Row(
        "timedelta",
        dt.timedelta,
        [('"P1D"', dt.timedelta(days=1)), ('"PT1.5S"', dt.timedelta(seconds=1.5))],
        [(dt.timedelta(days=1), '"P1D"')],
        ['"x"', '"1 day"'],
        [("P1D", dt.timedelta(days=1))],
        ["x"],
        {"type": "string", "format": "duration", "pattern": DURATION},
        bad_out=["x"],
        differs={"pydantic:in": "pydantic reads '1 day' too", "marshy": "marshy has no marshaller for it"},
    ),
    Row(
        "UUID",
        uuid.UUID,
        [(f'"{IDENTIFIER}"', IDENTIFIER)],
        [(IDENTIFIER, f'"{IDENTIFIER}"')],
        ['"x"', "1"],
        [(str(IDENTIFIER), IDENTIFIER)],
        ["x"],
        {"type": "string", "format": "uuid"},
        bad_out=["x"],
    ),
    Row(
        "Decimal",
        decimal.Decimal,
        [('"1.10"', decimal.Decimal("1.10")), ("1.5", decimal.Decimal("1.5")), ("3", decimal.Decimal(3))],
        [(decimal.Decimal("1.10"), '"1.10"')],
        ['"NaN"', '"-Infinity"', '"sNaN"', '"\\u004eaN"', '"x"', "true"],
        [("1.10", decimal.Decimal("1.10"))],
        ["NaN", "x"],
        {"anyOf": [{"type": "string", "format": "decimal", "pattern": ANY_DECIMAL}, {"type": "number"}]},
        bad_out=[decimal.Decimal("NaN"), decimal.Decimal("-Infinity"), "x"],
        differs={"marshy": "marshy has no marshaller for it"},
    ),
    Row(
        "Enum",
        Color,
        [('"red"', Color.RED)],
        [(Color.RED, '"red"')],
        ['"RED"', "1", '"green"'],
        [("red", Color.RED)],
        ["RED", ""],
        {"$ref": "#/$defs/Color"},
        bad_out=["green", 1],
        differs={"marshy": "marshy has no enum of this kind by value without its own factory"},
    ),
    Row(
        "IntEnum",
        Level,
        [("2", Level.HIGH)],
        [(Level.HIGH, "2")],
        ['"2"', "3"],
        [("2", Level.HIGH)],
        ["HIGH", "3"],
        {"$ref": "#/$defs/Level"},
        bad_out=[3],
        differs={"marshy": "marshy has no enum of this kind by value without its own factory"},
    ),
    Row(
        "Literal",
        Literal["a", 1],
        [('"a"', "a"), ("1", 1)],
        [("a", '"a"'), (1, "1")],
        ['"b"', "2", "null", '"1"'],
        [("a", "a"), ("1", 1)],
        ["b", "2"],
        {"enum": ["a", 1]},
        bad_out=["b"],
        differs={"marshy": "marshy has no marshaller for it"},
    ),
    Row(
        "list",
        list[int],
        [("[1, 2]", [1, 2]), ("[]", [])],
        [([1, 2], "[1,2]"), ((1, 2), "[1,2]")],
        ['["1"]', "{}", '"1"', "null"],
        [],
        [],
        {"type": "array", "items": {"type": "integer"}},
        bad_out=[["x"], 5],
    ),
    Row(
        "set",
        set[str],
        [('["a", "a"]', {"a"})],
        [({"a"}, '["a"]')],
        ["[1]", "{}"],
        [],
        [],
        {"type": "array", "items": {"type": "string"}},
        bad_out=[{1}],
        differs={"marshy": "marshy has no marshaller for it"},
    ),
    Row(
        "tuple",
        tuple[int, str],
        [('[1, "a"]', (1, "a"))],
        [((1, "a"), '[1,"a"]')],
        ["[1]", '[1, "a", 2]', '["a", 1]', "null"],
        [],
        [],
        {
            "type": "array",
            "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "items": False,
            "minItems": 2,
            "maxItems": 2,
        },
        bad_out=[(1,), ("a", "a")],
        differs={"marshy": "marshy reads tuples its own way"},
    ),
    Row(
        "deque",
        deque[int],
        [("[1, 2]", deque([1, 2]))],
        [(deque([1, 2]), "[1,2]")],
        ['["1"]', "{}"],
        [],
        [],
        {"type": "array", "items": {"type": "integer"}},
        bad_out=[deque(["x"])],
        differs={"marshy": "marshy has no marshaller for it"},
    ),
    Row(
        "dict",
        dict[str, int],
        [('{"a": 1, "a": 2}', {"a": 2})],
        [({"a": 1}, '{"a":1}')],
        ['{"a": "1"}', "[]", "null"],
        [('{"a": 1}', {"a": 1})],
        ["a", "{"],
        {"type": "object", "additionalProperties": {"type": "integer"}},
        bad_out=[{"a": "x"}, {1: 1}],
        differs={"marshy": "marshy has no marshaller for it"},
    ),
    Row(
        "dict of int keys",
        dict[int, str],
        [('{"1": "a"}', {1: "a"})],
        [({1: "a"}, '{"1":"a"}')],
        ['{"x": "a"}'],
        [('{"1": "a"}', {1: "a"})],
        ['{"x": "a"}'],
        {"type": "object", "additionalProperties": {"type": "string"}},
        bad_out=[{"x": "a"}],
        differs={"marshy": "marshy has no marshaller for it"},
    ),
    Row(
        "NamedTuple",
        Point,
        [("[1, 2]", Point(1, 2))],
        [(Point(1, 2), "[1,2]")],
        ["[1]", '["x", 2]', "[1, 2, 3]"],
        [],
        [],
        {"$ref": "#/$defs/Point"},
        bad_out=[("x", 1)],
        differs={"marshy": "marshy reads tuples its own way"},
    ),
    Row(
        "dataclass",
        Address,
        [('{"street": "s"}', Address("s")), ('{"street": "s", "zip": "1"}', Address("s", "1"))],
        [(Address("s"), '{"street":"s","zip":null}')],
        ["{}", '{"street": 1}', '{"street": "s", "zap": 1}', "[]", "null"],
        [('{"street": "s"}', Address("s"))],
        ["s", "{}"],
        {"$ref": "#/$defs/Address"},
        bad_out=[Address(5), None],  # type: ignore[arg-type]
        differs={"marshy": "marshy drops None"},
    ),
    Row(
        "constrained int",
        Annotated[int, at.Gt(0), at.Le(10)],
        [("1", 1), ("10", 10)],
        [(1, "1")],
        ["0", "11", '"1"'],
        [("1", 1)],
        ["0", "11"],
        {"type": "integer", "exclusiveMinimum": 0, "maximum": 10},
        bad_out=[0, 11],
        differs={
            "pydantic:out": "a model checks its constraints when it is made, not when it is written",
            "marshy": "marshy knows no constraints",
        },
    ),
    Row(
        "constrained str",
        Annotated[str, msgspec.Meta(min_length=2, pattern="^a")],
        [('"ab"', "ab")],
        [("ab", '"ab"')],
        ['"a"', '"bb"'],
        [("ab", "ab")],
        ["a"],
        {"type": "string", "minLength": 2, "pattern": "^a"},
        bad_out=["a"],
        differs={"pydantic": "pydantic ignores msgspec.Meta", "marshy": "marshy knows no constraints"},
    ),
    Row(
        "constrained Decimal",
        Annotated[decimal.Decimal, at.Gt(0)],
        [('"1"', decimal.Decimal(1))],
        [(decimal.Decimal(1), '"1"')],
        ['"0"', '"NaN"'],
        [("1", decimal.Decimal(1))],
        ["0", "NaN"],
        {
            "anyOf": [
                {
                    "type": "string",
                    "format": "decimal",
                    "pattern": decimal_pattern(decimal.Decimal(0), None, open_low=True),
                },
                {"type": "number", "exclusiveMinimum": 0},
            ]
        },
        bad_out=[decimal.Decimal(0)],
        differs={
            "pydantic:out": "a model checks its constraints when it is made, not when it is written",
            "marshy": "marshy knows no constraints",
        },
    ),
    Row(
        "pydantic's validator",
        Annotated[int, pydantic.AfterValidator(lambda value: value * 2)],
        [("2", 4)],
        [(4, "4")],
        ['"2"'],
        [("2", 4)],
        ["x"],
        {"type": "integer"},
        bad_out=["x"],
        differs={"marshy": "marshy knows no validators"},
    ),
    Row(
        "str or datetime",
        dt.datetime | str,
        [('"2026-11-22T12:30:00Z"', MOMENT), ('"x"', "x")],
        [(MOMENT, '"2026-11-22T12:30:00Z"'), ("x", '"x"')],
        ["1", "null"],
        [("2026-11-22T12:30:00Z", MOMENT), ("x", "x")],
        [],
        {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string"}]},
        bad_out=[1],
        differs={"marshy": "marshy tags its unions"},
    ),
    Row(
        "Path",
        pathlib.PurePosixPath,
        [('"/a/b"', pathlib.PurePosixPath("/a/b"))],
        [(pathlib.PurePosixPath("/a"), '"/a"')],
        ["1"],
        [("/a", pathlib.PurePosixPath("/a"))],
        [],
        {"type": "string"},
        bad_out=[1],
        differs={"marshy": "marshy has no marshaller for it"},
    ),
    Row(
        "IP address",
        ipaddress.IPv4Address,
        [('"10.0.0.1"', ipaddress.IPv4Address("10.0.0.1"))],
        [(ipaddress.IPv4Address("10.0.0.1"), '"10.0.0.1"')],
        ['"10.0.0.256"', "1"],
        [("10.0.0.1", ipaddress.IPv4Address("10.0.0.1"))],
        ["x"],
        {"type": "string", "format": "ipv4"},
        bad_out=["x"],
        differs={"marshy": "marshy has no marshaller for it"},
    ),
    Row(
        "Any",
        Any,
        [('{"a": [1, null]}', {"a": [1, None]})],
        [({"a": [MOMENT, Color.RED]}, '{"a":["2026-11-22T12:30:00Z","red"]}')],
        [],
        [('{"a": 1}', {"a": 1})],
        ["{"],
        {},
        bad_out=[float("nan"), object()],
        differs={"marshy": "marshy has no marshaller for it"},
    ),
]


def _dataclass(tp: Any) -> Any:
    return dataclasses.make_dataclass("Holder", [("v", tp)])


def _attrs(tp: Any) -> Any:
    return attrs.make_class("Holder", {"v": attrs.field(type=tp)})


def _struct(tp: Any) -> Any:
    return msgspec.defstruct("Holder", [("v", tp)])


def _typeddict(tp: Any) -> Any:
    return typing.TypedDict("Holder", {"v": tp})


def _pydantic(tp: Any) -> Any:
    config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    return pydantic.create_model("Holder", __config__=config, v=(tp, ...))


def _marshy(tp: Any) -> Any:
    from marshy.factory.dataclass_marshaller_factory import dataclass_marshaller

    if isinstance(tp, types.UnionType):  # marshy knows typing's only
        tp = typing.Union[typing.get_args(tp)]  # noqa: UP007
    holder = dataclasses.make_dataclass("Holder", [("v", tp)])
    holder.__marshaller_factory__ = classmethod(
        lambda cls, context: dataclass_marshaller(cls, context, exclude_dumped_values=())
    )
    return holder


HOLDERS: dict[str, Any] = {
    "dataclass": _dataclass,
    "attrs": _attrs,
    "struct": _struct,
    "typeddict": _typeddict,
    "pydantic": _pydantic,
    "marshy": _marshy,
}
CASES = [
    pytest.param(row, engine, id=f"{row.name}-{engine}")
    for row in TABLE
    for engine in HOLDERS
    if engine not in row.differs
]


def _cases(what: str) -> list[Any]:
    return [case for case in CASES if f"{case.values[1]}:{what}" not in typing.cast("Row", case.values[0]).differs]


def _held(holder: Any, value: Any) -> Any:
    if holder.__name__ == "Holder" and hasattr(holder, "model_construct"):
        return holder.model_construct(v=value)
    return holder(v=value)


def _member(held: Any) -> Any:
    return held["v"] if isinstance(held, dict) else held.v


@pytest.mark.parametrize(("row", "engine"), _cases("in"))
def test_json_in_is_read_as_the_table_says(row: Row, engine: str) -> None:
    codec: Codec[Any] = Codec(HOLDERS[engine](row.tp))
    for text, value in row.good:
        body = f'{{"v": {text}}}'
        found = _member(codec.decode_json(body.encode()))
        assert (found, type(found)) == (value, type(value)), text
        again = _member(codec.decode(msgspec.json.decode(body)))
        assert (again, type(again)) == (value, type(value)), text


@pytest.mark.parametrize(("row", "engine"), _cases("in"))
def test_json_of_another_type_is_refused_with_its_place(row: Row, engine: str) -> None:
    codec: Codec[Any] = Codec(HOLDERS[engine](row.tp))
    for text in row.bad:
        body = f'{{"v": {text}}}'
        with pytest.raises(CallError) as caught:
            codec.decode_json(body.encode())
        assert caught.value.status == 422, text
        assert caught.value.errors, text
        if text != "1e999":
            assert all(problem.path.startswith("/v") for problem in caught.value.errors), (text, caught.value.errors)


@pytest.mark.parametrize(("row", "engine"), CASES)
def test_unknown_and_missing_members_are_refused(row: Row, engine: str) -> None:
    codec: Codec[Any] = Codec(HOLDERS[engine](row.tp))
    text = row.good[0][0]
    with pytest.raises(InvalidError) as caught:
        codec.decode_json(f'{{"v": {text}, "w": 1}}'.encode())
    assert "/w" in [problem.path for problem in caught.value.errors]
    with pytest.raises(InvalidError) as caught:
        codec.decode_json(b"{}")
    assert ("/v", "required") in caught.value.errors


@pytest.mark.parametrize(("row", "engine"), _cases("out"))
def test_json_out_is_written_as_the_table_says(row: Row, engine: str) -> None:
    holder = HOLDERS[engine](row.tp)
    codec: Codec[Any] = Codec(holder)
    for value, text in row.out:
        if engine in ("pydantic", "marshy") and type(value) is not type(row.good[0][1]):
            continue  # these two write by the declared type, strictly
        assert codec.encode_json(_held(holder, value)) == f'{{"v":{text}}}'.encode()
        assert codec.encode(_held(holder, value)) == {"v": json.loads(text)}


_UNCHECKED_BY_PYDANTIC = {"Literal", "IP address"}
"""A model that was changed without validation: pydantic's serializer lets None, and any value of these, through."""


@pytest.mark.parametrize(("row", "engine"), _cases("out"))
def test_a_result_of_another_type_is_a_result_error(row: Row, engine: str) -> None:
    holder = HOLDERS[engine](row.tp)
    codec: Codec[Any] = Codec(holder)
    for value in row.bad_out:
        if engine == "marshy":
            continue  # marshy's marshallers convert, its values are its own
        if engine == "pydantic" and (value is None or row.name in _UNCHECKED_BY_PYDANTIC):
            continue
        with pytest.raises(ResultError):
            codec.encode_json(_held(holder, value))
        with pytest.raises(ResultError):
            codec.encode(_held(holder, value))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_text_is_read_as_the_table_says(row: Row) -> None:
    codec = ArgumentsCodec([Parameter("v", row.tp)])
    for text, value in row.text:
        found = codec.decode_text([("v", text)]).v
        assert (found, type(found)) == (value, type(value)), text
        assert codec.decode_text([], {"v": text}).v == value, text


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_text_of_another_type_is_refused_with_its_place(row: Row) -> None:
    codec = ArgumentsCodec([Parameter("v", row.tp)])
    for text in row.bad_text:
        with pytest.raises(InvalidError) as caught:
            codec.decode_text([("v", text)])
        assert all(problem.path.startswith("/v") for problem in caught.value.errors), text


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_the_input_schema_is_as_the_table_says(row: Row) -> None:
    schema = Codec[Any](row.tp).json_schema("input")
    schema.pop("$schema")
    schema.pop("$defs", None)
    assert schema == row.schema


@pytest.mark.parametrize(("row", "engine"), CASES)
def test_what_the_schemas_say_agrees_with_the_codec(row: Row, engine: str) -> None:
    holder = HOLDERS[engine](row.tp)
    codec: Codec[Any] = Codec(holder)
    for mode in ("input", "output"):
        jsonschema.Draft202012Validator.check_schema(codec.json_schema(mode))
    reads = jsonschema.Draft202012Validator(codec.json_schema("input"))
    for text, _ in row.good:
        assert reads.is_valid({"v": json.loads(text)}), text
    writes = jsonschema.Draft202012Validator(codec.json_schema("output"))
    for _, text in row.out:
        assert writes.is_valid({"v": json.loads(text)}), text
    for unknown in ({"v": json.loads(row.good[0][0]), "w": 1}, {}):
        assert not reads.is_valid(unknown)


def test_lists_as_text_are_repeated() -> None:
    codec = ArgumentsCodec(
        [Parameter("tags", list[str], ()), Parameter("ids", set[int] | None, None), Parameter("pair", tuple[int, str])]
    )
    found = codec.decode_text([("tags", "a"), ("ids", "1"), ("tags", "b"), ("pair", "1"), ("pair", "2"), ("ids", "1")])
    assert (found.tags, found.ids, found.pair) == (["a", "b"], {1}, (1, "2"))
    assert [codec.text_kind(name) for name in codec.parameters] == ["list", "list", "list"]
