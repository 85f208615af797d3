"""The port for types that servey does not know: types of plugins, of pydantic, of marshy.

Servey asks an engine once per type, when the service is built. A claimed type becomes a *custom type* (msgspec's term);
msgspec reads and writes the fields around it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec

SchemaMode = Literal["input", "output"]
"""The side that a JSON schema describes: input from callers, or output to callers."""


class CustomMember(msgspec.Struct, frozen=True):
    """One member of a custom class, for schemas with members, such as GraphQL's.

    Args:
        name: The attribute.
        type: Its type, as annotated.
        input_name: Its name in JSON input; None if it is not read.
        output_name: Its name in JSON output; None if it is not written.
        default: Its default; `UNSET` if there is none, or if a function makes it.
        own_engine: The metadata that makes the engine claim the type; None if servey knows the type.
    """

    name: str
    type: Any
    input_name: str | None
    output_name: str | None
    required: bool = True
    default: Any = msgspec.UNSET
    description: str = ""
    own_engine: Any = None


class CustomType(msgspec.Struct, frozen=True):
    """Reads, writes and describes one custom type.

    Args:
        decode: Makes the value of parsed JSON; raises `InvalidError` with errors (JSON pointers), or `ValueError`.
            A number with a fraction is a float for it, unless it `takes_decimals`.
        encode: Makes parsed JSON of the value; raises `ValueError` for a value that is not of the type.
        schema: Returns the JSON schema for a mode; it may have ``$defs``. If there is none, it raises a
            `DefinitionError`.
        classes: The classes inside, for finding nested actions.
        text: Whether the JSON form is a string, number or boolean, so that a query string has it without quotes.
        members: Returns the members of a class whose JSON form is an object of exactly these; None for other types.
        takes_decimals: Whether `decode` takes numbers with their digits: a `Decimal` for ``1.10``.
        like: Returns the scalar type with the same JSON form, if there is one, to read and name its text.
        from_row: Makes an object of the class from a row (see `servey.codec.rows`), for code that reads its members.
        are_instances: Whether its values are instances of the class, if it is a class.
        encode_input: Makes parsed JSON that `decode` reads as the same value, if `encode` may not.
    """

    decode: Callable[[Any], Any]
    encode: Callable[[Any], Any]
    schema: Callable[[SchemaMode], dict[str, Any]]
    classes: tuple[type, ...] = ()
    text: bool = False
    members: Callable[[], tuple[CustomMember, ...]] | None = None
    takes_decimals: bool = False
    like: Callable[[SchemaMode], Any] | None = None
    from_row: Callable[[Any], Any] | None = None
    are_instances: bool = True
    encode_input: Callable[[Any], Any] | None = None


class Engine(Protocol):
    """Knows a family of custom types."""

    def claim(self, tp: Any, /) -> CustomType | None:
        """Return the custom type of a class or an `Annotated`, or None if this engine does not know it."""
        ...
