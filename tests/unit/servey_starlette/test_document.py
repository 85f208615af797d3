"""The OpenAPI document over HTTP."""

import asyncio
import gzip
import json

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
    assert len(written) == 40  # the first is forgotten when the last is written
    await app.request("GET", "/openapi.json", headers={"authorization": "Bearer 19+unknown"})
    assert len(written) == 40
