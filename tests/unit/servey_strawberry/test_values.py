"""What GraphQL makes of values is what REST makes of them: defaults, names, and what actions return."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, Self, TypedDict

import msgspec
import pydantic
import pytest
from graphql import build_schema, validate_schema

from servey import WEB_GET, WEB_POST, BigInt, CallError
from servey.action.action import action
from servey.errors import Problem
from servey.servey_starlette.app import create_app
from servey.servey_strawberry.schema import create_schema
from servey.servey_test.client import client_of
from servey.service import Service
from servey.settings import Settings
from unit.servey_strawberry.asking import ask, codes, post


class Turn(Enum):
    """Each name is the value of another."""

    LEFT = "RIGHT"
    RIGHT = "LEFT"
    BACK = "back"


class Part(msgspec.Struct, rename="camel"):
    items: int
    unit_price: float = 1.5
    day: datetime | None = None
    turns: list[Turn] = msgspec.field(default_factory=list)

    @action
    async def total(self, times: int = 1) -> float:
        return self.items * self.unit_price * times


@dataclass
class Order:
    parts: list[Part]

    @action
    async def count(self) -> int:
        return len(self.parts)


async def test_an_argument_may_be_called_as_what_a_resolver_takes() -> None:
    @action(triggers=(WEB_GET,))
    async def tell(source: str, info: str, root: str = "r", args: str = "a", type: str = "t") -> str:
        return f"{source} {info} {root} {args} {type}"

    assert await ask([tell], '{ tell(source: "s", info: "i", type: "x") }') == {"tell": "s i r a x"}


async def test_a_default_is_never_taken_for_what_a_caller_gave() -> None:
    @action(triggers=(WEB_GET,))
    async def turn(to: Turn = Turn.LEFT, all_of: Sequence[Turn] = (Turn.LEFT,)) -> list[str]:
        return [to.name, *(item.name for item in all_of)]

    data = await ask(
        [turn], "{ none: turn left: turn(to: LEFT) right: turn(to: RIGHT, allOf: [RIGHT]) back: turn(to: BACK) }"
    )
    assert data == {
        "none": ["LEFT", "LEFT"],
        "left": ["LEFT", "LEFT"],
        "right": ["RIGHT", "RIGHT"],
        "back": ["BACK", "LEFT"],
    }


async def test_a_default_need_not_be_what_a_caller_could_give() -> None:
    @dataclass
    class Limits:
        most: Annotated[int, msgspec.Meta(ge=1)] = 0
        until: datetime = datetime(2026, 1, 1)
        turns: list[Turn] = field(default_factory=lambda: [Turn.BACK])

    class Place(NamedTuple):
        x: int = 1
        turn: Turn = Turn.LEFT
        name: str = ""

    seen: list[Any] = []

    @action(triggers=(WEB_POST,))
    async def limit(
        limits: Limits,
        most: Annotated[int, msgspec.Meta(ge=1)] = 0,
        until: datetime = datetime(2026, 1, 1),
        share: float = 1,
        place: Place = Place(2),  # noqa: B008
    ) -> None:
        seen.append((limits, most, until, type(share), place))

    await ask([limit], "mutation { limit(limits: {}) }")
    await ask([limit], 'mutation { limit(limits: {most: 3}, most: 2, place: {name: "here"}) }')
    until = datetime(2026, 1, 1)
    assert seen == [
        (Limits(), 0, until, int, Place(2)),
        (Limits(most=3), 2, until, int, Place(1, Turn.LEFT, "here")),
    ]


async def test_a_default_that_tells_the_member_of_a_union_need_not_be_given() -> None:
    class Cat(pydantic.BaseModel):
        kind: Literal["cat"] = "cat"
        lives: int = 9

    class Dog(pydantic.BaseModel):
        kind: Literal["dog", "wolf"] = "dog"
        name: str

    class Fish(pydantic.BaseModel):
        kind: Literal["fish"] = "fish"

    pet = Annotated[Cat | Dog | Fish, pydantic.Field(discriminator="kind")]

    @action(triggers=(WEB_POST,))
    async def keep(pet: pet, others: list[pet]) -> str:
        return repr([pet, *others])

    query = """mutation {
      keep(pet: {dog: {name: "Rex"}}, others: [{cat: {}}, {fish: {}}, {dog: {kind: wolf, name: ""}}])
    }"""
    assert await ask([keep], query) == {"keep": repr([Dog(name="Rex"), Cat(), Fish(), Dog(kind="wolf", name="")])}


async def test_defaults_are_told_as_graphql_writes_them() -> None:
    @action(triggers=(WEB_GET,))
    async def turn(
        to: Turn = Turn.LEFT,
        many: Sequence[Turn] = (Turn.BACK,),
        day: datetime = datetime(2026, 1, 1),
        anything: Any = "x",
        share: float = 0.5,
        times: int = 2,
        name: str = "n",
    ) -> str:
        return ""

    asked = await ask([turn], '{ __type(name: "Query") { fields { args { name defaultValue } } } }')
    told = {item["name"]: item["defaultValue"] for item in asked["__type"]["fields"][0]["args"]}
    assert told.pop("day").startswith('"2026-01-01T00:00:00')
    assert told == {
        "to": "LEFT",
        "many": "[BACK]",
        "anything": json.dumps("x"),
        "share": "0.5",
        "times": "2",
        "name": json.dumps("n"),
    }


async def test_a_value_of_an_enum_is_as_good_as_its_member() -> None:
    @dataclass
    class Step:
        turn: Turn

    @action(triggers=(WEB_GET,))
    async def steps() -> list[Step]:
        raw: Any = ["back", "LEFT"]
        return [Step(Turn.LEFT), *(Step(turn) for turn in raw)]

    assert await ask([steps], "{ steps { turn } }") == {
        "steps": [{"turn": "LEFT"}, {"turn": "BACK"}, {"turn": "RIGHT"}]
    }


async def test_a_dict_is_as_good_as_an_object_of_the_class() -> None:
    @action(triggers=(WEB_GET,))
    async def order() -> Order:
        row: Any = {"parts": [{"items": 2, "turns": ["back"]}, Part(1, 2.0), {"items": 3, "unitPrice": 2, "more": 1}]}
        return row

    @action(triggers=(WEB_GET,))
    async def strange() -> Order:
        row: Any = {"parts": 1}
        return row

    assert await ask(
        [order], "{ order { count parts { items unitPrice day turns total twice: total(times: 2) } } }"
    ) == {
        "order": {
            "count": 3,
            "parts": [
                {"items": 2, "unitPrice": 1.5, "day": None, "turns": ["BACK"], "total": 3.0, "twice": 6.0},
                {"items": 1, "unitPrice": 2.0, "day": None, "turns": [], "total": 2.0, "twice": 4.0},
                {"items": 3, "unitPrice": 2.0, "day": None, "turns": [], "total": 6.0, "twice": 12.0},
            ],
        }
    }
    assert await codes([strange], "{ strange { count } }") == ["internal_error"]


async def test_a_text_of_a_class_of_its_own_is_a_text() -> None:
    class Markup(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "another"

    @action(triggers=(WEB_GET,))
    async def texts() -> list[str]:
        return [Markup("<b>"), "plain"]

    assert await ask([texts], "{ texts }") == {"texts": ["<b>", "plain"]}


async def test_a_row_is_of_the_member_of_a_union_that_it_fits() -> None:
    @dataclass
    class Cat:
        lives: int

        @action
        async def sound(self) -> str:
            return "meow"

    @dataclass
    class Dog:
        name: str

        @action
        async def sound(self) -> str:
            return "woof"

    class Row:
        name = "Rex"

    @action(triggers=(WEB_GET,))
    async def pets() -> list[Cat | Dog | None]:
        rows: Any = [Row(), {"name": "Bello"}, None, {"lives": 7}, Dog("Waldi")]
        return rows

    query = "{ pets { __typename ... on Dog { name sound } ... on Cat { lives sound } } }"
    assert await ask([pets], query) == {
        "pets": [
            {"__typename": "Dog", "name": "Rex", "sound": "woof"},
            {"__typename": "Dog", "name": "Bello", "sound": "woof"},
            None,
            {"__typename": "Cat", "lives": 7, "sound": "meow"},
            {"__typename": "Dog", "name": "Waldi", "sound": "woof"},
        ]
    }
    async with client_of(create_app(Service([pets]))) as client:
        response = await client.request("GET", "/actions/pets", query="include=sound")
    assert [pet and pet["sound"] for pet in response.json()] == ["woof", "woof", None, "meow", "woof"]


@pytest.mark.parametrize(
    ("default", "told"),
    [
        ({}, "{  }"),
        ({"ids": [1, None], "x": 2.5}, "{ ids: [1, null], x: 2.5 }"),
        ([1, "a", {"b": True}], '[1, "a", { b: true }]'),
        ({"by-name": 2}, None),
        ({"a": [{"b c": 1}]}, None),
        (float("nan"), None),
        ("\ud800", None),
        (10**5000, None),
        (object(), None),
    ],
    ids=range(9),
)
async def test_a_default_of_json_is_told_where_graphql_can_write_it(default: Any, told: str | None) -> None:
    @dataclass
    class Asked:
        """Documented, so that no Python writes its signature here: 3.11.2 cannot write a long int."""

        by: Any = field(default_factory=lambda: default)
        same: Any = "" if isinstance(default, (dict, list)) else default

    @dataclass
    class Found:
        is_default: bool

        @action
        def again(self, by: Any = default) -> bool:
            return type(by) is type(default)

    @action(triggers=(WEB_GET,))
    def search(by: Any = default, asked: Asked | None = None) -> Found:
        return Found(type(by) is type(default))

    query = """{ search { isDefault again } __type(name: "Query") { fields { args { name defaultValue } } } }"""
    answer = await ask([search], query)
    assert answer["search"] == {"isDefault": True, "again": True}
    assert answer["__type"]["fields"][0]["args"][0] == {"name": "by", "defaultValue": told}
    assert validate_schema(build_schema(create_schema(Service([search])).as_str())) == []


@pytest.mark.parametrize(
    ("tp", "default"),
    [
        *((int, "no"), (int, True), (int, 2**31), (str, 3), (bool, 1), (float, True), (float, 10**400)),
        *((list[int], [None]), (list[int], 5), (datetime, "tomorrow"), (Decimal, Decimal("NaN")), (Turn, "LEFT-")),
        *((Order, {"parts": 1}), (Order, {}), (Order, {"parts": [], "more": 1}), (BigInt, 10**5000)),
    ],
    ids=lambda item: item.__name__ if isinstance(item, type) else "default",
)
async def test_a_default_that_is_not_of_its_type_is_not_told(tp: Any, default: Any) -> None:
    def search(by: Any = default) -> bool:
        return by is default or (isinstance(default, list | dict) and by == default)

    search.__annotations__["by"] = tp
    answer = await ask(
        [action(triggers=(WEB_GET,))(search)],
        """{ search __type(name: "Query") { fields { args { defaultValue type { kind } } } } }""",
    )
    assert answer["search"] is True
    assert answer["__type"]["fields"][0]["args"][0]["defaultValue"] is None
    assert answer["__type"]["fields"][0]["args"][0]["type"]["kind"] != "NON_NULL"


async def test_texts_of_the_schema_can_be_written() -> None:
    @action(triggers=(WEB_GET,), description='\ud800 """ \\')
    def search() -> int:
        return 1

    service = Service([search], settings=Settings(api_title="A\udcff", api_version="1"))
    create_schema(service).as_str().encode()
    query = """{ _servey { name version } __type(name: "Query") { fields { description } } }"""
    assert await ask(service, query) == {
        "_servey": {"name": "A?", "version": "1"},
        "__type": {"fields": [{"description": '? """ \\'}, {"description": "What serves this."}]},
    }


