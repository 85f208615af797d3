"""A secret and a password that are made up are those of every process of a server, and outlast a reload."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import BOUND, ServerProcess

GUARDED = """
import os

from servey import WEB_GET, ScopeAccessControl
from servey.action.action import action


@action(triggers=(WEB_GET,), access_control=ScopeAccessControl("root"))
def guarded() -> int:
    return os.getpid()
"""


def get(server: ServerProcess, path: str, headers: dict[str, str], form: dict[str, str] | None = None) -> Any:
    data = None if form is None else urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=BOUND) as response:
        return json.load(response)


def log_in(server: ServerProcess) -> str:
    line = server.wait_for("with the password")
    password = re.search(r"with the password ([\w-]+)", line)
    assert password is not None, line
    form = {"grant_type": "password", "username": "root", "password": password[1]}
    return get(server, "/login", {}, form)["access_token"]


def test_two_workers_share_what_was_made_up(start: Callable[..., ServerProcess]) -> None:
    server = start(GUARDED, "--workers", "2", "--no-reload")
    server.wait_for("Uvicorn running on")
    pids: set[int] = set()
    for _ in range(500):
        pids.add(get(server, "/actions/guarded", {"Authorization": f"Bearer {log_in(server)}", "Connection": "close"}))
        if len(pids) == 2:
            break
    assert len(pids) == 2, "each of them has taken a token that either may have issued"


def test_a_token_outlasts_a_reload(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    server = start(GUARDED)
    server.wait_for("Uvicorn running on")
    headers = {"Authorization": f"Bearer {log_in(server)}"}
    before = get(server, "/actions/guarded", headers)
    (tmp_path / "actions.py").write_text(GUARDED + "\n\nANOTHER_LINE = 1\n")
    server.wait_for("reloaded in")
    assert get(server, "/actions/guarded", headers) != before
    log_in(server)


def test_another_server_takes_none_of_its_tokens(start: Callable[..., ServerProcess]) -> None:
    one, other = (start(GUARDED, "--no-reload") for _ in range(2))
    token = log_in(one)
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(other, "/actions/guarded", {"Authorization": f"Bearer {token}"})
    with caught.value as answer:
        assert answer.code == 401
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_production_does_not_start_without_a_key(start: Callable[..., ServerProcess]) -> None:
    server = start(GUARDED, SERVEY_ENV="production")
    assert server.wait() == 78
    assert "JWT_SECRET_KEY" in "".join(server.lines)


def test_a_header_of_a_megabyte_is_refused_and_the_server_goes_on(start: Callable[..., ServerProcess]) -> None:
    server = start(GUARDED, "--no-reload")
    server.wait_for("Uvicorn running on")
    try:
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(server, "/actions/guarded", {"Authorization": "Bearer " + "x" * 1024 * 1024})
        with caught.value as answer:
            assert 400 <= answer.code < 500
    except (ConnectionError, urllib.error.URLError):
        pass  # it may hang up in the middle of it
    assert isinstance(get(server, "/actions/guarded", {"Authorization": f"Bearer {log_in(server)}"}), int)
