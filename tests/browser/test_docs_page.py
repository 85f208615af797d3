"""The docs page in a real browser that reaches nothing but this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.conftest import BOUND, Visit, used, visits_of
from browser.docs_page import SIZES, executed, open_docs, opened, width, widths

METHODS = {"get", "put", "post", "delete", "patch"}


@pytest.fixture
def page(lasting: Visit, plain: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The docs page at `plain`, which the tests share."""
    with used(lasting, request, lambda visit: open_docs(visit, plain)) as page:
        yield page


@pytest.fixture(scope="module")
def lasting_anywhere(browser: Browser, address: str) -> Iterator[Visit]:
    """A visit wherever the tour is served, to a document that has a login, too."""

    def secured(route: Any) -> None:
        loaded = route.fetch().json()
        flows = {"password": {"tokenUrl": "login", "scopes": {}}}
        loaded.setdefault("components", {})["securitySchemes"] = {"login": {"type": "oauth2", "flows": flows}}
        route.fulfill(json=loaded)

    with visits_of(browser) as visit:
        visiting = visit()
        visiting.page.route("**/openapi.json", secured)
        yield visiting


@pytest.fixture
def page_anywhere(lasting_anywhere: Visit, address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    with used(lasting_anywhere, request, lambda visit: open_docs(visit, address)) as page:
        yield page


def document(address: str) -> dict[str, Any]:
    with urlopen(f"{address}/openapi.json", timeout=BOUND) as response:
        return json.load(response)


def operations(address: str) -> dict[str, tuple[str, str]]:
    """The method and path of each operation, by its operationId."""
    return {
        operation["operationId"]: (method.upper(), path)
        for path, item in document(address)["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def test_it_shows_every_operation(lasting, page, plain):
    wanted = operations(plain)
    assert len(wanted) > 10
    blocks = page.locator(".opblock")
    expect(blocks).to_have_count(len(wanted))
    shown = {
        block.locator(".opblock-summary-operation-id").inner_text(): (
            block.locator(".opblock-summary-method").inner_text(),
            block.locator(".opblock-summary-path").get_attribute("data-path"),
        )
        for block in blocks.all()
    }
    assert shown == wanted
    assert lasting.origins == {f"http://{urlsplit(plain).netloc}"}


def test_a_query_parameter_is_tried_out(page_anywhere, lasting_anywhere, address):
    visit = lasting_anywhere
    block = opened(page_anywhere, "list_parcels")
    block.get_by_placeholder("city").fill("Wien")
    status, body, url = executed(block)
    assert (status, [parcel["id"] for parcel in json.loads(body)]) == (200, ["P-1003"])
    assert url.startswith(f"{address}/parcels?")
    assert "city=Wien" in url
    assert any(request.startswith(f"{address}/parcels?") for request in visit.requests)
    assert visit.origins == {f"http://{urlsplit(address).netloc}"}
    expect(block.locator(".response-col_description", has_text="Request duration").first).to_be_visible()


def test_a_json_body_is_tried_out_as_the_example_has_it(page, plain):
    block = opened(page, "register_parcel")
    status, body, url = executed(block)
    assert (status, json.loads(body)["price"], url) == (201, "4.99", f"{plain}/parcels")
    block.locator("textarea.body-param__text").fill('{"depot": "HAM", "weight": 1}')
    block.get_by_role("button", name="Execute").click()
    expect(block.locator(".live-responses-table tr.response .response-col_status")).to_contain_text("422")
    expect(block.locator(".live-responses-table")).to_contain_text("/recipient")


def test_a_path_parameter_is_tried_out(page, plain):
    block = opened(page, "get_parcel")
    block.get_by_placeholder("id").fill("P-1003")
    status, body, url = executed(block)
    assert (status, json.loads(body)["recipient"]["city"]) == (200, "Wien")
    assert url == f"{plain}/parcels/P-1003"


def test_big_numbers_are_shown_as_they_are_sent(page):
    block = opened(page, "number_stats_factorial")
    block.locator("textarea.body-param__text").fill('{"self": {"value": 25}}')
    assert executed(block)[:2] == (200, "15511210043330985984000000")


def test_a_link_to_an_operation_opens_it(page, plain):
    block = page.locator(".opblock[id$='-get_parcel']")
    block.locator(".opblock-summary-control").click()
    page.wait_for_url(re.compile("#/"))
    fragment = urlsplit(page.url).fragment
    assert fragment.endswith("/get_parcel")
    page.goto("about:blank")
    page.goto(f"{plain}/docs#{fragment}")
    expect(page.locator(".opblock.is-open")).to_have_count(1)
    expect(page.locator(".opblock.is-open .opblock-summary-operation-id")).to_have_text("get_parcel")


def test_the_title_is_the_documents(page):
    expect(page).to_have_title("Parcels & more")
    expect(page.locator(".info .title")).to_contain_text("Parcels & more")
    expect(page.locator("nav a").first).to_have_text("Parcels & more")


@pytest.mark.parametrize("wanted", ["depots", "list_dep", "DEPOTS, SORTED BY", "/depots"])
def test_the_filter_knows_names_summaries_paths_and_tags(page, wanted):
    for text, count in ((wanted, 0), ("", 1)):
        page.get_by_placeholder("Filter").fill(text)
        expect(page.locator(".opblock[id$='-revenue']")).to_have_count(count)
        expect(page.locator(".opblock[id$='-list_depots']")).to_be_visible()


def test_who_comes_back_to_the_page_sees_what_the_service_is_now(page):
    page.evaluate("window.before = true; dispatchEvent(new Event('focus'))")
    with page.expect_response("**/openapi.json") as looked:
        page.evaluate("dispatchEvent(new Event('focus'))")
    assert looked.value.request.method == "HEAD"
    assert page.evaluate("window.before") is True
    page.route(
        "**/openapi.json",
        lambda route: route.continue_() if route.request.method == "GET" else route.fulfill(headers={"ETag": '"new"'}),
    )
    with page.expect_event("load"):
        page.evaluate("dispatchEvent(new Event('focus'))")
    assert page.evaluate("window.before") is None
    expect(page.locator(".opblock[id$='-revenue']")).to_be_visible()
    page.unroute("**/openapi.json")


def test_an_address_with_a_slash_at_its_end_leads_to_the_page(visiting, address):
    page = visiting().page
    page.goto(f"{address}/docs/", wait_until="commit")
    assert page.url == f"{address}/docs"
    page.goto(f"{address}/docs/errors/")
    assert page.url == f"{address}/docs/errors"


# --- looks ------------------------------------------------------------------------------------------------------------


def brightness(page: Page, selector: str) -> float:
    """The brightness, 0 to 255, of what is behind an element."""
    return page.locator(selector).first.evaluate(
        """element => {
            for (let at = element; at; at = at.parentElement) {
                const [r, g, b, a = 1] = getComputedStyle(at).backgroundColor.match(/[0-9.]+/g).map(Number);
                if (a > 0) return (r + g + b) / 3;
            }
            return 255;
        }"""
    )


@pytest.mark.parametrize("path", ["/docs", "/docs/errors"])
def test_it_is_dark_where_dark_is_wanted_and_follows_a_change(visiting, plain, path):
    page = visiting(color_scheme="dark").page
    page.goto(f"{plain}{path}")
    inner = ".swagger-ui .info" if path == "/docs" else "article"
    expect(page.locator(inner).first).to_be_visible()
    assert brightness(page, inner) < 60
    assert brightness(page, "header") < 60
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).not_to_have_class(re.compile("dark-mode"))
    assert brightness(page, inner) > 200
    assert brightness(page, "header") > 200


def test_every_operation_opens_and_is_no_wider_than_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 844})
    assert width(page) == 390
    blocks = page.locator(".opblock")
    page.evaluate("document.querySelectorAll('.opblock-summary-control').forEach(element => element.click())")
    opened_ones = blocks.filter(has=page.locator(".opblock-body .responses-table"))
    expect(opened_ones).to_have_count(blocks.count())
    assert width(page) == 390
    assert blocks.evaluate_all("all => all.filter(it => it.scrollWidth > innerWidth).map(it => it.id)") == []


