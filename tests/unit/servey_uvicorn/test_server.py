"""The server: the address it binds, what it says at start, and how it ends when it cannot start."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from servey import WEB_GET, Authorization, FixedRateTrigger, ScopeAccessControl
from servey.action.action import action
from servey.errors import SettingsError
from servey.servey_uvicorn.banner import banner, reloaded
from servey.servey_uvicorn.listening import bind
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


HANGS = """
import asyncio, sys, time
from collections.abc import AsyncIterator, Iterator
from servey import WEB_GET, resource
from servey.action.action import action


class Pool: ...


class Socket: ...


@resource(scope="service")
def pool() -> Iterator[Pool]:
    yield Pool()
    print("the pool is closed", file=sys.stderr)


@resource(scope="service")
async def socket() -> AsyncIterator[Socket]:
    yield Socket()
    await asyncio.sleep(1000)


@action(triggers=(WEB_GET,))
def sleep(pool: Pool) -> None:
    print("it sleeps", file=sys.stderr)
    time.sleep(1000)


@action(triggers=(WEB_GET,))
async def block() -> None:
    print("it sleeps", file=sys.stderr)
    time.sleep(1000)
"""


@pytest.fixture
def serving(tmp_path: Path):
    """Serve a module in a process of its own; return the process and the answer of a request under way, if any."""
    processes: list[subprocess.Popen[str]] = []
    sockets: list[socket.socket] = []

    def serving(source: str, path: str = "") -> tuple[subprocess.Popen[str], socket.socket | None]:
        (tmp_path / "actions.py").write_text(source)
        variables = {**os.environ, "SERVER_PORT": "0", "SERVEY_SHUTDOWN_TIMEOUT": "0.3", "SERVEY_ENV": "production"}
        process = subprocess.Popen(
            [sys.executable, "-m", "servey"], cwd=tmp_path, env=variables, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stderr is not None
        line = next(line for line in process.stderr if "running on" in line)
        if not path:
            return process, None
        asking = socket.create_connection(("127.0.0.1", int(line.partition("localhost:")[2].split()[0])), timeout=20)
        sockets.append(asking)
        asking.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert any("it sleeps" in line for line in process.stderr)
        return process, asking

    yield serving
    for asking in sockets:
        asking.close()
    for process in processes:
        process.kill()
        process.communicate()


def test_a_call_that_hangs_is_told_and_keeps_no_resource_open(serving) -> None:
    process, asking = serving(HANGS.replace("asyncio.sleep(1000)", "asyncio.sleep(0)"), "/actions/sleep")
    process.send_signal(signal.SIGTERM)
    answer = b"".join(iter(lambda: asking.recv(65536), b""))
    _, log = process.communicate(timeout=20)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b'"code":"overloaded"' in answer
    assert "the pool is closed" in log
    assert "by force" not in log
    assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize("path", ["", "/actions/sleep", "/actions/block"])
def test_what_does_not_end_is_ended_by_force(serving, path) -> None:
    process, _ = serving(HANGS, path)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    assert "the process ends by force" in log


def test_a_port_of_zero_is_any_free_one() -> None:
    with bind(Settings(server_port=0)) as listening:
        assert listening.getsockname()[1] > 0


def test_a_port_in_use_names_the_variable() -> None:
    with bind(Settings(server_port=0)) as first:
        first.listen()
        with pytest.raises(SettingsError, match="--port or SERVER_PORT"):
            bind(Settings(server_port=first.getsockname()[1]))


def test_a_host_that_is_none_names_the_variable() -> None:
    with pytest.raises(SettingsError, match="SERVER_HOST"):
        bind(Settings(server_host="256.0.0.1"))


@pytest.mark.parametrize("host", ["a" * 100, "\udcff", "a..b"])
def test_a_host_that_cannot_be_a_name_names_the_variable(host: str) -> None:
    with pytest.raises(SettingsError, match="SERVER_HOST"):
        bind(Settings(server_host=host))


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

    @action(triggers=(WEB_GET,))
    def mine(authorization: Authorization) -> str:
        return str(authorization.subject)

    assert banner(Service([say_hello, secret, mine]), 8001) == [
        "development: 3 actions",
        "  GET    http://localhost:8001/actions/say-hello  (open)",
        "  GET    http://localhost:8001/actions/secret  (scope root)",
        "  GET    http://localhost:8001/actions/mine  (any token)",
        "tokens: HS256 with a generated secret, because JWT_SECRET_KEY is not set; new ones are signed with it",
    ]


def test_the_banner_says_when_workers_count_apart() -> None:
    @action(triggers=(WEB_GET,), rate_limit="10/minute")
    def roll() -> int:
        return 4

    def told(**settings: object) -> bool:
        lines = banner(Service([roll], settings=Settings(**settings)), 8001)
        return any("each of the 2 workers counts the calls of roll by itself;" in line for line in lines)

    assert told(workers=2)
    assert not told(workers=1)
    assert not told(workers=2, rate_limits="redis://localhost")


def test_with_a_broker_the_banner_says_which_programs_make_calls_and_run_schedules() -> None:
    @action(triggers=(WEB_GET, FixedRateTrigger(60)))
    def roll() -> int:
        return 4

    settings = Settings(broker="amqp://me:secret@host:5672//", store="memory", workers=2)
    lines = banner(Service([roll], settings=settings), 8001)
    assert (
        "background calls go to amqp://…@host:5672//: `servey worker` makes them, and `servey beat` runs the schedules"
        in lines
    )
    assert not any("every 0:01:00" in line or "runs the schedules of roll" in line for line in lines)


def test_the_banner_says_when_there_is_nothing_to_serve() -> None:
    @action
    def unreachable() -> str:
        return ""

    first, second = banner(Service([unreachable], settings=Settings(server_host="0.0.0.0")), 80)
    assert first == "production: 1 action"
    assert "WEB_GET" in second


@pytest.mark.parametrize(
    "command",
    [["serve", "--no-reload"], ["serve", "--workers", "2"], ["call", "use"]],
    ids=["serve", "workers", "call"],
)
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


def test_the_banner_has_the_pages_that_are_served() -> None:
    lines = banner(Service([]), 8001, {"/docs", "/livez"})
    assert [line.strip() for line in lines[:2]] == [
        "development: 0 actions",
        "http://localhost:8001/docs  try the actions in a browser",
    ]
    assert "no action was found in actions" in lines[3]


def test_a_reload_tells_what_came_changed_and_went() -> None:
    before = {"a": "GET /a", "b": "GET /b", "c": "GET /c"}
    after = {"a": "GET /a", "b": "POST /b", "d": "GET /d"}
    assert reloaded(0.25, before, after) == "reloaded in 0.2 s: 3 actions; new: d; changed: b; gone: c"
    assert reloaded(1, before, before) == "reloaded in 1.0 s: 3 actions"


def test_an_outline_is_the_same_in_another_process_and_other_for_another_signature(tmp_path: Path) -> None:
    source = NO_DATABASE.replace("(pool: Pool)", "(pool: Pool, n: int = 5)")
    program = (
        "from servey.service import Service; from servey.servey_uvicorn.banner import outline; "
        "print(outline(Service.from_settings()))"
    )

    def outlined(text: str) -> str:
        (tmp_path / "actions.py").write_text(text)
        command = [sys.executable, "-B", "-c", program]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True).stdout

    first = outlined(source)
    assert outlined(source) == first
    assert outlined(source.replace("n: int", "n: str")) != first
