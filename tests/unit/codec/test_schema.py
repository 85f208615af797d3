import base64
import dataclasses
import datetime
import enum
import json
import math
import re
import types
import uuid
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import annotated_types as at
import jsonschema
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servey.codec import ArgumentsCodec, Codec, Parameter
from servey.codec.schema_names import class_name
from servey.errors import DefinitionError, InvalidError
from support.length import length

T = TypeVar("T")


class Kind(enum.Enum):
    C = "c"
    B = "b"
    A = "a"


@dataclasses.dataclass
class Box(Generic[T]):
    """Holds one thing."""

    value: T


@dataclasses.dataclass
class Tree:
    name: Annotated[str, msgspec.Meta(description="What it is called.", max_length=5)]
    parts: list["Tree"] = dataclasses.field(default_factory=list)


def _twin(module: str) -> Any:
    made = dataclasses.make_dataclass("Twin", [(module, int)])
    made.__module__ = module
    return made


def schema(tp: Any, mode: Any = "input") -> dict[str, Any]:
    found = Codec[Any](tp).json_schema(mode)
    assert found.pop("$schema") == "https://json-schema.org/draft/2020-12/schema"
    return found


def test_classes_are_referred_to_by_name_and_described_by_their_own_docstring() -> None:
    assert schema(Box[int]) == {
        "$ref": "#/$defs/Box_int",
        "$defs": {
            "Box_int": {
                "type": "object",
                "properties": {"value": {"type": "integer"}},
                "required": ["value"],
                "additionalProperties": False,
                "description": "Holds one thing.",
            }
        },
    }


class Modelled(pydantic.BaseModel, Generic[T]):
    value: T


@pytest.mark.parametrize(
    ("tp", "name"),
    [
        (Box[int], "Box_int"),
        (Box[Tree], "Box_Tree"),
        (Box[Tree | None], "Box_Tree_None"),
        (Box[list[Tree]], "Box_list_Tree"),
        (Box[dict[str, Box[int]]], "Box_dict_str_Box_int"),
        (Box[Literal["a", 1]], "Box_a_1"),
        (Box[Annotated[int, at.Gt(0)]], "Box_int"),
        (Box[None], "Box_None"),
        (Modelled[Tree | None], "Modelled_Tree_None"),
    ],
)
def test_a_generic_class_is_called_by_the_names_of_classes_alone(tp: Any, name: str) -> None:
    assert class_name(Codec[Any](tp).root) == name


def test_a_class_may_contain_itself() -> None:
    assert schema(Tree, "output")["$defs"]["Tree"] == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 5, "description": "What it is called."},
            "parts": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
        },
        "required": ["name", "parts"],
        "additionalProperties": False,
    }


def test_classes_of_one_name_have_distinct_and_stable_names() -> None:
    first, second = _twin("a"), _twin("b")
    tp = types.GenericAlias(tuple, (first, second, first))
    found = schema(tp)
    assert [item["$ref"] for item in found["prefixItems"]] == ["#/$defs/Twin", "#/$defs/Twin2", "#/$defs/Twin"]
    assert found == schema(tp)
    assert "b" in found["$defs"]["Twin2"]["properties"]


def test_a_pydantic_models_definitions_move_to_the_document() -> None:
    class Twin(pydantic.BaseModel):
        tree: Box[int]
        next: "Twin | None" = None

    Twin.model_rebuild(_types_namespace={"Twin": Twin})
    found = schema(types.GenericAlias(tuple, (_twin("a"), Twin, Tree)))
    references = [item["$ref"] for item in found["prefixItems"]]
    assert references[0] == "#/$defs/Twin"
    assert len(set(references)) == 3
    assert all(reference.removeprefix("#/$defs/") in found["$defs"] for reference in references)
    model = found["$defs"][references[1].removeprefix("#/$defs/")]
    assert model["additionalProperties"] is False
    assert model["properties"]["tree"]["$ref"].removeprefix("#/$defs/") in found["$defs"]


def test_optionals_of_simple_types_are_lists_of_types() -> None:
    assert schema(int | None) == {"type": ["integer", "null"]}
    assert schema(list[int] | None)["type"] == ["array", "null"]
    assert "anyOf" in schema(Tree | None)


