"""What people do on the page of GraphiQL."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, expect


def open_graphiql(visit: Any, address: str) -> Page:
    """Open the page, and wait until the schema is there and the editors are."""
    with visit.page.expect_response("**/graphql"):
        visit.page.goto(f"{address}/graphiql/")
    expect(editor(visit.page).locator(".view-line").first).to_be_visible()
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


def tabs(page: Page) -> list[str]:
    """The names of the tabs."""
    return page.locator(".graphiql-tab-button").all_inner_texts()


def run(page: Page) -> None:
    """Run the query; once more where the page has not taken it over from the editor yet, which nobody can see.

    Some 100 ms after the last key, GraphiQL looks what operations there are. Nobody clicks as soon as a test does.
    """
    for _ in range(20):
        with page.expect_request("**/graphql") as sent:
            page.get_by_role("button", name="Execute query").click()
        asked = sent.value.post_data_json or {}
        query, name = asked.get("query", ""), asked.get("operationName")
        if query.strip() and (not name or name in query):
            return
    raise AssertionError(f"the operation that was sent is another one each time: {name!r} of {query!r}")


def shows(page: Page, text: str) -> None:
    """Wait until the response has a text."""
    expect(page.locator(".graphiql-response .view-lines")).to_contain_text(text)


def log_in(page: Page, password: str, user: str = "root") -> None:
    page.get_by_role("button", name="Log in").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("User name").fill(user)
    dialog.get_by_label("Password").fill(password)
    dialog.get_by_label("Password").press("Enter")


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
        [text, 30_000],
    )
