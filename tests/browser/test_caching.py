"""The cache of a real browser does what the headers say."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import urlopen

import pytest

from browser.conftest import BOUND, serve_tour

GET = """async ([path, options]) => {
    performance.clearResourceTimings();
    const response = await fetch(path, options);
    const body = await response.json();
    const timing = performance.getEntriesByName(response.url)[0];
    return {status: response.status, body, sent: timing.transferSize, size: timing.encodedBodySize};
}"""


@pytest.fixture
def cached(tmp_path: Any) -> Any:
    with serve_tour(tmp_path, "cached:app") as address:
        yield address


@pytest.fixture
def get(visiting: Any, cached: str) -> Any:
    page = visiting().page
    page.goto(f"{cached}/livez")

    def get(path: str, **options: Any) -> dict[str, Any]:
        return page.evaluate(GET, [f"{cached}/actions/{path}", options])

    return get


def ran(cached: str, name: str) -> int:
    with urlopen(f"{cached}/actions/how-often?name={name}", timeout=BOUND) as response:
        return json.load(response)


def test_what_is_fresh_comes_from_the_disk(get: Any, cached: str) -> None:
    first, again = get("for-an-hour"), get("for-an-hour")
    assert (first["body"], again["body"], ran(cached, "for_an_hour")) == (1, 1, 1)
    assert (first["sent"] > 0, again["sent"]) == (True, 0)


def test_a_reload_asks_the_service(get: Any, cached: str) -> None:
    assert [get("for-an-hour")["body"], get("for-an-hour", cache="reload")["body"]] == [1, 2]
    assert get("for-an-hour")["body"] == 2


def test_no_browser_keeps_a_post(get: Any) -> None:
    post = {"method": "POST", "headers": {"Content-Type": "application/json"}, "body": "{}"}
    assert [get("for-an-hour", **post)["body"] for _ in range(2)] == [1, 2]


def test_what_may_have_changed_is_asked_for_and_not_sent_again(get: Any, cached: str) -> None:
    first, again = get("until-changed"), get("until-changed")
    assert first["body"] == again["body"]
    assert ran(cached, "until_changed") == 2
    assert (first["size"], again["size"]) == (4002, 4002)
    assert first["sent"] > 4002 > again["sent"] > 0  # the second time the headers of a 304 alone


def test_what_one_token_is_told_another_is_not(get: Any, cached: str) -> None:
    assert [get("mine")["body"], get("mine")["body"]] == [1, 1]
    other = get("mine", headers={"Authorization": "Bearer x"})
    assert (other["status"], other["body"]["code"]) == (401, "unauthorized")
    assert ran(cached, "mine") == 1
