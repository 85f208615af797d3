"""The Struct of an action's arguments, generated from its parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from servey.codec.node import MISSING, Node
from servey.codec.pointer import below, step
from servey.codec.problems import CustomTypeError
from servey.codec.type_adapter import Compiler, TypeAdapter


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of an action.

    Args:
        name: Its name, in Python and on the wire.
        type: Its declared type.
        default: What it is when it is not given; any object, as in Python.
        description: What it is for, for the schema.
    """

    name: str
    type: Any
    default: Any = MISSING
    description: str = ""


class ArgumentStruct:
    """The Struct that msgspec reads arguments into, and the builders of the user's objects in it.

    Args:
        parameters: The parameters and their nodes, by name.
        copies: The functions that copy mutable defaults.
        compiler: The codec's compiler.
        skips_checks: See `Structs`.
    """

    def __init__(
        self,
        parameters: Mapping[str, tuple[Parameter, Node]],
        copies: Mapping[str, Callable[[], Any] | None],
        compiler: Compiler,
        skips_checks: bool,
    ) -> None:
        self.copies = copies
        fields: list[Any] = []
        self._built: list[tuple[str, Callable[[], Any], TypeAdapter]] = []
        for name, (parameter, node) in parameters.items():
            adapter, copied = compiler.adapter(node, skips_checks), copies[name]
            if adapter.built:
                _ = adapter.build  # compiled here
                self._built.append((name, copied or functools.partial(_same, parameter.default), adapter))
            if parameter.default is MISSING:
                fields.append((name, adapter.input_type))
            elif adapter.built:
                fields.append((name, adapter.input_type, _LEFT_OUT))
            else:
                default = parameter.default if copied is None else msgspec.field(default_factory=copied)
                fields.append((name, adapter.input_type, default))
        self.struct: Any = msgspec.defstruct("Arguments", fields, forbid_unknown_fields=True, kw_only=True, gc=False)

    def build(self, value: Any) -> Any:
        """Return the Struct with the user's objects in place of their input structs."""
        for name, default, adapter in self._built:
            member = getattr(value, name)
            if member is _LEFT_OUT:
                setattr(value, name, default())
                continue
            try:
                setattr(value, name, adapter.build(member))
            except CustomTypeError as error:
                raise CustomTypeError(below(step("", name), error.errors)) from None
        return value


_LEFT_OUT: Any = object()
"""Marks an argument that was left out, where arguments have to be built; a default needs no building."""


def _same(default: Any) -> Any:
    return default
