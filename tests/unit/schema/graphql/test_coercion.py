"""Values between GraphQL's form and JSON's, by the model alone."""

import dataclasses
import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import msgspec
import pydantic
import pytest

from servey.action.action import action
from servey.codec.union import Chosen
from servey.errors import InvalidError, Problem
from servey.schema.graphql.coercion import Coercion, problem_in_graphql
from servey.schema.graphql.errors import IntRangeError, error_of
from servey.schema.graphql.model import OutputField
from servey.schema.graphql.model_builder import build_model
from servey.schema.graphql.scalars import scalar_coercion
from servey.service import Service
from servey.trigger.web_trigger import WEB_GET


class Shelf(enum.Enum):
    FICTION = "fiction"
    SCIENCE = 2


@dataclass
class Cat:
    name: str
    lives_left: int = 9


@dataclass
class Dog:
    name: str
    tricks: list[str] = dataclasses.field(default_factory=list)


class Place(NamedTuple):
    row: int
    column: int = 1
    note: str | None = None


class Tagged(msgspec.Struct, tag="tagged"):
    value: int


class Bird(pydantic.BaseModel):
    kind: Literal["bird"] = "bird"
    wings: int = 2


class Fish(pydantic.BaseModel):
    kind: Literal["fish"] = "fish"
    fins: int = 2


def field_of(function: Any) -> OutputField:
    """The field of an action of its own service."""
    return build_model(Service([action(triggers=(WEB_GET,))(function)])).query.fields[0]


def arguments(function: Any, values: dict[str, Any]) -> dict[str, Any]:
    return Coercion().arguments(field_of(function).arguments, values)


def test_arguments_get_their_names_in_json_and_the_operation_has_the_defaults_of_absent_ones():
    def find(first_name: str, born_on: date | None = None, max_results: int = 10) -> str:
        return first_name

    assert arguments(find, {"firstName": "Ada", "bornOn": None}) == {"first_name": "Ada", "born_on": None}


def test_an_enum_is_a_name_in_graphql_and_a_value_in_json():
    def stored(shelves: list[Shelf], kind: Literal["old", "new"] = "new") -> list[Shelf]:
        return shelves

    field = field_of(stored)
    given = {"shelves": ["FICTION", "SCIENCE"], "kind": "old"}
    assert Coercion().arguments(field.arguments, given) == {"shelves": ["fiction", 2], "kind": "old"}
    assert Coercion().output(field.ref, [Shelf.SCIENCE, "fiction"]) == ["SCIENCE", "FICTION"]
    with pytest.raises(ValueError, match="Shelf has no value 'fiction'"):
        Coercion().arguments(field.arguments, {"shelves": ["fiction"]})
    with pytest.raises(ValueError, match="Shelf cannot represent a bool"):
        Coercion().output(field.ref, [True])


def test_a_one_of_says_which_member_of_a_union_is_meant():
    def adopt(pets: list[Cat | Dog]) -> str:
        return ""

    (cat, dog) = arguments(adopt, {"pets": [{"cat": {"name": "Tom", "livesLeft": 8}}, {"dog": {"name": "Rex"}}]})[
        "pets"
    ]
    assert (cat, dog) == ({"name": "Tom", "lives_left": 8}, {"name": "Rex"})
    assert isinstance(cat, Chosen)
    assert isinstance(dog, Chosen)
    assert (cat.member.cls, dog.member.cls) == (Cat, Dog)


def test_a_named_tuple_is_a_list_in_json_without_what_is_not_given_at_its_end():
    def go(place: Place) -> str:
        return ""

    found = field_of(go).arguments
    assert Coercion().arguments(found, {"place": {"row": 1}}) == {"place": [1]}
    assert Coercion().arguments(found, {"place": {"row": 1, "note": "x"}}) == {"place": [1, 1, "x"]}
    with pytest.raises(ValueError, match="a member is missing before another one"):
        Coercion().arguments(found, {"place": {"column": 2}})


def test_json_has_the_tag_of_a_class_that_graphql_need_not_say():
    def take(item: Tagged) -> str:
        return ""

    assert arguments(take, {"item": {"value": 1}}) == {"item": {"type": "tagged", "value": 1}}


def test_json_has_the_default_by_which_an_engine_tells_the_classes_of_a_union_apart():
    def feed(animal: Bird | Fish) -> str:
        return ""

    found = field_of(feed).arguments
    for given, expected in (
        ({"fins": 4}, {"kind": "fish", "fins": 4}),
        ({"kind": "fish"}, {"kind": "fish", "fins": 2}),
    ):
        assert Coercion().arguments(found, {"animal": {"fish": given}}) == {"animal": expected}


