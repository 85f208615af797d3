"""The server: the address it binds, what it says at start, and how it ends when it cannot start."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from servey import WEB_GET, ScopeAccessControl
from servey.action.action import action
from servey.errors import SettingsError
from servey.servey_starlette.server import banner, bind
from servey.service import Service
from servey.settings import Settings

NO_DATABASE = """
from collections.abc import Iterator
from servey import WEB_GET, resource
from servey.action.action import action


class Pool: ...


@resource(scope="service")
def pool() -> Iterator[Pool]:
    raise OSError("no database")
    yield Pool()


@action(triggers=(WEB_GET,))
def use(pool: Pool) -> bool:
    return True
"""


def test_a_port_of_zero_is_any_free_one() -> None:
    with bind(Settings(server_port=0)) as listening:
        assert listening.getsockname()[1] > 0


def test_a_port_in_use_names_the_variable() -> None:
    with bind(Settings(server_port=0)) as first:
        first.listen()
        with pytest.raises(SettingsError, match="SERVER_PORT"):
            bind(Settings(server_port=first.getsockname()[1]))


def test_a_host_that_is_none_names_the_variable() -> None:
    with pytest.raises(SettingsError, match="SERVER_HOST"):
        bind(Settings(server_host="256.0.0.1"))


def test_ipv6_is_bound_where_there_is_some() -> None:
    if not socket.has_ipv6:
        raise AssertionError("Python has no IPv6 here")
    with bind(Settings(server_host="::1", server_port=0)) as listening:
        assert listening.family is socket.AF_INET6


def test_the_banner_tells_the_routes_the_access_and_what_is_missing() -> None:
    @action(triggers=(WEB_GET,))
    def say_hello(name: str) -> str:
        return name

    @action(triggers=(WEB_GET,), access_control=ScopeAccessControl("root"))
    def secret() -> str:
        return "s"

    assert banner(Service([say_hello, secret]), 8001) == [
        "development: 2 actions",
        "  GET    http://localhost:8001/actions/say-hello  (open)",
        "  GET    http://localhost:8001/actions/secret  (scope root)",
        "nothing verifies tokens: over a network nobody can call secret",
    ]


def test_the_banner_says_when_there_is_nothing_to_serve() -> None:
    @action
    def unreachable() -> str:
        return ""

    first, second = banner(Service([unreachable], settings=Settings(server_host="0.0.0.0")), 80)
    assert first == "production: 1 action"
    assert "WEB_GET" in second


@pytest.mark.parametrize("command", [["serve"], ["call", "use"]], ids=["serve", "call"])
def test_a_resource_that_cannot_be_opened_ends_the_program_with_its_place(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "actions.py").write_text(NO_DATABASE)
    environ = {"PATH": "", "SERVER_PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-c", "from servey.cli.main import main; main()", *command],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 69
    assert "the resource 'pool' cannot be opened: OSError: no database" in done.stderr
    assert "actions.py:12" in done.stderr
    assert "Traceback" not in done.stderr
