"""``servey calls``: list the background calls in the queue, and retry or forget them."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click
import msgspec

from servey.background_call.call import Call, FailedCall, OpenCall
from servey.cli.errors import EX_CONFIG, EX_NOINPUT, CommandError
from servey.cli.output import printable, utc_text, write, write_json, write_table
from servey.cli.project import Project, project_of
from servey.ports import CallQueue, OpenCallsQueue

T = TypeVar("T")

MOST = 10_000
"""The largest number of calls that a command reads."""


@click.group("calls", invoke_without_command=True)
@click.option("--failed", "only_failed", is_flag=True, help="List only the failed calls.")
@click.option(
    "--limit", type=click.IntRange(1, MOST), default=50, show_default=True, help="The most calls of each state."
)
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array, for programs.")
@click.pass_context
def calls(context: click.Context, only_failed: bool, limit: int, as_json: bool) -> None:
    """List the background calls: running, waiting and failed ones. A broker lists only the failed ones.

    `servey calls show ID` shows all of a call, with the traceback of a failed one.
    """
    if context.invoked_subcommand is not None:
        return
    project = project_of(context)
    open_calls, failed = _with_queue(project, lambda queue: _all(queue, limit, only_failed))
    rows = [*map(_open_row, open_calls), *map(_failed_row, failed)]
    lists_open = isinstance(project.service.stores.calls, OpenCallsQueue)
    if as_json:
        write_json(msgspec.json.encode(rows))
    elif rows:
        columns = ("id", "action", "state", "time", "attempt", "why")
        write_table(
            [column.upper() for column in columns],
            [[[_shown(column, row[column])] for column in columns] for row in rows],
        )
        if any(row["state"] == "failed" for row in rows):
            click.echo("servey calls show ID, retry ID… (or --all), forget ID…", err=True)
    elif only_failed or not lists_open:
        click.echo("No call has failed.", err=True)
    else:
        click.echo("No call runs, waits or has failed.", err=True)
    if not (as_json or only_failed or lists_open):
        click.echo("A broker does not list running and waiting calls. This asks its workers:", err=True)
        click.echo("celery -A servey.servey_celery.celery_app inspect active", err=True)


@calls.command("show")
@click.argument("id")
@click.pass_context
def show(context: click.Context, id: str) -> None:
    """Show a call: its arguments and its caller, and the problem and the traceback of a failed one."""
    open_calls, failed = _with_queue(project_of(context), lambda queue: _all(queue, MOST))
    found = [item for item in (*open_calls, *failed) if item.call.id == id]
    if not found:
        raise CommandError(f"no call has the id {id}; `servey calls` lists the calls", EX_NOINPUT)
    item = found[0]
    lines = {
        "id": item.call.id,
        "action": item.call.action,
        "arguments": bytes(item.call.arguments).decode(),
        "caller": item.call.caller.subject if item.call.caller else "",
        "request": item.call.request_id,
        "attempts": str(item.call.attempt),
        "due": _local(item.call.due),
    }
    if isinstance(item, FailedCall):
        lines |= {"failed": _local(item.failed_at), "problem": item.problem.decode()}
    write(printable("\n".join(f"{name:10} {text}".rstrip() for name, text in lines.items())))
    if isinstance(item, FailedCall) and item.traceback:
        write(printable(f"\n{item.traceback.rstrip()}"))


@calls.command("retry")
@click.argument("ids", nargs=-1, metavar="ID…")
@click.option("--all", "is_all", is_flag=True, help="Retry all failed calls.")
@click.pass_context
def retry(context: click.Context, ids: Sequence[str], is_all: bool) -> None:
    """Make failed calls again, from their first attempt."""
    _each(context, ids, lambda queue, id: queue.retry(id), "waits again", is_all=is_all)


@calls.command("forget")
@click.argument("ids", nargs=-1, metavar="ID…")
@click.option("--all", "is_all", is_flag=True, help="Forget all failed calls.")
@click.pass_context
def forget(context: click.Context, ids: Sequence[str], is_all: bool) -> None:
    """Forget failed or waiting calls; they never run."""
    _each(context, ids, lambda queue, id: queue.forget(id), "is forgotten", is_all=is_all)


def _each(
    context: click.Context,
    ids: Sequence[str],
    change: Callable[[CallQueue, str], Awaitable[bool]],
    done: str,
    *,
    is_all: bool,
) -> None:
    """Change calls by their ids, and write a line for each."""
    if bool(ids) == is_all:
        raise click.UsageError("Give the ids of calls, or --all for all failed ones.", context)

    async def changed(queue: CallQueue) -> dict[str, str]:
        chosen = [item.call.id for item in await queue.failed(MOST)] if is_all else ids
        return {id: await _why_not(change(queue, id), id) for id in chosen}

    results = _with_queue(project_of(context), changed)
    for id, why_not in results.items():
        click.echo(why_not or f"{id} {done}", err=bool(why_not))
    if not results:
        click.echo("No call has failed.", err=True)
    if any(results.values()):
        raise CommandError("`servey calls` lists the calls; quote an id that has spaces", EX_NOINPUT)


async def _why_not(change: Awaitable[bool], id: str) -> str:
    """Return why a call is not changed; empty if it is."""
    try:
        return "" if await change else f"no such call: {id}"
    except ValueError as error:  # the message of the call is not of this service
        return str(error)


async def _all(
    queue: CallQueue, limit: int, only_failed: bool = False
) -> tuple[Sequence[OpenCall], Sequence[FailedCall]]:
    open_calls: Sequence[OpenCall] = ()
    if not only_failed and isinstance(queue, OpenCallsQueue):
        open_calls = await queue.open_calls(limit)
    return open_calls, await queue.failed(limit)


def _with_queue(project: Project, use: Callable[[CallQueue], Coroutine[Any, Any, T]]) -> T:
    """Return the result of a function of the project's queue; the resources of the service stay closed."""
    queue = project.service.stores.calls
    if not queue.is_durable:
        raise CommandError("with SERVEY_STORE=memory each process has its own calls: no command sees them", EX_CONFIG)
    return asyncio.run(use(queue))


def _open_row(item: OpenCall) -> dict[str, Any]:
    state = "running" if item.is_running else "waiting"
    return {**_row(item.call), "state": state, "time": utc_text(item.call.due), "why": ""}


def _failed_row(item: FailedCall) -> dict[str, Any]:
    problem = msgspec.json.decode(item.problem)
    cause = item.traceback.rstrip().rpartition("\n")[2]
    why = cause or str(problem.get("detail") or problem.get("title", ""))
    return {**_row(item.call), "state": "failed", "time": utc_text(item.failed_at), "why": why, "problem": problem}


def _row(call: Call) -> dict[str, Any]:
    return {
        "id": call.id,
        "action": call.action,
        "arguments": msgspec.json.decode(call.arguments),
        "attempt": call.attempt,
    }


def _local(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().isoformat(" ", "seconds")


def _shown(column: str, value: Any) -> str:
    if column == "time":
        return _local(datetime.fromisoformat(value).timestamp())
    is_for_shells = column == "id" and re.search(r"[^\w@%+=:,./#-]", value)
    return shlex.quote(value) if is_for_shells else str(value)
