"""What people do on the docs page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Locator, Page, expect

VARIABLES = {
    "SERVEY_DEBUG_AUTHENTICATOR_PASSWORD": "correct horse & ünïcode",
    "JWT_SECRET_KEY": "a secret for tests of 32 bytes or more",
}
"""The settings that guarded.py is started with."""


def open_docs(visit: Any, address: str) -> Page:
    visit.page.goto(f"{address}/docs")
    expect(visit.page.locator(".opblock").first).to_be_visible()
    return visit.page


def opened(page: Page, operation: str) -> Locator:
    """Open an operation, and its form."""
    block = page.locator(f".opblock[id$='-{operation}']")
    block.locator(".opblock-summary-control").click()
    form = block.get_by_role("button", name="Try it out")
    expect(form.or_(block.get_by_role("button", name="Cancel"))).to_be_visible()
    if form.count():  # it is open already where another test has opened it
        form.click()
    return block


def executed(block: Locator) -> tuple[int, str, str]:
    """Execute an operation; return the status, the body and the address that the page shows."""
    block.get_by_role("button", name="Execute").click()
    live = block.locator(".live-responses-table tr.response")
    expect(live.locator(".response-col_status")).to_have_text(re.compile(r"\d{3}"))
    status = live.locator(".response-col_status").inner_text()
    body = live.locator(".response-col_description pre").first.inner_text()
    return int(status[:3]), body, block.locator(".request-url pre").inner_text()


def executed_again(block: Locator) -> tuple[int, str, str]:
    """Execute an operation whose last answer is shown."""
    block.get_by_role("button", name="Clear").click()
    expect(block.locator(".live-responses-table")).to_have_count(0)
    return executed(block)


def width(page: Page) -> int:
    return page.evaluate("document.documentElement.scrollWidth")


SIZES = [320, 390, 768]
"""Widths of phones and of a tablet."""


def widths(page: Page) -> Iterator[int]:
    """How wide a page is in windows of these sizes, one after another."""
    for size in SIZES:
        page.set_viewport_size({"width": size, "height": 800})
        yield width(page)
