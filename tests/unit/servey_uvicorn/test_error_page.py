"""The page that is shown while the service cannot be loaded."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import pytest

from servey.servey_test.client import client_of
from servey.servey_uvicorn.error_page import ErrorPage
from servey.settings import Settings

ERROR = "Traceback …\nValueError: <script>alert('x')</script> & \udc80"


async def ask(settings: Settings, accept: str = "text/html", host: str = "localhost:8000", path: str = "/") -> Any:
    async with client_of(ErrorPage(ERROR, settings)) as client:
        return await client.request("GET", path, headers={"accept": accept, "host": host})


async def test_a_browser_gets_a_page_that_is_escaped_and_runs_nothing() -> None:
    response = await ask(Settings())
    page = response.content.decode()
    assert response.status == 500
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; \\udc80" in page
    assert "<script" not in page
    style = re.search(r"<style>(.*?)</style>", page, re.S)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = response.headers["content-security-policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "color-scheme: light dark" in page


async def test_a_program_gets_a_problem() -> None:
    response = await ask(Settings(), accept="application/json")
    problem = response.json()
    assert (problem["status"], problem["code"]) == (500, "internal_error")
    assert "ValueError" in problem["detail"]
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize("accept", ["text/html", "*/*"])
@pytest.mark.parametrize(
    ("settings", "host", "shown"),
    [
        (Settings(), "127.0.0.1:8000", True),
        (Settings(), "[::1]:8000", True),
        (Settings(), "app.localhost", True),
        (Settings(), "evil.example", False),
        (Settings(), "localhost.evil.example", False),
        (Settings(server_host="0.0.0.0", environment="development"), "localhost", False),
    ],
)
async def test_the_error_is_for_this_machine(accept: str, settings: Settings, host: str, shown: bool) -> None:
    response = await ask(settings, accept, host)
    assert response.status == 500
    assert (b"ValueError" in response.content) is shown


async def test_it_is_alive_and_not_ready() -> None:
    assert (await ask(Settings(), path="/livez")).status == 200
    assert (await ask(Settings(), path="/readyz")).status == 503


@pytest.mark.parametrize("accept", ["text/html", "*/*"])
@pytest.mark.parametrize(
    "headers",
    [
        *(
            [("host", "localhost:8000"), (name, "203.0.113.7")]
            for name in ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Real-IP", "Via")
        ),
        [("host", "localhost"), ("host", "evil.example")],
        [("host", "evil.example"), ("host", "localhost")],
        [],
        *(
            [("host", host)]
            for host in (
                "",
                "[::1]evil.example",
                "[::1].evil.example:80",
                "localhost:80@evil.example",
                "localhost:evil",
                "127.0.0.1.evil.example",
                "127.evil.example",
                "localhost ",
            )
        ),
    ],
    ids=str,
)
async def test_an_error_is_hidden_from_who_came_another_way(accept: str, headers: list[tuple[str, str]]) -> None:
    async with client_of(ErrorPage(ERROR, Settings())) as client:
        response = await client.request("GET", "/", headers=[("accept", accept), *headers])
    assert response.status == 500
    assert b"terminal says why" in response.content
    assert b"ValueError" not in response.content


@pytest.mark.parametrize(
    ("peer", "shown"), [(("127.0.0.1", 1), True), (("::1", 1), True), (("10.0.0.7", 1), False), (None, False)]
)
async def test_an_error_is_for_a_peer_on_this_machine(peer: tuple[str, int] | None, shown: bool) -> None:
    page = ErrorPage(ERROR, Settings())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await page({**scope, "client": peer}, receive, send)

    async with client_of(app) as client:
        response = await client.request("GET", "/", headers={"host": "localhost"})
    assert (b"ValueError" in response.content) is shown