def test_a_named_tuple_describes_its_positions() -> None:
    class Pair(NamedTuple):
        a: int
        b: str = "x"

    pair = schema(Pair)["$defs"]["Pair"]
    assert (pair["minItems"], pair["maxItems"]) == (1, 2)
    assert schema(Pair, "output")["$defs"]["Pair"]["minItems"] == 2
    assert pair["prefixItems"] == [
        {"title": "a", "type": "integer"},
        {"title": "b", "type": "string", "default": "x"},
    ]


class Branch(NamedTuple):
    name: str
    branches: list["Branch"]


def test_a_named_tuple_may_contain_itself() -> None:
    assert schema(Branch) == {
        "$ref": "#/$defs/Branch",
        "$defs": {
            "Branch": {
                "type": "array",
                "prefixItems": [
                    {"title": "name", "type": "string"},
                    {"title": "branches", "type": "array", "items": {"$ref": "#/$defs/Branch"}},
                ],
                "items": False,
                "minItems": 2,
                "maxItems": 2,
            }
        },
    }


def test_a_models_default_that_looks_like_a_reference_is_left_out() -> None:
    class Holder(pydantic.BaseModel):
        anything: Any = {"$ref": "#/$defs/Nowhere"}

    assert "default" not in schema(Holder)["$defs"]["Holder"]["properties"]["anything"]


def test_the_sets_of_a_models_defaults_are_in_the_same_order_in_every_process() -> None:
    class Labels(pydantic.BaseModel):
        names: list[set[str]] = [set("fedcba")]
        kinds: frozenset[Kind] = frozenset(Kind)

    properties = schema(Labels)["$defs"]["Labels"]["properties"]
    assert properties["names"]["default"] == [list("abcdef")]
    assert properties["kinds"]["default"] == ["a", "b", "c"]


BOUNDS = ["Infinity", "-Infinity", "1E+5000", "1E-1200", "-1E+400", "5E-324", "-0.0", "1234567890.123456789012345"]


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("limit", [at.Ge, at.Gt, at.Le, at.Lt])
def test_any_bound_of_a_decimal_has_a_valid_schema_that_takes_what_the_codec_takes(limit: Any, bound: str) -> None:
    tp = Annotated[Decimal, limit(Decimal(bound))]
    text, number = (part for part in schema(tp)["anyOf"])
    assert len(text["pattern"]) <= 2000
    json.loads(json.dumps(number, allow_nan=False))
    for value in ("0", "-0", "1", "-1", "0.5", "99999999999"):
        try:
            Codec(tp).decode(value)
        except InvalidError:
            continue
        if value != "-0":  # a value that nobody writes
            assert re.search(text["pattern"], value), value


def test_a_decimals_float_bound_is_what_is_written() -> None:
    tp = Annotated[Decimal, at.Ge(0.1), at.Lt(0.3), at.MultipleOf(0.1)]
    assert Codec(tp).decode("0.1") == Decimal("0.1")
    with pytest.raises(InvalidError) as caught:
        Codec(tp).decode("0.3")
    assert caught.value.errors[0].message == "expected a value < 0.3, got '0.3'"
    text, number = schema(tp)["anyOf"]
    assert [n for n in ("0.09", "0.1", "0.2", "0.3") if re.search(text["pattern"], n)] == ["0.1", "0.2"]
    assert number == {"type": "number", "minimum": 0.1, "exclusiveMaximum": 0.3, "multipleOf": 0.1}


def test_the_tighter_of_two_bounds_is_in_a_decimals_pattern() -> None:
    pattern = schema(Annotated[Decimal, at.Gt(0), at.Ge(5), at.Le(9), at.Lt(9)])["anyOf"][0]["pattern"]
    assert [n for n in range(12) if re.search(pattern, str(n))] == [5, 6, 7, 8]


def test_a_bound_that_json_has_no_number_for_is_left_out() -> None:
    assert schema(Annotated[float, at.Le(math.inf), at.Ge(Decimal("0.5"))]) == {"type": "number", "minimum": 0.5}
    assert schema(Annotated[int, at.Le(math.inf), at.Ge(-(10**400))]) == {"type": "integer"}


