"""The OpenAPI document over HTTP."""

import asyncio
import gzip
import json
import threading

import anyio.to_thread
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from servey import WEB_GET, Authorization, DefinitionError, WebTrigger, WebTriggerMethod
from servey.action.action import action
from servey.errors import UnauthorizedError
from servey.plugin import Plugin
from servey.schema.openapi import openapi_document
from servey.security.access_control import ScopeAccessControl
from servey.servey_starlette import document
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client
from servey.service import Service
from servey.settings import Settings


@action(triggers=(WEB_GET,))
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Hello {name}!"


SERVICE = Service([greet])


async def get(path="/openapi.json", root="", method="GET", service=SERVICE, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await Client(create_app(service), root).request(method, path, headers=named)


async def test_it_is_the_document_of_the_service():
    response = await get()
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    assert response.json() == openapi_document(SERVICE)


async def test_it_is_not_sent_again_to_who_has_it():
    etag = (await get()).headers["etag"]
    for condition in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = await get(if_none_match=condition)
        assert (response.status, response.content, response.headers["etag"]) == (304, b"", etag)
    assert (await get(if_none_match='"other"')).status == 200


@pytest.mark.parametrize("accepted", ["gzip", "br, GZIP;q=0.5", "deflate , gzip"])
async def test_it_is_compressed_for_who_takes_that(accepted):
    response = await get(accept_encoding=accepted)
    assert (response.headers["content-encoding"], response.headers["vary"]) == (
        "gzip",
        "Authorization, Accept-Encoding",
    )
    assert json.loads(gzip.decompress(response.content)) == openapi_document(SERVICE)
    assert response.headers["etag"] != (await get()).headers["etag"]


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0", "identity"])
async def test_it_is_plain_for_others(accepted):
    response = await get(accept_encoding=accepted)
    assert "content-encoding" not in response.headers
    assert response.json() == openapi_document(SERVICE)


async def test_head_has_the_headers_alone():
    response = await get(method="HEAD")
    assert (response.status, response.content) == (200, b"")
    assert int(response.headers["content-length"]) == len((await get()).content)


async def test_behind_a_prefix_the_server_is_there():
    assert (await get(root="/api")).json() == openapi_document(SERVICE, root_path="/api")
    assert (await get()).json()["servers"] == [{"url": "/"}]


async def test_a_prefix_is_encoded_as_a_url_is():
    app = Starlette(routes=[Mount("/grö ße{z}", create_app(SERVICE))])
    found = await Client(app).request("GET", "/gr%C3%B6%20%C3%9Fe%7Bz%7D/openapi.json")
    assert found.json()["servers"] == [{"url": "/gr%C3%B6%20%C3%9Fe%7Bz%7D"}]
    problem = await Client(app).request("GET", "/gr%C3%B6%20%C3%9Fe%7Bz%7D/actions/greet")
    assert problem.json()["type"] == "/gr%C3%B6%20%C3%9Fe%7Bz%7D/docs/errors#invalid"


async def test_it_can_be_switched_off():
    assert (await get(service=Service([greet], settings=Settings(docs=False)))).status == 404


def test_no_action_takes_its_path():
    @action(triggers=(WebTrigger(WebTriggerMethod.GET, "/openapi.json"),))
    def mine() -> str:
        return ""

    with pytest.raises(DefinitionError, match=r"/openapi\.json"):
        create_app(Service([mine]))
    create_app(Service([mine], settings=Settings(docs=False)))


# --- with a token -----------------------------------------------------------------------------------------------------


class Tokens(Plugin):
    """Takes tokens that are lists of scopes."""

    def authorizers(self):
        return (self,)

    async def authorize(self, token):
        if token == "bad":
            raise UnauthorizedError("no such token", error="invalid_token")
        return Authorization(token, frozenset(token.split("+")))


class Slowly:
    """Asks somebody else, and fails where it should not."""

    async def check(self, authorization):
        await asyncio.sleep(0)
        if authorization is None or "async" not in authorization.scopes:
            raise RuntimeError("the directory of users is down")


def guarded():
    @action(triggers=(WEB_GET,), access_control=ScopeAccessControl("read"))
    def read() -> str:
        return ""

    @action(triggers=(WEB_GET,), access_control=Slowly())
    def slow() -> str:
        return ""

    @action(triggers=(WEB_GET,), rate_limit="1/hour")
    def whoami(authorization: Authorization) -> str:
        return ""

    return Service([greet, read, slow, whoami], plugins=[Tokens()])


def shown(response):
    return {operation["operationId"] for item in response.json()["paths"].values() for operation in item.values()}


@pytest.mark.parametrize(
    ("token", "names"),
    [
        ("nothing", {"greet", "whoami"}),
        ("read", {"greet", "whoami", "read"}),
        ("read+async", {"greet", "whoami", "read", "slow"}),
    ],
)
async def test_a_bearer_is_shown_what_they_may_call(token, names):
    service = guarded()
    for _ in range(2):  # nobody's calls are counted by looking
        response = await get(service=service, authorization=f"Bearer {token}")
        assert (response.status, shown(response)) == (200, names)
        assert response.headers["cache-control"] == "private, no-cache"
        assert response.headers["vary"] == "Authorization, Accept-Encoding"
        assert response.json() == openapi_document(service, visible=names)
    etag = response.headers["etag"]
    assert (await get(service=service, authorization=f"Bearer {token}", if_none_match=etag)).status == 304
    if len(names) < 4:
        assert (await get(service=service, if_none_match=etag)).status == 200


async def test_without_a_token_all_is_shown():
    response = await get(service=guarded())
    assert shown(response) == {"greet", "read", "slow", "whoami"}
    assert (response.headers["cache-control"], response.headers["vary"]) == (
        "no-cache",
        "Authorization, Accept-Encoding",
    )


async def test_a_bad_token_is_refused_as_everywhere():
    response = await get(service=guarded(), authorization="Bearer bad")
    assert (response.status, response.json()["code"]) == (401, "unauthorized")
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert (await get(service=guarded(), authorization="Basic abc")).status == 401


async def test_however_many_see_different_things_few_documents_are_kept(monkeypatch):
    written = []
    write = document.openapi_document

    def counted(*arguments, **named):
        written.append(named["visible"])
        return write(*arguments, **named)

    monkeypatch.setattr(document, "openapi_document", counted)

    def guard(number):
        @action(name=f"number_{number}", triggers=(WEB_GET,), access_control=ScopeAccessControl(str(number)))
        def numbered() -> str:
            return ""

        return numbered

    service = Service([guard(number) for number in range(20)], plugins=[Tokens()])
    app = Client(create_app(service))
    for _ in range(2):
        for number in range(20):
            assert shown(await app.request("GET", "/openapi.json", headers={"authorization": f"Bearer {number}"})) == {
                f"number_{number}"
            }
    assert written.count(None) == 1  # the entity tags follow from that of the whole
    assert len(written) == 41  # the first is forgotten when the last is written
    await app.request("GET", "/openapi.json", headers={"authorization": "Bearer 19+unknown"})
    assert len(written) == 41
    await app.request("GET", "/openapi.json")
    assert len(written) == 41, "what strangers see was forgotten for what somebody may choose"


def many(count, **settings):
    """An application of actions that have each a scope of its own, so that a token chooses what it is shown."""

    def guard(number):
        @action(name=f"number_{number}", triggers=(WEB_GET,), access_control=ScopeAccessControl(str(number)))
        def numbered() -> str:
            return ""

        return numbered

    return create_app(Service([guard(n) for n in range(count)], plugins=[Tokens()], settings=Settings(**settings)))


async def test_who_has_a_document_is_told_so_without_its_being_written(monkeypatch):
    written = []
    write = document.openapi_document
    monkeypatch.setattr(document, "openapi_document", lambda *a, **k: (written.append(k["visible"]), write(*a, **k))[1])
    app = Client(many(20))
    tags = [
        (await app.request("GET", "/openapi.json", headers={"authorization": f"Bearer {n}"})).headers["etag"]
        for n in range(20)
    ]
    assert len(set(tags)) == 20
    before = len(written)
    for number, tag in enumerate(tags):
        headers = {"authorization": f"Bearer {number}", "if-none-match": tag}
        assert (await app.request("GET", "/openapi.json", headers=headers)).status == 304
    assert len(written) == before
    again = Client(many(20))  # another process has the same
    assert (await again.request("GET", "/openapi.json", headers=headers)).status == 304


class Writing:
    """Writes documents when it is let, and knows how many threads do at once."""

    def __init__(self):
        self.begun, self.release = threading.Event(), threading.Event()
        self.now = self.most = 0
        self.write = document.openapi_document
        self.lock = threading.Lock()

    def __call__(self, *arguments, **named):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.begun.set()
        try:
            assert self.release.wait(20)
            return self.write(*arguments, **named)
        finally:
            with self.lock:
                self.now -= 1


async def test_documents_that_are_waited_for_take_one_thread_and_no_more(monkeypatch):
    writing = Writing()
    monkeypatch.setattr(document, "openapi_document", writing)
    app = Client(many(8))
    tasks = [
        asyncio.create_task(
            app.request("GET", "/openapi.json", headers={"authorization": f"Bearer {n % 8}+{n // 8 % 8}"})
        )
        for n in range(64)
    ]
    assert await asyncio.to_thread(writing.begun.wait, 10)
    limiter = anyio.to_thread.current_default_thread_limiter()
    for _ in range(50):
        await asyncio.sleep(0)
    assert limiter.borrowed_tokens == 1
    writing.release.set()
    answers = await asyncio.wait_for(asyncio.gather(*tasks), 30)
    assert {answer.status for answer in answers} == {200}
    assert writing.most == 1


async def test_who_waits_for_too_many_documents_is_told_to_come_again(monkeypatch):
    writing = Writing()
    monkeypatch.setattr(document, "openapi_document", writing)
    app = Client(many(2, timeout=0.1))
    first = asyncio.create_task(app.request("GET", "/openapi.json"))
    assert await asyncio.to_thread(writing.begun.wait, 10)
    answer = await app.request("GET", "/openapi.json", headers={"authorization": "Bearer 1"})
    assert (answer.status, answer.json()["code"], answer.headers["retry-after"]) == (503, "overloaded", "1")
    writing.release.set()
    assert (await first).status == 200


async def test_several_event_loops_have_the_same_documents():
    app = Client(many(3))

    def ask(number):
        return asyncio.run(app.request("GET", "/openapi.json", headers={"authorization": f"Bearer {number % 3}"}))

    answers = await asyncio.gather(*(asyncio.to_thread(ask, number) for number in range(12)))
    assert [answer.status for answer in answers] == [200] * 12
    assert len({answer.headers["etag"] for answer in answers}) == 3


async def test_a_middleware_that_says_it_is_nobody_is_believed_here_as_at_the_actions():
    @action(triggers=(WEB_GET,))
    def whose(authorization: Authorization | None) -> str:
        return "nobody" if authorization is None else "somebody"

    app = create_app(Service([greet, whose], plugins=[Tokens()]))

    async def nobody(scope, receive, send):
        await app({**scope, "servey.authorization": None}, receive, send)

    for path in ("/actions/whose", "/openapi.json"):
        assert (await Client(nobody).request("GET", path, headers={"authorization": "Bearer bad"})).status == 200
