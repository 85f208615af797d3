"""``servey serve --app``: an application of the user's own has what the actions' one has."""

from __future__ import annotations

import json
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import BOUND, ServerProcess, until

MAIN = """
import asyncio
import pathlib
from contextlib import asynccontextmanager

from fastapi import FastAPI
from servey import WEB_GET
from servey.action.action import action
from servey.service import Service
from servey.servey_starlette.app import create_app


@action(triggers=(WEB_GET,))
def greet() -> str:
    return "hello"


service = Service.from_settings()


@asynccontextmanager
async def lifespan(app):
    async with service.serving():
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/own")
async def own() -> str:
    return "first"


@app.get("/slow")
async def slow() -> str:
    pathlib.Path("slow").touch()
    await asyncio.sleep(0.5)
    return "done"


app.mount("/api", create_app(service))
"""

BARE = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""


@pytest.fixture
def start_app(start: Callable[..., ServerProcess], tmp_path: Path) -> Callable[..., ServerProcess]:
    def start_app(source: str, *words: str, **variables: str) -> ServerProcess:
        (tmp_path / "main.py").write_text(source)
        return start("", "--app", "main:app", *words, SERVEY_ACTION_PATH="main", **variables)

    return start_app


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=BOUND) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_it_has_the_banner_the_access_log_and_reloads(start_app: Callable[..., ServerProcess], tmp_path: Path) -> None:
    server = start_app(MAIN)
    port = server.port
    server.wait_for(f"GET    http://localhost:{port}/api/actions/greet  (open)")
    server.wait_for(f"POST   http://localhost:{port}/api/login  log in as root, with the password")
    assert get(port, "/own") == (200, '"first"')
    assert get(port, "/api/actions/greet") == (200, '"hello"')
    server.wait_for("GET /api/actions/greet 200")
    assert [record["path"] for record in server.log()] == ["/own", "/api/actions/greet"]
    (tmp_path / "main.py").write_text(MAIN.replace('"first"', '"second"') + "\n\nANOTHER_LINE = 1\n")
    server.wait_for("reloaded in")
    assert get(port, "/own") == (200, '"second"')
    (tmp_path / "main.py").write_text("import nowhere\n")
    status, body = until(lambda: (found := get(port, "/own"))[0] == 500 and found, "the error")
    assert "No module named 'nowhere'" in json.loads(body)["detail"]
    assert any("your modules cannot be loaded" in line for line in server.lines)
    assert status == 500


@pytest.mark.parametrize("words", [("--no-reload",), ("--workers", "2")], ids=["one process", "two workers"])
def test_its_calls_under_way_are_answered_at_the_stop(
    start_app: Callable[..., ServerProcess], tmp_path: Path, words: tuple[str, ...]
) -> None:
    server = start_app(MAIN, *words, SERVEY_SHUTDOWN_DELAY="1")
    port = server.port
    with socket.create_connection(("127.0.0.1", port), BOUND) as asking:
        asking.sendall(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until((tmp_path / "slow").exists, "the call")
        server.signal(signal.SIGTERM)
        until(lambda: get(port, "/api/readyz")[0] == 503, "its service is not ready")
        with asking.makefile("rb") as reader:
            answer = reader.read()
    assert b" 200 " in answer.splitlines()[0]
    assert b"connection: close" in answer.lower()
    assert answer.endswith(b'"done"')
    assert server.wait() == -signal.SIGTERM


def test_a_service_in_it_has_the_servers_address_and_secrets(start_app: Callable[..., ServerProcess]) -> None:
    printing = (
        MAIN + "\nimport sys\nprint('secret', service.settings.tokens.jwt_secret_key, file=sys.stderr, flush=True)\n"
    )
    server = start_app(printing, "--workers", "2")
    server.wait_for("secret ", count=3)  # the supervisor's, and two workers'
    secrets = {line.split()[1] for line in server.lines if line.startswith("secret ")}
    assert len(secrets) == 1
    start_app(MAIN, "--host", "0.0.0.0").wait_for("production: 1 action")


def test_an_application_without_servey_is_served(start_app: Callable[..., ServerProcess]) -> None:
    server = start_app(BARE)
    server.wait_for("development: an application without a service")
    assert get(server.port, "/anything") == (200, "ok")
    server.signal(signal.SIGINT)
    assert server.wait() == 130


def test_a_lifespan_that_fails_ends_the_server(start_app: Callable[..., ServerProcess]) -> None:
    failing = MAIN.replace("        yield\n", "        raise OSError('no database')\n        yield\n")
    server = start_app(failing, "--no-reload")
    assert server.wait() == 69
    assert any("no database" in line for line in server.lines)
    assert not any("running on" in line for line in server.lines)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("main", "does not name an application"),
        ("nowhere:app", "no module 'nowhere'"),
        ("main:nowhere", "no application"),
    ],
)
def test_an_application_that_is_not_there_is_a_definition_error(
    start: Callable[..., ServerProcess], tmp_path: Path, target: str, said: str
) -> None:
    (tmp_path / "main.py").write_text(BARE)
    server = start("", "--app", target, "--no-reload")
    assert server.wait() == 78
    assert any(said in line for line in server.lines)