@pytest.mark.parametrize("bound", [math.nan, True, "5", Decimal("sNaN")])
@pytest.mark.parametrize("tp", [int, float, Decimal])
def test_a_bound_that_is_no_number_is_a_definition_error(tp: Any, bound: Any) -> None:
    with pytest.raises(DefinitionError, match="does not fit"):
        Codec(Annotated[tp, at.Ge(bound)])


@pytest.mark.parametrize("pattern", ["(?i)a", "(?P<x>a)", r"\Aa", r"a\Z", "[]a]", "a++", "(?>a)", "a{,3}", "\ud800"])
def test_a_pattern_of_pythons_own_is_left_out(pattern: str) -> None:
    assert schema(Annotated[str, msgspec.Meta(pattern=pattern)]) == {"type": "string"}


@pytest.mark.parametrize("pattern", [r"^[a-z0-9_-]+$", r"^\d{3,}\.\w*$", "(?:a|b)(?=c)(?<!d)", r"[\]\[]", r"\[\]", "é"])
def test_a_portable_pattern_stays(pattern: str) -> None:
    assert schema(Annotated[str, msgspec.Meta(pattern=pattern)])["pattern"] == pattern


def test_a_models_pattern_that_is_not_portable_is_left_out() -> None:
    class Coded(pydantic.BaseModel):
        code: Annotated[str, pydantic.Field(pattern="(?i)a")]
        pattern: str = "(?i)"

    properties = schema(Coded)["$defs"]["Coded"]["properties"]
    assert "pattern" not in properties["code"]
    assert properties["pattern"]["default"] == "(?i)"


def test_names_of_definitions_are_ascii_and_distinct() -> None:
    made = [dataclasses.make_dataclass("C", [("x", int)]) for _ in range(3)]
    for cls, name in zip(made, ["Größe", "Gro/e", "A~1/B %"], strict=True):
        cls.__name__ = name
    found = schema(types.GenericAlias(tuple, tuple(made)))
    assert sorted(found["$defs"]) == ["A_1_B__", "Gro_e", "Gro_e2"]


def test_a_default_that_json_cannot_write_is_left_out() -> None:
    # a docstring of its own, as some Pythons fail to make one with a default that is too long to be written
    own = {"__doc__": "Texts."}
    made = dataclasses.make_dataclass("Texts", [("a", str, "\ud800"), ("b", int, 10**5000)], namespace=own)
    assert all("default" not in member for member in schema(made)["$defs"]["Texts"]["properties"].values())


class Cat(msgspec.Struct, tag="cat"):
    lives: int


class Dog(msgspec.Struct, tag="dog"):
    bones: int


def test_the_tag_is_required_where_it_tells_members_of_a_union_apart() -> None:
    assert schema(Cat | Dog | None)["anyOf"][:2] == [
        {"$ref": "#/$defs/Cat", "required": ["type"]},
        {"$ref": "#/$defs/Dog", "required": ["type"]},
    ]
    for tp in (Cat | Dog, Cat | dict[str, str], Cat | uuid.UUID | str):
        assert schema(tp)["anyOf"][0] == {"$ref": "#/$defs/Cat", "required": ["type"]}
        with pytest.raises(InvalidError):
            Codec[Any](tp).decode({"lives": 1})
    assert schema(Cat | None)["anyOf"][0] == {"$ref": "#/$defs/Cat"}
    assert Codec(Cat | None).decode({"lives": 1}) == Cat(1)
    assert schema(Cat | Dog, "output")["anyOf"][0] == {"$ref": "#/$defs/Cat"}


def test_an_enum_of_numbers_tells_the_names_of_its_members() -> None:
    level = schema(Level)["$defs"]["Level"]
    assert (level["enum"], level["x-enum-varnames"]) == ([1, 5], ["LOW", "HIGH"])
    assert "x-enum-varnames" not in schema(Kind)["$defs"]["Kind"]


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 5


