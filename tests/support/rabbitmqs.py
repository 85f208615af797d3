"""A real RabbitMQ: a node of its own, in a temporary directory, with ports that the system names."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import amqp
import pytest

PROGRAM = next(filter(None, map(shutil.which, ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server"))), None)
"""Debian's other one, in ``/usr/sbin``, changes the user, and uses the directories of the system."""
INSTALLED = PROGRAM is not None and shutil.which("epmd") is not None
GUARD = Path(__file__).parent / "guard.py"
BOUND = 120.0
"""Seconds after which a node that does not start is an error; it takes 5 s of a processor."""
DELAYS = 28
"""The number of the queues in which Celery's messages wait for their time."""


class RabbitMq:
    """A node. It can be killed, and started again with the same data."""

    def __init__(self) -> None:
        self.directory = Path(mkdtemp(prefix="rabbitmq-"))
        self._port, self._distribution_port, self._epmd_port = _free_ports(3)
        (self.directory / "plugins").write_text("[].")
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self._port}//"

    @property
    def pid(self) -> int:
        """The process of the node."""
        return int((self.directory / "pid").read_text())

    def start(self) -> None:
        """Start the node, and wait until it takes connections."""
        (self.directory / "pid").unlink(missing_ok=True)
        epmd = ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"]
        with (self.directory / "stdout").open("ab") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", str(GUARD), str(self.directory), *epmd, "--", str(PROGRAM)],
                cwd=self.directory,
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + BOUND
        while not self._answers():
            text = (self.directory / "stdout").read_text(errors="replace")
            assert time.monotonic() < end, f"RabbitMQ does not start:\n{text}"
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill the node with SIGKILL."""
        self._end(b"keep")

    def stop(self) -> None:
        """Kill the node, and remove its data."""
        self._end(b"")
        shutil.rmtree(self.directory, ignore_errors=True)

    def empty(self) -> None:
        """Remove the queues of services, and the messages that wait for their time."""
        with self._connection() as connection:
            for queue in ("servey", "servey.failed"):
                connection.channel().queue_delete(queue)
            for level in range(DELAYS):
                with suppress(amqp.NotFound):
                    connection.channel().queue_purge(f"celery_delayed_{level}")

    def _end(self, said: bytes) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.communicate(said, BOUND)

    def _connection(self) -> Any:
        return amqp.Connection(f"127.0.0.1:{self._port}", connect_timeout=5, read_timeout=5)

    def _answers(self) -> bool:
        try:
            with self._connection():
                return (self.directory / "pid").exists()
        except (OSError, amqp.AMQPError):
            return False

    def _environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        directory = str(self.directory)
        return inherited | {
            "HOME": directory,  # for Erlang's cookie
            "RABBITMQ_NODENAME": f"servey-{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": f"{directory}/data",
            "RABBITMQ_LOG_BASE": f"{directory}/log",
            "RABBITMQ_PID_FILE": f"{directory}/pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{directory}/plugins",
            "RABBITMQ_CONFIG_FILE": f"{directory}/none",
            "RABBITMQ_CONF_ENV_FILE": f"{directory}/none",
        }


def needs_rabbitmq() -> None:
    """Skip the test where RabbitMQ is not installed."""
    if not INSTALLED:
        pytest.skip("there is no RabbitMQ; install it, on Debian with: apt-get install -y rabbitmq-server")


@contextmanager
def running_rabbitmq() -> Iterator[RabbitMq]:
    """Yield a node that runs; skip the test where RabbitMQ is not installed."""
    needs_rabbitmq()
    node = RabbitMq()
    try:
        node.start()
        yield node
    finally:
        node.stop()


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
