"""``servey config``: the effective settings and where each comes from."""

from __future__ import annotations

import click
import msgspec

from servey.cli.output import write_json, write_table
from servey.cli.project import project_of


@click.command("config")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array, for programs.")
@click.pass_context
def show_config(context: click.Context, as_json: bool) -> None:
    """Show the effective settings, what sets each, and what it does. Secrets are masked."""
    rows = project_of(context).all_settings.with_generated_secrets().table()
    if as_json:
        write_json(msgspec.json.encode([row._asdict() for row in rows]))
        return
    write_table(
        ["VARIABLE", "VALUE", "SET BY", "WHAT IT DOES"],
        [[[row.variable], [row.value], [row.source], [row.doc]] for row in rows],
    )
