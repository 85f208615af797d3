"""The GraphQL service in Ariadne, its types written in GraphQL."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import ariadne
from ariadne.asgi import GraphQL
from starlette.applications import Starlette
from starlette.routing import Route

from benchmarks.apps.things import OWNERS, THINGS, Owner, Place, Thing, home

TYPES = """
scalar UUID
scalar Date

type Query {
  hello(name: String!): String!
  things: [Thing!]!
  owners: [Owner!]!
}

type Place {
  street: String!
  city: String!
  zipCode: String!
}

type Thing {
  id: UUID!
  name: String!
  amount: Int!
  weight: Float!
  isFragile: Boolean!
  madeOn: Date!
  place: Place!
}

type Owner {
  number: Int!
  asyncHome: Place!
  syncHome: Place!
}
"""

query = ariadne.QueryType()
owner = ariadne.ObjectType("Owner")


@query.field("hello")
async def hello(root: None, info: Any, name: str) -> str:
    return f"Hello {name}!"


@query.field("things")
async def things(root: None, info: Any) -> list[Thing]:
    return THINGS


@query.field("owners")
async def owners(root: None, info: Any) -> list[Owner]:
    return OWNERS


@owner.field("asyncHome")
async def async_home(owner: Owner, info: Any) -> Place:
    return home(owner.number)


@owner.field("syncHome")
def sync_home(owner: Owner, info: Any) -> Place:
    return home(owner.number)


SCALARS = (ariadne.ScalarType("UUID", serializer=str), ariadne.ScalarType("Date", serializer=date.isoformat))
SCHEMA = ariadne.make_executable_schema(TYPES, query, owner, *SCALARS, convert_names_case=True)


async def execute(query: str, variables: Mapping[str, Any]) -> Any:
    _, result = await ariadne.graphql(SCHEMA, {"query": query, "variables": dict(variables)})
    if "errors" in result:
        raise RuntimeError(result["errors"])
    return result["data"]


app = Starlette(routes=[Route("/graphql", GraphQL(SCHEMA))])
