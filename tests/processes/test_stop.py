"""The order in which a server stops, and what becomes of workers that come and go."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import BOUND, ServerProcess, until

ACTIONS = """
import os
import pathlib
import time
from collections.abc import Iterator

from servey import WEB_GET, resource
from servey.action.action import action


class Pool: ...


@resource(scope="service")
def pool() -> Iterator[Pool]:
    if pathlib.Path("closed").exists():
        raise OSError("no database")
    yield Pool()


@action(triggers=(WEB_GET,))
def pid(pool: Pool) -> int:
    return os.getpid()


@action(triggers=(WEB_GET,))
def work() -> str:
    pathlib.Path("works").touch()
    time.sleep(1)
    return "done"
"""

KINDS = pytest.mark.parametrize("words", [("--no-reload",), ("--workers", "2")], ids=["one process", "two workers"])


def ask(port: int, path: str, kept: socket.socket | None = None) -> tuple[int, str, bytes]:
    """Return the status, the head and the body of an answer; over a new connection, or a kept one."""
    asking = kept or socket.create_connection(("127.0.0.1", port), BOUND)
    try:
        asking.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return answer_of(asking)
    finally:
        if kept is None:
            asking.close()


def answer_of(asking: socket.socket) -> tuple[int, str, bytes]:
    with asking.makefile("rb") as reader:
        lines: list[str] = []
        while line := reader.readline().decode().strip().lower():
            lines.append(line)
        head = "\n".join(lines)
        length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
        return int(lines[0].split()[1]), head, reader.read(length)


def serving(port: int) -> set[int]:
    """Return the processes that answer."""
    return {json.loads(ask(port, "/actions/pid")[2]) for _ in range(20)}


def both(server: ServerProcess, port: int) -> list[int]:
    """Return two workers, when both serve."""
    until(lambda: len(serving(port)) == 2, "two workers that serve")
    return server.children()


def test_workers_do_not_repeat_the_warning_of_an_unknown_variable(start: Callable[..., ServerProcess]) -> None:
    plugin = "\n\nfrom servey.plugin import Plugin\n\n\nclass Shop(Plugin): ...\n"
    server = start(ACTIONS + plugin, "--workers", "2", SERVEY_PLUGINS="actions:Shop", SERVEY_TIMEOUTS="3")
    both(server, server.port)
    assert [record["msg"] for record in server.log("servey.settings")] == [
        "SERVEY_TIMEOUTS is not a setting of servey; did you mean SERVEY_TIMEOUT?"
    ]


@KINDS
def test_a_call_under_way_is_answered_and_its_connection_closed(
    start: Callable[..., ServerProcess], tmp_path: Path, words: tuple[str, ...]
) -> None:
    server = start(ACTIONS, *words)
    port = server.port
    with (
        socket.create_connection(("127.0.0.1", port), BOUND) as asking,
        socket.create_connection(("127.0.0.1", port), BOUND) as idle,
    ):
        assert ask(port, "/livez", idle)[0] == 200
        asking.sendall(b"GET /actions/work HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until((tmp_path / "works").exists, "the call")
        server.signal(signal.SIGTERM)
        assert idle.recv(1) == b"", "an idle connection is closed while the call is under way"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), BOUND)
        status, head, body = answer_of(asking)
        assert (status, body) == (200, b'"done"')
        assert "connection: close" in head
        assert asking.recv(1) == b""
    assert server.wait() == -signal.SIGTERM


@KINDS
def test_during_the_delay_requests_are_taken_and_readiness_is_refused(
    start: Callable[..., ServerProcess], words: tuple[str, ...]
) -> None:
    server = start(ACTIONS, *words, SERVEY_SHUTDOWN_DELAY="3")
    port = server.port
    assert ask(port, "/readyz")[0] == 200
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    until(lambda: ask(port, "/readyz")[0] == 503, "not ready")
    # still within the delay, after which a connection is refused
    status, head, _ = ask(port, "/actions/pid")
    assert status == 200
    assert "connection: close" in head
    assert server.wait() == -signal.SIGTERM
    assert time.monotonic() - began >= 3


@KINDS
def test_a_second_interrupt_waits_for_nothing(
    start: Callable[..., ServerProcess], tmp_path: Path, words: tuple[str, ...]
) -> None:
    server = start(ACTIONS.replace("time.sleep(1)", "time.sleep(600)"), *words, SERVEY_SHUTDOWN_TIMEOUT="300")
    port = server.port
    with socket.create_connection(("127.0.0.1", port), BOUND) as asking:
        asking.sendall(b"GET /actions/work HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until((tmp_path / "works").exists, "the call")
        os.killpg(server.process.pid, signal.SIGINT)
        server.wait_for("1 request under way")
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.wait() == 130


def test_a_worker_that_cannot_start_again_is_tried_again_while_others_serve(
    start: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    server = start(ACTIONS, "--workers", "2")
    port = server.port
    victim, other = both(server, port)
    (tmp_path / "closed").touch()
    os.kill(victim, signal.SIGKILL)
    server.wait_for("another one starts in 1 s")
    assert serving(port) == {other}
    (tmp_path / "closed").unlink()
    until(lambda: serving(port) > {other}, "another one serves")


def test_proxies_are_believed_as_the_settings_say(start: Callable[..., ServerProcess]) -> None:
    for trusted, client in (("127.0.0.1", "203.0.113.7"), ("10.0.0.0/8", "127.0.0.1")):
        server = start(ACTIONS, "--no-reload", FORWARDED_ALLOW_IPS=trusted)
        with socket.create_connection(("127.0.0.1", server.port), BOUND) as asking:
            asking.sendall(b"GET /actions/pid HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n")
            assert answer_of(asking)[0] == 200
        server.wait_for("/actions/pid 200")
        assert [record["client"] for record in server.log()] == [client]


@pytest.mark.parametrize("moment", ["at the start", "when all serve"])
def test_a_terminals_interrupt_of_all_workers_is_no_error(start: Callable[..., ServerProcess], moment: str) -> None:
    server = start(ACTIONS, "--workers", "2")
    port = server.port
    if moment == "when all serve":
        both(server, port)
    os.killpg(server.process.pid, signal.SIGINT)
    assert server.wait() == 130
    assert [line for line in server.lines if "ERROR" in line or "Traceback" in line or '"level":"ERROR"' in line] == []
    assert len([line for line in server.lines if "stopping" in line]) == 1
