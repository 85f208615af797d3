"""``servey serve``: the server, which the Starlette adapter brings."""

from __future__ import annotations

import click
import msgspec

from servey.cli.project import project_of


@click.command("serve")
@click.option("--host", metavar="ADDRESS", help="The address to bind to, instead of SERVER_HOST.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="NUMBER",
    help="The port to bind to, instead of SERVER_PORT; 0 takes a free one.",
)
@click.pass_context
def serve(context: click.Context, host: str | None, port: int | None) -> None:
    """Serve the actions over HTTP, until Ctrl-C or SIGTERM.

    Everything else is set by environment variables; `servey config` lists them.
    """
    settings = project_of(context).settings
    from servey.servey_starlette import server  # raises MissingExtraError without the extra

    given = {"server_host": host, "server_port": port}
    server.serve(msgspec.structs.replace(settings, **{key: value for key, value in given.items() if value is not None}))
