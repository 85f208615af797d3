"""Laws of the keys under which results are kept."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import decimal
import enum
import pathlib
import typing
import uuid
from typing import Any

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from servey.cache_control.argument_key import UnkeyableError, argument_key, faithful, is_simple
from servey.codec import ArgumentsCodec, Parameter
from servey.errors import CallError
from support.length import length

pytestmark = pytest.mark.long

LAWS = settings(max_examples=length(20, 200), suppress_health_check=list(HealthCheck))


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Order:
    item: str
    number: int = 1
    notes: list[str] = dataclasses.field(default_factory=list)
    twin: Order | None = None


@dataclasses.dataclass
class Rounded:
    """Holds more than its fields."""

    number: float

    def __post_init__(self) -> None:
        self.exact = self.number
        self.number = round(self.number)


class Model(pydantic.BaseModel):
    a: int = 0
    b: str | None = None


class Tagged(msgspec.Struct, tag=True):
    n: int


class Other(msgspec.Struct, tag=True):
    n: int


class Partial(typing.TypedDict, total=False):
    a: int
    b: str


class Point(typing.NamedTuple):
    x: int
    y: float = 0.0


UUIDS = ["8c7ad2ac-2cfb-4b7b-9e3c-7b0e6ec8d4f4", "8C7AD2AC-2CFB-4B7B-9E3C-7B0E6EC8D4F4"]
INSTANTS = ["2026-01-01T10:00:00Z", "2026-01-01T11:00:00+01:00", "2026-01-01T10:00:00", "2026-01-01T10:00:00+00:00"]
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=3) | st.sampled_from(
    [*UUIDS, *INSTANTS, "1", "red"]
)
NUMBERS = (
    st.integers() | st.sampled_from([0, 1, 2**64, 2**64 + 1, -(2**70)]) | st.floats(allow_nan=False) | st.just(-0.0)
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            TEXTS | st.sampled_from(["item", "number", "notes", "twin", "a", "b", "n", "type"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
ORDERS = st.recursive(
    st.fixed_dictionaries({"item": TEXTS}, optional={"number": st.integers(-2, 2)}),
    lambda twins: st.fixed_dictionaries(
        {"item": TEXTS}, optional={"notes": st.lists(TEXTS, max_size=2), "twin": twins | st.none()}
    ),
    max_leaves=3,
)
DECIMALS = st.sampled_from(["1", "1.0", "1.00", "1e0", "0", "-0"])
TYPES: dict[str, tuple[Any, st.SearchStrategy[Any], bool]] = {
    # the type, what is sent, and whether msgspec is faithful to it
    "str": (str, TEXTS, True),
    "int": (int, NUMBERS, True),
    "float": (float, NUMBERS, True),
    "int or float": (int | float, NUMBERS, True),
    "scalars": (int | float | str | bool | None, SCALARS, True),
    "any": (Any, JSON, True),
    "decimal": (decimal.Decimal, DECIMALS, True),
    "uuid": (uuid.UUID, st.sampled_from(UUIDS), True),
    "date": (dt.date, st.dates().map(str), True),
    "timedelta": (dt.timedelta, st.sampled_from(["PT1H", "PT60M", "PT3600S", "PT1.5S", "P1D", "PT24H"]), True),
    "bytes": (bytes, st.sampled_from(["", "AA==", "YWI="]), True),
    "enum": (Color, st.sampled_from(["red", "blue"]), True),
    "literal": (typing.Literal["a", 1, None], st.sampled_from(["a", 1, None]), True),
    "list": (list[int], st.lists(st.integers(-2, 2), max_size=3), True),
    "set": (set[str], st.lists(TEXTS, max_size=3), True),
    "set of numbers": (set[int], st.lists(st.integers(-2, 2), max_size=3), True),
    "dict": (dict[str, int], st.dictionaries(TEXTS, st.integers(-2, 2), max_size=3), True),
    "dict of ints": (dict[int, int], st.dictionaries(st.integers(-2, 2).map(str), st.integers(-2, 2)), True),
    "order": (Order, ORDERS, True),
    "typeddict": (Partial, JSON, True),
    "tuple": (tuple[int, str], st.tuples(st.integers(-2, 2), TEXTS).map(list), True),
    "datetime": (dt.datetime, st.sampled_from(INSTANTS), False),
    "time": (dt.time, st.sampled_from(["10:00:00", "10:00:00Z", "10:00:00+00:00", "11:00:00+01:00"]), False),
    "text or uuid": (str | uuid.UUID, st.sampled_from([*UUIDS, "a"]), False),
    "text or decimal": (str | decimal.Decimal, DECIMALS | st.just("a"), False),
    "text or date": (str | dt.date, st.sampled_from(["2026-01-01", "a"]), False),
    "enum or text": (Color | str, st.sampled_from(["red", "blue", "a"]), False),
    "instants": (dt.datetime | dt.date | str, st.sampled_from([*INSTANTS, "2026-01-01", "a"]), False),
    "rounded": (Rounded, st.fixed_dictionaries({"number": st.floats(-2, 2) | st.integers(-2, 2)}), False),
    "model": (Model, JSON | st.fixed_dictionaries({}, optional={"a": st.integers(0, 1), "b": TEXTS}), False),
    "models": (Model | Order, JSON | ORDERS | st.fixed_dictionaries({"a": st.just(0)}), False),
    "tagged": (
        Tagged | Other,
        st.fixed_dictionaries({"type": st.sampled_from(["Tagged", "Other"]), "n": st.just(1)}),
        False,
    ),
    "namedtuple": (Point, st.sampled_from([[1], [1, 0.0], [1, -0.0], [1, 1]]), False),
    "set of sets": (set[frozenset[int]], st.lists(st.lists(st.integers(-3, 3), max_size=3), max_size=3), False),
    "set of tuples": (set[tuple[int, str]], st.lists(st.tuples(st.integers(-2, 2), TEXTS).map(list)), False),
    "path": (pathlib.PurePosixPath, st.sampled_from(["a/b", "a//b", "a/./b", "/a"]), False),
    "list of unions": (list[str | uuid.UUID], st.lists(st.sampled_from([*UUIDS, "a"]), max_size=2), False),
}
CODECS = {name: ArgumentsCodec([Parameter("v", tp)]) for name, (tp, _, _) in TYPES.items()}
KEYS = {name: argument_key(codec) for name, codec in CODECS.items()}
each_type = pytest.mark.parametrize("name", TYPES)


def told_apart(value: Any) -> str:
    """What a function can see of a value: a text that differs when anything does, but for the order of members."""
    if isinstance(value, dict):
        pairs = sorted((told_apart(key), told_apart(item)) for key, item in value.items())
        return f"{type(value).__name__}{pairs}"
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}{sorted(map(told_apart, value))}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}{[told_apart(item) for item in value]}"
    if isinstance(value, pydantic.BaseModel):
        return f"{value!r}"  # which of them were sent is not told apart
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}{told_apart(vars(value))}"
    return f"{type(value).__name__} {value!r}"


def decoded(name: str, wire: Any) -> Any:
    try:
        return CODECS[name].decode({"v": wire})
    except CallError:
        return None


@each_type
@given(data=st.data())
@LAWS
def test_arguments_have_one_key_exactly_when_no_function_can_tell_them_apart(name: str, data: st.DataObject) -> None:
    wires = data.draw(st.lists(TYPES[name][1], min_size=2, max_size=5))
    found = [arguments for wire in wires if (arguments := decoded(name, wire)) is not None]
    for one in found:
        for other in found:
            same = told_apart(one.v) == told_apart(other.v)
            assert (KEYS[name](one) == KEYS[name](other)) is same, (one.v, other.v)


@each_type
def test_which_types_take_the_fast_way_is_known(name: str) -> None:
    assert is_simple(CODECS[name]) is TYPES[name][2]


@given(one=JSON, other=JSON)
@example(one={"a": 1, "b": [2]}, other={"b": [2], "a": 1})
@example(one=[[], []], other=[[[]]])
@example(one=["ab", "c"], other=["a", "bc"])
@example(one=0.0, other=-0.0)
@example(one=1, other=True)
@LAWS
def test_the_faithful_way_tells_any_json_apart(one: Any, other: Any) -> None:
    assert (faithful(one) == faithful(other)) is (told_apart(one) == told_apart(other))
    assert faithful(one) == faithful(copy.deepcopy(one))


@given(first=TEXTS, second=TEXTS, times=st.integers(0, 2))
@LAWS
def test_a_default_that_is_given_and_one_that_is_left_out_have_one_key(first: str, second: str, times: int) -> None:
    codec = ArgumentsCodec([Parameter("a", str), Parameter("b", str, first), Parameter("c", int, times)])
    key = argument_key(codec)
    whole = codec.decode({"c": times, "a": second, "b": first})
    assert key(codec.decode({"a": second})) == key(whole) == key(codec.decode_text([("b", first), ("a", second)]))


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("tp", "default", "wire"),
    [
        (str, Color.RED, "red"),
        (str, Text("a"), "a"),
        (float, 1, 1.0),
        (bool, 1, True),
        (list[int], (1,), [1]),
        (str, uuid.UUID(UUIDS[0]), UUIDS[0]),
        (Any, dt.date(2026, 1, 1), "2026-01-01"),
        (dict[str, int], msgspec.structs.asdict(Tagged(1)), {"n": 1}),
    ],
)
def test_a_default_of_another_type_is_not_taken_for_what_is_sent(tp: Any, default: Any, wire: Any) -> None:
    codec = ArgumentsCodec([Parameter("v", tp, default)])
    key = argument_key(codec)
    left_out, sent = codec.decode({}), codec.decode({"v": wire})
    assert (key(left_out) == key(sent)) is (type(default) is type(sent.v))


class Brief:
    """Leaves a part of it out of what is pickled."""

    def __init__(self, a: int, b: int) -> None:
        self.a, self.b = a, b

    def __getstate__(self) -> dict[str, int]:
        return {"a": self.a}


class Short(Brief):
    def __reduce__(self) -> Any:
        return Short, (self.a, 0)


@dataclasses.dataclass
class BriefData:
    a: int
    b: int
    __getstate__ = Brief.__getstate__


@attrs.define
class BriefAttrs:
    a: int
    b: int
    __getstate__ = Brief.__getstate__


class BriefStruct(msgspec.Struct):
    a: int
    b: int

    def __reduce__(self) -> Any:
        return BriefStruct, (self.a, 0)


class BriefModel(pydantic.BaseModel):
    a: int
    b: int

    def __getstate__(self) -> Any:
        return {"__dict__": {"a": self.a}}


@pytest.mark.parametrize("cls", [BriefData, BriefAttrs, BriefStruct, BriefModel])
def test_a_field_that_is_not_pickled_is_in_the_key(cls: Any) -> None:
    one, same, other = cls(a=1, b=2), cls(a=1, b=2), cls(a=1, b=3)
    assert faithful(one) == faithful(same) != faithful(other)


@pytest.mark.parametrize("cls", [Brief, Short])
def test_an_object_that_is_not_pickled_whole_has_no_key(cls: Any) -> None:
    with pytest.raises(UnkeyableError):
        faithful(cls(1, 2))


@pytest.mark.parametrize("value", [print, lambda: 1, told_apart, open(__file__)])  # noqa: SIM115
def test_of_what_is_only_itself_no_key_is_made(value: Any) -> None:
    with pytest.raises(UnkeyableError):
        faithful([value])
    if hasattr(value, "close"):
        value.close()


def test_what_contains_itself_has_no_key() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(UnkeyableError):
        faithful(endless)


def test_the_key_of_large_arguments_is_a_digest() -> None:
    codec = CODECS["str"]
    short, long = KEYS["str"](codec.decode({"v": "a"})), KEYS["str"](codec.decode({"v": "a" * 100_000}))
    assert b"a" in short
    assert len(long) < 40
    assert long != KEYS["str"](codec.decode({"v": "a" * 100_001}))
