"""A real RabbitMQ: a node of its own, in a temporary directory, with ports that the system names."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

from kombu import Connection

BOUND = 60.0
"""Seconds after which a node that does not start is an error."""

PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"
"""That of Debian's package. The one in ``/usr/sbin`` would change the user."""
INSTALLED = os.path.exists(PROGRAM)


class RabbitMq:
    """A node. It can be killed, and started again with the same data."""

    def __init__(self) -> None:
        self.directory = Path(mkdtemp(prefix="rabbitmq-"))
        self._port, dist_port, epmd_port = _free_ports(3)
        (self.directory / "plugins").write_text("[].\n")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")},
            "RABBITMQ_NODENAME": f"test{uuid4().hex[:8]}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "data"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "ERL_EPMD_PORT": str(epmd_port),
            "HOME": str(self.directory),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self._port}//"

    @property
    def pid(self) -> int:
        """The process of the node."""
        [path] = self.directory.glob("data/*.pid")
        return int(path.read_text())

    def start(self) -> None:
        """Start the node, and wait until it takes connections."""
        for path in self.directory.glob("data/*.pid"):
            path.unlink()
        with (self.directory / "stdout").open("ab") as output:
            self._process = subprocess.Popen(
                [PROGRAM],
                cwd=self.directory,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + BOUND
        while not self._answers():
            is_hopeless = self._process.poll() is not None or time.monotonic() > end
            assert not is_hopeless, (self.directory / "stdout").read_text(errors="replace")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with Connection(self.url, connect_timeout=5) as connection:
                connection.connect()
        except Exception:  # noqa: BLE001 - it is tried again
            return False
        return bool(list(self.directory.glob("data/*.pid")))

    def kill(self) -> None:
        """Kill the node with SIGKILL."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(BOUND)
        self._process = None

    def stop(self) -> None:
        """End the node, and remove its data."""
        if self._process is not None:
            self.kill()
        for entry in Path("/proc").iterdir():  # its EPMD is in a session of its own
            if entry.name.isdigit():
                with suppress(OSError, ValueError):
                    if (
                        f"ERL_EPMD_PORT={self._environment['ERL_EPMD_PORT']}".encode()
                        in (entry / "environ").read_bytes()
                    ):
                        os.kill(int(entry.name), signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
