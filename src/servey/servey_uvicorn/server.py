"""Run a service in uvicorn: the address, the server of one process, and which kind of server is wanted."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from typing import Any

from servey.errors import MissingExtraError, SettingsError
from servey.service import Service
from servey.settings import Settings

try:
    import uvicorn
except ModuleNotFoundError as error:
    if error.name != "uvicorn":
        raise
    raise MissingExtraError("uvicorn", "server") from error

from servey.servey_uvicorn.access_log import access_logged
from servey.servey_uvicorn.banner import banner, named
from servey.servey_uvicorn.graceful import Server, Stop

_log = logging.getLogger("servey.server")


CreateApp = Callable[[Service], Any]
"""Makes the ASGI application of a service; picklable, as worker processes call it, too."""


def serve(
    settings: Settings, create_app: CreateApp, *, reload: bool = False, tell: Callable[[BaseException], str] = str
) -> None:
    """Find what `settings` name and serve it over HTTP until a signal ends it.

    Without `reload`, the service is built first: a wrong declaration is raised before any port is taken.

    Args:
        settings: The address to bind, the number of processes, and all the rest.
        create_app: Makes the application of the service.
        reload: Whether to load the service again whenever a file of Python code changes, or is mended. For
            development: errors are shown to who asks.
        tell: With `reload`, shows an error of the user's modules, and returns it as text; it has to be picklable.

    Raises:
        DefinitionError: A declaration is wrong.
        SettingsError: The address cannot be bound, or the keys of tokens are not good enough.
        SystemExit: A resource cannot be opened.
    """
    settings = settings.with_made_up()  # before there are several processes: what one signs, another verifies
    if reload:
        from servey.servey_uvicorn.reload import serve_reloading

        serve_reloading(settings, create_app, bind(settings), tell)
        return
    service = Service.from_settings(settings)
    app = create_app(service)
    listening = bind(settings)
    with listening:
        say_hello(service, app, listening)
        if settings.workers > 1:
            from servey.servey_uvicorn.workers import serve_with_workers

            serve_with_workers(settings, create_app, listening)
            return
        config = uvicorn_config(app, settings)
        Server(config, service, Stop.of(settings), started=lambda: say_where(listening)).run(sockets=[listening])


def uvicorn_config(app: Any, settings: Settings, *, access_log: bool = True) -> uvicorn.Config:
    """Return uvicorn's configuration; nothing in it is read from the environment.

    Args:
        app: The application.
        settings: The settings.
        access_log: Whether requests are logged.
    """
    return uvicorn.Config(
        access_logged(app) if access_log else app,
        log_config=None,  # the logging that is set up already
        # what it has to say at INFO is said here, for one process or many
        log_level="debug"
        if settings.log_level == "DEBUG"
        else max(settings.log_level, "WARNING", key=_severity).lower(),
        access_log=False,
        server_header=False,
        forwarded_allow_ips=list(settings.trusted_proxies),
        workers=1,
        reload=False,
        timeout_worker_healthcheck=30,
    )


def say_hello(service: Service, app: Any, listening: socket.socket) -> None:
    """Log the banner."""
    paths = {getattr(route, "path", "") for route in app.router.routes}
    for line in banner(service, listening.getsockname()[1], paths):
        _log.info("%s", line)


def say_where(listening: socket.socket) -> None:
    """Log the address, as uvicorn does."""
    host, port, *_ = listening.getsockname()
    _log.info("Uvicorn running on http://%s:%s (Press CTRL+C to quit)", named(host), port)


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
    except (OSError, UnicodeError) as error:  # the second for what cannot be a name in the DNS
        raise SettingsError(f"SERVER_HOST is {host!r}, which is no address of this machine: {error}") from error
    try:
        if os.name == "posix":  # elsewhere it would let two servers share the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise SettingsError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port or SERVER_PORT "
            "(or --host, SERVER_HOST)"
        ) from error
    return listening


def _severity(level: str) -> int:
    return logging.getLevelNamesMapping()[level]
