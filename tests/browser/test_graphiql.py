"""GraphiQL in a real browser that reaches nothing but this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.conftest import Visit, proxy, serve_tour, used, visits_of
from browser.docs_page import SIZES, VARIABLES, widths
from browser.graphiql_page import (
    editor,
    has_tabs,
    keeps,
    log_in,
    log_out,
    open_graphiql,
    run,
    shows,
    stored,
    tool,
    write,
)

PASSWORD = VARIABLES["SERVEY_DEBUG_AUTHENTICATOR_PASSWORD"]
TITLE = 'Parcels & <b>"more"</b>'
SETTINGS = {**VARIABLES, "SERVEY_GRAPHQL": "0", "SERVEY_API_TITLE": TITLE}  # graphql_served.py has a schema of its own


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_tour(tmp_path_factory.mktemp("graphql"), "graphql_served:app", **SETTINGS) as address:
        yield address


@pytest.fixture(scope="module")
def served_below(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_tour(tmp_path_factory.mktemp("graphql_below"), "graphql_served:mounted", **SETTINGS) as address:
        yield f"{address}/api"


@pytest.fixture(scope="module")
def served_behind(served: str) -> Iterator[str]:
    with proxy(served, "/behind/a") as address:
        yield address


@pytest.fixture
def page(lasting: Visit, served: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """GraphiQL, which the tests share: each writes what it runs, and nobody is logged in."""
    with used(lasting, request, lambda visit: open_graphiql(visit, served)) as page:
        yield page


@pytest.fixture(scope="module", params=["served", "served_below", "served_behind"])
def anywhere(request: pytest.FixtureRequest) -> str:
    """Where it is served, in three ways."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def lasting_anywhere(browser: Browser, anywhere: str) -> Iterator[Visit]:
    with visits_of(browser) as visit:
        yield visit()


