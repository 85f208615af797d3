from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from servey import WEB_GET, WEB_POST, ConflictError, Reply, resource
from servey.action.action import action
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client
from servey.service import Service

WEB = (WEB_GET, WEB_POST)


def client(*actions: Any, **options: Any) -> Client:
    return Client(create_app(Service(actions, **options)))


@action(triggers=WEB)
async def greet(name: str) -> str:
    if name == "nobody":
        raise ConflictError("nobody is here", headers={"X-Why": "empty"})
    if name == "bug":
        raise RuntimeError("swordfish")
    return f"Hello {name}!"


@pytest.mark.parametrize("query", ["name=W%C3%B6rld", "name=nobody", "name=bug", "nome=x", "name=%zz"])
async def test_head_has_the_headers_of_get_and_no_body(query: str) -> None:
    http, same = client(greet), {"x-request-id": "same"}
    got = await http.request("GET", "/actions/greet", query=query, headers=same)
    head = await http.request("HEAD", "/actions/greet", query=query, headers=same)
    assert got.content
    assert (head.status, head.headers, head.content) == (got.status, got.headers, b"")
    assert int(head.headers["content-length"]) == len(got.content)


async def test_head_is_only_for_what_get_serves() -> None:
    @action(triggers=(WEB_POST,))
    async def add() -> int:
        return 1

    response = await client(add).request("HEAD", "/actions/add")
    assert (response.status, response.headers["allow"], response.content) == (405, "OPTIONS, POST", b"")
    assert (await client(add).request("HEAD", "/nope")).status == 404  # Starlette leaves its body to the server


async def test_an_answer_is_json_with_its_length() -> None:
    response = await client(greet).request("GET", "/actions/greet", query="name=a")
    request_id = response.headers["x-request-id"]
    assert response.headers == {"content-type": "application/json", "content-length": "10", "x-request-id": request_id}
    assert response.content == b'"Hello a!"'


async def test_a_problem_has_every_member_of_rfc_9457() -> None:
    response = await client(greet).request("POST", "/actions/greet", json={"nam": 1}, headers={"x-request-id": "r1"})
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["content-length"]) == len(response.content)
    problem = response.json()
    assert {item.pop("message") != "" for item in problem["errors"]} == {True}
    assert problem == {
        "type": "/docs/errors#invalid",
        "title": "Unprocessable Content",
        "status": 422,
        "code": "invalid",
        "errors": [{"path": "/name"}, {"path": "/nam"}],
        "request_id": "r1",
    }


async def test_a_call_errors_headers_are_sent() -> None:
    response = await client(greet).request("GET", "/actions/greet", query="name=nobody")
    assert (response.status, response.headers["x-why"], response.json()["detail"]) == (409, "empty", "nobody is here")


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_a_status_without_content_has_none(status: int) -> None:
    @action(triggers=WEB)
    async def give() -> Reply[str]:
        return Reply("unsent", status=status, headers={"ETag": '"1"'})

    for method in ("GET", "HEAD", "POST"):
        response = await client(give).request(method, "/actions/give")
        assert (response.status, response.content, response.headers["etag"]) == (status, b"", '"1"')
        assert "content-type" not in response.headers
        assert "content-length" not in response.headers


async def test_an_action_without_content_may_declare_it() -> None:
    @action(triggers=(WEB_POST,), status=204)
    async def drop() -> None:
        pass

    response = await client(drop).request("POST", "/actions/drop")
    assert (response.status, response.content) == (204, b"")


async def test_a_redirect_is_a_reply() -> None:
    @action(triggers=(WEB_GET,))
    async def go() -> Reply[None]:
        return Reply(None, status=303, headers={"Location": "/there"})

    response = await client(go).request("GET", "/actions/go")
    assert (response.status, response.headers["location"]) == (303, "/there")


async def test_a_header_that_cannot_be_sent_is_a_defect_and_not_sent() -> None:
    @action(triggers=(WEB_GET,))
    async def split(value: str) -> Reply[str]:
        return Reply("x", headers={"X-Value": value})

    http = client(split)
    for value in ("a%0D%0ASet-Cookie:%20x", "%E2%82%AC", "a%00"):
        response = await http.request("GET", "/actions/split", query=f"value={value}")
        assert response.status == 500
        assert "set-cookie" not in response.headers
    assert (await http.request("GET", "/actions/split", query="value=%C3%A4")).headers["x-value"] == "ä"


async def test_without_a_lifespan_the_first_call_opens_what_it_needs() -> None:
    class Pool:
        pass

    opened: list[str] = []

    @resource(scope="service")
    async def pool() -> AsyncIterator[Pool]:
        opened.append("open")
        yield Pool()
        opened.append("close")

    @action(triggers=(WEB_GET,))
    async def use(pool: Pool) -> bool:
        return isinstance(pool, Pool)

    http = client(use, resources=[pool])
    assert [(await http.request("GET", "/actions/use")).json() for _ in range(2)] == [True, True]
    assert opened == ["open"]
