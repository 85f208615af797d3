"""Run a service in uvicorn."""

from __future__ import annotations

import logging

from servey.errors import MissingExtraError
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


def serve(settings: Settings) -> None:
    """Find what `settings` name and serve it over HTTP until a signal ends it.

    The service is built first: a wrong declaration is raised before any port is taken.

    Args:
        settings: The address to bind, and all the rest.

    Raises:
        DefinitionError: A declaration is wrong.
        SystemExit: The address cannot be bound.
    """
    service = Service.from_settings(settings)
    app = create_app(service)
    for line in banner(service):
        _log.info("%s", line)
    uvicorn.run(
        app,
        host=settings.server_host,
        port=settings.server_port,
        log_config=None,  # the logging that is set up already
        log_level=settings.log_level.lower(),
        access_log=True,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_timeout)),
        server_header=False,
    )


def banner(service: Service) -> list[str]:
    """Return what a user wants to see at start: the mode, the routes, and what is missing."""
    settings = service.settings
    host = "localhost" if settings.server_host in ("127.0.0.1", "::1") else settings.server_host
    lines = [f"{'production' if settings.production else 'development'}: {len(service.operations)} actions"]
    for route in service.web_routes:
        access = repr(route.operation.action.access_control)
        lines.append(f"  {route.method:6} http://{host}:{settings.server_port}{route.path}  ({access})")
    guarded = [name for name, operation in service.operations.items() if not operation.is_open]
    if guarded and not service.authorizers:
        lines.append(f"nothing verifies tokens: over a network nobody can call {', '.join(guarded)}")
    return lines
