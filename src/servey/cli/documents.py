"""``servey openapi`` and ``servey graphql-schema``: the documents of the service as files."""

from __future__ import annotations

import json
from typing import get_args

import click

from servey.cli.output import write_file
from servey.cli.project import project_of
from servey.errors import count_of
from servey.schema.openapi import OpenApiVersion, openapi_document


def _output(default: str):
    return click.option(
        "--output",
        "-o",
        metavar="FILE",
        default=default,
        show_default=True,
        help="The file to write; - for standard output.",
    )


@click.command("openapi")
@_output("openapi.json")
@click.option(
    "--version",
    type=click.Choice(get_args(OpenApiVersion)),
    default=get_args(OpenApiVersion)[0],
    show_default=True,
    help="The version of OpenAPI; 3.0 is for old readers.",
)
@click.pass_context
def openapi(context: click.Context, output: str, version: OpenApiVersion) -> None:
    """Write the OpenAPI document of the actions to a file.

    The server has the same document at /openapi.json. It is stable, so you can commit and compare it.
    """
    document = openapi_document(project_of(context).service, version=version)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    write_file(output, text)
    if output != "-":
        count = count_of(len(document["paths"]), "path")
        click.echo(f"wrote {output}: {count}, OpenAPI {document['openapi']}", err=True)


@click.command("graphql-schema")
@_output("servey_schema.graphql")
@click.pass_context
def graphql_schema(context: click.Context, output: str) -> None:
    """Write the GraphQL schema of the actions to a file, in its definition language.

    The server has the same schema at /graphql. It is stable, so you can commit and compare it.
    """
    from servey.servey_strawberry import schema as graphql

    schema = graphql.create_schema(project_of(context).service)
    write_file(output, graphql.printed(schema))
    if output != "-":
        count = len([name for name in schema.core.type_map if not name.startswith("__")])
        click.echo(f"wrote {output}: {count_of(count, 'type')}", err=True)
