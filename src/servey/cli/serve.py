"""``servey serve``: the server, which the Starlette adapter brings."""

from __future__ import annotations

from functools import partial

import click
import msgspec

from servey.cli.errors import EX_USAGE, CommandError, error_text
from servey.cli.project import project_of
from servey.settings import MOST_WORKERS, Settings


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
@click.pass_context
def serve(context: click.Context, host: str | None, port: int | None, workers: int | None, reload: bool | None) -> None:
    """Serve the actions over HTTP, until Ctrl-C or SIGTERM.

    Everything else is set by environment variables; `servey config` lists them.
    """
    settings = project_of(context).settings
    from servey.servey_starlette.app import create_app  # raises MissingExtraError without the extra
    from servey.servey_uvicorn import server

    given = {"server_host": host, "server_port": port, "workers": workers}
    settings = msgspec.structs.replace(settings, **{key: value for key, value in given.items() if value is not None})
    server.serve(settings, partial(create_app, serves=True), reload=_reloads(settings, reload), tell=tell)


def tell(error: BaseException) -> str:
    """Show an error of the user's modules as the program would at its end; return it as text."""
    text = error_text(error)
    click.echo(text, err=True)
    return click.unstyle(text)


def _reloads(settings: Settings, asked: bool | None) -> bool:
    if asked and settings.production:
        raise CommandError("--reload is for development; this is production (see SERVEY_ENV)", EX_USAGE)
    if asked and settings.workers > 1:
        raise CommandError(f"--reload takes one worker, and there are to be {settings.workers}", EX_USAGE)
    if asked is not None:
        return asked
    return not settings.production and settings.is_local and settings.workers == 1
