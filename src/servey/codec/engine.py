"""The port for types that servey does not know itself: a plugin's own, pydantic's, marshy's.

An engine is asked once per type, when the service is built; what it claims becomes an *island*: the surrounding
fields stay with msgspec.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec

SchemaMode = Literal["input", "output"]
"""Which side a JSON schema describes: what callers send, or what they get."""


class ForeignType(msgspec.Struct, frozen=True):
    """How one foreign type travels.

    Args:
        decode: Makes the value of parsed JSON; raises `InvalidError` with errors (JSON pointers), or `ValueError`.
        encode: Makes parsed JSON of the value; raises `ValueError` for a value that is not of the type.
        schema: Returns the JSON schema for a mode; it may have ``$defs`` of its own.
        classes: The classes inside, for finding nested actions.
        text: Whether the JSON form is a string, number or boolean, which a query string writes plainly.
    """

    decode: Callable[[Any], Any]
    encode: Callable[[Any], Any]
    schema: Callable[[SchemaMode], dict[str, Any]]
    classes: tuple[type, ...] = ()
    text: bool = False


class Engine(Protocol):
    """Knows a family of foreign types."""

    def claim(self, tp: Any, /) -> ForeignType | None:
        """Return how `tp` travels, or None when it is none of this engine's.

        Args:
            tp: A class, or an `Annotated` whose metadata servey does not understand.
        """
        ...