@pytest.fixture
def page_anywhere(lasting_anywhere: Visit, anywhere: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The same, wherever it is served."""
    with used(lasting_anywhere, request, lambda visit: open_graphiql(visit, anywhere, "/graphiql")) as page:
        yield page


# --- what it does, wherever it is -------------------------------------------------------------------------------------


def test_an_example_is_run_and_its_result_shown(page_anywhere, lasting_anywhere, anywhere):
    page = page_anywhere
    has_tabs(page, "Greet", "Add", "Secret")
    page.get_by_role("button", name="Greet", exact=True).click()
    run(page)
    shows(page, '"greet": "Hello Ada"')
    page.get_by_role("button", name="Add", exact=True).click()
    run(page)
    shows(page, '"add": 42')
    assert lasting_anywhere.origins == {f"http://{urlsplit(anywhere).netloc}"}


def test_a_login_opens_what_is_guarded(page_anywhere, lasting_anywhere, anywhere):
    page = page_anywhere
    page.get_by_role("button", name="Secret", exact=True).click()
    run(page)
    shows(page, "log in first")
    with page.expect_response("**/graphql"):  # the schema is asked for again, as who is logged in may see it
        log_in(page, PASSWORD)
    expect(page.locator("#user")).to_have_text("Logged in as root")
    expect(page.get_by_role("dialog")).to_have_count(0)
    run(page)
    shows(page, "for root")
    with page.expect_response("**/graphql"):
        page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("status")).to_have_text("You have logged out.")
    expect(page.locator("#user")).to_be_hidden()
    run(page)
    shows(page, "log in first")
    assert lasting_anywhere.origins == {f"http://{urlsplit(anywhere).netloc}"}


def test_an_address_without_a_slash_at_its_end_leads_to_the_page(page_anywhere, lasting_anywhere, anywhere):
    assert lasting_anywhere.requests[0] == f"{anywhere}/graphiql"
    assert page_anywhere.url == f"{anywhere}/graphiql/"
    expect(editor(page_anywhere)).to_be_visible()
    page_anywhere.get_by_role("link", name="REST").click()
    page_anywhere.wait_for_url(f"{anywhere}/docs", wait_until="commit")
    lasting_anywhere.requests.clear()  # the page is left


def test_the_examples_of_a_service_are_tabs_and_the_page_of_rest_leads_to_them(visiting, plain):
    page = visiting().page
    page.goto(f"{plain}/docs", wait_until="commit")
    page.get_by_role("link", name="GraphiQL").click()
    page.wait_for_url(f"{plain}/graphiql/")
    page.get_by_role("button", name="sayHello_greetDeveloper", exact=False).click()
    run(page)
    shows(page, "Hello Developer!")


# --- writing a query --------------------------------------------------------------------------------------------------


def test_the_documentation_shows_the_schema_and_runs_nothing_that_is_in_it(page):
    page.get_by_role("button", name="Show Documentation Explorer").click()
    explorer = page.get_by_role("region", name="Documentation Explorer")
    explorer.get_by_role("link", name="Query").click()
    expect(explorer).to_contain_text("Greets somebody. <img src=https://elsewhere.example/x.png>")
    expect(explorer.locator("img")).to_have_count(0)
    explorer.get_by_role("link", name="greet").click()
    expect(explorer).to_contain_text("name")
    page.get_by_role("button", name="Hide Documentation Explorer").click()


def test_what_may_follow_is_proposed(page):
    write(page, editor(page), "{ gre")
    page.keyboard.press("Control+Space")
    proposed = page.locator(".suggest-widget .monaco-list-row")
    expect(proposed.first).to_contain_text("greet")
    page.keyboard.press("Enter")
    expect(editor(page).locator(".view-lines")).to_contain_text("greet")


def test_a_mistake_is_marked_before_it_is_sent(page):
    write(page, editor(page), "query Wrong { greed }")
    expect(editor(page).locator(".squiggly-error").first).to_be_attached()


def test_variables_and_headers_are_sent(page):
    write(page, editor(page), "query Told($name: String!) { header(name: $name) }")
    write(page, tool(page, "Variables"), '{"name": "x-word"}')
    write(page, tool(page, "Headers"), '{"X-Word": "hello"}')
    with page.expect_request("**/graphql") as sent:
        run(page)
    shows(page, '"header": "hello"')
    headers = sent.value.headers
    assert (headers["content-type"], headers["accept"]) == (
        "application/json",
        "application/graphql-response+json, application/json;q=0.9",
    )
    body = json.loads(sent.value.post_data)
    assert (body["variables"], body["operationName"]) == ({"name": "x-word"}, "Told")


def test_a_header_that_is_typed_goes_before_the_login(page):
    log_in(page, PASSWORD)
    expect(page.locator("#user")).to_be_visible()
    write(page, editor(page), '{ header(name: "authorization") }')
    write(page, tool(page, "Headers"), '{"authorization": "Typed one"}')
    run(page)
    shows(page, "Typed one")
    write(page, tool(page, "Headers"), "{}")
    log_out(page)


def test_everything_is_laid_out_anew(page):
    write(page, editor(page), "query  Told( $a :Int!){add( left:$a,right :2)}")
    write(page, tool(page, "Variables"), '{"a":1,"b":[2]}')
    page.get_by_role("button", name=re.compile("Prettify")).click()
    expect(editor(page).locator(".view-lines")).to_contain_text("add(left: $a, right: 2)")
    expect(tool(page, "Variables").locator(".view-lines")).to_contain_text('"a": 1,')


def test_the_menu_of_the_editor_has_its_style_and_runs_a_query(page):
    write(page, editor(page), '{ greet(name: "Ada") }')
    editor(page).locator(".view-lines").click(button="right")
    entry = page.get_by_role("menuitem", name="Run Operation")
    # of a sheet that Monaco makes for the shadow root of the menu
    expect(page.locator(".monaco-menu .action-menu-item").first).to_have_css("display", "flex")
    entry.hover()
    page.keyboard.press("Enter")  # Monaco ignores clicks in the first 100 ms of a menu
    shows(page, "Hello Ada")


def test_what_runs_is_what_is_written_however_soon(page):
    # GraphiQL looks 100 ms after a change which operations there are: here it never does
    page.evaluate("() => { window.later = setTimeout; window.setTimeout = (f, ms) => ms === 100 ? 0 : later(f, ms); }")
    for query, answer in [
        ("query Other { add(left: 1, right: 2) }", '"add": 3'),
        ("{ add(left: 2, right: 2) }", '"add": 4'),
    ]:
        write(page, editor(page), query)
        run(page)
        shows(page, answer)
    page.evaluate("() => { window.setTimeout = later; }")


def test_big_numbers_are_shown_as_they_are_sent(page):
    write(page, editor(page), "{ big }")
    run(page)
    shows(page, "9007199254740993")


# --- examples and what the visitor has written ------------------------------------------------------------------------


def test_what_was_written_is_there_again_and_no_example_takes_its_place(page):
    write(page, editor(page), "query Mine { add(left: 1, right: 1) }")
    keeps(page, "query Mine")
    page.reload()
    expect(editor(page).locator(".view-lines")).to_contain_text("query Mine")
    has_tabs(page, "Mine", "Add", "Secret")


def test_an_example_is_opened_from_the_menu_beside_what_is_there(visiting, served):
    page = open_graphiql(visiting(), served)
    menu = page.get_by_label("Open an example")
    assert menu.locator("option").all_inner_texts() == ["Examples", "Greet Ada", 'Add <b>& "more"</b>', "Secret"]
    menu.select_option(index=2)
    expect(page.locator(".graphiql-tab-active, .graphiql-tab-button[aria-selected=true]").last).to_contain_text("Add")
    has_tabs(page, "Greet", "Add", "Secret", "Add")
    run(page)
    shows(page, '"add": 42')
    expect(menu).to_have_value("Examples")


def test_a_service_of_another_name_has_storage_of_its_own(page):
    write(page, editor(page), "query Kept { add(left: 1, right: 1) }")
    keeps(page, "query Kept")
    assert all(name.startswith(f"servey /graphql {TITLE} ") for name in page.evaluate("Object.keys(localStorage)"))


def test_the_title_is_that_of_the_service(page):
    expect(page).to_have_title(f"GraphiQL · {TITLE}")
    expect(page.locator("nav a").first).to_have_text(TITLE)


# --- the login --------------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_told_and_the_next_try_may_be_right(page):
    log_in(page, "wrong")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("the user name or the password is wrong")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("dialog").get_by_role("button", name="Log in").click()
    expect(page.locator("#user")).to_be_visible()
    log_out(page)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"status": 502, "body": "<html>"}, "the server answered 502"),
        ({"status": 429, "json": {"error_description": "too many"}, "headers": {"Retry-After": "7"}}, "in 7 seconds"),
        ({"status": 200, "body": "[]"}, "the server answered 200"),
        (None, "did not answer"),
    ],
)
def test_a_login_that_fails_otherwise_is_told(page, answer: Any, told: str):
    page.route("**/login", lambda route: route.fulfill(**answer) if answer else route.abort())
    log_in(page, PASSWORD)
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text(told)
    page.keyboard.press("Escape")
    page.unroute("**/login")


def test_a_login_can_be_left_by_the_keyboard(page):
    page.get_by_role("button", name="Log in").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("User name")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Log in")).to_be_focused()


def test_a_token_is_in_no_address_and_in_no_storage(page, lasting):
    with page.expect_response("**/login") as answered:
        log_in(page, PASSWORD)
    token = answered.value.json()["access_token"]
    expect(page.locator("#user")).to_be_visible()
    page.get_by_role("button", name="Secret", exact=True).click()
    run(page)
    shows(page, "for root")
    keeps(page, "Secret")
    assert len(token) > 20
    assert [url for url in lasting.requests if token in url or "horse" in url] == []
    assert token not in stored(page)
    assert "horse" not in stored(page)
    page.reload()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()


def test_a_login_that_the_server_no_longer_takes_is_told_and_forgotten(page):
    write(page, editor(page), "{ big }")
    log_in(page, PASSWORD)
    expect(page.locator("#user")).to_be_visible()
    page.route("**/graphql", lambda route: route.continue_(headers={**route.request.headers, "x-refuse": "1"}))
    run(page)
    shows(page, "unauthorized")
    expect(page.get_by_role("status")).to_contain_text("Log in again")
    expect(page.locator("#user")).to_be_hidden()
    page.unroute("**/graphql")


def test_a_login_that_expires_is_told_and_forgotten(visiting, served):
    page = visiting().page
    page.clock.install()
    with page.expect_response("**/graphql"):
        page.goto(f"{served}/graphiql/")
    page.clock.run_for(1000)
    log_in(page, PASSWORD)
    expect(page.locator("#user")).to_be_visible()
    page.clock.fast_forward("26:00:00")
    expect(page.get_by_role("status")).to_contain_text("expired")
    expect(page.locator("#user")).to_be_hidden()


# --- when something is wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "told"),
    [({"status": 502, "body": "<html>"}, "502"), ({"status": 200, "body": "7"}, "no JSON"), (None, "did not answer")],
)
def test_an_answer_that_is_none_is_told(page, answer: Any, told: str):
    page.route("**/graphql", lambda route: route.fulfill(**answer) if answer else route.abort())
    write(page, editor(page), "{ big }")
    run(page)
    shows(page, told)
    page.unroute("**/graphql")


def test_without_scripts_it_says_what_it_needs(visiting, served):
    page = visiting(java_script_enabled=False).page
    page.goto(f"{served}/graphiql/")
    expect(page.get_by_role("heading")).to_have_text("This page needs JavaScript")


# --- looks ------------------------------------------------------------------------------------------------------------


def test_it_is_no_wider_than_the_window(page):
    write(page, editor(page), "{ greet }")
    run(page)
    shows(page, "Hello")
    for size, wide in zip(SIZES, widths(page), strict=True):
        assert wide == size
        for name in ("REST", "Errors"):
            expect(page.get_by_role("link", name=name)).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="Show Documentation Explorer").click()
    for size, wide in zip(SIZES, widths(page), strict=True):
        assert wide == size
        expect(page.get_by_role("region", name="Documentation Explorer")).to_be_in_viewport()
    page.get_by_role("button", name="Hide Documentation Explorer").click()
    log_in(page, PASSWORD)
    for size, wide in zip(SIZES, widths(page), strict=True):
        assert wide == size
        expect(page.get_by_role("button", name="Log out")).to_be_in_viewport(ratio=1)
    log_out(page)


def test_it_is_dark_where_dark_is_wanted_and_follows_a_change(visiting, served):
    page = open_graphiql(visiting(color_scheme="dark"), served)
    word = editor(page).locator(".view-line span span").first
    expect(page.locator(".graphiql-container")).to_have_css("background-color", "rgb(28, 32, 34)")
    expect(page.locator("header")).to_have_css("background-color", "rgb(28, 32, 34)")
    expect(word).to_have_css("color", "rgb(86, 156, 214)")
    page.emulate_media(color_scheme="light")
    expect(page.locator(".graphiql-container")).to_have_css("background-color", "rgb(255, 255, 255)")
    expect(page.locator("header")).to_have_css("background-color", "rgb(255, 255, 255)")
    expect(word).to_have_css("color", "rgb(0, 0, 255)")