# --- what cannot be written -------------------------------------------------------------------------------------------

LONE = b"caf\xe9.txt".decode("utf-8", "surrogateescape")


@dataclass
class File:
    name: str = "a"
    more: Any = None

    @action
    def beside(self) -> Any:
        return LONE


class Row(TypedDict):
    name: str
    more: Any


class Model(pydantic.BaseModel):
    name: str


@pytest.mark.parametrize(
    ("tp", "value", "selection"),
    [
        (Any, LONE, ""),
        (Any, {LONE: 1}, ""),
        (Any, [{"a": [LONE]}], ""),
        (Any, 10**5000, ""),
        (Any, [float("nan")], ""),
        (str | None, LONE, ""),
        (list[str] | None, ["a", LONE], ""),
        (dict[str, Any] | None, {"a": LONE}, ""),
        (tuple[int, Any] | None, (1, LONE), ""),
        (File | None, File(LONE), "{ more }"),
        (File | None, File(more=[LONE]), "{ name }"),
        (Row | None, {"name": "", "more": LONE}, "{ name }"),
        (Model | None, Model.model_construct(name=LONE), "{ name }"),
    ],
    ids=lambda _: "",
)
async def test_what_cannot_be_written_is_an_error_of_its_own_field(tp: Any, value: Any, selection: str) -> None:
    def latest() -> Any:
        return value

    latest.__annotations__["return"] = tp

    @action(triggers=(WEB_GET,))
    def good() -> int:
        return 1

    told = (await post([action(triggers=(WEB_GET,))(latest), good], f"{{ good latest {selection} }}")).json()
    assert told["data"] == {"good": 1, "latest": None}
    assert [(error["path"], error["extensions"]["code"]) for error in told["errors"]] == [
        (["latest"], "internal_error")
    ]


