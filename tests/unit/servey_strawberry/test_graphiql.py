"""GraphiQL: its addresses, headers and contents. tests/browser shows it in a browser."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from servey.action.action import action
from servey.servey_starlette import docs_assets
from servey.servey_starlette.docs_assets import Assets
from servey.servey_strawberry.graphiql import graphiql_routes
from servey.servey_test.client import Client, Response
from servey.service import Service
from servey.settings import Settings

MANIFEST = Assets().manifest
HOSTILE = """</script><script>alert(1)</script>'"> & $assets ${title} <!--"""


@action
def greet() -> str:
    return "hello"


class Page(HTMLParser):
    """What the page has: addresses, what is inline, and the data of its main element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.tags: list[str] = []
        self.main: dict[str, str | None] = {}
        self.title = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.addresses += [given[name] for name in ("href", "src") if given.get(name)]
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        if tag == "main":
            self.main = given

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["title"]:
            self.title += data


def application(examples: Sequence[Any] = (), **settings: Any) -> Starlette:
    service = Service([greet], settings=Settings(**settings))
    return Starlette(routes=graphiql_routes(service, lambda _: examples))


def client(examples: Sequence[Any] = (), **settings: Any) -> Client:
    return Client(application(examples, **settings))


async def get(http: Client, path: str = "/graphiql/", **headers: str) -> Response:
    return await http.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})


async def page(http: Client) -> Page:
    response = await get(http)
    assert response.status == 200
    return Page(response.content.decode())


def asset_path(name: str = "graphiql/page.js") -> str:
    return f"/graphiql/assets/{MANIFEST.id}/{name}"


# --- headers ----------------------------------------------------------------------------------------------------------


async def test_the_page_may_run_nothing_but_its_own_scripts_and_workers() -> None:
    response = await get(client())
    policy = dict(item.split(" ", 1) for item in response.headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "worker-src": "'self'",
        "style-src": "'self'",
        "style-src-attr": "'unsafe-inline'",
        "font-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-cache"
    assert Page(response.content.decode()).inline == []


async def test_the_page_is_not_sent_again_to_who_has_it() -> None:
    http = client()
    tag = (await get(http)).headers["etag"]
    again = await get(http, if_none_match=tag)
    assert (again.status, again.content) == (304, b"")
    assert (await get(client(api_title="other"))).headers["etag"] != tag


async def test_head_tells_the_length_and_sends_nothing() -> None:
    http = client()
    whole, head = await get(http), await http.request("HEAD", "/graphiql/")
    assert (head.status, head.content, head.headers) == (200, b"", whole.headers)


# --- addresses --------------------------------------------------------------------------------------------------------


async def test_all_addresses_are_relative_and_what_is_loaded_is_there() -> None:
    http = client()
    found = await page(http)
    for address in found.addresses:
        parts = urlsplit(address)
        assert (parts.scheme, parts.netloc, parts.path.startswith("/")) == ("", "", False)
    loaded = [address for address in found.addresses if address.startswith("assets/")]
    assert len(loaded) == 5
    for address in loaded:
        assert (await get(http, urljoin("/graphiql/", address))).status == 200
    assert urljoin("https://h/a/graphiql/", found.main["data-endpoint"]) == "https://h/a/graphql"


async def test_the_page_is_the_same_at_every_prefix() -> None:
    plain = await get(client())
    mounted = Client(Starlette(routes=[Mount("/api", application())]))
    assert (await get(mounted, "/api/graphiql/")).content == plain.content
    assert (await get(Client(application(), "/api"))).content == plain.content


@pytest.mark.parametrize("prefix", ["", "/api", "/a/b"])
async def test_without_a_slash_at_its_end_the_address_leads_to_the_page(prefix: str) -> None:
    response = await get(Client(application(), prefix), "/graphiql")
    assert response.status == 307
    assert urljoin(f"https://h{prefix}/graphiql", response.headers["location"]) == f"https://h{prefix}/graphiql/"


async def test_the_scripts_and_the_workers_are_kept_for_ever() -> None:
    http = client()
    for name in ("page.js", "editor.worker.js", "graphql.worker.js", "json.worker.js"):
        response = await get(http, asset_path(f"graphiql/{name}"), accept_encoding="br")
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert response.headers["content-type"] == "text/javascript; charset=utf-8"
        assert response.headers["content-encoding"] == "br"
    assert (await get(http, "/graphiql/assets/0000000000000000/graphiql/page.js")).status == 404
    assert (await get(http, asset_path("graphiql.html"))).status == 404


async def test_links_lead_to_the_pages_of_rest_where_they_are() -> None:
    assert "../docs" in (await page(client())).addresses
    assert "../docs" not in (await page(client(docs=False))).addresses


# --- what is in it ----------------------------------------------------------------------------------------------------


async def test_the_title_is_escaped() -> None:
    plain, found = await page(client()), await page(client(api_title=HOSTILE))
    assert found.tags == plain.tags
    assert found.inline == []
    assert found.main["data-title"] == HOSTILE
    assert found.title.strip() == f"GraphiQL · {HOSTILE}"


async def test_examples_are_escaped_and_come_in_their_order() -> None:
    examples = [
        SimpleNamespace(title=HOSTILE, query="query A { a }", variables='{"a": "<b>"}'),
        SimpleNamespace(title="B", query=f"query B {{ b(c: {json.dumps(HOSTILE)}) }}", variables=""),
    ]
    plain, found = await page(client()), await page(client(examples))
    assert found.tags == plain.tags
    assert json.loads(found.main["data-examples"] or "") == [vars(example) for example in examples]
    assert json.loads(plain.main["data-examples"] or "") == []


async def test_there_is_a_login_where_the_service_has_one() -> None:
    assert (await page(client(debug_authenticator=False))).main["data-login"] == ""
    assert (await page(client(debug_authenticator=True))).main["data-login"] == "../login"


async def test_examples_are_made_once_and_when_somebody_asks() -> None:
    asked: list[Service] = []
    service = Service([greet])
    http = Client(Starlette(routes=graphiql_routes(service, lambda given: asked.append(given) or [])))
    assert asked == []
    await get(http)
    await get(http)
    assert asked == [service]


# --- broken -----------------------------------------------------------------------------------------------------------


async def test_without_the_assets_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(docs_assets, "__file__", str(tmp_path / "docs_assets.py"))
    with caplog.at_level(logging.ERROR, "servey.docs"):
        http = client()
    assert "/graphiql/" in caplog.text
    for path in ("/graphiql/", asset_path()):
        response = await get(http, path)
        assert response.status == 500
        assert b"pip install --force-reinstall servey" in response.content