@pytest.mark.long
@settings(max_examples=length(25, 200))
@given(st.data())
@pytest.mark.parametrize(
    "tp",
    [
        Decimal,
        datetime.time,
        datetime.timedelta,
        *(Annotated[bytes, at.Len(least, most)] for least, most in ((1, 4), (0, 2), (5, None), (3, 3), (2, 9))),
    ],
)
def test_whatever_matches_the_pattern_of_a_type_is_read(tp: Any, data: st.DataObject) -> None:
    pattern = schema(tp, "output")["pattern"]
    Codec[Any](tp).decode(data.draw(st.from_regex(pattern.replace("$", r"\Z"))))


@pytest.mark.parametrize("tp", [datetime.time, datetime.timedelta])
@given(st.data())
def test_whatever_is_written_matches_the_pattern_of_its_type(tp: Any, data: st.DataObject) -> None:
    value = data.draw(st.times(timezones=st.just(datetime.UTC) | st.none()) if tp is datetime.time else st.timedeltas())
    assert re.search(schema(tp)["pattern"], Codec[Any](tp).encode(value))


@pytest.mark.parametrize("length", range(12))
@pytest.mark.parametrize("limits", [at.Len(1, 4), at.Len(0, 2), at.MinLen(5), at.MaxLen(0), at.Len(3, 3), at.Len(2, 9)])
@pytest.mark.parametrize("holder", ["plain", "model"])
def test_the_lengths_of_bytes_are_those_of_their_text(holder: str, limits: Any, length: int) -> None:
    tp: Any = Annotated[bytes, limits]
    text: Any = base64.b64encode(b"\xff" * length).decode()
    if holder == "model":
        config = pydantic.ConfigDict(val_json_bytes="base64", ser_json_bytes="base64")
        tp, text = pydantic.create_model("Held", held=(tp, ...), __config__=config), {"held": text}
    codec = Codec[Any](tp)
    for mode in ("input", "output"):
        fits = jsonschema.Draft202012Validator(codec.json_schema(mode)).is_valid(text)
        assert fits == is_taken(codec, text)


def test_a_set_that_is_sent_has_different_members_where_they_are_counted() -> None:
    counted = Codec[Any](Annotated[set[int], at.MinLen(2)])
    validator = jsonschema.Draft202012Validator(counted.json_schema("input"))
    for sent in ([1, 1], [1, 2], [1, 2, 2], [1]):
        assert is_taken(counted, sent) or not validator.is_valid(sent)
    assert validator.is_valid([1, 2])


def test_objects_of_a_set_may_be_written_alike() -> None:
    written = Codec[Any](set[Alike]).encode({Alike(1), Alike(1)})
    assert written == [{"n": 1}, {"n": 1}]
    jsonschema.Draft202012Validator(schema(set[Alike], "output")).validate(written)


@dataclasses.dataclass(eq=False)
class Alike:
    n: int


def is_taken(codec: Codec[Any], wire: Any) -> bool:
    try:
        codec.decode(wire)
    except InvalidError:
        return False
    return True


@dataclasses.dataclass
class Described:
    size: Annotated[
        int, msgspec.Meta(title="Size", description="In cm.", examples=[1, 2], extra_json_schema={"x-unit": "cm"}, gt=0)
    ]
    day: Annotated[
        datetime.date | None,
        pydantic.Field(title="Day", examples=[datetime.date(2026, 1, 1)], json_schema_extra={"x-order": 1}),
    ] = None


def test_titles_examples_and_keywords_of_an_annotation_are_in_the_schema() -> None:
    properties = schema(Described)["$defs"]["Described"]["properties"]
    size = {
        "type": "integer",
        "exclusiveMinimum": 0,
        "title": "Size",
        "description": "In cm.",
        "examples": [1, 2],
        "x-unit": "cm",
    }
    assert properties["size"] == size
    day = properties["day"]
    assert (day["title"], day["examples"], day["x-order"]) == ("Day", ["2026-01-01"], 1)
    parameters = ArgumentsCodec([Parameter("size", Described.__annotations__["size"])]).json_schema()
    assert parameters["properties"]["size"] == size


@pytest.mark.parametrize("example", [float("nan"), object(), "\ud800"])
def test_an_example_that_json_cannot_have_is_left_out(example: Any) -> None:
    assert schema(Annotated[Any, msgspec.Meta(title="T", examples=[example])]) == {"title": "T"}
