"""The GraphQL service on graphql-core alone, with its defaults; a document is parsed and validated once and kept."""

from collections.abc import Callable, Mapping
from datetime import date
from functools import cache
from operator import attrgetter
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLField,
    GraphQLFloat,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
    parse,
    validate,
)
from graphql import execute as execute_document

from benchmarks.apps.things import OWNERS, THINGS, Owner, Place, Thing, home


def required(type: GraphQLOutputType, attribute: str = "") -> GraphQLField:
    """A field; only one whose name differs from the attribute's needs a resolver."""
    return GraphQLField(GraphQLNonNull(type), resolve=_resolver(attribute) if attribute else None)


def _resolver(attribute: str) -> Callable[..., Any]:
    get = attrgetter(attribute)
    return lambda source, info: get(source)


def many(type: GraphQLOutputType) -> GraphQLOutputType:
    return GraphQLNonNull(GraphQLList(GraphQLNonNull(type)))


async def hello(root: None, info: Any, name: str) -> str:
    return f"Hello {name}!"


async def things(root: None, info: Any) -> list[Thing]:
    return THINGS


async def owners(root: None, info: Any) -> list[Owner]:
    return OWNERS


async def async_home(owner: Owner, info: Any) -> Place:
    return home(owner.number)


def sync_home(owner: Owner, info: Any) -> Place:
    return home(owner.number)


UUID = GraphQLScalarType("UUID", coerce_output_value=str)
DATE = GraphQLScalarType("Date", coerce_output_value=date.isoformat)
PLACE = GraphQLObjectType(
    "Place",
    {
        "street": required(GraphQLString),
        "city": required(GraphQLString),
        "zipCode": required(GraphQLString, "zip_code"),
    },
)
THING = GraphQLObjectType(
    "Thing",
    {
        "id": required(UUID),
        "name": required(GraphQLString),
        "amount": required(GraphQLInt),
        "weight": required(GraphQLFloat),
        "isFragile": required(GraphQLBoolean, "is_fragile"),
        "madeOn": required(DATE, "made_on"),
        "place": required(PLACE),
    },
)
OWNER = GraphQLObjectType(
    "Owner",
    {
        "number": required(GraphQLInt),
        "asyncHome": GraphQLField(GraphQLNonNull(PLACE), resolve=async_home),
        "syncHome": GraphQLField(GraphQLNonNull(PLACE), resolve=sync_home),
    },
)
QUERY = GraphQLObjectType(
    "Query",
    {
        "hello": GraphQLField(
            GraphQLNonNull(GraphQLString), {"name": GraphQLArgument(GraphQLNonNull(GraphQLString))}, resolve=hello
        ),
        "things": GraphQLField(many(THING), resolve=things),
        "owners": GraphQLField(many(OWNER), resolve=owners),
    },
)
SCHEMA = GraphQLSchema(QUERY)


@cache
def document(query: str) -> DocumentNode:
    made = parse(query)
    if errors := validate(SCHEMA, made):
        raise ExceptionGroup("not valid", errors)
    return made


async def execute(query: str, variables: Mapping[str, Any]) -> Any:
    result = await execute_document(SCHEMA, document(query), variable_values=dict(variables))
    if result.errors:
        raise ExceptionGroup("failed", result.errors)
    return result.data
