"""How operations are shown on the docs page: who may call them, how tall they are, and in which groups."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from browser.conftest import Visit, used
from browser.docs_page import SIZES, open_docs, width, widths

CONTRAST = """element => {
    const read = color => color.match(/[0-9.]+/g).map(Number);
    const linear = part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    const luminance = ([r, g, b]) =>
        0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.unshift(read(getComputedStyle(at).backgroundColor));
    const over = (under, [r, g, b, a = 1]) => [r, g, b].map((part, i) => part * a + under[i] * (1 - a));
    const pair = [luminance(read(getComputedStyle(element).color)), luminance(layers.reduce(over, [255, 255, 255]))];
    return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}"""
"""The contrast of an element's text (WCAG 2.2 §1.4.3)."""


@pytest.fixture
def page(lasting: Visit, plain: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The docs page at `plain`, which the tests share."""
    with used(lasting, request, lambda visit: open_docs(visit, plain)) as page:
        yield page


def shown(page: Page, operation: str) -> Locator:
    """Open an operation, and return it."""
    block = page.locator(f".opblock[id$='-{operation}']")
    block.locator(".opblock-summary-control").click()
    expect(block.locator(".responses-table tr.response").first).to_be_visible()
    return block


def test_an_operation_says_the_scope_that_it_needs_and_nothing_where_a_token_is_optional(visiting, guarded_plain):
    page = open_docs(visiting(), guarded_plain)
    needed = {
        block.locator(".opblock-summary-operation-id").inner_text(): block.locator(".needed").all_inner_texts()
        for block in page.locator(".opblock").all()
    }
    assert needed == {"echo_authorization": [], "only_for_root": ["root"], "change": ["write"], "for_nobody": ["token"]}
    expect(page.locator(".authorization__btn")).to_have_count(0)
    page.get_by_role("button", name="Needs a token with the scope root").click()
    expect(page.locator(".dialog-ux #oauth_password")).to_be_visible()


def test_alternatives_are_said_in_words(visiting, plain):
    alternatives: list[tuple[list[dict[str, list[str]]] | None, list[str]]] = [
        (None, []),
        ([], []),
        ([{}], []),
        ([{}, {"login": []}], []),
        ([{"login": ["a"]}, {}], []),
        ([{"login": []}], ["token"]),
        ([{"login": ["a"]}, {"openid": ["a"]}], ["a"]),
        ([{"login": ["a", "b"]}, {"login": ["c"]}], ["a and b or c"]),
    ]
    expected: dict[str, list[str]] = {}

    def secured(route: Any) -> None:
        loaded = route.fetch().json()
        operations = [item for path in loaded["paths"].values() for item in path.values()]
        for operation, (security, told) in zip(operations, alternatives, strict=False):
            expected[operation["operationId"]] = told
            operation.pop("security", None)
            if security is not None:
                operation["security"] = security
        route.fulfill(json=loaded)

    visit = visiting()
    visit.page.route("**/openapi.json", secured)
    page = open_docs(visit, plain)
    assert len(expected) == len(alternatives)
    for name, told in expected.items():
        buttons = page.locator(f".opblock[id$='-{name}'] .opblock-summary button")
        assert buttons.filter(has_text=re.compile(r"\w")).all_inner_texts()[1:] == told, name


def test_an_answer_that_is_no_success_is_one_line_until_it_is_opened(page):
    block = shown(page, "get_parcel")
    lines = block.locator("tr.folded")
    codes = lines.locator(".response-col_status").all_inner_texts()
    assert codes == ["304", "400", "401", "404", "412", "422", "default"]
    assert max(line.bounding_box()["height"] for line in lines.all()) < 40
    open_ones = block.locator("tr.response:not(.folded)")
    expect(open_ones).to_have_count(1)
    button = block.get_by_role("button", name="Answer 404")
    expect(button).to_have_attribute("aria-expanded", "false")
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(open_ones).to_have_count(2)
    expect(open_ones.nth(1)).to_contain_text('"code": "not_found"')
    button.press("Enter")
    expect(open_ones).to_have_count(1)


def test_headers_of_an_answer_are_one_line_until_they_are_opened(page):
    block = shown(page, "get_depot")
    headers = block.locator(".answer-headers")
    expect(headers).to_have_count(1)
    expect(headers.locator("summary")).to_contain_text("ETag, Cache-Control")
    expect(headers.locator("table")).not_to_be_visible()
    headers.locator("summary").click()
    expect(headers.locator("table")).to_be_visible()


def test_an_open_operation_is_hardly_taller_than_its_success(page):
    for operation in ("only_for_root", "cancel_parcel", "say_hello", "register_parcel"):
        block = shown(page, operation)
        whole = block.bounding_box()["height"]
        errors = sum(line.bounding_box()["height"] for line in block.locator("tr.folded").all())
        assert errors < 300, operation
        assert whole < 1400, operation
        block.locator(".opblock-summary-control").click()


def test_opened_answers_and_headers_are_no_wider_than_the_window(page):
    block = shown(page, "get_parcel")
    for button in block.locator("tr.folded button").all():
        button.click()
    for title in block.locator(".answer-headers summary").all():
        title.click()
    expect(block.locator("tr.response:not(.folded)")).to_have_count(8)
    assert width(page) == 1280
    assert list(widths(page)) == SIZES


def test_what_has_no_tag_is_under_the_name_of_its_module(page):
    groups = {
        section.locator(".opblock-tag").get_attribute("data-tag"): section.locator(
            ".opblock-summary-operation-id"
        ).all_inner_texts()
        for section in page.locator(".opblock-tag-section").all()
    }
    assert list(groups) == ["accounts", "depots", "hello", "parcels", "quotes", "reports"]
    assert groups["quotes"] == ["compare_carriers"]
    assert groups["hello"] == ["say_hello", "number_stats", "number_stats_factorial"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_said_of_an_operation_can_be_read(page, scheme):
    page.emulate_media(color_scheme=scheme)
    has_dark_colors = re.compile("dark-mode")
    colors = expect(page.locator("html"))
    (colors.to_have_class if scheme == "dark" else colors.not_to_have_class)(has_dark_colors)
    block = shown(page, "put_depot")
    for selector in (".needed", "tr.folded button", "tr.folded p", ".examples-select__section-label"):
        contrast = block.locator(selector).first.evaluate(CONTRAST)
        assert contrast >= 4.5, (selector, contrast)
