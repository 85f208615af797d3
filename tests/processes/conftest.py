"""Servers in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

BOUND = 60.0
"""Seconds after which a test that waits fails."""


class ServerProcess:
    """A server, and what it logs: lines of JSON, and others.

    Args:
        directory: Where it runs.
        words: The module to run, and its arguments.
        variables: What the environment has besides.
    """

    def __init__(self, directory: Path, words: tuple[str, ...], variables: dict[str, str]) -> None:
        others = ("SERVEY_", "SERVER_", "CELERY_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        environment |= {"SERVER_PORT": "0", **variables}
        self.process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=directory,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    @property
    def port(self) -> int:
        """The port; waits until there is one."""
        return int(self.wait_for("Uvicorn running on").partition("localhost:")[2].split()[0])

    def log(self, logger: str = "servey.access") -> list[dict[str, Any]]:
        """Return the records of one logger so far."""
        records = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [record for record in records if record["logger"] == logger]

    def wait_for(self, text: str, *, count: int = 1) -> str:
        """Return the line that has `text`, of that many the last; wait until it comes."""

        def found() -> list[str]:
            return [line for line in self.lines if text in line]

        with self._changed:
            came = self._changed.wait_for(lambda: len(found()) >= count, BOUND)
        assert came, f"no {text!r} in:\n" + "".join(self.lines)
        return found()[count - 1]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code; wait for the end of the process, and of all that hold its standard error."""
        try:
            code = self.process.wait(BOUND)
        except subprocess.TimeoutExpired:
            raise AssertionError("it does not end:\n" + "".join(self.lines)) from None
        self._reading.join(BOUND)
        assert not self._reading.is_alive(), "a process is left that holds standard error"
        return code

    def children(self) -> list[int]:
        """Return the processes that it has started and that run Python code of a server."""
        return [pid for pid, command in self._children() if b"spawn_main" in command]

    def processes(self) -> list[int]:
        """Return all processes that it has started."""
        return [pid for pid, _ in self._children()]

    def _children(self) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if parent == self.process.pid:
                    found.append((int(entry.name), command))
        return sorted(found)

    def kill(self) -> None:
        """End it and all that it has started, whatever the test did."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(BOUND)
        self._reading.join(BOUND)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start a server with a module of actions: ``start(source, "--workers", "2", SERVEY_SHUTDOWN_TIMEOUT="5")``."""
    servers: list[ServerProcess] = []

    def start(source: str, *words: str, command: str = "serve", **variables: str) -> ServerProcess:
        (tmp_path / "actions.py").write_text(source)
        program = (command,) if command in ("uvicorn", "celery") else ("servey", command)
        server = ServerProcess(tmp_path, (*program, *words), variables)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.kill()


def until(condition: Callable[[], Any], what: str, bound: float = BOUND) -> Any:
    """Return what `condition` returns, once that is something; fail after `bound` seconds."""
    end = time.monotonic() + bound
    while not (value := condition()):
        assert time.monotonic() < end, f"not in {bound} s: {what}"
        time.sleep(0.01)
    return value
