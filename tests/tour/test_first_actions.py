"""What somebody writes who sees caching and authorization for the first time, on a server as it comes."""

import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import httpx

ACTIONS = '''
from datetime import datetime
from time import sleep
from typing import Optional

from servey.action.action import action
from servey.cache_control.ttl_cache_control import TtlCacheControl
from servey.security.access_control.scope_access_control import ScopeAccessControl
from servey.security.authorization import Authorization
from servey.trigger.web_trigger import WEB_GET, WEB_POST


@action(triggers=(WEB_POST,), cache_control=TtlCacheControl(30))
def slow_get_with_ttl() -> datetime:
    """
    This function demonstrates http caching with a slow function. The function will take 3 seconds to return, but
    the client should cache the results for 30 seconds.
    """
    sleep(3)
    return datetime.now()


@action(triggers=(WEB_GET,))
def echo_authorization(
    authorization: Optional[Authorization],
) -> Optional[Authorization]:
    """
    By default, authorization is derived from signed http headers - this just serves as a way
    of returning this info
    """
    return authorization


@action(triggers=(WEB_GET,), access_control=ScopeAccessControl(execute_scope='root'))
def only_for_root() -> str:
    """
    This can only be executed if the user has the root scope
    """
    return 'Some Secret Data!'
'''


def log_of(process: subprocess.Popen[str], until: str) -> str:
    """Return what the server has logged when a line has `until` in it."""
    assert process.stdout is not None
    lines = ""
    for line in process.stdout:
        lines += line
        if until in line:
            return lines
    raise AssertionError(lines)


def test_the_first_actions_are_cached_and_guarded_as_they_say(tmp_path: Path) -> None:
    (tmp_path / "actions.py").write_text(ACTIONS)
    process = subprocess.Popen(
        [sys.executable, "-m", "servey"],
        cwd=tmp_path,
        env={"PATH": "", "SERVER_PORT": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        log = log_of(process, "running on")
        url = re.search(r"running on (http://[\w.]+:\d+)", log)[1]
        password = re.search(r"log in as root, with the password (\S+?)[\s\"]", log)[1]
        with httpx.Client(base_url=url, timeout=30) as client:
            begin = time.monotonic()
            first = client.post("/actions/slow-get-with-ttl", json={})
            assert time.monotonic() - begin >= 3
            second = client.post("/actions/slow-get-with-ttl", json={})
            assert second.json() == first.json(), "it ran again: it returned another time"
            assert datetime.fromisoformat(first.json()).tzinfo is not None

            form = {"grant_type": "password", "username": "root", "password": password}
            token = client.post("/login", data=form).json()["access_token"]
            root = {"Authorization": f"Bearer {token}"}
            assert client.get("/actions/echo-authorization").json() is None
            told = client.get("/actions/echo-authorization", headers=root).json()
            assert (told["subject"], told["scopes"]) == ("root", ["root"])
            assert client.get("/actions/only-for-root").status_code == 401
            assert client.get("/actions/only-for-root", headers=root).json() == "Some Secret Data!"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