async def test_what_a_nested_action_cannot_write_leaves_the_rest() -> None:
    @action(triggers=(WEB_GET,))
    def files() -> list[File]:
        return [File(), File("b")]

    told = (await post([files], "{ files { name beside } }")).json()
    assert told["data"] == {"files": [{"name": "a", "beside": None}, {"name": "b", "beside": None}]}
    assert [error["path"] for error in told["errors"]] == [["files", 0, "beside"], ["files", 1, "beside"]]


async def test_an_error_whose_text_is_none_is_told_with_replacements() -> None:
    class GoneError(CallError):
        code, status = "gone", 410

    @action(triggers=(WEB_GET,))
    def read() -> int | None:
        raise GoneError(f"no {LONE}", errors=[Problem(f"/{LONE}", LONE)], data={"file": [LONE], LONE: 1})

    @action(triggers=(WEB_GET,))
    def good() -> int:
        return 1

    told = (await post([read, good], "{ good read }")).json()
    (error,) = told["errors"]
    extensions = error["extensions"]
    del extensions["request_id"]
    assert (told["data"], error["message"], error["path"]) == ({"good": 1, "read": None}, "no caf\ufffd.txt", ["read"])
    assert extensions == {
        "code": "gone",
        "status": 410,
        "errors": [{"path": "/caf\ufffd.txt", "message": "caf\ufffd.txt"}],
        "file": ["caf\ufffd.txt"],
        "caf\ufffd.txt": 1,
    }


