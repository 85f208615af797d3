"""Make the names of definitions in schemas from the names of types."""

from __future__ import annotations

import re
import types
import typing
import unicodedata
from typing import Any

from servey.codec.node import Node

_NO_NAME = re.compile(r"[^a-zA-Z0-9._-]")
"""Characters that names of components cannot have (OpenAPI 3.1 §4.8.7.1)."""


class Names:
    """Names definitions by their classes, with a number if another class has the same name."""

    def __init__(self) -> None:
        self._given: dict[object, str] = {}
        self._taken: set[str] = set()

    def of(self, key: object, name: str) -> str:
        """Return the name for a key: `name`, or the next free name."""
        if key not in self._given:
            number = 2
            unique = name
            while unique in self._taken:
                unique, number = f"{name}{number}", number + 1
            self._taken.add(unique)
            self._given[key] = unique
        return self._given[key]


def class_name(node: Node) -> str:
    """Return the name of a class for schemas, without modules: ``Box_int`` for ``Box[int]``."""
    return type_name(node.key if node.key is not None else node.cls)


def type_name(tp: Any) -> str:
    """Return the name of a type without its module.

    Example:
        >>> type_name(dict[str, int | None]), type_name(typing.Literal["on", "off"])
        ('dict_str_int_None', 'on_off')
    """
    generic: dict[str, Any] = getattr(tp, "__pydantic_generic_metadata__", {})
    origin, args = generic.get("origin") or typing.get_origin(tp), generic.get("args") or typing.get_args(tp)
    if origin is typing.Annotated:
        return type_name(args[0])
    if tp in (None, type(None)):
        return "None"
    names = [re.sub(r"\W", "_", type_name(arg)) for arg in args if arg is not Ellipsis]
    if origin not in (typing.Union, types.UnionType, typing.Literal):
        names.insert(0, getattr(origin or tp, "__name__", str(tp)))
    return "_".join(names).strip("_")


def component_name(name: str) -> str:
    """Return a name with the characters that the names of components may have.

    Example:
        >>> component_name("Größe/2")
        'Gro_e_2'
    """
    plain = (c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return _NO_NAME.sub("_", "".join(plain))
