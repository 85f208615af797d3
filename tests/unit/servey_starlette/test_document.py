"""The OpenAPI document over HTTP."""

import gzip
import json

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from servey import WEB_GET, DefinitionError, WebTrigger, WebTriggerMethod
from servey.action.action import action
from servey.schema.openapi import openapi_document
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