# --- unions and Self --------------------------------------------------------------------------------------------------


async def test_a_dict_is_of_the_member_of_a_union_whose_keys_it_has_in_rest_as_well() -> None:
    class Named(TypedDict):
        name: str

    class Sized(TypedDict, total=False):
        height: int
        size: int

    @dataclass
    class Line:
        id: int

    @dataclass
    class Wide:
        id: int
        more: str = ""

    @action(triggers=(WEB_GET,))
    def rows() -> list[Line | Wide | Sized | Named]:
        return [{"id": 3}, {"id": 4, "more": "m"}, {"name": "n"}, {"size": 1}, Line(5)]  # pyright: ignore[reportReturnType]

    @action(triggers=(WEB_GET,))
    def others() -> list[Named | Line]:
        return [{"id": 3}, {"name": "n"}]  # pyright: ignore[reportReturnType]

    query = """{
      rows { __typename ... on Line { id } ... on Wide { id more } ... on Sized { height size } ... on Named { name } }
      others { __typename ... on Line { id } ... on Named { name } }
    }"""
    answer = await ask([rows, others], query)
    names = [item.pop("__typename") for item in (*answer["rows"], *answer["others"])]
    assert names == ["Line", "Wide", "Named", "Sized", "Line", "Line", "Named"]
    async with client_of(create_app(Service([rows, others]))) as client:
        by_rest = [(await client.request("GET", f"/actions/{name}")).json() for name in ("rows", "others")]
    assert by_rest == [
        [{"id": 3}, {"id": 4, "more": "m"}, {"name": "n"}, {"size": 1}, {"id": 5}],
        [{"id": 3}, {"name": "n"}],
    ]


@dataclass
class Step:
    id: int

    @action
    def before(self) -> Self | None:
        return Step(self.id - 1) if self.id else None  # pyright: ignore[reportReturnType]

    @action
    async def around(self, other: Self | None = None) -> Annotated[list[Self], "steps"]:
        return [self]

    @action
    async def by_name(self) -> dict[str, Self]:
        return {"me": self}


async def test_self_is_the_class_of_a_nested_action() -> None:
    @action(triggers=(WEB_GET,))
    def step() -> Step:
        return Step(1)

    query = "{ step { id before { id before { id } } around(other: {id: 7}) { id before { id } } byName } }"
    assert await ask([step], query) == {
        "step": {
            "id": 1,
            "before": {"id": 0, "before": None},
            "around": [{"id": 1, "before": {"id": 0}}],
            "byName": {"me": {"id": 1}},
        }
    }
    async with client_of(create_app(Service([step]))) as client:
        response = await client.request("GET", "/actions/step", query="include=before,around.before,by_name")
    assert response.json() == {
        "id": 1,
        "before": {"id": 0},
        "around": [{"id": 1, "before": {"id": 0}}],
        "by_name": {"me": {"id": 1}},
    }
