"""The listening socket, and its readable address."""

from __future__ import annotations

import errno
import logging
import os
import socket

from servey.errors import SettingsError
from servey.settings import Settings

_log = logging.getLogger("servey.server")

BACKLOG = 2048
"""The largest number of connections that wait to be accepted."""


def bind(settings: Settings) -> socket.socket:
    """Return a socket bound to the address in the settings, or raise a `SettingsError` with reason and fix."""
    host, port = settings.process.server_host, settings.process.server_port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # UnicodeError: the text cannot be a name in the DNS
        raise SettingsError(f"SERVER_HOST is {host!r}, which is not an address of this machine: {error}") from error
    try:
        if os.name == "posix":  # elsewhere it would let two servers share the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise SettingsError(_refusal(host, port, error)) from error
    return listening


def _refusal(host: str, port: int, error: OSError) -> str:
    """Return the reason why an address cannot be bound, and the fix."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"cannot listen on {host}:{port}: another process is listening there, perhaps a server that you started "
            "before. Stop it (Ctrl-C in its terminal), or choose another port with --port or SERVER_PORT "
            f"(SERVER_PORT={port + 1 if port < 65535 else 0} python -m servey)"
        )
    return (
        f"cannot listen on {host}:{port}: {error.strerror}; choose another port with --port or SERVER_PORT, "
        "or another address with --host or SERVER_HOST"
    )


def log_address(listening: socket.socket) -> None:
    """Log the address, as uvicorn does."""
    host, port, *_ = listening.getsockname()
    _log.info("Uvicorn running on http://%s:%s (Press CTRL+C to quit)", host_in_url(host), port)


def host_in_url(host: str) -> str:
    """Return a host in the form of a URL.

    Example:
        >>> [host_in_url(host) for host in ("127.0.0.1", "::", "example.com")]
        ['localhost', '[::]', 'example.com']
    """
    if host in ("127.0.0.1", "::1"):
        return "localhost"
    return f"[{host}]" if ":" in host else host
