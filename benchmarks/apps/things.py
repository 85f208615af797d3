"""The types, the data and the queries of the GraphQL services, and the answers made by hand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID


@dataclass
class Place:
    street: str
    city: str
    zip_code: str


@dataclass
class Thing:
    id: UUID
    name: str
    amount: int
    weight: float
    is_fragile: bool
    made_on: date  # of a datetime the services write the offset in different ways
    place: Place


@dataclass
class Owner:
    number: int


def home(number: int) -> Place:
    return Place(f"{number} st", "x", "z")


THINGS = [
    Thing(UUID(int=i), f"thing {i}", i % 90, i / 2, i % 2 == 0, date(2026, 1, 1 + i % 28), home(i)) for i in range(100)
]
OWNERS = [Owner(i) for i in range(100)]

HELLO = "query Hello($name: String!) { hello(name: $name) }"
ALL_THINGS = "{ things { id name amount weight isFragile madeOn place { street city zipCode } } }"
BATCHED = "{ owners { number batchedHome { street city zipCode } } }"
ASYNC = "{ owners { number asyncHome { street city zipCode } } }"
SYNC = "{ owners { number syncHome { street city zipCode } } }"


def _place(place: Place) -> dict[str, Any]:
    return {"street": place.street, "city": place.city, "zipCode": place.zip_code}


def _thing(thing: Thing) -> dict[str, Any]:
    return {
        "id": str(thing.id),
        "name": thing.name,
        "amount": thing.amount,
        "weight": thing.weight,
        "isFragile": thing.is_fragile,
        "madeOn": thing.made_on.isoformat(),
        "place": _place(thing.place),
    }


def _owners(field: str) -> dict[str, Any]:
    return {"owners": [{"number": owner.number, field: _place(home(owner.number))} for owner in OWNERS]}


ANSWERS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    HELLO: lambda variables: {"hello": f"Hello {variables['name']}!"},
    ALL_THINGS: lambda _: {"things": [_thing(thing) for thing in THINGS]},
    BATCHED: lambda _: _owners("batchedHome"),
    ASYNC: lambda _: _owners("asyncHome"),
    SYNC: lambda _: _owners("syncHome"),
}


async def execute(query: str, variables: Mapping[str, Any]) -> Any:
    return ANSWERS[query](variables)
