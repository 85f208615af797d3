"""The GraphQL service in Strawberry, as it is by default, and with the two caches that it offers."""

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

import strawberry
from starlette.applications import Starlette
from starlette.routing import Route
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.types.info import Info

from benchmarks.apps import things as models


@strawberry.type
class Place:
    street: str
    city: str
    zip_code: str


@strawberry.type
class Thing:
    id: UUID
    name: str
    amount: int
    weight: float
    is_fragile: bool
    made_on: date
    place: Place


def place(of: models.Place) -> Place:
    return Place(street=of.street, city=of.city, zip_code=of.zip_code)


async def homes(numbers: list[int]) -> list[Place]:
    return [place(models.home(number)) for number in numbers]


@strawberry.type
class Owner:
    number: int

    @strawberry.field
    async def batched_home(self, info: Info) -> Place:
        return await info.context["homes"].load(self.number)

    @strawberry.field
    async def async_home(self) -> Place:
        return place(models.home(self.number))

    @strawberry.field
    def sync_home(self) -> Place:
        return place(models.home(self.number))


THINGS = [Thing(**{**vars(thing), "place": place(thing.place)}) for thing in models.THINGS]
OWNERS = [Owner(**vars(owner)) for owner in models.OWNERS]


@strawberry.type
class Query:
    @strawberry.field
    async def hello(self, name: str) -> str:
        return f"Hello {name}!"

    @strawberry.field
    async def things(self) -> list[Thing]:
        return THINGS

    @strawberry.field
    async def owners(self) -> list[Owner]:
        return OWNERS


SCHEMA = strawberry.Schema(Query)
CACHED_SCHEMA = strawberry.Schema(Query, extensions=[ParserCache, ValidationCache])


async def _execute(schema: strawberry.Schema, query: str, variables: Mapping[str, Any]) -> Any:
    context = {"homes": DataLoader(load_fn=homes)}
    result = await schema.execute(query, variable_values=dict(variables), context_value=context)
    if result.errors:
        raise ExceptionGroup("failed", result.errors)
    return result.data


async def execute(query: str, variables: Mapping[str, Any]) -> Any:
    return await _execute(SCHEMA, query, variables)


async def execute_cached(query: str, variables: Mapping[str, Any]) -> Any:
    return await _execute(CACHED_SCHEMA, query, variables)


app = Starlette(routes=[Route("/graphql", GraphQL(SCHEMA))])
cached_app = Starlette(routes=[Route("/graphql", GraphQL(CACHED_SCHEMA))])
