"""Run a service in uvicorn."""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
from types import FrameType

from servey.errors import MissingExtraError, SettingsError
from servey.servey_starlette.app import create_app
from servey.service import Service
from servey.settings import Settings

try:
    import uvicorn
except ModuleNotFoundError as error:
    if error.name != "uvicorn":
        raise
    raise MissingExtraError("uvicorn", "server") from error

_log = logging.getLogger("servey.server")

CLOSING_SECONDS = 2.0
"""How long resources may take to close when the calls under way have had all of the shutdown timeout."""


EX_UNAVAILABLE = 69
"""The exit code (sysexits.h) of a service that cannot start, because a resource cannot be opened."""


def serve(settings: Settings) -> None:
    """Find what `settings` name and serve it over HTTP until a signal ends it.

    The service is built first: a wrong declaration is raised before any port is taken.

    Args:
        settings: The address to bind, and all the rest.

    Raises:
        DefinitionError: A declaration is wrong.
        SettingsError: The address cannot be bound.
        SystemExit: A resource cannot be opened.
    """
    service = Service.from_settings(settings)
    config = uvicorn.Config(
        create_app(service),
        log_config=None,  # the logging that is set up already
        log_level=settings.log_level.lower(),
        access_log=True,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout),
        server_header=False,
    )
    listening = bind(settings)
    for line in banner(service, listening.getsockname()[1]):
        _log.info("%s", line)
    with listening:
        _Server(config, service).run(sockets=[listening])


class _Server(uvicorn.Server):
    """uvicorn, which tells no address of a socket that it is given, and waits for ever for what hangs.

    Args:
        config: As for `uvicorn.Server`.
        service: What the application serves.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._grace = service.settings.shutdown_timeout

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; by force when that does not come to an end, with an event loop that is blocked too."""
        if not self.should_exit:
            last = threading.Timer(self._grace + CLOSING_SECONDS, _end, (sig,))
            last.daemon = True
            last.start()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, wait for the calls under way, close the service."""
        self._service.stop_within(self._grace)
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            raise SystemExit(EX_UNAVAILABLE) from None  # uvicorn's own code means something else elsewhere
        if self.started:
            for listening in sockets or ():
                host, port, *_ = listening.getsockname()
                _log.info("Uvicorn running on http://%s:%s (Press CTRL+C to quit)", _named(host), port)


def _end(number: int) -> None:
    """End the process, whatever hangs in it."""
    # a standard error that nobody reads holds who writes to it
    told = threading.Thread(
        target=_log.critical, args=("what runs or closes does not end; the process ends by force",), daemon=True
    )
    told.start()
    told.join(1)
    os._exit(128 + number)


def bind(settings: Settings) -> socket.socket:
    """Return a socket bound to the address in the settings.

    Raises:
        SettingsError: The address cannot be bound; says why and what to set.
    """
    host, port = settings.server_host, settings.server_port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingsError(f"SERVER_HOST is {host!r}, which is no address of this machine: {error}") from error
    try:
        if os.name == "posix":  # elsewhere it would let two servers share the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise SettingsError(
            f"cannot listen on {host}:{port}: {error.strerror}; set SERVER_PORT (or SERVER_HOST) to another"
        ) from error
    listening.set_inheritable(True)
    return listening


def banner(service: Service, port: int) -> list[str]:
    """Return what a user wants to see at start: the mode, the routes, and what is missing.

    Args:
        service: The service.
        port: The port that was really bound.
    """
    settings = service.settings
    host = _named(settings.server_host)
    count = len(service.operations)
    mode = "production" if settings.production else "development"
    lines = [f"{mode}: {count} action{'' if count == 1 else 's'}"]
    for route in service.web_routes:
        access = repr(route.operation.action.access_control)
        lines.append(f"  {route.method:6} http://{host}:{port}{route.path}  ({access})")
    if not service.web_routes:
        lines.append("nothing to serve: give an action a web trigger, @action(triggers=(WEB_GET,))")
    guarded = [name for name, operation in service.operations.items() if not operation.is_open]
    if guarded and not service.authorizers:
        lines.append(f"nothing verifies tokens: over a network nobody can call {', '.join(guarded)}")
    return lines


def _named(host: str) -> str:
    """Return a host as a URL has it."""
    if host in ("127.0.0.1", "::1"):
        return "localhost"
    return f"[{host}]" if ":" in host else host