def test_a_form_is_no_wider_than_the_window(page):
    executed(opened(page, "register_parcel"))
    assert list(widths(page)) == SIZES


def test_the_catalogue_is_no_wider_than_the_window(visiting, plain):
    page = visiting().page
    page.goto(f"{plain}/docs/errors")
    assert list(widths(page)) == SIZES


# --- the catalogue ----------------------------------------------------------------------------------------------------


def test_the_catalogue_has_an_anchor_for_the_type_of_a_problem(page_anywhere, lasting_anywhere, address):
    visit = lasting_anywhere
    block = opened(page_anywhere, "get_parcel")
    block.get_by_placeholder("id").fill("P-9999")
    status, body, _ = executed(block)
    problem = json.loads(body)
    assert (status, problem["code"]) == (404, "not_found")
    anchor = urlsplit(problem["type"]).fragment
    visit.page.locator("nav").get_by_role("link", name="Errors").click()
    visit.page.wait_for_url(f"{address}/docs/errors")
    visit.page.goto(f"{address}/docs/errors#{anchor}")
    expect(visit.page.locator(f"article#{anchor}")).to_be_in_viewport()
    expect(visit.page.locator("article:target h3")).to_contain_text("404 Not Found")
    expect(visit.page.locator("article#illegal_step")).to_contain_text("record_event")
    visit.page.locator("nav a").first.click()
    visit.page.wait_for_url(f"{address}/docs")
    expect(visit.page.locator(".opblock").first).to_be_visible()
    assert visit.origins == {f"http://{urlsplit(address).netloc}"}


