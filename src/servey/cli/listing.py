"""``servey list`` and ``servey config``: the actions of the service, and its settings."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from servey.action.operation import Operation
from servey.cli.output import write_json, write_table
from servey.cli.project import project_of
from servey.ports import Timetable
from servey.service import Service
from servey.trigger.web_trigger import WebTrigger


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array, for programs.")
@click.pass_context
def list_actions(context: click.Context, as_json: bool) -> None:
    """List the actions with their triggers and access."""
    project = project_of(context)
    rows = [_row(project.service, operation) for operation in project.service.operations.values()]
    if as_json:
        write_json(msgspec.json.encode(rows))
    elif rows:
        columns = ("action", "triggers", "schedule", "access", "summary")
        write_table(
            [column.upper() for column in columns],
            [[_items(row[column]) for column in columns] for row in rows],
        )
    else:
        click.echo(
            f"There are no actions in {project.settings.process.action_path}: put @action on a function.", err=True
        )


def _row(service: Service, operation: Operation) -> dict[str, Any]:
    action = operation.action
    schedule = [item for item in action.triggers if isinstance(item, Timetable)]
    others = [item for item in action.triggers if not isinstance(item, (Timetable, WebTrigger))]
    routes = [f"{route.method} {route.path}" for route in service.web_routes if route.operation is operation]
    return {
        "action": operation.name,
        "triggers": [*routes, *map(str, others)],
        "schedule": [str(item) for item in schedule],
        "access": operation.access_summary.text,
        "summary": operation.signature.documentation.summary,
        "deprecated": action.deprecated,
        "nested_in": operation.signature.owner.__name__ if operation.signature.owner else None,
        "where": action.where,
    }


def _items(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@click.command("config")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array, for programs.")
@click.pass_context
def show_config(context: click.Context, as_json: bool) -> None:
    """Show the effective settings with their sources and meanings. Secrets are masked."""
    rows = project_of(context).all_settings.with_generated_secrets().table()
    if as_json:
        write_json(msgspec.json.encode([row._asdict() for row in rows]))
        return
    write_table(
        ["VARIABLE", "VALUE", "SET BY", "WHAT IT DOES"],
        [[[row.variable], [row.value], [row.source], [row.doc]] for row in rows],
    )
