"""Laws of the codec, for every type of the table and every engine that can hold it."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import json
import sys
import typing
import uuid
from typing import Annotated, Any, Literal

import annotated_types as at
import attrs
import jsonschema
import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servey.codec import ArgumentsCodec, Codec, Parameter
from servey.codec.explain import Explainer
from servey.codec.numbers import parse
from servey.errors import InvalidError, MalformedError
from support.length import length

pytestmark = pytest.mark.long

LAWS = settings(max_examples=length(15, 200), suppress_health_check=list(HealthCheck))


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2**40


class Mixed(enum.Enum):
    ONE = 1
    TRUE = "true"
    HALF = 0.5


class Point(typing.NamedTuple):
    x: int
    y: float = 0.0


@dataclasses.dataclass
class Tree:
    value: int
    children: list[Tree] = dataclasses.field(default_factory=list)
    twin: Tree | Leaf | None = None


@dataclasses.dataclass(frozen=True)
class Leaf:
    value: int
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.value == 13:
            raise ValueError("unlucky")


@attrs.define
class Box:
    size: int = attrs.field(validator=attrs.validators.ge(0))
    inside: list[Leaf] = attrs.field(factory=list)


class Tagged(msgspec.Struct, tag=True, rename="camel"):
    first_name: str
    others: list[Other | Tagged] = []


class Other(msgspec.Struct, tag=True):
    n: int


class Model(pydantic.BaseModel):
    n: int
    when: dt.datetime
    leaf: Leaf | None = None


class Partial(typing.TypedDict, total=False):
    a: int
    b: list[str]


INTS = st.integers()
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
AWARE = st.datetimes(timezones=st.just(dt.UTC)) | st.datetimes(
    min_value=dt.datetime(1900, 1, 1),
    max_value=dt.datetime(2200, 1, 1),
    timezones=st.sampled_from([dt.timezone(dt.timedelta(minutes=m)) for m in (-330, 0, 60, 845, 44.5, -0.01)]),
)
TIMES = st.times() | st.times(
    timezones=st.sampled_from([dt.timezone(dt.timedelta(seconds=s)) for s in (0, 3600, -2670)])
)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)
LEAVES = st.builds(Leaf, st.integers().filter(lambda n: n != 13), FLOATS)
TREES = st.recursive(
    st.builds(Tree, INTS),
    lambda trees: st.builds(Tree, INTS, st.lists(trees, max_size=2), st.none() | LEAVES | trees),
    max_leaves=5,
)
TAGGED: Any = st.builds(Tagged, TEXTS, st.lists(st.builds(Other, INTS) | st.builds(Tagged, TEXTS), max_size=2))
TYPES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "str": (str, TEXTS),
    "int": (int, INTS),
    "float": (float, FLOATS),
    "bool": (bool, st.booleans()),
    "optional": (int | None, INTS | st.none()),
    "datetime": (dt.datetime, AWARE),
    "date": (dt.date, st.dates()),
    "time": (dt.time, TIMES),
    "timedelta": (dt.timedelta, st.timedeltas(dt.timedelta(days=-10000), dt.timedelta(days=10000))),
    "uuid": (uuid.UUID, st.uuids()),
    "decimal": (decimal.Decimal, DECIMALS),
    "bytes": (bytes, st.binary(max_size=20)),
    "enum": (Color, st.sampled_from(Color)),
    "mixed enum": (Mixed, st.sampled_from(Mixed)),
    "literal": (Literal["a", 1, None], st.sampled_from(["a", 1, None])),
    "literal of bools": (Literal[True, "a"], st.sampled_from([True, "a"])),
    "list": (list[int], st.lists(INTS, max_size=4)),
    "set": (set[str], st.sets(TEXTS, max_size=4)),
    "frozenset": (frozenset[uuid.UUID], st.frozensets(st.uuids(), max_size=3)),
    "tuple": (tuple[int, str], st.tuples(INTS, TEXTS)),
    "tuples": (tuple[Leaf, ...], st.lists(LEAVES, max_size=3).map(tuple)),
    "dict": (dict[str, float], st.dictionaries(TEXTS, FLOATS, max_size=3)),
    "dict of ints": (dict[int, Leaf], st.dictionaries(st.integers(-(2**63), 2**63 - 1), LEAVES, max_size=3)),
    "namedtuple": (Point, st.builds(Point, INTS, FLOATS)),
    "gt": (Annotated[int, at.Gt(3)], st.integers(min_value=4)),
    "positive decimal": (
        Annotated[decimal.Decimal, at.Gt(0)],
        # the schema's pattern of bounded decimals knows no exponents
        DECIMALS.filter(lambda d: d > 0 and "E" not in str(d)),
    ),
    "short bytes": (Annotated[bytes, at.Len(1, 4)], st.binary(min_size=1, max_size=4)),
    "set of some": (Annotated[set[int], at.MinLen(2)], st.sets(INTS, min_size=2, max_size=4)),
    "short list": (Annotated[list[int], at.Len(1, 2)], st.lists(INTS, min_size=1, max_size=2)),
    "tree": (Tree, TREES),
    "attrs": (Box, st.builds(Box, st.integers(min_value=0), st.lists(LEAVES, max_size=2))),
    "tagged": (Tagged | Other, TAGGED | st.builds(Other, INTS)),
    "typeddict": (Partial, st.fixed_dictionaries({}, optional={"a": INTS, "b": st.lists(TEXTS, max_size=2)})),
    "model": (Model, st.builds(Model, n=INTS, when=AWARE, leaf=st.none() | LEAVES)),
    "model or leaf": (Model | Leaf, LEAVES | st.builds(Model, n=INTS, when=AWARE, leaf=st.none())),
    "union of scalars": (int | float | dt.date | bool | None | str, INTS | FLOATS | st.dates() | st.booleans()),
    "validated": (Annotated[int, pydantic.AfterValidator(lambda n: n)], INTS),
}
KEYS: dict[Any, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    float: st.integers(-(10**6), 10**6).map(lambda n: n / 8),  # a float of another size is written in two ways
    decimal.Decimal: DECIMALS,
    dt.datetime: AWARE,
    dt.date: st.dates(),
    dt.time: TIMES,
    dt.timedelta: st.timedeltas(),
    uuid.UUID: st.uuids(),
    Color: st.sampled_from(Color),
    Level: st.sampled_from(Level),
    Literal[1, -2]: st.sampled_from([1, -2]),
    Literal["a", "true"]: st.sampled_from(["a", "true"]),
    Annotated[dt.time, at.Ge(dt.time(6))]: st.times(min_value=dt.time(6)),
}
TYPES |= {
    f"dict by key {number}": (dict[key, int], st.dictionaries(keys, INTS, max_size=3))
    for number, (key, keys) in enumerate(KEYS.items())
}
CODECS: dict[str, Codec[Any]] = {name: Codec(tp) for name, (tp, _) in TYPES.items()}
JSON = st.recursive(
    st.none() | st.booleans() | INTS | FLOATS | TEXTS | st.sampled_from(["red", "NaN", "2020-01-01", "1.5", ""]),
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(
            TEXTS | st.sampled_from(["value", "children", "twin", "weight", "n", "when", "leaf", "a", "b", "type"]),
            values,
            max_size=4,
        )
    ),
    max_leaves=10,
)
each_type = pytest.mark.parametrize("name", TYPES)


def _pydantic_can(name: str) -> bool:
    if name == "typeddict" and sys.version_info < (3, 12):
        return False  # pydantic takes typing_extensions' only
    return name not in (
        "bytes",
        "short bytes",
        "tagged",
        "attrs",
        "timedelta",
    )  # see docs/types.md for bytes; msgspec's Structs, attrs


@each_type
@given(data=st.data())
@LAWS
def test_what_is_written_is_read_back(name: str, data: st.DataObject) -> None:
    value = data.draw(TYPES[name][1])
    codec = CODECS[name]
    written = codec.encode_json(value)
    assert codec.decode_json(written) == value
    assert codec.decode(codec.encode(value)) == value
    assert msgspec.json.decode(written) == msgspec.json.decode(msgspec.json.encode(codec.encode(value)))


@pytest.mark.parametrize("name", [name for name in TYPES if _pydantic_can(name)])
@given(data=st.data())
@LAWS
def test_what_a_pydantic_model_holds_is_written_alike(name: str, data: st.DataObject) -> None:
    tp, values = TYPES[name]
    holder = _MODELS.get(name) or _MODELS.setdefault(name, pydantic.create_model("Holder", v=(tp, ...)))
    codec = _HOLDERS.get(name) or _HOLDERS.setdefault(name, Codec(holder))
    value = data.draw(values)
    written = json.loads(codec.encode_json(holder.model_construct(v=value)))["v"]
    alone = json.loads(CODECS[name].encode_json(value))
    if isinstance(value, (set, frozenset)):  # whose order means nothing
        written, alone = sorted(written), sorted(alone)
    assert written == alone


_MODELS: dict[str, Any] = {}
_HOLDERS: dict[str, Codec[Any]] = {}


@each_type
@given(data=st.data())
@LAWS
def test_what_is_written_is_valid_by_the_output_schema_and_may_be_sent_by_the_input_schema(
    name: str, data: st.DataObject
) -> None:
    builtins = json.loads(CODECS[name].encode_json(data.draw(TYPES[name][1])))
    for mode in ("output", "input"):
        schema = CODECS[name].json_schema(typing.cast("Any", mode))
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        jsonschema.Draft202012Validator(schema, format_checker=checker).validate(builtins)


@each_type
@given(builtins=JSON)
@LAWS
def test_any_json_is_read_or_refused_with_problems(name: str, builtins: Any) -> None:
    codec = CODECS[name]
    text = msgspec.json.encode(builtins)
    outcomes = []
    explained = []
    for decode, argument, given_ in (
        (codec.decode_json, text, parse(text)),
        (codec.decode, json.loads(text), json.loads(text)),
    ):
        explainer = Explainer(codec._compiler)
        explainer.walk(codec.root, given_)
        explained.append(explainer.problems)
        try:
            value = decode(argument)
        except InvalidError as error:
            outcomes.append(list(error.errors))
        else:
            codec.encode_json(value)
            outcomes.append([])
    assert outcomes == explained
    assert all(problem.message for problems in explained for problem in problems)


@each_type
@given(
    data=st.binary(max_size=40)
    | JSON.map(msgspec.json.encode).flatmap(lambda b: st.integers(0, len(b)).map(lambda n: b[:n]))
)
@LAWS
def test_any_bytes_are_read_or_refused(name: str, data: bytes) -> None:
    with contextlib.suppress(MalformedError, InvalidError):
        CODECS[name].decode_json(data)


ARGUMENTS = ArgumentsCodec([Parameter(name.replace(" ", "_"), tp, None) for name, (tp, _) in TYPES.items()])


ONE_ARGUMENT = {name: ArgumentsCodec([Parameter("v", tp)]) for name, (tp, _) in TYPES.items()}
ONE_ARGUMENT["naive datetime"] = ArgumentsCodec([Parameter("v", list[dt.datetime | int])])
ONE_ARGUMENT["naive datetime by key"] = ArgumentsCodec([Parameter("v", dict[dt.datetime, int])])
ONE_ARGUMENT["naive datetime of a model"] = ArgumentsCodec([Parameter("v", Model)])
ONE_ARGUMENT["anything"] = ArgumentsCodec([Parameter("v", Any)])
SENT: dict[str, st.SearchStrategy[Any]] = {
    "naive datetime": st.lists(st.datetimes().map(dt.datetime.isoformat) | INTS, max_size=3),
    "naive datetime by key": st.dictionaries(st.datetimes().map(dt.datetime.isoformat), INTS, max_size=3),
    "naive datetime of a model": st.fixed_dictionaries({"n": INTS, "when": st.datetimes().map(dt.datetime.isoformat)}),
    "anything": JSON,
}


@pytest.mark.parametrize("name", ONE_ARGUMENT)
@given(data=st.data())
@LAWS
def test_arguments_that_are_written_are_read_back(name: str, data: st.DataObject) -> None:
    codec = ONE_ARGUMENT[name]
    sent = data.draw(SENT[name]) if name in SENT else CODECS[name].encode(data.draw(TYPES[name][1]))
    arguments = codec.decode({"v": sent})
    again = codec.decode_json(codec.encode_json(arguments)).v
    assert again == arguments.v
    assert repr(again) == repr(arguments.v) or isinstance(again, (set, frozenset))
    assert codec.decode_json(codec.encode_json(arguments, is_sorted=True)).v == arguments.v
    assert codec.decode(codec.encode(arguments)).v == arguments.v


@given(
    pairs=st.lists(
        st.tuples(st.sampled_from([*ARGUMENTS.parameters, "nope"]), TEXTS | JSON.map(json.dumps)), max_size=5
    )
)
@settings(LAWS, max_examples=length(100, 1000))
def test_any_text_is_read_or_refused(pairs: list[tuple[str, str]]) -> None:
    with contextlib.suppress(InvalidError):
        ARGUMENTS.decode_text(pairs)


@each_type
@given(data=st.data())
@LAWS
def test_a_scalar_written_as_json_is_read_as_text(name: str, data: st.DataObject) -> None:
    parameter = name.replace(" ", "_")
    value = data.draw(TYPES[name][1])
    wire = CODECS[name].encode(value)
    kind = ARGUMENTS.text_kind(parameter)
    if wire is None and ARGUMENTS.parameters[parameter][0].default is None:
        return  # is said by leaving it out
    if kind == "list":
        pairs = [(parameter, _text(item)) for item in wire]
        if not pairs:
            return
    elif kind == "scalar":
        pairs = [(parameter, _text(wire))]
    else:
        pairs = [(parameter, json.dumps(wire))]
    assert getattr(ARGUMENTS.decode_text(pairs), parameter) == value


def _text(wire: Any) -> str:
    return wire if isinstance(wire, str) else msgspec.json.encode(wire).decode()