def test_the_catalogue_needs_no_script(visiting, plain):
    page = visiting(java_script_enabled=False).page
    page.goto(f"{plain}/docs/errors#invalid")
    expect(page.locator("article#invalid")).to_be_in_viewport()


# --- when something is wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"status": 503, "body": "down"}, "503"),
        ({"status": 401, "body": "who?"}, "lets you see this page"),
        ({"status": 200, "body": "<!doctype html>", "content_type": "text/html"}, "no OpenAPI document"),
        ({"status": 200, "body": "{}", "content_type": "application/json"}, "no OpenAPI document"),
        (None, "did not answer"),
    ],
)
def test_a_document_that_cannot_be_loaded_is_told(visiting, plain, answer, told):
    page = visiting().page
    page.route("**/openapi.json", lambda route: route.fulfill(**answer) if answer else route.abort())
    page.goto(f"{plain}/docs")
    message = page.get_by_role("alert")
    expect(message).to_contain_text("The document could not be loaded")
    expect(message).to_contain_text(told)
    expect(message.get_by_role("link")).to_have_attribute("href", f"{plain}/openapi.json")


def test_a_script_that_is_missing_is_told(visiting, plain):
    page = visiting().page
    page.route("**/swagger-ui-bundle.js", lambda route: route.abort())
    page.goto(f"{plain}/docs")
    expect(page.get_by_role("alert")).to_contain_text("Swagger UI could not be loaded")


def test_without_scripts_it_says_where_the_document_is(visiting, plain):
    page = visiting(java_script_enabled=False).page
    page.goto(f"{plain}/docs")
    expect(page.get_by_role("heading")).to_have_text("This page needs JavaScript")
    expect(page.locator("main").get_by_role("link", name="openapi.json")).to_be_visible()


def test_what_a_description_smuggles_in_is_neither_run_nor_loaded(visiting, tour):
    smuggled = """Fine. <script>document.title = "run"</script>
<img src="https://elsewhere.example/x.png" onerror="document.title = 'run'"> <a href="javascript:alert(1)">here</a>"""
    with tour(SERVEY_API_TITLE="safe", SERVEY_API_DESCRIPTION=smuggled) as address:
        visit, refused = visiting(), []
        visit.page.on("requestfailed", lambda request: refused.append((request.url, request.failure)))
        page = open_docs(visit, address)
        expect(page.locator(".info .description")).to_contain_text("Fine.")
        expect(page.locator(".info .description script, .info .description [onerror]")).to_have_count(0)
        expect(page.locator(".info .description a")).not_to_have_attribute("href", re.compile("javascript"))
        expect(page).to_have_title("safe")
        assert set(refused) == {("https://elsewhere.example/x.png", "csp")}
        # the policy holds back what is left of it, and the fixture sees that
        assert any("img-src" in complaint for complaint in visit.complaints)
        visit.complaints.clear()


# --- servers and tokens -----------------------------------------------------------------------------------------------


def test_a_named_server_is_called_though_it_is_elsewhere(visiting, tour):
    with tour(CORS_ALLOWED_ORIGINS="*") as elsewhere, tour(SERVEY_API_SERVERS=f"{elsewhere},/") as address:
        visit = visiting()
        page = open_docs(visit, address)
        assert page.locator(".servers option").all_inner_texts() == [elsewhere, "/"]
        block = opened(page, "list_parcels")
        status, _, url = executed(block)
        assert status == 200
        assert url.startswith(f"{elsewhere}/parcels")
        assert visit.origins == {address, elsewhere}


def test_the_addresses_of_a_login_are_beside_the_document(page_anywhere, address):
    page = page_anywhere
    page.locator(".scheme-container").get_by_role("button", name="Authorize").click()
    expect(page.locator(".dialog-ux")).to_contain_text(f"{address}/login")
    page.locator(".dialog-ux button.close-modal").click()
