"""Read and write the values of one type as JSON, and describe it by a schema."""

from __future__ import annotations

import contextlib
import typing
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import msgspec

from servey.codec.engine import Engine
from servey.codec.node import Node, T
from servey.codec.node_codec import REFUSED, NodeCodec
from servey.codec.type_adapter import Compiler
from servey.codec.type_facts import shown_type
from servey.codec.type_reader import TypeReader
from servey.errors import DefinitionError, InvalidError


class Codec(NodeCodec[T]):
    """Reads and writes the values of one declared type.

    The constructor compiles everything, and refuses a type that cannot be served.

    Args:
        tp: The type.
        where: The ``file:line`` of its declaration, for errors.
        label: The name of its values, such as ``the result of say_hello``, for errors.
        engines: The engines of plugins, asked before servey's.

    Raises:
        DefinitionError: A part of the type cannot be served. The message has the part, the reason and the fix.

    Example:
        >>> Codec(list[int]).decode_json(b"[1, 2]")
        [1, 2]
    """

    def __init__(self, tp: Any, *, where: str = "", label: str = "the value", engines: Sequence[Engine] = ()) -> None:
        self.type = tp
        reader = TypeReader(label, where, engines, side="output")
        root = reader.node(tp, shown_type(tp))
        super().__init__(label, root, Compiler())
        self.unreadable = reader.unreadable
        self._classes = tuple(reader.classes)
        try:
            msgspec.json.Decoder(self._text_adapter.output_type)
        except (TypeError, ValueError) as error:
            raise DefinitionError(f"{label}: {shown_type(tp)}: {error}", where=where, fix="use another type") from error

    @cached_property
    def is_reversible(self) -> bool:
        """Whether the JSON of a value can be decoded into the same object.

        It cannot if members of a union may have the same JSON, or if a class in the type can only be encoded.
        """
        from servey.codec.union import is_ambiguous  # only GraphQL and `?include=` need the objects

        return self.unreadable is None and not is_ambiguous(self.root)

    def check(self, value: T) -> T:
        """Return a value itself, if `encode_json` would write it; raise a `ResultError` if not.

        GraphQL reads the members of a result itself. An engine makes the object that a row stands for. An iterator
        becomes a list if the type is an iterable or a list. The items of an iterator further inside are not checked,
        because they can be read only once.
        """
        checked: Any = value
        if isinstance(value, Iterator) and any(node.kind == "list" for node in (self.root, *self.root.members)):
            checked = list(typing.cast("Iterator[Any]", value))
        with contextlib.suppress(InvalidError, *REFUSED):
            checked = objects_of_rows(self.root, checked)
            self._encoded(checked)  # only the encoder refuses a lone surrogate
            return checked
        self._projected(checked, lazy=True)
        return checked


def objects_of_rows(node: Node, value: Any) -> Any:
    """Return a value in which objects replace rows of an engine's class, also inside of a list."""
    members = node.not_null
    if node.kind == "list" and isinstance(value, (list, tuple)):
        inner = members[0]
        may_hold_rows = inner.kind in ("union", "custom")
        return [objects_of_rows(inner, item) for item in value] if may_hold_rows else value  # pyright: ignore[reportUnknownVariableType]
    if node.kind == "union" and len(members) == 1 and value is not None:
        return objects_of_rows(members[0], value)
    if node.custom is not None and node.custom.from_row is not None:
        return node.custom.from_row(value)
    return value
