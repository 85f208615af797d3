"""``servey openapi``: the OpenAPI document as a file."""

from __future__ import annotations

import json
from typing import get_args

import click

from servey.cli.output import write_file
from servey.cli.project import project_of
from servey.schema.openapi import OpenApiVersion, openapi_document


@click.command("openapi")
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    default="openapi.json",
    show_default=True,
    help="The file to write; - for standard output.",
)
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

    It is the one that the server has at /openapi.json, and the same each time, so it can be kept and compared.
    """
    document = openapi_document(project_of(context).service, version=version)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    write_file(output, text)
    if output == "-":
        return
    count = len(document["paths"])
    click.echo(f"wrote {output}: {count} path{'' if count == 1 else 's'}, OpenAPI {document['openapi']}", err=True)
