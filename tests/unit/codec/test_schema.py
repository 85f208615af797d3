import dataclasses
import enum
import types
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import msgspec
import pydantic

from servey.codec import Codec

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
        tree: Tree
        next: "Twin | None" = None

    Twin.model_rebuild(_types_namespace={"Twin": Twin, "Tree": Tree})
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
