"""What a security audit of GraphQL endpoints asks of one in production, request by request: each item of graphql-cop's
list, and that nothing is found. A request is the one that the audit sends, a finding what it takes for one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from servey import WEB_GET, WEB_POST
from servey.action.action import action
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client, Response, client_of
from servey.service import Service
from servey.settings import Settings

SECRET = "of sixty-four characters, or nearly so, and of no use elsewhere!"
JSON = {"content-type": "application/json"}


@dataclass
class Node:
    name: str

    @action
    async def next(self) -> Node:
        return self


@action(triggers=(WEB_GET,))
async def node(name: str = "a") -> Node:
    return Node(name)


@action(triggers=(WEB_GET,))
async def broken() -> str:
    raise RuntimeError("the password of the database is hunter2")


@action(triggers=(WEB_POST,))
async def rename(name: str) -> str:
    return name


def production(**settings: Any) -> Settings:
    return Settings(environment="production", jwt_secret_key=SECRET, **settings)


def audited(**settings: Any) -> Any:
    return client_of(create_app(Service([node, broken, rename], settings=production(**settings))))


def posted(query: str, count: int = 0) -> dict[str, Any]:
    """The request by which the audit sends a document, or a batch of so many."""
    body = {"query": query, "operationName": "cop"}
    content = msgspec.json.encode([{"query": query}] * count if count else body)
    return {"content": content, "headers": JSON}


def got(query: str) -> dict[str, Any]:
    return {"query": urlencode({"query": query})}


async def asked(client: Client, request: dict[str, Any]) -> Response:
    return await client.request("POST" if "content" in request else "GET", "/graphql", **request)


def data_of(response: Response) -> Any:
    body = response.json()
    return body.get("data") if isinstance(body, dict) else None


def answered(response: Response) -> bool:
    return bool((data_of(response) or {}).get("__typename"))


def extension(name: str) -> Callable[[Response], bool]:
    def is_told(response: Response) -> bool:
        body = response.json()
        errors = body.get("errors") or [{}]
        return name in errors[0].get("extensions", {}) or name in body.get("extensions", {})

    return is_told


CIRCLE = "{ types { fields { type { fields { type { fields { type { fields { type { name } } } } } } } } } }"

AUDITS: dict[str, tuple[dict[str, Any], Callable[[Response], bool], str]] = {
    "alias overloading": (
        posted("query cop { " + "".join(f"alias{number}:__typename \n" for number in range(101)) + " }"),
        lambda response: "alias100" in (data_of(response) or {}),
        "invalid",
    ),
    "array-based query batching": (
        posted("query cop { __typename }", 10),
        lambda response: isinstance(response.json(), list) and len(response.json()) >= 10,
        "malformed",
    ),
    "directive overloading": (
        posted("query cop { __typename " + "@aa" * 10 + " }"),
        lambda response: len(response.json()["errors"]) == 10,
        "invalid",
    ),
    "introspection-based circular query": (
        posted(f"query cop {{ __schema {CIRCLE} }}"),
        lambda response: data_of(response) is not None,
        "invalid",
    ),
    "field duplication": (
        posted("query cop { " + "__typename \n" * 500 + "} "),
        answered,
        "invalid",
    ),
    "queries by GET": (got("query cop {__typename}"), answered, "forbidden"),
    "mutations by GET": (got("mutation cop {__typename}"), answered, "forbidden"),
    "queries as a form": (
        {
            "content": urlencode({"query": "query cop { __typename }"}).encode(),
            "headers": {"content-type": "application/x-www-form-urlencoded"},
        },
        answered,
        "unsupported_media_type",
    ),
    "introspection": (
        posted("query cop { __schema { types { name fields { name } } } }"),
        lambda response: data_of(response) is not None,
        "forbidden",
    ),
    "field suggestions": (
        posted("query cop { __schema { directive } }"),
        lambda response: b"Did you mean" in response.content,
        "invalid",
    ),
    "unhandled errors": (posted("qwerty cop { abc }"), extension("exception"), "malformed"),
}
"""By the names of the audit: the request, whether the answer is a finding, and the code that is told instead."""


@pytest.mark.parametrize("name", AUDITS)
async def test_an_audit_finds_nothing_in_production(name):
    request, is_finding, code = AUDITS[name]
    async with audited() as client:
        response = await asked(client, request)
    assert not is_finding(response)
    assert [error["extensions"]["code"] for error in response.json()["errors"]] == [code]
    assert response.status < 500


async def test_an_audit_sees_that_there_is_graphql_and_no_trace_of_how_it_was_executed():
    request = posted("query cop { __typename }")
    async with audited() as client:
        response = await asked(client, request)
    assert (response.status, response.json()) == (200, {"data": {"__typename": "Query"}})


@pytest.mark.parametrize("path", ["/", "/graphql", "/graphiql", "/graphiql/", "/playground", "/console"])
async def test_no_page_on_which_queries_are_tried_out_is_reachable_in_production(path):
    async with audited() as client:
        response = await client.request("GET", path, headers={"accept": "text/html"})
    assert response.status in (404, 406)
    for word in (b"graphiql", b"playground"):
        assert word not in response.content.replace(path.encode(), b"").lower()


@pytest.mark.parametrize(
    "query",
    [
        "query cop { nod { name } }",
        "query cop { node { nam } }",
        'query cop { node(nam: "a") { name } }',
        "query cop { node @skp(if: true) { name } }",
        "query cop ($a: Strin) { node(name: $a) { name } }",
        "query cop { node { ... on Nod { name } } }",
        "query cop { __schem { types { name } } }",
        "fragment f on Nod { name } query cop { ...f }",
    ],
)
async def test_a_wrong_name_brings_no_right_one_out_in_production(query):
    async with audited() as client:
        response = await asked(client, posted(query))
    errors = response.json()["errors"]
    assert {error["extensions"]["code"] for error in errors} == {"invalid"}
    assert not [error for error in errors if "Did you mean" in error["message"]]


async def test_what_an_action_raises_is_for_the_log_alone(caplog):
    with caplog.at_level(logging.ERROR):
        async with audited() as client:
            response = await asked(client, posted("query cop { broken }"))
    ((error,), data) = response.json()["errors"], data_of(response)
    assert data is None
    assert error == {
        "message": "Internal Server Error",
        "locations": [{"line": 1, "column": 13}],
        "path": ["broken"],
        "extensions": {
            "code": "internal_error",
            "status": 500,
            "request_id": response.headers["x-request-id"],
        },
    }
    assert "hunter2" in caplog.text


async def test_development_is_open_where_production_is_closed():
    """The same requests, to see that they do ask for what is refused."""
    open_ones = {"introspection": "__schema", "queries by GET": "__typename"}
    app = create_app(Service([node, broken, rename], settings=Settings(environment="development")))
    async with client_of(app) as client:
        for name, field in open_ones.items():
            request = AUDITS[name][0]
            response = await asked(client, request)
            assert field in data_of(response)
        told = await asked(client, AUDITS["field suggestions"][0])
    assert AUDITS["field suggestions"][1](told)


async def test_a_mutation_by_get_is_refused_to_those_who_send_the_header_too():
    request = got("mutation cop {__typename}") | {"headers": {"graphql-preflight": "1"}}
    async with audited() as client:
        response = await asked(client, request)
    assert (response.status, response.headers["allow"]) == (405, "OPTIONS, POST")
