"""What people do on the page of GraphiQL."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Locator, Page, expect

from browser.conftest import BOUND


def open_graphiql(visit: Any, address: str, path: str = "/graphiql/") -> Page:
    """Open the page, and wait until the schema is there, and the text in the editor."""
    with visit.page.expect_response("**/graphql"):
        visit.page.goto(f"{address}{path}")
    expect(editor(visit.page).locator(".view-lines")).to_contain_text(re.compile(r"\S"))
    expect(visit.page.get_by_role("button", name="Re-fetch GraphQL schema")).to_be_enabled()
    return visit.page


def editor(page: Page) -> Locator:
    """The editor of the query."""
    return page.locator(".graphiql-query-editor .monaco-editor").first


def tool(page: Page, name: str) -> Locator:
    """The editor of the variables, or of the headers, brought to the front."""
    page.locator(".graphiql-editor-tools").get_by_role("button", name=name, exact=True).click()
    return page.locator(".graphiql-editor-tool .graphiql-editor:not(.hidden) .monaco-editor").first


def write(page: Page, where: Locator, text: str) -> None:
    """Replace the text of an editor."""
    where.locator(".view-lines").click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("Delete")
    page.keyboard.insert_text(text)


def has_tabs(page: Page, *names: str) -> None:
    """Wait until the page has these tabs and no others."""
    expect(page.locator(".graphiql-tab-button")).to_have_text(names)


def run(page: Page) -> None:
    """Run the query."""
    page.get_by_role("button", name="Execute query").click()


def shows(page: Page, text: str) -> None:
    """Wait until the response has a text."""
    expect(page.locator(".graphiql-response .view-lines")).to_contain_text(text)


def log_in(page: Page, password: str, user: str = "root") -> None:
    page.get_by_role("button", name="Log in").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("User name").fill(user)
    dialog.get_by_label("Password").fill(password)
    dialog.get_by_label("Password").press("Enter")


def log_out(page: Page) -> None:
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("#user")).to_be_hidden()


def stored(page: Page) -> str:
    """Everything that a page keeps beyond itself."""
    return page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")


def keeps(page: Page, text: str) -> None:
    """Wait until the browser keeps a text with the tabs."""
    # not wait_for_function, which the policy of the page forbids
    page.evaluate(
        """async ([text, bound]) => {
            const kept = () => Object.keys(localStorage).some(
                (name) => name.endsWith("tabState") && localStorage.getItem(name).includes(text),
            );
            const until = performance.now() + bound;
            while (!kept()) {
                if (performance.now() > until) throw new Error(`${text} is not kept`);
                await new Promise(requestAnimationFrame);
            }
        }""",
        [text, BOUND * 1000],
    )
