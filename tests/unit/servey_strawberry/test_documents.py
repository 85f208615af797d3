"""Documents: those that are persisted, those that are named by their hash, and how much one may ask for."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from graphql import OperationDefinitionNode, parse, validate

from servey import (
    WEB_GET,
    WEB_POST,
    Authorization,
    DefinitionError,
    Example,
    ScopeAccessControl,
    WebTrigger,
    WebTriggerMethod,
)
from servey.action.action import action
from servey.errors import SettingsError
from servey.schema.graphql.examples import example_documents
from servey.schema.graphql.model_builder import build_model
from servey.servey_starlette.app import create_app
from servey.servey_strawberry import documents
from servey.servey_strawberry.documents import Documents
from servey.servey_strawberry.query_complexity import ComplexityMeasurer, QueryComplexity
from servey.servey_strawberry.schema import create_schema
from servey.servey_test.client import Client, Response, client_of
from servey.service import Service
from servey.settings import Settings
from unit.servey_strawberry.asking import HEADERS, codes, post

SECRET = "x" * 40


@action(triggers=(WEB_GET,))
def say_hello(name: str = "you") -> str:
    return f"Hello {name}!"


@action(triggers=(WEB_POST,))
def change() -> int:
    return 1


class Colour(Enum):
    RED = "red"


def hashed(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()


HELLO = "query($name: String!) { sayHello(name: $name) }"


def persisted(directory: Path, **documents: str) -> Settings:
    path = directory / "documents.json"
    path.write_text(json.dumps(documents))
    return Settings(graphql_documents=str(path), graphql_only_documents=True)


async def send(client: Client, **members: Any) -> Response:
    return await client.request("POST", "/graphql", content=json.dumps(members).encode(), headers=HEADERS)


def code_of(response: Response) -> str:
    return response.json()["errors"][0]["extensions"]["code"]


async def test_a_persisted_document_is_executed_by_its_name_and_nothing_else_is(tmp_path: Path) -> None:
    settings = persisted(tmp_path, hello=HELLO, **{hashed("{ sayHello }"): "{ sayHello }"})
    async with client_of(create_app(Service([say_hello], settings=settings))) as client:
        told = [
            await send(client, documentId="hello", variables={"name": "World"}),
            await send(client, documentId=f"sha256:{hashed('{ sayHello }').upper()}"),
            await send(client, extensions={"persistedQuery": {"version": 1, "sha256Hash": hashed("{ sayHello }")}}),
            await send(client, id="hello", query="{ other }", variables={"name": "you"}),
        ]
        assert [item.json() for item in told] == [
            {"data": {"sayHello": "Hello World!"}},
            *[{"data": {"sayHello": "Hello you!"}}] * 3,
        ]
        refused = [
            await send(client, query=HELLO, variables={"name": "World"}),
            await send(client, documentId="other"),
            await send(client, query="{ sayHello }", documentId=hashed("{ sayHello } ")),
        ]
    assert [(item.status, code_of(item)) for item in refused] == [(400, "persisted_query_not_found")] * 3


async def test_a_query_is_registered_by_its_hash_and_then_named(tmp_path: Path) -> None:
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": hashed(HELLO)}}
    variables = {"name": "World"}
    async with client_of(create_app(Service([say_hello]))) as client:
        unknown = await send(client, extensions=extensions, variables=variables)
        assert unknown.json()["errors"][0]["message"] == "PersistedQueryNotFound"  # what Apollo's clients look for
        assert code_of(unknown) == "persisted_query_not_found"
        wrong = await send(client, query="{ sayHello }", extensions=extensions)
        assert (wrong.status, code_of(wrong)) == (400, "invalid")
        for members in ({"query": HELLO}, {}, {}):
            told = await send(client, extensions=extensions, variables=variables, **members)
            assert told.json() == {"data": {"sayHello": "Hello World!"}}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        ("[1]", "not a JSON object"),
        ("{", "not a JSON object"),
        ('{"a": "{ nothing }"}', "a: Cannot query field"),
        ('{"a": "{"}', "a: Syntax Error"),
    ],
)
def test_persisted_documents_that_are_none_stop_the_start(tmp_path: Path, content: str | None, told: str) -> None:
    path = tmp_path / "documents.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError) as caught:
        create_app(Service([say_hello], settings=Settings(graphql_documents=str(path))))
    assert "SERVEY_GRAPHQL_DOCUMENTS" in str(caught.value)
    assert told in str(caught.value)


def test_only_documents_without_documents_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError):
        Settings(graphql_only_documents=True)


def production(**settings: Any) -> Settings:
    return Settings(environment="production", jwt_secret_key=SECRET, **settings)


async def test_a_guarded_get_needs_a_header_or_the_name_of_a_persisted_document(tmp_path: Path) -> None:
    path = tmp_path / "documents.json"
    path.write_text(json.dumps({"hello": "{ sayHello }"}))
    settings = production(graphql_documents=str(path))
    async with client_of(create_app(Service([say_hello], settings=settings))) as client:

        async def get(query: str, **headers: str) -> int:
            return (await client.request("GET", "/graphql", query=query, headers=headers)).status

        free = f"query={quote('{ sayHello }')}"
        assert await get(free) == 403
        assert await get(free, **{"graphql-preflight": "1"}) == 200
        assert await get(free, **{"apollo-require-preflight": "true"}) == 200
        assert await get(free, **{"content-type": "application/json"}) == 200
        assert await get(free, **{"content-type": "text/plain"}) == 403
        assert await get("documentId=hello") == 200
        assert await get("documentId=other") == 403


async def test_get_may_be_off_and_never_changes_anything() -> None:
    for settings, status in ((Settings(graphql_get="off"), 405), (Settings(), 200)):
        async with client_of(create_app(Service([say_hello, change], settings=settings))) as client:
            response = await client.request("GET", "/graphql", query=f"query={quote('{ sayHello }')}")
            assert response.status == status
            response = await client.request("GET", "/graphql", query=f"query={quote('mutation { change }')}")
            assert (response.status, response.headers["allow"]) == (405, "OPTIONS, POST")


SCHEMA = "{ __schema { queryType { name } } }"


async def test_introspection_is_for_development_or_for_whom_a_scope_lets_in() -> None:
    reader = Authorization("me", frozenset({"schema:read"}))
    for settings, nobody, somebody in (
        (Settings(), [], []),
        (production(), ["forbidden"], ["forbidden"]),
        (Settings(graphql_introspection="off"), ["forbidden"], ["forbidden"]),
        (production(graphql_introspection="on"), [], []),
        (production(graphql_introspection="schema:read"), ["forbidden"], []),
    ):
        service = Service([say_hello], settings=settings)
        assert await codes(service, SCHEMA) == nobody
        assert await codes(service, SCHEMA, authorization=reader) == somebody
        assert await codes(service, "{ __typename }") == []
        hidden = "fragment F on Query { s: __schema { types { name } } } { ...F }"
        assert await codes(service, hidden) == nobody


async def test_production_suggests_no_names() -> None:
    for settings, suggests in ((Settings(), True), (production(), False)):
        response = await post(Service([say_hello], settings=settings), "{ sayHell }")
        assert ("sayHello" in response.content.decode()) == suggests
        query = "query($name: String!) { sayHello(name: $name, nam: 1) }"
        response = await post(Service([say_hello], settings=settings), query)
        assert ("Did you mean" in response.content.decode()) == suggests


# --- limits -----------------------------------------------------------------------------------------------------------


@dataclass
class Node:
    name: str
    children: list[Node] = field(default_factory=list)
    rows: list[list[Node]] | None = None

    @action
    async def parent(self) -> Node | None:
        return None


@action(triggers=(WEB_GET,))
def node() -> Node:
    return Node("n")


def measured(document: str) -> QueryComplexity:
    schema = create_schema(Service([node])).core
    ast = parse(document)
    (operation,) = [item for item in ast.definitions if isinstance(item, OperationDefinitionNode)]
    return ComplexityMeasurer(schema, ast).measure(operation)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("{ node { name } }", QueryComplexity(2, 2, 0, 11, 1)),
        ("{ a: node { b: name } }", QueryComplexity(2, 2, 2, 11, 1)),
        ("{ node { children { name } } }", QueryComplexity(3, 3, 0, 10 + 1 + 10, 1)),
        ("{ node { rows { name name } } }", QueryComplexity(3, 4, 0, 10 + 1 + 200, 1)),
        ("{ node { parent { parent { name } } } }", QueryComplexity(4, 4, 0, 31, 3)),
        ("{ node { ... { name } ... on Node { name } } }", QueryComplexity(2, 3, 0, 12, 1)),
        (
            "{ ...Q ...Q } fragment Q on Query { node { ...N } } fragment N on Node { x: name }",
            QueryComplexity(2, 4, 2, 22, 2),
        ),
        ("{ __schema { types { name } } }", QueryComplexity(3, 3, 0, 3)),
    ],
)
def test_a_document_is_measured_with_its_fragments_as_often_as_they_are_used(
    document: str, expected: QueryComplexity
) -> None:
    assert measured(document) == expected


async def test_each_limit_is_a_setting_and_holds_before_anything_is_called() -> None:
    called: list[int] = []

    @action(triggers=(WEB_GET,))
    def count() -> Node:
        called.append(1)
        return Node("n", [Node("m")])

    fits = "{ count { a: name children { name } } }"
    assert await codes([count], fits) == []
    called.clear()
    for limits in (
        {"max_depth": 2},
        {"max_fields": 3},
        {"graphql_max_aliases": 0},
        {"max_cost": 10 + 1 + 1 + 10 - 1},
        {"graphql_max_tokens": 11},
    ):
        service = Service([count], settings=Settings(**limits))
        response = await post(service, fits)
        assert (response.status, len(response.json()["errors"])) == (400, 1), limits
    assert called == []
    exact = Settings(max_depth=3, max_fields=4, graphql_max_aliases=1, max_cost=22, graphql_max_tokens=12)
    assert await codes(Service([count], settings=exact), fits) == []


async def test_requests_come_in_an_array_as_far_as_a_setting_lets_them() -> None:
    async def sent(most: int, many: int) -> Response:
        service = Service([say_hello], settings=Settings(graphql_max_batch=most))
        body = json.dumps([{"query": "{ sayHello }"}] * many).encode()
        async with client_of(create_app(service)) as client:
            return await client.request("POST", "/graphql", content=body, headers=HEADERS)

    assert (await sent(3, 3)).json() == [{"data": {"sayHello": "Hello you!"}}] * 3
    assert [(await sent(3, 4)).status, (await sent(3, 0)).status, (await sent(1, 1)).status] == [413, 400, 400]


def test_the_documents_that_are_kept_are_those_of_all_event_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MOST_BYTES", 20_000)
    kept = Documents(create_schema(Service([say_hello])).core, Settings())
    switching, barrier = sys.getswitchinterval(), threading.Barrier(4)

    def read(thread: int) -> None:
        barrier.wait()
        for n in range(100):
            source = f"{{ a{n} : sayHello b{thread % 2}: sayHello }}"
            kept.find(source, hashlib.sha256(source.encode()).hexdigest())

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(read, range(4)))
    finally:
        sys.setswitchinterval(switching)


async def test_of_several_requests_none_hides_what_the_others_have_done() -> None:
    done: list[int] = []

    @action(triggers=(WEB_POST,))
    async def add(n: int) -> int:
        done.append(n)
        return n

    requests = [
        {"query": "mutation { add(n: 1) }"},
        {"documentId": "0" * 64},
        {"query": "mutation ($n: Int!) { add(n: $n) }", "variables": {"n": {"a": [[]] * 5000}}},
        {"query": "{ nobody }"},
        {"query": "mutation { add(n: 2) }"},
    ]
    service = Service([add], settings=Settings(graphql_max_batch=9, graphql_max_values=1000))
    async with client_of(create_app(service)) as client:
        response = await client.request("POST", "/graphql", json=requests, headers=HEADERS)
    told = [item.get("data") or [error["extensions"]["code"] for error in item["errors"]] for item in response.json()]
    assert told == [{"add": 1}, ["persisted_query_not_found"], ["too_large"], ["invalid"], {"add": 2}]
    assert (response.status, response.headers["cache-control"], done) == (200, "private, no-store", [1, 2])


# --- the application --------------------------------------------------------------------------------------------------


def test_an_action_cannot_take_the_paths_of_graphql() -> None:
    for path in ("/graphql", "/graphiql", "/graphiql/assets/x"):

        @action(triggers=(WebTrigger(WebTriggerMethod.GET, path),))
        def mine() -> str:
            return "mine"

        with pytest.raises(DefinitionError):
            create_app(Service([mine]))


async def test_graphql_can_be_switched_off_and_its_page_is_for_development() -> None:
    async def statuses(settings: Settings) -> list[int]:
        async with client_of(create_app(Service([say_hello], settings=settings))) as client:
            query = f"query={quote('{ sayHello }')}"
            headers = {"graphql-preflight": "1"}
            return [
                (await client.request("GET", "/graphql", query=query, headers=headers)).status,
                (await client.request("GET", "/graphiql/")).status,
            ]

    assert await statuses(Settings()) == [200, 200]
    assert await statuses(production()) == [200, 404]
    assert await statuses(production(graphiql=True)) == [200, 200]
    assert await statuses(Settings(graphiql=False)) == [200, 404]
    assert await statuses(Settings(graphql=False)) == [404, 404]


async def test_a_mutation_that_is_asked_for_as_a_query_is_told_to_be_one() -> None:
    told = (await post([say_hello, change], "{ change }")).json()["errors"]
    assert len(told) == 1
    assert "mutation { change" in told[0]["message"]
    told = (await post([say_hello, change], "mutation { sayHello }")).json()["errors"]
    assert "query { sayHello" in told[0]["message"]
    hidden = (await post(Service([say_hello, change], settings=production()), "{ change }")).json()["errors"]
    assert "mutation" not in hidden[0]["message"]


async def test_a_browser_that_opens_the_endpoint_is_led_to_the_page_where_there_is_one() -> None:
    html = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for settings, expected in ((Settings(), (307, "graphiql/")), (production(), (400, None))):
        async with client_of(create_app(Service([say_hello], settings=settings))) as client:
            response = await client.request("GET", "/graphql", headers=html)
            assert (response.status, response.headers.get("location")) == expected


def test_an_example_with_an_answer_is_first_and_one_that_is_not_documented_is_left_out() -> None:
    @action(
        triggers=(WEB_GET,),
        examples=(
            Example(name="nobody", result=None),
            Example(name="me", result=1, authorization=Authorization("me", frozenset())),
            Example(name="hidden", result=1, include_in_schema=False),
        ),
    )
    def who() -> int | None:
        return None

    @action(triggers=(WEB_POST,), examples=(Example(name="two", params={"x": {"by-name": [1]}}, result=2),))
    def change(x: Any) -> int:
        return 2

    @action(triggers=(WEB_GET,), examples=(Example(name="one", result=1),))
    def count() -> int:
        return 1

    titles = [document.title for document in example_documents(build_model(Service([who, change, count])))]
    assert titles == ["count: one", "who: nobody", "who: me", "change: two"]


def test_examples_are_documents_of_the_schema_those_for_everybody_first() -> None:
    @action(
        triggers=(WEB_GET,),
        access_control=ScopeAccessControl("root"),
        examples=(Example(name="guarded", result=1, authorization=Authorization("me", frozenset({"root"}))),),
    )
    def secret() -> int:
        return 1

    @action(triggers=(WEB_GET,), examples=(Example(name="by_depth", params={"deep": 2}),))
    def grow(deep: int = 1, colour: Colour = Colour.RED) -> Node:
        return Node("n")

    @action(
        triggers=(WEB_POST,),
        examples=(Example(name="red", params={"colour": "red"}), Example(name="no", error="invalid")),
    )
    def paint(colour: Colour) -> None:
        pass

    service = Service([secret, grow, paint])
    model = build_model(service)
    schema = create_schema(service, model).core
    documents = example_documents(model)
    assert [(document.title, document.variables) for document in documents] == [
        ("grow: by_depth", '{\n  "deep": 2\n}'),
        ("paint: red", '{\n  "colour": "RED"\n}'),
        ("secret: guarded", ""),
    ]
    assert [validate(schema, parse(document.query)) for document in documents] == [[], [], []]
    assert documents[0].query.startswith("query grow_byDepth($deep: Int!) {\n  grow(deep: $deep) {\n    name\n")
    assert "    parent {\n" in documents[0].query
