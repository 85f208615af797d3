"""``servey worker``: make background calls and run schedules, without HTTP."""

from __future__ import annotations

import click

from servey.cli.project import project_of
from servey.service import Service
from servey.settings import Settings


@click.command("worker")
@click.option(
    "--calls",
    type=click.IntRange(1, 10_000),
    metavar="NUMBER",
    help="How many calls run at the same time, instead of SERVEY_BACKGROUND_CALLS.",
)
@click.pass_context
def worker(context: click.Context, calls: int | None) -> None:
    """Make background calls and run schedules, until Ctrl-C or SIGTERM.

    Any number of workers and servers on a machine share the calls in SERVEY_STORE.
    """
    from servey.servey_thread.worker import work

    given = {} if calls is None else {"background_calls": calls}
    project = project_of(context)
    settings: Settings = project.settings.replace(background=True, **given)
    work(Service.from_settings(settings) if "service" not in vars(project) else project.service)
