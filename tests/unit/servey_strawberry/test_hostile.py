"""What a caller sends who means no good, or whose program is broken: a conforming answer each time, within moments."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
import pytest

from servey import WEB_GET, WEB_POST, Authorization
from servey.action.action import action
from servey.plugin import Plugin
from servey.security.access_control import ScopeAccessControl
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client, Response, client_of
from servey.service import Service
from servey.settings import Settings

SECRET = "of sixty-four characters, or nearly so, and of no use elsewhere!"
GRAPHQL = "application/graphql-response+json"
HEADERS = {"content-type": "application/json", "accept": GRAPHQL}


@dataclass
class Tree:
    name: str = ""
    branches: list[Tree] = field(default_factory=list)

    @action
    async def next(self, times: int = 1) -> Tree:
        return self


@action(triggers=(WEB_GET,))
async def hello(name: str = "World") -> str:
    return f"Hello {name}"


@action(triggers=(WEB_GET,))
async def tree(name: str = "") -> Tree:
    return Tree(name)


@action(triggers=(WEB_POST,))
async def plant(tree: Tree) -> str:
    return tree.name


@action(triggers=(WEB_POST,))
async def total(numbers: list[int], factor: float = 1.0) -> float:
    return sum(numbers) * factor


@action(triggers=(WEB_POST,))
async def echo(value: Any = None) -> Any:
    return value


@action(triggers=(WEB_GET,), access_control=ScopeAccessControl(execute_scope="root"))
async def secret() -> str:
    return "secret"


ACTIONS = (hello, tree, plant, total, echo, secret)


def hostile(*actions: Any, plugins: tuple[Plugin, ...] = (), environment: str = "production", **settings: Any) -> Any:
    told = Settings(environment=environment, jwt_secret_key=SECRET, **settings)
    return client_of(create_app(Service(actions or ACTIONS, plugins=plugins, settings=told)))


async def ask(client: Client, query: Any = None, variables: Any = None, **more: Any) -> Response:
    body = {"query": query, "variables": variables, **more}
    return await client.request("POST", "/graphql", content=json.dumps(body).encode(), headers=HEADERS)


async def send(client: Client, content: bytes, **headers: str) -> Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.request("POST", "/graphql", content=content, headers=HEADERS | given)


def codes(response: Response) -> list[str]:
    return [error["extensions"]["code"] for error in response.json()["errors"]]


def refusal(response: Response) -> tuple[int, set[str], bool]:
    """The status, the codes of its errors, and whether there is data."""
    return response.status, set(codes(response)), "data" in response.json()


async def still_well(client: Client) -> None:
    response = await ask(client, "{ hello }")
    assert (response.status, response.json()) == (200, {"data": {"hello": "Hello World"}})


# --- documents that are none ----------------------------------------------------------------------------------------

SYNTAX = {
    "nothing": "",
    "space": " \n\t,",
    "a comment": "# nobody",
    "an open brace": "{",
    "too many": "{ hello } }",
    "a text that does not end": '{ hello(name: "',
    "a bad escape": r'{ hello(name: "\x") }',
    "half of a surrogate pair": r'{ hello(name: "\uD83D") }',
    "a code point that there is not": r'{ hello(name: "\u{110000}") }',
    "a NUL": "{ hello\0 }",
    "a NUL in a text": '{ hello(name: "\0") }x{',
    "a number with a zero before": "{ hello(name: 01) }",
    "a number that runs into a name": "{ hello(name: 1a) }",
    "NaN": "{ hello(name: NaN(1)) }",
    "another language": "SELECT * FROM parcels; DROP TABLE parcels",
    "a keyword": "qwerty cop { abc }",
    "a variable in a constant": "query ($a: String = $b) { hello(name: $a) }",
    "spread of on": "{ ...on }",
    "nested lists": "mutation { echo(value: " + "[" * 500 + "]" * 500 + ") }",
    "nested objects": "mutation { echo(value: " + "{a: " * 400 + "1" + "}" * 400 + ") }",
    "nested fields": "{ tree " + "{ next " * 500 + "{ name }" + "}" * 500 + " }",
    "nested inline fragments": "{" + "... {" * 500 + "hello" + "}" * 500 + "}",
    "nested types of a variable": "query ($a: " + "[" * 900 + "Int" + "]" * 900 + ") { hello }",
    "tokens without end": "{" + " hello" * 2000 + "}",
}


@pytest.mark.parametrize("name", SYNTAX)
async def test_a_document_that_cannot_be_read_is_malformed(name):
    async with hostile() as client:
        response = await ask(client, SYNTAX[name])
        assert refusal(response) == (400, {"malformed"}, False)
        assert len(response.content) < 1000
        await still_well(client)


INVALID = {
    "a field that there is not": "{ nobody }",
    "an argument that there is not": "{ hello(nobody: 1) }",
    "an argument of another type": "{ hello(name: 1) }",
    "an argument twice": '{ hello(name: "a", name: "b") }',
    "a directive that there is not": "{ hello @nobody }",
    "a directive at another place": "query @skip(if: true) { hello }",
    "a directive twice": "{ hello @skip(if: true) @skip(if: true) }",
    "a directive without its argument": "{ hello @include }",
    "@defer": "{ ... @defer { hello } }",
    "@stream": "{ tree { branches @stream { name } } }",
    "a selection of a leaf": "{ hello { name } }",
    "no selection of an object": "{ tree }",
    "a fragment that there is not": "{ ...Nobody }",
    "a fragment of a type that there is not": "{ ...A } fragment A on Nobody { name }",
    "a fragment that is not used": "{ hello } fragment A on Tree { name }",
    "a fragment in itself": "{ tree { ...A } } fragment A on Tree { ...A }",
    "fragments in a circle": "{ tree { ...A } } fragment A on Tree { next { ...B } } fragment B on Tree { ...A }",
    "a circle of many": "{ tree { ...F0 } }"
    + "".join(f" fragment F{n} on Tree {{ name ...F{(n + 1) % 50} }}" for n in range(50)),
    "two fragments of a name": "{ tree { ...A } } fragment A on Tree { name } fragment A on Tree { name }",
    "two operations of a name": "query A { hello } query A { hello }",
    "two without a name": "{ hello } { hello }",
    "fields in conflict": '{ hello(name: "a") hello(name: "b") }',
    "a variable that is not declared": "{ hello(name: $name) }",
    "a variable twice": "query ($a: String!, $a: String!) { hello(name: $a) }",
    "a variable of an output type": "query ($a: Tree) { hello(name: $a) }",
    "a variable of another type": "query ($a: Int!) { hello(name: $a) }",
    "a subscription": "subscription { hello }",
    "a definition of a type": "type Query { hello: String } { hello }",
    "only fragments": "fragment A on Tree { name }",
    "a number of 5,000 digits": "mutation { total(numbers: [" + "9" * 5000 + "]) }",
    "NaN": "mutation { total(numbers: [1], factor: NaN) }",
    "an object with a member twice": 'mutation { plant(tree: {name: "a", name: "b"}) }',
    "an object with a strange member": "mutation { plant(tree: {__proto__: {}}) }",
    "more aliases than there may be": "{" + " ".join(f"a{n}: hello" for n in range(31)) + "}",
    "more fields than there may be": "{ tree {" + " name" * 301 + "} }",
    "more depth than there may be": "{ tree" + "{ next" * 15 + "{ name }" + "}" * 15 + " }",
    "depth by fragments": "{ tree { ...F0 } }"
    + "".join(f" fragment F{n} on Tree {{ next {{ ...F{n + 1} }} }}" for n in range(14))
    + " fragment F14 on Tree { name }",
    "depth by many fragments": "{ tree { ...F0 } }"
    + "".join(f" fragment F{n} on Tree {{ next {{ ...F{n + 1} }} }}" for n in range(150))
    + " fragment F150 on Tree { name }",
    "aliases that double in each fragment": "{ tree { ...F0 } }"
    + "".join(f" fragment F{n} on Tree {{ a: next {{ ...F{n + 1} }} b: next {{ ...F{n + 1} }} }}" for n in range(12))
    + " fragment F12 on Tree { name }",
    "fragments that double": "{ tree { ...F0 } }"
    + "".join(f" fragment F{n} on Tree {{ name ...F{n + 1} ...F{n + 1} }}" for n in range(120))
    + " fragment F120 on Tree { name }",
    "10,000 aliases": "{" + " ".join(f"a{n}: hello" for n in range(10_000)) + "}",
    "a text of a megabyte": '{ hello(name: "' + "x" * 1_000_000 + '") }',
    "a comment of a megabyte": "{ hello } #" + "x" * 1_000_000,
    "a megabyte of nothing": "{ hello" + " " * 1_000_000 + "}",
    "a megabyte of escapes": '{ hello(name: "' + r"\n" * 500_000 + '") }',
}


@pytest.mark.parametrize("name", INVALID)
async def test_a_document_that_cannot_be_executed_is_refused_before_anything_is(name):
    async with hostile() as client:
        response = await ask(client, INVALID[name])
        assert refusal(response) == (400, {"invalid"}, False)
        assert len(response.content) < 30_000
        await still_well(client)


@pytest.mark.parametrize("name", ["@defer", "@stream", "a subscription"])
async def test_what_is_not_supported_is_named_in_the_error(name):
    async with hostile() as client:
        response = await ask(client, INVALID[name])
    assert name.removeprefix("a ").removeprefix("@") in response.json()["errors"][0]["message"].lower()


async def test_whoever_takes_json_alone_gets_the_same_errors_with_200():
    async with hostile() as client:
        for query in ("{", "{ nobody }", "query A { hello } query B { hello }"):
            one = await ask(client, query)
            headers = HEADERS | {"accept": "application/json"}
            other = await client.request("POST", "/graphql", json={"query": query}, headers=headers)
            assert (one.status, other.status) == (400, 200)
            assert codes(one) == codes(other)


async def test_the_same_mistake_at_many_places_is_told_once():
    async with hostile() as client:
        response = await ask(client, "{ hello " + "@aa" * 10 + " }")
    (error,) = response.json()["errors"]
    assert [place["column"] for place in error["locations"]] == list(range(9, 39, 3))


@pytest.mark.parametrize(
    "query",
    [
        "query {name}(" + "".join(f"$a{n}: Int " for n in range(60)) + ") {{ hello }}",
        "query {name} {{" + "".join(f" hello(name: $a{n})" for n in range(60)) + " }}",
        "{{ {name} }}",
        "{{ tree {{ ...{name} ...{name} }} }}",
        "query ($a: {name}) {{ hello }}",
    ],
)
async def test_an_answer_does_not_repeat_what_is_long_over_and_over(query):
    async with hostile() as client:
        response = await ask(client, query.format(name="A" * 80_000))
        assert refusal(response) == (400, {"invalid"}, False)
        assert len(response.content) < 80_000
        response = await ask(
            client,
            "mutation ($tree: TreeInput!) { plant(tree: $tree) }",
            {"tree": {f"x{n}" + "y" * 10_000: 1 for n in range(100)}},
        )
        assert len(response.content) < 1_000_000


async def test_skip_and_include_are_followed():
    async with hostile() as client:
        response = await ask(
            client,
            "query ($no: Boolean!) {"
            " hello @include(if: $no) a: hello @skip(if: $no) tree { name @include(if: true) } }",
            {"no": False},
        )
    assert response.json() == {"data": {"a": "Hello World", "tree": {"name": ""}}}


# --- operations and variables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("query A { hello }", "B"),
        ("query A { hello }", ""),
        ("{ hello }", "A"),
        ("query A { hello } query B { hello }", None),
        ("query A { hello } query B { hello }", "C" * 100_000),
    ],
)
async def test_an_operation_that_is_not_there_is_invalid(query, name):
    async with hostile() as client:
        response = await ask(client, query, operationName=name)
    assert refusal(response) == (400, {"invalid"}, False)
    assert len(response.content) < 1000


async def test_all_missing_and_mistyped_variables_are_reported_together():
    query = """
        mutation ($missing: String!, $number: Int!, $numbers: [Int!]!, $tree: TreeInput!, $fine: String!, $null: Int!) {
          a: plant(tree: $tree) total(numbers: $numbers) b: total(numbers: [$number, $null])
          c: plant(tree: {name: $missing}) d: plant(tree: {name: $fine})
        }
    """
    given = {"number": "1", "numbers": [1, None, "x"], "tree": {"name": 1, "leaf": 2}, "fine": "a", "null": None}
    async with hostile() as client:
        response = await ask(client, query, given)
    assert response.status == 400
    assert sorted(
        problem["path"] for error in response.json()["errors"] for problem in error["extensions"].get("errors", [{}])
    ) == ["/missing", "/null", "/number", "/numbers/1", "/numbers/2", "/tree/leaf", "/tree/name"]


@pytest.mark.parametrize("variables", [[], "x", 1, True, [{}]])
async def test_variables_that_are_no_object_are_malformed(variables):
    async with hostile() as client:
        assert refusal(await ask(client, "{ hello }", variables)) == (400, {"malformed"}, False)


@pytest.mark.parametrize("name", [1, True, [], {}, ["A"]])
@pytest.mark.parametrize("member", ["operationName", "query", "documentId", "id"])
async def test_a_member_that_is_no_text_is_malformed(member, name):
    async with hostile() as client:
        response = await client.request("POST", "/graphql", json={"query": "{ hello }", member: name}, headers=HEADERS)
    assert refusal(response) == (400, {"malformed"}, False)


@pytest.mark.parametrize("extensions", [[], "x", 1])
async def test_extensions_that_are_no_object_are_malformed(extensions):
    async with hostile() as client:
        assert refusal(await ask(client, "{ hello }", extensions=extensions)) == (400, {"malformed"}, False)


async def test_members_that_nobody_knows_and_keys_that_mean_something_elsewhere_mean_nothing():
    value = {"__proto__": {"polluted": True}, "constructor": {"prototype": {}}, "__class__": "x", "": 1}
    async with hostile() as client:
        response = await ask(
            client,
            "mutation ($value: JSON) { echo(value: $value) }",
            {"value": value, "__proto__": {}, "unused": 1},
            __proto__={"query": "{ secret }"},
            toString="x",
        )
    assert response.json() == {"data": {"echo": value}}


async def test_of_a_key_that_is_there_twice_the_last_one_counts():
    async with hostile() as client:
        response = await send(client, b'{"query": "{ secret }", "query": "{ hello }"}')
    assert response.json() == {"data": {"hello": "Hello World"}}


@pytest.mark.parametrize("text", ["\0", "\x7f\x1b[31m", "\u202e", "😀", "\U0010ffff", "a" * 100_000, '"\\/\b'])
async def test_a_text_comes_back_as_it_was_sent(text):
    async with hostile() as client:
        by_variable = await ask(client, "query ($name: String!) { hello(name: $name) }", {"name": text})
        assert by_variable.json() == {"data": {"hello": f"Hello {text}"}}
        if len(text) < 1000:
            literal = await ask(client, f"{{ hello(name: {json.dumps(text)}) }}")
            assert literal.json() == {"data": {"hello": f"Hello {text}"}}


@pytest.mark.parametrize("text", [rb"\ud800", rb"\udfff", rb"\ude00\ud83d", rb"\ud800\u0041"])
async def test_half_of_a_surrogate_pair_is_no_text(text):
    async with hostile() as client:
        body = b'{"query": "query ($name: String!) { hello(name: $name) }", "variables": {"name": "%s"}}' % text
        assert refusal(await send(client, body)) == (400, {"malformed"}, False)
        assert refusal(await send(client, b'{"query": "{ hello %s }"}' % text)) == (400, {"malformed"}, False)


async def test_half_of_a_surrogate_pair_that_an_action_returns_does_not_leave():
    @action(triggers=(WEB_GET,))
    async def halved() -> str:
        return "\ud800"

    async with hostile(halved, hello) as client:
        response = await ask(client, "{ hello halved }")
        assert response.status == 200
        assert codes(response) == ["internal_error"]
        await still_well(client)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"9" * 5000, "invalid"),
        (b"-" + b"9" * 5000, "invalid"),
        (b"2147483648", "invalid"),
        (b"1e400", "invalid"),
        (b"NaN", "malformed"),
        (b"Infinity", "malformed"),
        (b"1.5", "invalid"),
        (b'"1"', "invalid"),
        (b"true", "invalid"),
        (b"{}", "invalid"),
    ],
)
async def test_a_number_that_is_none_of_the_type_is_refused(value, code):
    body = b'{"query": "mutation ($n: Int!) { total(numbers: [$n]) }", "variables": {"n": %s}}' % value
    async with hostile() as client:
        response = await send(client, body)
        status, found, has_data = refusal(response)
        assert (status, has_data) == (400, False)
        assert found <= {code, "malformed"}
        assert len(response.content) < 1000


async def test_a_number_that_no_json_has_does_not_leave():
    @action(triggers=(WEB_GET,))
    async def infinite() -> float:
        return float("inf")

    async with hostile(infinite, hello) as client:
        assert codes(await ask(client, "{ infinite }")) == ["internal_error"]
        await still_well(client)


# --- how much ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("mutation ($v: JSON) { echo(value: $v) }", b"[" * 150 + b"]" * 150),
        ("mutation ($v: TreeInput!) { plant(tree: $v) }", b'{"branches": [' * 80 + b"{}" + b"]}" * 80),
        ("mutation ($v: JSON) { echo(value: $v) }", b"[" * 100_000 + b"]" * 100_000),
        ("{ hello }", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    ],
)
async def test_variables_that_are_nested_too_deeply_are_malformed(query, value):
    async with hostile() as client:
        body = b'{"query": "%s", "variables": {"v": %s}}' % (query.encode(), value)
        assert refusal(await send(client, body)) == (400, {"malformed"}, False)
        await still_well(client)


@pytest.mark.parametrize("query", ["mutation ($v: [Int!]!) { total(numbers: $v) }", "{ hello }"])
async def test_more_variables_than_there_may_be_are_too_large(query):
    async with hostile(graphql_max_values=50) as client:
        assert refusal(await ask(client, query, {"v": [1] * 50})) == (413, {"too_large"}, False)
        assert refusal(await ask(client, query, {"v": [{"a": [1] * 10}] * 5})) == (413, {"too_large"}, False)
    async with hostile(graphql_max_values=51) as client:
        assert (await ask(client, query, {"v": [1] * 50})).status == 200


async def test_where_many_actions_read_the_variables_there_may_be_fewer_values():
    def calling(count: int) -> str:
        return "mutation ($v: [Int!]!) {" + " ".join(f"a{n}: total(numbers: $v)" for n in range(count)) + "}"

    async with hostile(graphql_max_values=60) as client:
        for calls, values in (1, 59), (10, 59), (12, 49), (30, 19):
            assert (await ask(client, calling(calls), {"v": [1] * values})).status == 200
            assert refusal(await ask(client, calling(calls), {"v": [1] * (values + 1)})) == (413, {"too_large"}, False)


async def test_a_body_over_the_limit_is_too_large():
    async with hostile(max_body_size=1000) as client:
        assert refusal(await ask(client, "{ hello }", {"unused": "x" * 1000})) == (413, {"too_large"}, False)
        pieces = [b'{"query": "', *[b" " * 100] * 20]
        response = await client.request("POST", "/graphql", content=pieces, headers=HEADERS)
        assert refusal(response) == (413, {"too_large"}, False)


async def test_a_query_string_over_the_limit_is_too_long():
    async with hostile(environment="development") as client:
        response = await client.request("GET", "/graphql", query=urlencode({"query": "{ hello }" + " " * 100_000}))
    assert (response.status, codes(response)) == (414, ["uri_too_long"])


@pytest.mark.parametrize("count", [1, 2, 10, 1000])
async def test_a_batch_is_refused_where_none_is_allowed(count):
    async with hostile() as client:
        response = await batch(client, *[{"query": "{ hello }"}] * count)
    assert refusal(response) == (400, {"malformed"}, False)


async def test_a_batch_has_as_many_requests_as_are_allowed():
    async with hostile(graphql_max_batch=3) as client:
        taken = await batch(client, {"query": "{ hello }"}, {"query": "{"}, {"query": "{ nobody }"})
        assert [sorted(item) for item in taken.json()] == [["data"], ["errors"], ["errors"]]
        assert (await batch(client, *[{"query": "{ hello }"}] * 4)).status == 413
        assert (await batch(client)).status == 400
        assert (await batch(client, [{"query": "{ hello }"}])).status == 400
        assert (await batch(client, 1)).status == 400


async def batch(client: Client, *requests: Any) -> Response:
    return await send(client, json.dumps(requests).encode())


# --- documents that take long to be understood ----------------------------------------------------------------------


SPREADS = "".join(f"...F{n} " for n in range(20))
HEAVY = {
    "the same leaf": "{ tree {" + " name" * 1980 + "} }",
    "the same object": "{" + " tree { name }" * 490 + "}",
    "the same objects in one another": "{" + " tree { next { next { name } } }" * 195 + "}",
    "the same alias of two fields": "{ tree {" + " x: name x: __typename" * 325 + "} }",
    "other arguments each time": "{ tree {" + "".join(f" next(times: {n}) {{ name }}" for n in range(215)) + "} }",
    "fragments side by side": "{ tree {"
    + "".join(f"...F{n} " for n in range(170))
    + "} }"
    + "".join(f" fragment F{n} on Tree {{ name }}" for n in range(170)),
    "fragments in conflict": "{ tree {"
    + "".join(f"...F{n} " for n in range(150))
    + "} }"
    + "".join(f" fragment F{n} on Tree {{ x: {'name' if n % 2 else '__typename'} }}" for n in range(150)),
    "fragments of all later ones": "{ tree { ...F0 } }"
    + "".join(
        f" fragment F{n} on Tree {{ " + "".join(f"next {{ ...F{min(n + m + 1, 16)} }}" for m in range(16)) + " }"
        for n in range(16)
    )
    + " fragment F16 on Tree { name }",
    "fragments of all others": "{ tree { "
    + SPREADS
    + "} }"
    + "".join(f" fragment F{n} on Tree {{ name next {{ {SPREADS} }} }}" for n in range(20)),
    "many operations of long chains": "".join(f"query Q{n} {{ tree {{ ...F0 }} }} " for n in range(120))
    + "".join(f" fragment F{n} on Tree {{ ...F{n + 1} }}" for n in range(100))
    + " fragment F100 on Tree { name }",
    "variables in conflict": "query ("
    + "".join(f"$a{n}: String! " for n in range(150))
    + ") {"
    + "".join(f" hello(name: $a{n})" for n in range(150))
    + " }",
}


PLAIN = "".join(f"query Q{n} {{ hello }} " for n in range(390)) + "{ nothing }"
"""A document of as many tokens within the limits that repeats nothing. What is wrong with it, validation finds out."""


async def seconds(client: Client, query: str) -> float:
    """How long an invalid document keeps the processor at work."""
    gc.collect()
    gc.disable()  # a collection that falls into a call is no part of it
    try:
        began = time.thread_time()
        response = await ask(client, query)
        took = time.thread_time() - began
    finally:
        gc.enable()
    assert response.status == 400
    assert "nested too deeply" not in response.content.decode()
    assert set(codes(response)) == {"invalid"}  # and not malformed: it has no more tokens than it may have
    return took


async def test_no_document_takes_much_longer_to_be_refused_than_a_plain_one_of_its_length():
    async with hostile() as client:
        # another document each time, so that it is read anew; the least time is that of the document alone
        most = 5 * min([await seconds(client, f"{PLAIN} # {n}") for n in range(3)])
        for name, query in HEAVY.items():
            took = [await seconds(client, query)]
            while took[-1] >= most and len(took) < 3:
                took.append(await seconds(client, f"{query} # {len(took)}"))
            assert min(took) < most, name
            await still_well(client)


# --- requests that are none -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"null",
        b"1",
        b'"{ hello }"',
        b"{}",
        b'{"query": null}',
        b'{"query": ""',
        b"{'query': '{ hello }'}",
        b'{"query": "{ hello }"}{',
        b'{"query": "{ hello }", }',
        b'{"query": "{ hello \xff }"}',
        b'{"query": "{ hello \xc0\x80 }"}',
        b'\xef\xbb\xbf{"query": "{ hello }"}',
        '{"query": "{ hello }"}'.encode("utf-16"),
        b'{"query": "{ hello \x00 }"}',
        b"\x00" * 1000,
        b"query=%7B+hello+%7D",
        b"[" * 100_000,
    ],
)
async def test_a_body_that_is_no_request_is_malformed(content):
    async with hostile() as client:
        assert refusal(await send(client, content)) == (400, {"malformed"}, False)
        await still_well(client)


async def test_no_body_is_malformed():
    async with hostile() as client:
        response = await client.request("POST", "/graphql", headers={"accept": GRAPHQL})
    assert refusal(response) == (400, {"malformed"}, False)


@pytest.mark.parametrize(
    "media",
    [
        "",
        "text/plain",
        "text/plain;charset=application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/xml",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/jsonx",
        "json",
        "\xff",
    ],
)
async def test_another_content_type_is_refused(media):
    async with hostile() as client:
        response = await send(client, b'{"query": "{ hello }"}', content_type=media)
    assert refusal(response) == (415, {"unsupported_media_type"}, False)


async def test_a_body_that_is_packed_is_refused():
    async with hostile() as client:
        response = await send(client, gzip.compress(b'{"query": "{ hello }"}'), content_encoding="gzip")
    assert refusal(response) == (415, {"unsupported_media_type"}, False)


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (GRAPHQL, GRAPHQL),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("application/*;q=0.1", "application/json"),
        (f"application/json;q=0.5, {GRAPHQL};q=0.9", GRAPHQL),
        (f"{GRAPHQL};q=0, */*", "application/json"),
        (f"text/html, {GRAPHQL}; charset=utf-8;q=0.1", GRAPHQL),
        (",,, ;;;, application/json", "application/json"),
        ("text/html", None),
        ("application/xml, image/*", None),
        ("application/json;q=0", None),
        ("application/json;q=nonsense", None),
        ("application/json;q=nan", None),
        ("application", None),
        ("x" * 50_000, None),
        ("," * 50_000, "application/json"),
    ],
)
async def test_the_answer_is_of_a_type_that_the_caller_takes(accept, media):
    async with hostile() as client:
        response = await send(client, b'{"query": "{ hello }"}', accept=accept)
    if media is None:
        assert refusal(response) == (406, {"not_acceptable"}, False)
    else:
        assert (response.status, response.headers["content-type"]) == (200, f"{media}; charset=utf-8")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "QUERY", "get", "MKCOL"])
async def test_another_method_is_not_allowed(method):
    async with hostile() as client:
        response = await client.request(method, "/graphql", json={"query": "{ hello }"})
    assert (response.status, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")


async def test_options_tells_the_methods():
    async with hostile() as client:
        response = await client.request("OPTIONS", "/graphql")
    assert (response.status, response.headers["allow"], response.content) == (204, "GET, HEAD, OPTIONS, POST", b"")


@pytest.mark.parametrize("query", ["{ hello }", "{", "{ nobody }", "mutation { echo }", ""])
async def test_head_answers_as_get_does_without_a_body(query):
    async with hostile(environment="development") as client:
        asked = {"query": urlencode({"query": query}), "headers": {"x-request-id": "1", "accept": GRAPHQL}}
        whole = await client.request("GET", "/graphql", **asked)
        bare = await client.request("HEAD", "/graphql", **asked)
    assert (bare.status, bare.headers, bare.content) == (whole.status, whole.headers, b"")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "query=",
        "query=%ff",
        "query=%zz",
        "query=%7Bhello%7D&query=%7Bhello%7D",
        "query=%7Bhello%7D&variables=",
        "query=%7Bhello%7D&variables={",
        "query=%7Bhello%7D&variables=[]",
        "query=%7Bhello%7D&variables=1",
        "query=%7Bhello%7D&variables=%22x%22",
        "query=%7Bhello%7D&variables=" + "[" * 2000,
        "query=%7Bhello%7D&extensions=1",
        "operationName=a",
        "variables={}",
    ],
)
async def test_a_query_string_that_is_no_request_is_malformed(query):
    async with hostile(environment="development") as client:
        response = await client.request("GET", "/graphql", query=query, headers={"accept": GRAPHQL})
    if query.endswith("variables="):
        assert response.json() == {"data": {"hello": "Hello World"}}
    else:
        assert refusal(response) == (400, {"malformed"}, False)


async def test_a_post_has_no_query_string():
    async with hostile() as client:
        response = await client.request(
            "POST", "/graphql", query="query=%7Bsecret%7D", json={"query": "{ hello }"}, headers={"accept": GRAPHQL}
        )
    assert (response.status, "data" in response.json()) == (422, False)


# --- who asks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["{ hello }", "{ secret }", "{", "{ __schema { description } }"])
@pytest.mark.parametrize("token", ["Bearer x", "Bearer a.b.c", "Bearer", "Basic eDp5", "", "Bearer " + "x" * 50_000])
async def test_a_token_that_is_none_is_refused_whatever_is_asked(query, token):
    async with hostile() as client:
        response = await client.request(
            "POST", "/graphql", json={"query": query}, headers={"accept": GRAPHQL, "authorization": token}
        )
    assert refusal(response) == (401, {"unauthorized"}, False)
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_nobody_learns_what_is_wrong_with_arguments_before_being_let_in():
    @action(triggers=(WEB_GET,), access_control=ScopeAccessControl(execute_scope="root"))
    async def hidden(code: Annotated[str, msgspec.Meta(pattern="^[A-Z]$")]) -> str:
        return code

    async with hostile(hidden) as client:
        response = await ask(client, '{ hidden(code: "nonsense") }')
        assert codes(response) == ["unauthorized"]
        response = await client.request(
            "POST",
            "/graphql",
            json={"query": '{ hidden(code: "nonsense") }'},
            authorization=Authorization(subject="henk", scopes=frozenset({"other"})),
        )
        assert codes(response) == ["forbidden"]


class Authorizers(Plugin):
    def __init__(self, authorize: Callable[[str], Awaitable[Authorization]]) -> None:
        self._authorize = authorize

    def authorizers(self) -> Any:
        return (SimpleNamespace(authorize=self._authorize),)


async def test_an_authorizer_that_hangs_is_given_up_at_the_deadline():
    async def hang(token: str) -> Authorization:
        await asyncio.Event().wait()
        raise AssertionError

    async with hostile(plugins=(Authorizers(hang),), timeout=1.0) as client:
        response = await client.request(
            "POST", "/graphql", json={"query": "{ hello }"}, headers={"accept": GRAPHQL, "authorization": "Bearer a"}
        )
        assert refusal(response) == (504, {"timeout"}, False)
        await still_well(client)


async def test_what_an_authorizer_breaks_with_is_for_the_log_alone(caplog):
    async def break_off(token: str) -> Authorization:
        raise RuntimeError(f"hunter2: {token}")

    with caplog.at_level(logging.ERROR):
        async with hostile(plugins=(Authorizers(break_off),)) as client:
            response = await client.request(
                "POST", "/graphql", json={"query": "{ hello }"}, headers={"authorization": "Bearer a"}
            )
    assert refusal(response) == (500, {"internal_error"}, False)
    assert b"hunter2" not in response.content
    assert "hunter2" in caplog.text


# --- who goes away, and what ends -----------------------------------------------------------------------------------


def scope_of(app: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/graphql",
        "raw_path": b"/graphql",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


async def test_a_caller_who_goes_away_before_its_request_is_read_gets_no_answer():
    app = create_app(Service(ACTIONS, settings=Settings(environment="production", jwt_secret_key=SECRET)))
    for messages in (
        [{"type": "http.disconnect"}],
        [{"type": "http.request", "body": b'{"query"', "more_body": True}, {"type": "http.disconnect"}],
    ):
        incoming = iter(messages)

        async def receive(incoming: Any = incoming) -> Any:
            return next(incoming)

        sent: list[Any] = []

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        async with client_of(app) as client:
            await app(scope_of(app), receive, send)
            assert sent == []
            await still_well(client)


async def test_a_request_that_is_cancelled_while_actions_run_ends_them():
    began, ended = asyncio.Event(), asyncio.Event()

    @action(triggers=(WEB_GET,))
    async def wait() -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "never"

    async with hostile(wait, hello) as client:
        call = asyncio.ensure_future(ask(client, "{ hello wait }"))
        await began.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await ended.wait()
        await still_well(client)


async def test_an_action_that_is_too_slow_leaves_its_field_and_not_the_others():
    @action(triggers=(WEB_GET,), timeout=0.05)
    async def slow() -> str | None:
        await asyncio.Event().wait()
        return None

    async with hostile(slow, hello) as client:
        response = await ask(client, "{ hello slow a: slow }")
    assert (response.status, response.json()["data"]) == (200, {"hello": "Hello World", "slow": None, "a": None})
    assert codes(response) == ["timeout", "timeout"]


async def test_while_the_service_stops_a_call_that_is_cut_off_says_so():
    began = asyncio.Event()

    @action(triggers=(WEB_GET,), timeout=None)
    async def wait() -> str:
        began.set()
        await asyncio.Event().wait()
        return "never"

    service = Service((wait, hello), settings=Settings(environment="production", jwt_secret_key=SECRET))
    app = create_app(service)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b'{"query": "{ hello wait }"}'}

    async with client_of(app):
        call = asyncio.ensure_future(app(scope_of(app), receive, send))
        await began.wait()
        service.stop_within(0)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
    assert sent[0]["status"] == 503
    (error,) = json.loads(sent[1]["body"])["errors"]
    assert error["extensions"]["code"] == "overloaded"
