"""The browser pages: their addresses, headers and contents. tests/browser shows them in a browser."""

from __future__ import annotations

import gzip
import logging
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from servey import WEB_GET, ErrorMapping, NotFoundError, WebTrigger, WebTriggerMethod
from servey.action.action import action
from servey.errors import CALL_ERRORS, CallError, DefinitionError
from servey.plugin import Plugin
from servey.servey_starlette import docs_assets
from servey.servey_starlette.app import create_app
from servey.servey_starlette.docs import content_security_policy
from servey.servey_starlette.docs_assets import Assets, MissingAssetsError
from servey.servey_starlette.docs_errors import built_in_entries
from servey.servey_test.client import Client, Response
from servey.service import Service
from servey.settings import Settings

PAGES = ("/docs", "/docs/errors")
MANIFEST = Assets().manifest
BUNDLE = next(asset for asset in MANIFEST.assets if asset.name == "swagger-ui-bundle.js")


class LostError(Exception):
    """A parcel is lost & <b>gone</b>; see `find`.

    Nobody needs to know this.
    """

    status = 410
    code = "lost"


class HiddenError(Exception):
    """What an action raises that is not in the schema."""


@action(triggers=(WEB_GET,), errors=(LostError,))
def track(id: str) -> str:
    return id


@action(triggers=(WEB_GET,), errors=(HiddenError,), include_in_schema=False)
def hide() -> str:
    return ""


