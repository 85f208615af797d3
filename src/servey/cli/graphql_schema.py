"""``servey graphql-schema``: the GraphQL schema as a file."""

from __future__ import annotations

import click

from servey.cli.output import write_file
from servey.cli.project import project_of
from servey.errors import count_of


@click.command("graphql-schema")
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    default="servey_schema.graphql",
    show_default=True,
    help="The file to write; - for standard output.",
)
@click.pass_context
def graphql_schema(context: click.Context, output: str) -> None:
    """Write the GraphQL schema of the actions to a file, in its definition language.

    It is the one that the server has at /graphql, and the same each time, so it can be kept and compared.
    """
    from servey.servey_strawberry import schema as graphql

    schema = graphql.create_schema(project_of(context).service)
    write_file(output, graphql.printed(schema))
    if output != "-":
        count = len([name for name in schema.core.type_map if not name.startswith("__")])
        click.echo(f"wrote {output}: {count_of(count, 'type')}", err=True)
