"""Write arguments so that equal ones are read again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from servey.codec.ambiguity import is_ambiguous
from servey.codec.decode_errors import REFUSALS
from servey.codec.node import MISSING, Node
from servey.codec.pointer import step
from servey.codec.problems import ResultError
from servey.codec.structs import reachable
from servey.codec.writer import Writer
from servey.errors import InvalidError, MalformedError, Problem


class ArgumentsWriter(Writer[Any]):
    """Writes the arguments of one action, which are the fields of its root."""

    @functools.cached_property
    def is_faithful(self) -> bool:
        """Whether the types alone guarantee that equal arguments are read: no engine, no unions of look-alikes."""
        return not is_ambiguous(self.root) and all(node.flavor != "custom" for node in reachable(self.root))

    @functools.cached_property
    def _unwritable_defaults(self) -> dict[str, Any]:
        """The defaults that have no JSON of their parameter's type."""
        return {
            field.name: field.default
            for field in self.root.fields
            if field.default is not MISSING and not self._is_writable(field.node, field.default)
        }

    def _is_writable(self, node: Node, default: Any) -> bool:
        writer: Writer[Any] = Writer(self.label, node, self._compiler, self._skipped)
        try:
            read = self._compiler.adapter(node).attempt(writer.encode(default))
        except (ResultError, *REFUSALS):
            return False
        return type(read) is type(default) and bool(read == default)

    def without_unwritable(self, arguments: Any) -> Any:
        """Return the arguments without the defaults that JSON cannot express."""
        left_out = {
            name: UNSET
            for name, default in self._unwritable_defaults.items()
            if _is_same(getattr(arguments, name), default)
        }
        return msgspec.structs.replace(arguments, **left_out) if left_out else arguments

    def compare(self, arguments: Any, read: Callable[[], Any]) -> None:
        """Return when the same arguments are read again.

        Raises:
            ResultError: Others are, or none.
        """
        try:
            found = read()
        except (InvalidError, MalformedError) as error:
            raise ResultError(self.label, error.errors) from None
        changed = [
            Problem(step("", name), "another value is read from its JSON")
            for name in (field.name for field in self.root.fields)
            if not _is_same(getattr(arguments, name), getattr(found, name))
        ]
        if changed:
            raise ResultError(self.label, changed)


def _is_same(value: Any, other: Any) -> bool:
    return value is other or (type(value) is type(other) and bool(value == other))
