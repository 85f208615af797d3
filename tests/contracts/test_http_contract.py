"""What every adapter that serves HTTP has to answer. `HTTP_ADAPTERS` lists them; a new one joins the list."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from servey import (
    WEB_DELETE,
    WEB_GET,
    WEB_POST,
    Authorization,
    ConflictError,
    NotFoundError,
    Reply,
    ScopeAccessControl,
    WebTrigger,
    WebTriggerMethod,
)
from servey.action.action import action
from servey.cache_control.secure_hash_cache_control import SecureHashCacheControl
from servey.cache_control.ttl_cache_control import TtlCacheControl
from servey.service import Service
from servey.settings import Settings
from support.http_clients import HTTP_ADAPTERS

ADA, ROOT = Authorization("ada"), Authorization("root", frozenset({"root"}))
JSON = {"content-type": "application/json"}
BOUND = 60.0


@dataclass
class Note:
    id: int
    text: str

    @action
    def length(self) -> int:
        return len(self.text)


class Notes:
    """Actions over a few notes, made anew for each test."""

    def __init__(self) -> None:
        self.texts = {1: "first"}
        self.reads = 0

    def service(self) -> Service:
        @action(triggers=(at("GET"),), cache_control=TtlCacheControl(300))
        def read(id: int) -> Note:
            self.reads += 1
            if id not in self.texts:
                raise NotFoundError(f"there is no note {id}")
            return Note(id, self.texts[id])

        @action(triggers=(at("PUT"),))
        def write(id: int, text: str) -> Note:
            self.texts[id] = text
            return Note(id, text)

        @action(triggers=(at("DELETE"),))
        def remove(id: int) -> None:
            del self.texts[id]

        @action(triggers=(WEB_POST,), errors=(ConflictError,))
        def create(id: int, text: str) -> Reply[Note]:
            if id in self.texts:
                raise ConflictError(f"there is a note {id} already")
            self.texts[id] = text
            return Reply(Note(id, text), status=201, headers={"Location": f"/notes/{id}"})

        @action(triggers=(WEB_DELETE,), status=204)
        def clear() -> None:
            self.texts.clear()

        @action(triggers=(WEB_GET,), access_control=ScopeAccessControl("root"))
        def secret() -> str:
            return "swordfish"

        @action(triggers=(WEB_GET,))
        def whoami(caller: Authorization) -> str | None:
            return caller.subject

        @action(triggers=(WEB_GET,), rate_limit="2/minute")
        def limited() -> int:
            return 1

        @action(triggers=(WEB_GET,), cache_control=SecureHashCacheControl())
        def hashed() -> str:
            return "the same"

        @action(triggers=(WEB_GET,))
        def broken() -> int:
            raise RuntimeError("swordfish")

        actions = [read, write, remove, create, clear, secret, whoami, limited, hashed, broken]
        return Service(actions, settings=Settings(max_body_size=1000))


def at(method: str) -> WebTrigger:
    return WebTrigger(WebTriggerMethod(method), "/notes/{id}")


def put(text: str) -> dict[str, Any]:
    return {"content": json.dumps({"text": text}).encode(), "headers": JSON}


Ask = Callable[..., Coroutine[Any, Any, Any]]


@pytest.fixture(params=HTTP_ADAPTERS)
def answers(request: pytest.FixtureRequest) -> Callable[[Callable[[Ask, Notes], Coroutine[Any, Any, None]]], None]:
    """Run a test's coroutine with a function that sends a request, and with the notes."""

    def run(test: Callable[[Ask, Notes], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            notes = Notes()
            async with asyncio.timeout(BOUND), HTTP_ADAPTERS[request.param](notes.service()) as client:
                await test(client.request, notes)

        asyncio.run(main())

    return run


def problem(response: Any) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    told = response.json()
    assert (told["status"], told["request_id"]) == (response.status, response.headers["x-request-id"])
    return response.status, told["code"]


def test_results_have_their_status_type_and_request_id(answers: Any) -> None:
    async def main(ask: Ask, notes: Notes) -> None:
        got = await ask("GET", "/notes/1", headers={"x-request-id": "mine"})
        assert (got.status, got.json()) == (200, {"id": 1, "text": "first"})
        assert (got.headers["content-type"], got.headers["x-request-id"]) == ("application/json", "mine")
        made = await ask("POST", "/actions/create", content=b'{"id": 2, "text": "second"}', headers=JSON)
        assert (made.status, made.json(), made.headers["location"]) == (201, {"id": 2, "text": "second"}, "/notes/2")
        cleared = await ask("DELETE", "/actions/clear")
        assert (cleared.status, cleared.content) == (204, b"")

    answers(main)


@pytest.mark.parametrize(
    ("method", "path", "sent", "expected"),
    [
        ("PUT", "/notes/1", {"content": b"{", "headers": JSON}, (400, "malformed")),
        ("PUT", "/notes/1", {"content": b"\xff", "headers": JSON}, (400, "malformed")),
        ("GET", "/notes/%zz", {}, (400, "malformed")),
        ("GET", "/actions/secret", {}, (401, "unauthorized")),
        ("GET", "/actions/secret", {"headers": {"authorization": "Bearer x.y.z"}}, (401, "unauthorized")),
        ("GET", "/notes/1", {"headers": {"authorization": "Bearer x.y.z"}}, (401, "unauthorized")),
        ("GET", "/actions/secret", {"authorization": ADA}, (403, "forbidden")),
        ("GET", "/notes/3", {}, (404, "not_found")),
        ("GET", "/nowhere", {}, (404, "not_found")),
        ("PATCH", "/notes/1", {}, (405, "method_not_allowed")),
        ("POST", "/actions/create", {"content": b'{"id": 1, "text": "x"}', "headers": JSON}, (409, "conflict")),
        ("PUT", "/notes/1", {"content": b'{"text": "%s"}' % (b"x" * 1000), "headers": JSON}, (413, "too_large")),
        ("PUT", "/notes/1", {"content": b"text", "headers": {"content-type": "text/plain"}},
         (415, "unsupported_media_type")),
        ("PUT", "/notes/one", {"content": b'{"text": 1, "more": 2}', "headers": JSON}, (422, "invalid")),
        ("GET", "/notes/1", {"query": "nome=x"}, (422, "invalid")),
        ("GET", "/actions/broken", {}, (500, "internal_error")),
    ],
)  # fmt: skip
def test_errors_are_problems_with_their_status_and_code(
    answers: Any, method: str, path: str, sent: dict[str, Any], expected: tuple[int, str]
) -> None:
    async def main(ask: Ask, notes: Notes) -> None:
        response = await ask(method, path, **sent)
        assert problem(response) == expected
        assert b"swordfish" not in response.content

    answers(main)


def test_a_422_names_every_problem_by_its_pointer(answers: Any) -> None:
    async def main(ask: Ask, notes: Notes) -> None:
        response = await ask("PUT", "/notes/one", content=b'{"text": 1}', headers=JSON)
        assert {item["path"] for item in response.json()["errors"]} == {"/id", "/text"}

    answers(main)


def test_a_401_and_a_403_say_how_to_authenticate(answers: Any) -> None:
    async def main(ask: Ask, notes: Notes) -> None:
        nobody = await ask("GET", "/actions/secret")
        bad = await ask("GET", "/actions/secret", headers={"authorization": "Bearer x.y.z"})
        weak = await ask("GET", "/actions/secret", authorization=ADA)
        assert nobody.headers["www-authenticate"] == "Bearer"
        assert 'error="invalid_token"' in bad.headers["www-authenticate"]
        assert 'scope="root"' in weak.headers["www-authenticate"]
        assert (await ask("GET", "/actions/secret", authorization=ROOT)).json() == "swordfish"
        assert (await ask("GET", "/actions/whoami", authorization=ADA)).json() == "ada"

    answers(main)


def test_access_is_checked_before_the_body_is_read(answers: Any) -> None:
    async def main(ask: Ask, notes: Notes) -> None:
        assert problem(await ask("GET", "/actions/secret", query="nome=x")) == (401, "unauthorized")

    answers(main)


def test_head_and_options_are_answered(answers: Any) -> None:
    async def main(ask: Ask, notes: Notes) -> None:
        head, options = await ask("HEAD", "/notes/1"), await ask("OPTIONS", "/notes/1")
        refused = await ask("PATCH", "/notes/1")
        assert (head.status, head.content) == (200, b"")
        allowed = "DELETE, GET, HEAD, OPTIONS, PUT"
        assert (options.status, options.headers["allow"], refused.headers["allow"]) == (204, allowed, allowed)

    answers(main)


def test_a_cached_result_has_validators_and_304_answers_them(answers: Any) -> None:
    async def main(ask: Ask, notes: Notes) -> None:
        first, again = await ask("GET", "/actions/hashed"), await ask("GET", "/notes/1")
        same = await ask("GET", "/actions/hashed", headers={"if-none-match": first.headers["etag"]})
        assert (same.status, same.content, same.headers["etag"]) == (304, b"", first.headers["etag"])
        assert again.headers["cache-control"].split(", ")[0] == "max-age=300"
        await ask("GET", "/notes/1")
        assert notes.reads == 1

    answers(main)


def test_a_write_invalidates_the_cached_result_of_its_path(answers: Any) -> None:
    async def main(ask: Ask, notes: Notes) -> None:
        assert (await ask("GET", "/notes/1")).json()["text"] == "first"
        assert (await ask("PUT", "/notes/1", **put("second"))).status == 200
        assert (await ask("GET", "/notes/1")).json()["text"] == "second"
        assert (await ask("DELETE", "/notes/1")).status == 200
        assert (await ask("GET", "/notes/1")).status == 404

    answers(main)


def test_a_condition_that_does_not_hold_prevents_a_write(answers: Any) -> None:
    async def main(ask: Ask, notes: Notes) -> None:
        etag = (await ask("GET", "/notes/1")).headers["etag"]
        old = put("third")
        refused = await ask("PUT", "/notes/1", content=old["content"], headers={**JSON, "if-match": '"other"'})
        assert problem(refused) == (412, "precondition_failed")
        assert notes.texts[1] == "first"
        taken = await ask("PUT", "/notes/1", content=old["content"], headers={**JSON, "if-match": etag})
        assert (taken.status, notes.texts[1]) == (200, "third")

    answers(main)


def test_a_used_up_rate_limit_is_429_and_says_when_to_come_back(answers: Any) -> None:
    async def main(ask: Ask, notes: Notes) -> None:
        statuses = [(await ask("GET", "/actions/limited")).status for _ in range(2)]
        refused = await ask("GET", "/actions/limited")
        assert (statuses, problem(refused)) == ([200, 200], (429, "too_many_requests"))
        assert 0 < int(refused.headers["retry-after"]) <= 60

    answers(main)


def test_nested_actions_are_included_where_a_query_asks_for_them(answers: Any) -> None:
    async def main(ask: Ask, notes: Notes) -> None:
        response = await ask("GET", "/notes/1", query="include=length")
        assert (response.status, response.json()) == (200, {"id": 1, "text": "first", "length": 5})
        assert problem(await ask("GET", "/notes/1", query="include=lenght")) == (422, "invalid")

    answers(main)
