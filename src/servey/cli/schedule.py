"""``servey schedule``: when the schedules run, and how their last runs went."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click
import msgspec

from servey.background_call.last_run import LastRun, last_run
from servey.cli.errors import EX_NOINPUT, CommandError
from servey.cli.output import utc_text, write, write_json, write_table
from servey.cli.project import project_of
from servey.errors import did_you_mean
from servey.schedule.schedule import Schedule
from servey.schedule.upcoming import Upcoming, upcoming
from servey.service import Service

CLOCKS = {
    "forward": "the clock goes forward: a skipped time runs now",
    "back": "the clock shows this hour twice",
}
"""The notes for runs at a change of clocks."""


def _moment(_context: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """Return a time in Unix seconds; one without an offset is local time."""
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(f"{value!r} is not a time: write 2026-03-29T02:30 or 2026-03-29T02:30+02:00") from None


@click.command("schedule")
@click.argument("action", required=False)
@click.option("--count", type=click.IntRange(1, 10_000), help="The number of next runs.  [default: 5]")
@click.option("--from", "start", callback=_moment, metavar="TIME", help="Show the runs after this time.  [now]")
@click.option("--to", "end", callback=_moment, metavar="TIME", help="Show the runs until this time.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object, for programs.")
@click.pass_context
def schedule(
    context: click.Context, action: str | None, count: int | None, start: float | None, end: float | None, as_json: bool
) -> None:
    """Show the schedules (of one ACTION, or of all) with their last runs, and the next runs.

    A time without an offset is local time.
    """
    service = project_of(context).service
    schedules = [item for item in service.schedules if action is None or item.action == action]
    if action is not None and not schedules:
        names = {item.action for item in service.schedules}
        raise CommandError(f"no schedule calls {action}{did_you_mean(action, names)}", EX_NOINPUT)
    if end is not None and count is None:
        count = 10_000
    now = time.time()
    following = list(upcoming(schedules, start or now, math.inf if end is None else end, count or 5))
    last = asyncio.run(_last_runs(service, schedules)) if schedules else []
    rows = [_row(item, run, now) for item, run in zip(schedules, last, strict=True)]
    if as_json:
        write_json(msgspec.json.encode({"schedules": rows, "next": [_next_row(item) for item in following]}))
    elif not rows:
        click.echo("There are no schedules: give an action a CronTrigger or a FixedRateTrigger.", err=True)
    else:
        write_table(["ACTION", "SCHEDULE", "NEXT RUN", "LAST RUN", "OUTCOME", "TOOK"], [_cells(row) for row in rows])
        write("")
        write_table(["NEXT RUNS", "ZONE", "ACTION", "CLOCK"], [_next_cells(item) for item in following])


async def _last_runs(service: Service, schedules: Sequence[Schedule]) -> list[LastRun | None]:
    return [await last_run(service, item.name) for item in schedules]


def _row(item: Schedule, run: LastRun | None, now: float) -> dict[str, Any]:
    last = None
    if run is not None:
        last = {
            "due": utc_text(run.due),
            "began": utc_text(run.began),
            "seconds": run.seconds,
            "outcome": run.outcome,
        }
    following = next(upcoming([item], now), None)
    return {
        "name": item.name,
        "action": item.action,
        "schedule": str(item.trigger),
        "next": None if following is None else following.local.isoformat(),
        "last_run": last,
    }


def _cells(row: dict[str, Any]) -> list[list[str]]:
    following = "never" if row["next"] is None else _shown(datetime.fromisoformat(row["next"]))
    last = row["last_run"]
    last_cells = ["never", "", ""]
    if last is not None:
        due = datetime.fromisoformat(last["due"]).astimezone()
        last_cells = [_shown(due), last["outcome"], f"{last['seconds']:.3g} s"]
    return [[text] for text in (row["action"], row["schedule"], following, *last_cells)]


def _next_cells(item: Upcoming) -> list[list[str]]:
    return [[text] for text in (_shown(item.local), _zone(item), item.schedule.action, CLOCKS.get(item.clock, ""))]


def _shown(moment: datetime) -> str:
    return f"{moment:%a %Y-%m-%d %H:%M:%S%z}"


def _next_row(item: Upcoming) -> dict[str, Any]:
    return {
        "name": item.schedule.name,
        "action": item.schedule.action,
        "due": utc_text(item.due),
        "local": item.local.isoformat(),
        "zone": _zone(item),
        "clock": item.clock,
    }


def _zone(item: Upcoming) -> str:
    return str(item.local.tzinfo)
