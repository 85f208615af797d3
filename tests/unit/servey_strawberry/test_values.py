"""What GraphQL makes of values is what REST makes of them: defaults, names, and what actions return."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import pydantic

from servey import WEB_GET, WEB_POST
from servey.action.action import action
from servey.servey_starlette.app import create_app
from servey.servey_test.client import client_of
from servey.service import Service
from unit.servey_strawberry.asking import ask, codes


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
