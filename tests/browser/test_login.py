"""Logging in on the docs page, and what is shown to whom."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from browser.conftest import BOUND, Visit, used
from browser.docs_page import SIZES, VARIABLES, executed, executed_again, open_docs, opened, widths

PASSWORD = VARIABLES["SERVEY_DEBUG_AUTHENTICATOR_PASSWORD"]
ALL = {"echo_authorization", "only_for_root", "change", "for_nobody"}


@pytest.fixture
def page(lasting: Visit, guarded_plain: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The docs page at `guarded_plain`, which the tests share; nobody is logged in."""
    with used(lasting, request, lambda visit: open_docs(visit, guarded_plain)) as page:
        yield page


def shows(page: Page, names: set[str]) -> None:
    """Wait until the page shows these operations and no others."""
    expect(page.locator(".opblock")).to_have_count(len(names))
    for name in names:
        expect(page.locator(f".opblock[id$='-{name}']")).to_be_visible()


def log_in(page: Page, password: str = PASSWORD, scopes: tuple[str, ...] = ()) -> None:
    """Log in by the dialog, and leave it open."""
    page.locator(".scheme-container").get_by_role("button", name="Authorize").click()
    dialog = page.locator(".dialog-ux")
    dialog.locator("#oauth_username").fill("root")
    dialog.locator("#oauth_password").fill(password)
    for scope in scopes:
        dialog.locator(".scopes .checkbox", has_text=scope).locator("label .item").click()
    dialog.locator("button.authorize").click()


def close(page: Page) -> None:
    """Close the dialog; a click is lost if a login that just ends renders the dialog once more."""
    dialog = page.locator(".dialog-ux")
    dialog.locator("button.btn-done").click()
    try:
        expect(dialog).to_have_count(0, timeout=5_000)
    except AssertionError:
        dialog.locator("button.btn-done").click()
        expect(dialog).to_have_count(0)


def log_out(page: Page) -> None:
    page.locator(".scheme-container").get_by_role("button", name="Authorize").click()
    page.locator(".dialog-ux button", has_text="Logout").click()
    close(page)


def stored(page: Page) -> str:
    """Everything that a page keeps beyond itself."""
    return page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")


def test_who_logs_in_calls_what_they_may_and_sees_no_more(visiting, guarded):
    visit = visiting()
    page = open_docs(visit, guarded)
    shows(page, ALL)
    assert executed(opened(page, "only_for_root"))[0] == 401
    log_in(page)
    expect(page.locator(".dialog-ux button", has_text="Logout")).to_be_visible()
    close(page)
    shows(page, ALL - {"for_nobody"})
    status, body, url = executed_again(page.locator(".opblock[id$='-only_for_root']"))
    assert (status, json.loads(body), url) == (200, "Some Secret Data!", f"{guarded}/actions/only-for-root")
    status, body, _ = executed(opened(page, "echo_authorization"))
    assert (status, json.loads(body)) == (200, "root: root write")
    log_out(page)
    shows(page, ALL)
    assert executed_again(page.locator(".opblock[id$='-only_for_root']"))[0] == 401
    assert visit.origins == {f"http://{urlsplit(guarded).netloc}"}


def test_a_token_is_in_no_address_and_in_no_storage(page, lasting):
    with page.expect_response("**/login") as answered:
        log_in(page)
    token = answered.value.json()["access_token"]
    close(page)
    shows(page, ALL - {"for_nobody"})
    executed(opened(page, "only_for_root"))
    assert len(token) > 20
    assert [url for url in lasting.requests if token in url or "horse" in url] == []
    assert token not in stored(page)
    assert "horse" not in stored(page)
    page.reload()
    shows(page, ALL)


def test_who_asks_for_less_may_do_less(page):
    log_in(page, scopes=("write",))
    close(page)
    shows(page, {"echo_authorization", "change"})
    status, body, _ = executed(opened(page, "echo_authorization"))
    assert (status, json.loads(body)) == (200, "root: write")
    log_out(page)


def test_a_wrong_password_is_told_and_changes_nothing(page):
    log_in(page, "wrong")
    expect(page.locator(".dialog-ux .errors")).to_contain_text("invalid_grant")
    expect(page.locator(".dialog-ux .errors")).to_contain_text("the user name or the password is wrong")
    close(page)
    shows(page, ALL)


def test_who_comes_back_logged_in_stays_so(page):
    log_in(page)
    close(page)
    shows(page, ALL - {"for_nobody"})
    page.evaluate("window.before = true")
    with page.expect_response(lambda response: response.request.method == "HEAD") as looked:
        page.evaluate("dispatchEvent(new Event('focus'))")
    assert looked.value.request.header_value("Authorization").startswith("Bearer ")
    assert page.evaluate("window.before") is True
    shows(page, ALL - {"for_nobody"})
    log_out(page)


def test_a_token_from_elsewhere_is_pasted(visiting, tour, guarded_plain):
    form = {"grant_type": "password", "username": "root", "password": PASSWORD, "scope": "write"}
    token = httpx.post(f"{guarded_plain}/login", data=form, timeout=BOUND).json()["access_token"]
    elsewhere = {**VARIABLES, "SERVEY_DEBUG_AUTHENTICATOR": "0"}
    with tour(app="guarded:app", **elsewhere) as address:
        page = open_docs(visiting(), address)
        for given, seen in (("no.such.token", ALL), (token, {"echo_authorization", "change"})):
            page.locator(".scheme-container").get_by_role("button", name="Authorize").click()
            dialog = page.locator(".dialog-ux")
            dialog.locator("input").fill(given)
            dialog.locator("button.authorize").click()
            if given != token:
                expect(dialog).to_contain_text("The server answered 401")
                dialog.locator("button", has_text="Logout").click()
            close(page)
            shows(page, seen)
        assert json.loads(executed(opened(page, "echo_authorization"))[1]) == "root: write"


def test_an_issuer_elsewhere_is_not_asked_by_the_page(visiting, tour):
    variables = {**VARIABLES, "SERVEY_OIDC_ISSUER": "https://id.example", "SERVEY_DEBUG_AUTHENTICATOR": "0"}
    with tour(app="guarded:app", **variables) as address:
        visit = visiting()
        page = open_docs(visit, address)
        page.locator(".scheme-container").get_by_role("button", name="Authorize").click()
        expect(page.locator(".dialog-ux")).to_contain_text("https://id.example/.well-known/openid-configuration")
        assert visit.origins == {address}


def test_the_dialog_is_no_wider_than_a_phone(page):
    page.locator(".scheme-container").get_by_role("button", name="Authorize").click()
    expect(page.locator(".dialog-ux")).to_contain_text(re.compile("Needed by only_for_root"))
    assert list(widths(page)) == SIZES
    for size in widths(page):
        dialog: Any = page.locator(".dialog-ux .modal-ux").bounding_box()
        assert dialog["x"] >= 0
        assert dialog["x"] + dialog["width"] <= size
    close(page)
