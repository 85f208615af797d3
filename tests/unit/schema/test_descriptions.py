"""One docstring in every place that shows it: Markdown where that is rendered, plain text elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

import click
import msgspec
import pydantic

from servey import WEB_GET, WEB_POST, Example
from servey.action.action import action
from servey.cli.call import ActionCommand
from servey.schema.openapi import openapi_document
from servey.servey_starlette.docs_errors import catalogue
from servey.servey_strawberry.schema import create_schema
from servey.service import Service


class LockedError(Exception):
    """Only ``root`` may, see :func:`open` & **ask**."""

    status = 409


class Colour(Enum):
    """The ``colour``."""

    RED = "red"


@dataclass
class Box:
    """A ``box``.

    Args:
        width: In ``cm``.
        height: Not this, but the annotation's.
    """

    width: int
    height: Annotated[int, msgspec.Meta(description="In ``mm``.")]
    colour: Colour


class Bag(pydantic.BaseModel):
    """A ``bag``.

    Attributes:
        litres: How ``much``.
        handles: Not this, but the field's.
    """

    litres: int
    handles: int = pydantic.Field(description="With ``handles``.")


@action(
    triggers=(WEB_POST,),
    errors=(LockedError,),
    examples=(Example(name="one", params={"name": "a"}, result=None, description="With ``a`` in **bold**"),),
)
def find(name: str) -> Box | None:
    """Find a ``box``, with the scope :any:`root`.

    It is *there*::

        find("a")

    - one
    - ``two``

    Args:
        name: What it is ``called``.

    Returns:
        The :class:`Box`.
    """


@action(triggers=(WEB_GET,))
def carry() -> Bag:
    """Carry."""
    raise NotImplementedError


@action(triggers=(WEB_GET,), description="Lift ``it``\nup.\n\nBy :func:`lift`.")
def lift() -> None:
    """Not this."""


DESCRIPTION = 'It is *there*:\n\n```\nfind("a")\n```\n\n- one\n- `two`'


def test_a_document_has_plain_summaries_and_descriptions_in_markdown():
    document = openapi_document(Service([find, carry, lift]))
    operation = document["paths"]["/actions/find"]["post"]
    schemas = document["components"]["schemas"]
    body = operation["requestBody"]["content"]["application/json"]
    lifted = document["paths"]["/actions/lift"]["get"]
    assert (operation["summary"], operation["description"]) == ("Find a box, with the scope root.", DESCRIPTION)
    assert (lifted["summary"], lifted["description"]) == ("Lift it up.", "By `lift`.")
    assert body["schema"]["properties"]["name"]["description"] == "What it is `called`."
    assert body["examples"]["one"]["summary"] == "With a in bold"
    assert operation["responses"]["200"]["description"] == "The `Box`."
    assert operation["responses"]["409"]["description"] == "`locked`: Only `root` may, see `open` & **ask**."
    assert schemas["Box"]["description"] == "A `box`."
    assert schemas["Box"]["properties"]["width"]["description"] == "In `cm`."
    assert schemas["Box"]["properties"]["height"]["description"] == "In `mm`."
    assert schemas["Colour"]["description"] == "The `colour`."
    assert schemas["Bag"]["description"] == "A `bag`."
    assert {name: part["description"] for name, part in schemas["Bag"]["properties"].items()} == {
        "litres": "How `much`.",
        "handles": "With `handles`.",
    }


def test_graphql_has_descriptions_in_markdown():
    fields = create_schema(Service([find, carry]))._schema.type_map
    root = fields["Mutation"].fields["find"]
    assert root.description == f"Find a `box`, with the scope `root`.\n\n{DESCRIPTION}"
    assert root.args["name"].description == "What it is `called`."
    assert (fields["Box"].description, fields["Colour"].description) == ("A `box`.", "The `colour`.")
    assert {name: field.description for name, field in fields["Box"].fields.items() if name != "colour"} == {
        "width": "In `cm`.",
        "height": "In `mm`.",
    }


def test_the_help_of_the_command_line_is_plain_text_that_keeps_code_and_lists():
    command = ActionCommand(Service([find]).operation("find"))
    help = command.get_help(click.Context(command, info_name="find"))
    assert "`" not in help
    assert '  It is there:\n\n      find("a")\n\n  - one\n  - two\n' in help
    assert "What it is called." in help
    assert "The Box." in help
    assert "# With a in bold" in help


def test_the_catalogue_of_errors_has_code_and_plain_text():
    own = catalogue(Service([find]))["own"]
    assert "<p>Only <code>root</code> may, see <code>open</code> &amp; ask.</p>" in own