class Page(HTMLParser):
    """What a page has: addresses, scripts, styles and identifiers."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.inline: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += [given[name] for name in ("href", "src", "data-document") if given.get(name)]
        if given.get("id"):
            self.ids.append(given["id"])
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def client(*actions: Any, plugins: Any = (), root_path: str = "", **settings: Any) -> Client:
    service = Service(actions or (track,), plugins=plugins, settings=Settings(**settings))
    return Client(create_app(service), root_path)


async def get(http: Client, path: str, **headers: str) -> Response:
    return await http.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})


async def page(http: Client, path: str) -> Page:
    response = await get(http, path)
    assert response.status == 200
    return Page(response.content.decode())


# --- headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_may_run_nothing_but_its_own_scripts(path: str) -> None:
    response = await get(client(), path)
    policy = dict(item.split(" ", 1) for item in response.headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert Page(response.content.decode()).inline == []


def test_the_policy_lets_the_named_servers_be_called() -> None:
    servers = (
        "https://API.example/v1",
        "https://api.example/v2",
        "http://x.example:8080",
        "//y.example",
        "/v3",
        "https://{region}.example; script-src *",
        "https://[::1]/",
        "https://z.example:port/",
        "wss://z.example",
    )
    policy = content_security_policy(servers)
    assert "connect-src 'self' https://api.example http://x.example:8080 y.example;" in policy
    assert policy.count("script-src") == 1


async def test_the_servers_of_the_settings_are_in_the_policy_and_kept_as_they_are() -> None:
    response = await get(client(api_servers=("https://api.example/v1",)), "/docs")
    assert "connect-src 'self' https://api.example;" in response.headers["content-security-policy"]
    assert b'data-servers="document"' in response.content
    assert b'data-servers="here"' in (await get(client(), "/docs")).content


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_not_sent_again_to_who_has_it(path: str) -> None:
    http = client()
    first = await get(http, path)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"
    again = await get(http, path, if_none_match=f'"other", W/{tag}')
    assert (again.status, again.content, again.headers["etag"]) == (304, b"", tag)
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert (await get(http, path, if_none_match='"other"')).status == 200


async def test_a_page_of_another_content_has_another_tag() -> None:
    tags = {(await get(client(api_title=title), path)).headers["etag"] for title in "ab" for path in PAGES}
    assert len(tags) == 4


@pytest.mark.parametrize("path", PAGES)
async def test_head_tells_the_length_and_sends_nothing(path: str) -> None:
    http = client()
    whole, head = await get(http, path), await http.request("HEAD", path)
    assert (head.status, head.content) == (200, b"")
    assert head.headers == whole.headers
    assert int(head.headers["content-length"]) == len(whole.content)


# --- assets -----------------------------------------------------------------------------------------------------------


def asset_path(name: str = BUNDLE.name) -> str:
    return f"/docs/assets/{MANIFEST.id}/{name}"


async def test_all_that_a_page_loads_is_there() -> None:
    http = client()
    for path in PAGES:
        addresses = (await page(http, path)).addresses
        assert any("/assets/" in address or address.startswith("assets/") for address in addresses)
        for address in addresses:
            assert (await get(http, urlsplit(urljoin(path, address)).path)).status == 200


async def test_every_asset_has_its_type_with_the_charset() -> None:
    http = client()
    for asset in MANIFEST.assets:
        response = await get(http, asset_path(asset.name))
        assert response.headers["content-type"] == f"{asset.type}; charset=utf-8"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert len(response.content) == asset.size


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("GZIP;q=0.5", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("identity", None),
        ("", None),
        ("br;q=0, gzip;q=0.0", None),
    ],
)
async def test_an_asset_is_sent_in_the_encoding_that_the_client_takes(accepted: str, encoding: str | None) -> None:
    response = await get(client(), asset_path(), accept_encoding=accepted)
    assert response.headers.get("content-encoding") == encoding
    assert response.headers["vary"] == "Accept-Encoding"
    assert int(response.headers["content-length"]) == len(response.content)
    if encoding is None:
        assert len(response.content) == BUNDLE.size
    if encoding == "gzip":
        assert len(gzip.decompress(response.content)) == BUNDLE.size


async def test_each_encoding_has_a_tag_of_its_own_and_is_not_sent_again() -> None:
    http, tags = client(), set[str]()
    for accepted in ("br", "gzip", "identity"):
        first = await get(http, asset_path(), accept_encoding=accepted)
        tags.add(first.headers["etag"])
        again = await get(http, asset_path(), accept_encoding=accepted, if_none_match=first.headers["etag"])
        assert (again.status, again.content) == (304, b"")
        assert again.headers["vary"] == "Accept-Encoding"
        assert again.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert len(tags) == 3


async def test_head_of_an_asset_tells_its_length_and_sends_nothing() -> None:
    response = await client().request("HEAD", asset_path(), headers={"accept-encoding": "gzip"})
    assert (response.status, response.content) == (200, b"")
    assert int(response.headers["content-length"]) == BUNDLE.encodings["gzip"].size


@pytest.mark.parametrize(
    "path",
    [
        f"/docs/assets/0000000000000000/{BUNDLE.name}",
        asset_path("no.js"),
        asset_path("manifest.json"),
        asset_path("docs.html"),
        asset_path(f"{BUNDLE.name}.gz"),
        asset_path("../docs.py"),
        asset_path("%2e%2e/docs.py"),
        asset_path(""),
        "/docs/assets/",
    ],
)
async def test_nothing_else_is_served(path: str) -> None:
    response = await get(client(), path)
    assert (response.status, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_leads_to_graphiql_where_that_is_served(path: str) -> None:
    def leads_there(found: Page) -> bool:
        return any(urljoin(path, address) == "/graphiql/" for address in found.addresses)

    assert leads_there(await page(client(), path))
    assert not leads_there(await page(client(graphiql=False), path))
    assert not leads_there(await page(client(graphql=False), path))


# --- prefixes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
async def test_all_addresses_of_a_page_are_relative(path: str) -> None:
    for address in (await page(client(), path)).addresses:
        parts = urlsplit(address)
        assert (parts.scheme, parts.netloc, parts.path.startswith("/")) == ("", "", False)


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_the_same_at_every_prefix(path: str) -> None:
    plain = await get(client(), path)
    assert (await get(client(root_path="/api"), path)).content == plain.content
    mounted = Client(Starlette(routes=[Mount("/api", create_app(Service([track])))]))
    assert (await get(mounted, f"/api{path}")).content == plain.content


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("prefix", ["", "/api", "/a/b"])
async def test_with_a_slash_at_its_end_an_address_leads_to_the_page(path: str, prefix: str) -> None:
    response = await get(client(root_path=prefix), f"{path}/")
    assert response.status == 307
    assert urljoin(f"https://h{prefix}{path}/", response.headers["location"]) == f"https://h{prefix}{path}"


# --- the catalogue ----------------------------------------------------------------------------------------------------


async def test_every_error_has_an_anchor() -> None:
    ids = (await page(client(), "/docs/errors")).ids
    codes = {cls.code for cls in (CallError, *CALL_ERRORS)} | {"lost"}
    assert codes <= set(ids)
    assert len(ids) == len(set(ids))


async def test_the_type_of_a_problem_leads_to_its_entry() -> None:
    http = client()
    path, _, anchor = (await get(http, "/actions/track?di=1")).json()["type"].partition("#")
    assert anchor in (await page(http, path)).ids


async def test_errors_that_actions_declare_are_told_with_the_first_paragraph_escaped() -> None:
    response = await get(client(track, hide), "/docs/errors")
    text = response.content.decode()
    assert "<p>A parcel is lost &amp; &lt;b&gt;gone&lt;/b&gt;; see <code>find</code>.</p>" in text
    assert "410 Gone" in text
    assert "<code>track</code>" in text
    assert "Nobody needs to know this" not in text
    assert "hidden" not in text


async def test_the_title_is_escaped() -> None:
    http = client(api_title="<script>alert(1)</script> & $assets")
    for path in PAGES:
        content = (await get(http, path)).content.decode()
        assert "<script>alert" not in content
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; $assets" in content


async def test_a_code_that_servey_has_too_keeps_its_anchor_and_several_share_one() -> None:
    class OneError(Exception):
        """One."""

    class TwoError(Exception):
        """Two."""

    mappings = (
        ErrorMapping(KeyError, status=404, code="not_found"),
        ErrorMapping(OneError, status=409, code="both"),
        ErrorMapping(TwoError, status=410, code="both"),
    )

    @action(triggers=(WEB_GET,), errors=mappings)
    def find() -> str:
        raise NotFoundError

    found = await page(client(find), "/docs/errors")
    assert found.ids.count("not_found") == found.ids.count("both") == 1
    assert "One." in found.text
    assert "Two." in found.text


async def test_an_error_that_a_plugin_maps_is_told_once() -> None:
    class Mapping(Plugin):
        def errors(self) -> Any:
            return (ErrorMapping(ZeroDivisionError, status=422, code="by_zero"),)

    @action(triggers=(WEB_GET,))
    def other() -> str:
        return ""

    found = await page(client(track, other, plugins=[Mapping()]), "/docs/errors")
    assert found.ids.count("by_zero") == 1
    assert "Declared for every action" in found.text


async def test_a_service_without_errors_of_its_own_has_no_section_for_them() -> None:
    @action(triggers=(WEB_GET,))
    def plain() -> str:
        return ""

    assert "this-service" not in (await page(client(plain), "/docs/errors")).ids


def test_every_built_in_error_says_what_it_means() -> None:
    assert all(re.fullmatch(r"[A-Z].+\.", entry.meaning) for entry in built_in_entries())


# --- on, off, taken, broken -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, "/docs/", "/openapi.json", asset_path()])
async def test_without_the_pages_their_paths_are_free(path: str) -> None:
    response = await get(client(docs=False), path)
    assert response.status == 404
    assert (await get(client(), path)).status in (200, 307)


async def test_without_the_pages_an_action_may_take_their_path() -> None:
    @action(triggers=(WebTrigger(WebTriggerMethod.GET, "/docs"),))
    def mine() -> str:
        return "mine"

    assert (await get(client(mine, docs=False), "/docs")).json() == "mine"


@pytest.mark.parametrize("path", ["/docs", "/docs/errors", "/docs/assets/x", "/docs/assets/{id}/{name}"])
def test_an_action_that_takes_a_path_of_the_pages_is_refused(path: str) -> None:
    @action(triggers=(WebTrigger(WebTriggerMethod.POST, path),))
    def mine(id: str = "", name: str = "") -> str:
        return id + name

    with pytest.raises(DefinitionError) as caught:
        create_app(Service([mine]))
    assert caught.value.where


async def test_a_template_that_matches_a_path_of_the_pages_gives_way() -> None:
    @action(triggers=(WebTrigger(WebTriggerMethod.GET, "/{a}"),))
    def one(a: str) -> str:
        return a

    @action(triggers=(WebTrigger(WebTriggerMethod.GET, "/docs/{b}"),))
    def two(b: str) -> str:
        return b

    @action(triggers=(WebTrigger(WebTriggerMethod.GET, "/{a}/{b}/{c}/{d}"),))
    def four(a: str, b: str, c: str, d: str) -> str:
        return a + b + c + d

    http = client(one, two, four)
    for path in PAGES:
        assert (await get(http, path)).headers["content-type"] == "text/html; charset=utf-8"
    assert len((await get(http, asset_path())).content) == BUNDLE.size
    assert "openapi" in (await get(http, "/openapi.json")).json()
    assert (await get(http, "/livez")).json() == {"status": "alive"}
    assert (await get(http, "/other")).json() == "other"
    assert (await get(http, "/docs/other")).json() == "other"


async def test_other_methods_are_refused() -> None:
    for path in (*PAGES, asset_path()):
        response = await client().request("POST", path, json={})
        assert (response.status, response.json()["code"]) == (405, "method_not_allowed")


async def test_without_its_assets_a_page_says_how_to_mend_the_installation(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(docs_assets, "__file__", str(tmp_path / "docs_assets.py"))
    with caplog.at_level(logging.ERROR, "servey.docs"):
        http = client()
    mend = str(MissingAssetsError())
    assert "reinstall" in mend
    assert any(mend in record.getMessage() for record in caplog.records)
    for path in (*PAGES, asset_path()):
        response = await get(http, path)
        assert (response.status, response.json()["detail"]) == (500, mend)
    assert (await get(http, "/actions/track?id=1")).status == 200
    assert (await get(http, "/openapi.json")).status == 200


@pytest.mark.parametrize(
    ("settings", "accept", "status", "location"),
    [
        ({}, "text/html,*/*;q=0.8", 307, "docs"),
        ({}, "*/*", 404, None),
        ({"environment": "production"}, "text/html", 404, None),
        ({"docs": False}, "text/html", 404, None),
    ],
)
async def test_a_person_who_opens_the_root_is_led_to_the_page_in_development(settings, accept, status, location):
    app = create_app(Service([], settings=Settings(**settings)))
    for root in ("", "/api"):
        response = await Client(app, root).request("GET", "/", headers={"accept": accept})
        assert (response.status, response.headers.get("location")) == (status, location)


async def test_whatever_the_user_serves_at_the_root_goes_first():
    @action(triggers=(WebTrigger(WebTriggerMethod.GET, "/"),))
    async def home() -> str:
        return "mine"

    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse("mine too")

    html = {"accept": "text/html"}
    assert (await Client(create_app(Service([home]))).request("GET", "/", headers=html)).json() == "mine"
    own = create_app(Service([]), routes=[Route("/", page)])
    assert (await Client(own).request("GET", "/", headers=html)).content == b"mine too"
