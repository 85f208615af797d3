"""Write values of one type as JSON: in one step where msgspec accepts the value, part by part where it does not."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from servey.codec.node import Node, T
from servey.codec.problems import CustomTypeError, ResultError
from servey.codec.reader import Reader
from servey.codec.structs import reachable
from servey.codec.type_adapter import Compiler
from servey.errors import Problem

_IDENTICAL = frozenset({str, int, bool, type(None)})
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="deterministic").encode
REFUSED = (msgspec.ValidationError, CustomTypeError, TypeError, ValueError, OverflowError, RecursionError)
"""The exceptions for a value that does not match its type."""


class Writer(Reader[T]):
    """Writes the values of one node, and reads them.

    Args:
        label: What the values are, for errors.
        root: The node.
        compiler: The codec's compiler.
    """

    def __init__(self, label: str, root: Node, compiler: Compiler) -> None:
        super().__init__(root, compiler)
        self.label = label
        is_simple = root.kind == "leaf" and not root.constraints and root.cls in _IDENTICAL
        self._identical: type = root.cls if is_simple else _Nothing

    def encode_json(self, value: T) -> bytes:
        """Return the JSON text of a value, projected on the declared type.

        Args:
            value: What the user's code returned.

        Raises:
            ResultError: It is not of the type.
        """
        try:
            data = _encode(value if type(value) is self._identical else self._text_adapter.to_output(value))
            if not self._skipped.has_decimals or is_finite(data):
                return data
        except REFUSED:
            pass
        return self._written(self._projected(value), _encode)

    def encode_sorted(self, value: T) -> bytes:
        """Return the JSON text of a value, as `encode_json` does, with the members of objects and sets sorted."""
        try:
            if not self._has_simple_sets:
                raise TypeError
            data = _encode_sorted(self._text_adapter.to_output(value))
            if not self._skipped.has_decimals or is_finite(data):
                return data
        except REFUSED:
            pass
        return self._written(self._projected(value), _encode_sorted)

    def encode(self, value: T) -> Any:
        """Return the JSON values of a value, projected on the declared type.

        Args:
            value: What the user's code returned.

        Raises:
            ResultError: It is not of the type.
        """
        if type(value) is self._identical and (not isinstance(value, str) or value.isascii()):
            return value
        try:
            builtins = self._adapter.to_builtins(value)
        except REFUSED:
            return self._projected(value)
        if isinstance(builtins, str) and not is_text(builtins):
            return self._projected(value)
        return builtins

    @functools.cached_property
    def _has_simple_sets(self) -> bool:
        """Whether msgspec can sort each set: it sorts by ``<``, which is no total order of sets."""
        sets = (node for node in reachable(self.root) if node.cls in (set, frozenset))
        return all(node.items[0].kind == "leaf" for node in sets if node.kind == "list")

    def _written(self, value: Any, encode: Any) -> bytes:
        try:
            return encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:  # a lone surrogate, a long int
            raise ResultError(self.label, [Problem("", str(error))]) from None

    def _projected(self, value: Any, *, lazy: bool = False) -> Any:
        from servey.codec.project import Projector  # for results that are not as declared

        projector = Projector(self._compiler)
        projector.lazy = lazy
        try:
            builtins = projector.walk(self.root, value)
        except RecursionError:
            raise ResultError(self.label, [Problem("", "nested too deeply, or in a circle")]) from None
        if projector.problems:
            raise ResultError(self.label, projector.problems)
        return builtins


class _Nothing:
    """No value is of this type."""


def is_finite(data: bytes) -> bool:
    """Whether a text has no NaN nor Infinity, which an adapter that skips checks writes for a `Decimal`."""
    return b"NaN" not in data and b"Infinity" not in data


def is_text(text: str) -> bool:
    """Whether a str can be written in UTF-8: one with a lone surrogate cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