def test_an_object_has_its_members_under_graphql_s_names_and_one_of_a_union_its_typename():
    def adopted() -> list[Cat | Dog | None]:
        return []

    ref = field_of(adopted).ref
    assert Coercion().output(ref, [Cat("Tom"), None, Dog("Rex", ["sit"])]) == [
        {"__typename": "Cat", "name": "Tom", "livesLeft": 9},
        None,
        {"__typename": "Dog", "name": "Rex", "tricks": ["sit"]},
    ]


def test_a_type_may_have_itself_as_a_part():
    def tree(root: Branch) -> Branch:
        return root

    field = field_of(tree)
    assert Coercion().arguments(field.arguments, {"root": {"lowerBranches": [{"lowerBranches": []}]}}) == {
        "root": {"lower_branches": [{"lower_branches": []}]}
    }
    assert Coercion().output(field.ref, Branch([Branch([])])) == {"lowerBranches": [{"lowerBranches": []}]}


@dataclass
class Branch:
    lower_branches: "list[Branch]"


def test_scalars_write_python_s_values_as_json():
    made = {
        "DateTime": (datetime(2026, 11, 30, tzinfo=UTC), "2026-11-30T00:00:00Z"),
        "Decimal": (Decimal("1.10"), "1.10"),
        "Base64": (bytearray(b"hi"), "aGk="),
        "BigInt": (2**70, 2**70),
        "Float": (1, 1.0),
        "JSON": ({"a": (1, date(2026, 1, 1))}, {"a": [1, "2026-01-01"]}),
    }
    for name, (value, json) in made.items():
        assert scalar_coercion(name).output(value) == json, name
    for name, value in (("Float", float("nan")), ("BigInt", 1.5), ("DateTime", 5), ("JSON", object()), ("Void", 1)):
        with pytest.raises(ValueError, match=f"^{name} "):
            scalar_coercion(name).output(value)


def test_scalars_check_arguments_and_keep_them_as_json():
    given = [
        *(("Int", 5), ("Int", Decimal("5.0")), ("Int", -(2**31)), ("BigInt", Decimal("1e3")), ("Float", 2**60)),
        *(("DateTime", "2026-11-30T00:00:00Z"), ("Decimal", "1.10"), ("JSON", {"a": [None]}), ("Boolean", False)),
    ]
    for name, json in given:
        assert scalar_coercion(name).input(json) == json, name
    wrong = [
        *(("Int", 2**31), ("Int", True), ("Int", 1.5), ("Int", "5"), ("Int", 10**5000), ("BigInt", "x")),
        *(("Float", "1"), ("Float", 10**400), ("Float", True), ("String", 1), ("Boolean", 0), ("Void", 1)),
        *(("DateTime", "soon"), ("UUID", 5), ("Base64", "?")),
    ]
    for name, json in wrong:
        with pytest.raises(ValueError, match=r"\w"):
            scalar_coercion(name).input(json)


def test_a_result_of_more_than_32_bits_is_an_error_of_its_own():
    def count() -> list[int]:
        return []

    ref = field_of(count).ref
    assert Coercion().output(ref, [2**31 - 1, -(2**31)]) == [2**31 - 1, -(2**31)]
    with pytest.raises(IntRangeError, match="2147483648 is more than the 32 bits"):
        Coercion().output(ref, [2**31])


def test_a_problem_has_the_path_that_graphql_s_names_make():
    def adopt(pets: list[Cat | Dog], by_name: dict[str, Cat]) -> str:
        return ""

    found = field_of(adopt).arguments
    paths = {"/pets/0/cat/lives_left": "/pets/0/cat/livesLeft", "/by_name/x_y": "/byName/x_y", "": ""}
    for path, expected in paths.items():
        assert problem_in_graphql(Problem(path, "no"), found) == Problem(expected, "no")


def test_an_error_has_the_members_of_its_problem_details_as_extensions():
    error = InvalidError(errors=[Problem("/a", "expected int")])
    assert error_of(error, "abc") == {
        "message": "/a: expected int",
        "extensions": {
            "status": 422,
            "code": "invalid",
            "errors": [{"path": "/a", "message": "expected int"}],
            "request_id": "abc",
        },
    }
