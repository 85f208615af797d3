"""``servey worker`` and ``servey beat``: make background calls and run schedules, without HTTP."""

from __future__ import annotations

import click

from servey.cli.errors import EX_CONFIG, CommandError
from servey.cli.project import Project, project_of
from servey.errors import count_of
from servey.schedule.upcoming import schedule_lines
from servey.security.urls import shown_url
from servey.servey_celery.settings import POOLS
from servey.service import Service
from servey.settings import Settings


@click.command("worker")
@click.option(
    "--calls",
    type=click.IntRange(1, 10_000),
    metavar="NUMBER",
    help="How many calls run at the same time, instead of SERVEY_BACKGROUND_CALLS.",
)
@click.option(
    "--pool",
    type=click.Choice(POOLS),
    help="With a broker: whether calls run in processes, in threads, or one at a time.  [default: prefork]",
)
@click.pass_context
def worker(context: click.Context, calls: int | None, pool: str | None) -> None:
    """Make background calls, until Ctrl-C or SIGTERM.

    Any number of workers share the calls. Without CELERY_BROKER, the calls are in SERVEY_STORE, and workers on this
    machine also run the schedules. With it, they are in the broker, and `servey beat` runs the schedules.
    """
    project = project_of(context)
    if pool is not None and not project.settings.background.broker:
        raise CommandError("--pool is for workers of Celery, and CELERY_BROKER is not set", EX_CONFIG)
    given = {} if calls is None else {"background_calls": calls}
    settings: Settings = project.settings.replace(background=True, **given)
    if settings.background.broker:
        _work_for_broker(_service(project, settings), pool or "prefork")
    else:
        _work_for_store(_service(project, settings))


def _work_for_broker(service: Service, pool: str) -> None:
    from servey.servey_celery import programs

    background = service.settings.background
    count = count_of(1 if pool == "solo" else background.background_calls, "background call")
    place = shown_url(background.broker)
    banner = [f"{service.settings.mode}: a worker makes {count} at the same time ({pool}), from {place}"]
    if service.schedules:
        banner.append(f"`servey beat` runs {count_of(len(service.schedules), 'schedule')}")
    programs.work(service, pool, banner)


def _work_for_store(service: Service) -> None:
    from servey.servey_thread.worker import work

    background = service.settings.background
    count = count_of(background.background_calls, "background call")
    first = f"{service.settings.mode}: a worker makes {count} at the same time, from {shown_url(background.store)}"
    if background.store == "memory":
        first += ": no other process can submit calls to it"
    work(service, [first, *schedule_lines(service.schedules)])


@click.command("beat")
@click.pass_context
def beat(context: click.Context) -> None:
    """Put the calls of schedules into the broker when they are due, until Ctrl-C or SIGTERM.

    One process is enough. A second one does no harm: workers run each time of a schedule once.
    """
    project = project_of(context)
    background = project.settings.background
    if not background.broker:
        raise CommandError(
            "CELERY_BROKER is not set; without a broker, servers and `servey worker` run the schedules", EX_CONFIG
        )
    from servey.servey_celery import programs

    service = _service(project, project.settings)
    place = shown_url(background.broker)
    first = f"{service.settings.mode}: the calls of {count_of(len(service.schedules), 'schedule')} go to {place}"
    programs.beat(service, [first, *schedule_lines(service.schedules)])


def _service(project: Project, settings: Settings) -> Service:
    return project.service if "service" in vars(project) else Service.from_settings(settings)
