"""``servey serve``: serve the actions, or the user's own application, with uvicorn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import click

from servey.cli.errors import EX_USAGE, CommandError, error_text
from servey.cli.project import project_of
from servey.finder.application import find_application
from servey.service import Service
from servey.settings import MOST_WORKERS, Settings, use_in_this_process


@click.command("serve")
@click.option("--host", metavar="ADDRESS", help="The address to bind to, instead of SERVER_HOST.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="NUMBER",
    help="The port to bind to, instead of SERVER_PORT; 0 takes a free one.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    metavar="NUMBER",
    help="How many processes serve, instead of SERVEY_WORKERS.",
)
@click.option(
    "--reload/--no-reload",
    default=None,
    help="Whether to load the actions again when a file changes.  [default: in development, with one worker]",
)
@click.option(
    "--app",
    metavar="MODULE:NAME",
    help="Your own ASGI application, instead of the actions' one.",
)
@click.pass_context
def serve(
    context: click.Context,
    host: str | None,
    port: int | None,
    workers: int | None,
    reload: bool | None,
    app: str | None,
) -> None:
    """Serve the actions over HTTP, until Ctrl-C or SIGTERM.

    Everything else is set by environment variables; `servey config` lists them.
    """
    settings = project_of(context).settings
    from servey.servey_starlette.app import create_app  # raises MissingExtraError without the extra
    from servey.servey_uvicorn import server

    given = {"server_host": host, "server_port": port, "workers": workers}
    settings = settings.replace(**{key: value for key, value in given.items() if value is not None})
    load = partial(load_service, create_app) if app is None else partial(load_application, app)
    modules = settings.process.action_path if app is None else f"{settings.process.action_path},{app.partition(':')[0]}"
    server.serve(settings, load, reload=_reloads(settings, reload), modules=modules, show_error=show_error)


def load_service(create_app: Callable[..., Any], settings: Settings) -> Any:
    """Return the application of the actions that the settings name."""
    return create_app(Service.from_settings(settings), serves=True)


def load_application(target: str, settings: Settings) -> Any:
    """Return the user's application; a service that it makes with `Service.from_settings` has the server's settings."""
    use_in_this_process(settings)
    return find_application(target)


def show_error(error: BaseException) -> str:
    """Show an error of the user's modules as the program would at its end; return it as text."""
    text = error_text(error)
    click.echo(text, err=True)
    return click.unstyle(text)


def _reloads(settings: Settings, asked: bool | None) -> bool:
    if asked and settings.production:
        raise CommandError("--reload is for development; this is production (see SERVEY_ENV)", EX_USAGE)
    if asked and settings.process.workers > 1:
        raise CommandError(f"--reload works with one worker only, not with {settings.process.workers}", EX_USAGE)
    if asked is not None:
        return asked
    return not settings.production and settings.is_local and settings.process.workers == 1
