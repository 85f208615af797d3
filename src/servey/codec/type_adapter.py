"""Convert between JSON values and the user's objects, for one node.

A `Compiler` belongs to one codec. It makes a `TypeAdapter` for the root and, at its first use, for each member of a
union that has to be tried.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from servey.codec.engine import CustomType
from servey.codec.jsonable import to_jsonable
from servey.codec.node import Node
from servey.codec.numbers import digits, is_deep, plain
from servey.codec.offsets import offset_finder
from servey.codec.problems import CustomTypeError, below, step
from servey.codec.structs import (
    Structs,
    hook,
    is_built,
    is_decimal,
    is_plain,
    keep,
    needs_check,
    needs_trials,
    reachable,
    same,
)
from servey.codec.union import Union

Build = Callable[[Any], Any]


class TypeAdapter:
    """Reads and writes the values of one node.

    If it `skips_checks`, the caller makes the checks that msgspec lacks; see `Structs`.
    """

    def __init__(self, compiler: Compiler, node: Node, skips_checks: bool = False) -> None:
        self.compiler = compiler
        self.node = node
        self.skips_checks = skips_checks
        self.built = is_built(node)
        self.plain = is_plain(node) and self.built and _convertible(node.type)
        self._input_structs = compiler.input_structs(skips_checks=skips_checks)
        self._output_structs = compiler.output_structs(skips_checks=skips_checks)

    @functools.cached_property
    def input_type(self) -> Any:
        """The type that msgspec decodes."""
        return self._input_structs.of(self.node)

    @functools.cached_property
    def build(self) -> Build:
        """Makes the user's objects from a decoded input struct; raises `ValidationError` or `CustomTypeError`."""
        if not self.built:
            return same
        if not self.plain:
            return self._build_in_python
        target = self.node.type
        convert = msgspec.convert
        if self.node.kind == "object":

            def build(value: Any) -> Any:
                try:
                    return convert(value, target, from_attributes=True, dec_hook=keep)
                except msgspec.DecodeError:
                    # a check of the user's failed, or a default is not of its field's type: Python decides
                    return self._build_in_python(value)

            return build
        box = box_of(target)

        def build_boxed(value: Any) -> Any:
            try:
                return convert((value,), box, from_attributes=True, dec_hook=keep).v
            except msgspec.DecodeError:
                return self._build_in_python(value)

        return build_boxed

    @functools.cached_property
    def _build_in_python(self) -> Build:
        from servey.codec.builder import Builder  # for values that msgspec cannot build or refuses to

        return Builder(self._input_structs).visit(self.node) or same

    @functools.cached_property
    def _input_box(self) -> Any:
        return box_of(self.input_type)

    def attempt(self, builtins: Any) -> Any:
        """Return the value of parsed JSON; raises `ValidationError` or `CustomTypeError` for its first problem."""
        struct = msgspec.convert((builtins,), self._input_box, str_keys=True, dec_hook=hook).v
        return self.build(struct) if self.built else struct

    @functools.cached_property
    def output_type(self) -> Any:
        """The type, boxed in a Struct with the member `v`, that projects and validates results."""
        return box_of(self._output_structs.of(self.node))

    @functools.cached_property
    def to_output(self) -> Callable[[Any], Any]:
        """Makes the output struct of a value; raises `ValidationError` if the value does not have the declared type."""
        convert, output_type = msgspec.convert, self.output_type
        finds_seconds = offset_finder(self.node, self._output_structs.structs)

        def to_output(value: Any) -> Any:
            made = convert((value,), output_type, from_attributes=True, dec_hook=hook).v
            if finds_seconds is not None and finds_seconds(made):
                raise msgspec.ValidationError("expected an offset of whole minutes")
            return made

        return to_output

    def to_builtins(self, value: Any) -> Any:
        """Return the JSON values of `value`; raises `ValidationError` if it does not have the declared type."""
        builtins = msgspec.to_builtins(self.to_output(value), str_keys=True)
        return _listed(builtins) if self._tuples else builtins

    @functools.cached_property
    def _tuples(self) -> bool:
        return any(node.kind == "tuple" for node in reachable(self.node))


class Compiler:
    """Makes the adapters of one codec, sharing the generated classes.

    If it `writes_input`, values are written to be read again: a datetime without an offset stays without one.
    """

    def __init__(self, writes_input: bool = False) -> None:
        self.writes_input = writes_input
        self.input_structs = functools.cache(functools.partial(Structs, "in", self.decode))
        self.output_structs = functools.cache(functools.partial(Structs, "out", self.encode, writes_input))
        self.union = functools.cache(functools.partial(Union, self))
        self._adapter = functools.cache(self._make_adapter)

    def adapter(self, node: Node, skips_checks: bool = False) -> TypeAdapter:
        """Return the adapter of a node."""
        return self._adapter(node, skips_checks)

    def _make_adapter(self, node: Node, skips_checks: bool) -> TypeAdapter:
        kind = ArgumentsAdapter if node.flavor == "arguments" else TypeAdapter
        return kind(self, node, skips_checks)

    def custom_type(self, node: Node) -> CustomType:
        """Return the custom type of a node that msgspec does not know."""
        if node.custom is not None:
            return node.custom
        return ANYTHING if node.kind == "any" else self.union(node).custom_type

    def decode(self, node: Node) -> Callable[[Any], Any]:
        """Return the function that reads parsed JSON for a node that msgspec does not know."""
        custom = self.custom_type(node)
        decode = custom.decode
        return decode if custom.takes_decimals else lambda builtins: decode(plain(builtins))

    def encode(self, node: Node) -> Callable[[Any], Any]:
        """Return the function that writes a node that msgspec does not know."""
        custom = self.custom_type(node)
        return custom.encode_input or custom.encode if self.writes_input else custom.encode


class ArgumentsAdapter(TypeAdapter):
    """Reads the arguments of an action into a Struct, in which the user's objects replace their input structs."""

    @functools.cached_property
    def input_type(self) -> Any:
        """The Struct of the arguments."""
        members: list[Any] = []
        for field in self.node.fields:
            adapter = self.compiler.adapter(field.node, self.skips_checks)
            member: tuple[Any, ...] = field.name, adapter.input_type
            if not field.required:
                copied = field.default_factory and msgspec.field(default_factory=field.default_factory)
                member = *member, UNSET if adapter.built else copied or field.default
            members.append(member)
        return msgspec.defstruct("Arguments", members, forbid_unknown_fields=True, kw_only=True, gc=False)

    @functools.cached_property
    def build(self) -> Build:
        """Replaces the decoded parts of the Struct by the user's objects. A default is such an object already."""
        parts: list[tuple[str, Callable[[], Any] | None, Build]] = []
        for field in self.node.fields:
            adapter = self.compiler.adapter(field.node, self.skips_checks)
            if adapter.built:
                parts.append((field.name, field.default_factory, adapter.build))

        def build(value: Any) -> Any:
            for name, default, part in parts:
                member = getattr(value, name)
                if member is UNSET:
                    setattr(value, name, default() if default else UNSET)
                    continue
                try:
                    setattr(value, name, part(member))
                except CustomTypeError as error:
                    raise CustomTypeError(below(step("", name), error.errors)) from None
            return value

        return build


class SkippedChecks(msgspec.Struct, frozen=True):
    """The checks that a codec can skip when it reads and writes JSON text; see `Structs`.

    Texts are then searched for NaN and Infinity if a part is a `Decimal`, and their depth is checked if one is `Any`.
    `float_hook` reads numbers with a fraction, if a part of the type needs their digits.
    """

    skips_checks: bool
    float_hook: Callable[[str], Any] | None
    has_decimals: bool
    has_any: bool

    @classmethod
    def of(cls, root: Node) -> SkippedChecks:
        """Return the checks that a codec of this type can skip."""
        nodes = list(reachable(root))
        has_decimals = any(map(is_decimal, nodes))
        has_any = any(node.kind == "any" for node in nodes)
        keeps_digits = any(
            needs_trials(node) or needs_check(node) or (node.custom is not None and node.custom.takes_decimals)
            for node in nodes
        )
        skips_checks = (has_decimals or has_any) and not (has_any and keeps_digits)
        return cls(
            skips_checks, digits if keeps_digits else None, skips_checks and has_decimals, skips_checks and has_any
        )

    def needs_checks(self, data: bytes) -> bool:
        """Return whether a text may have a value that only an adapter with all checks refuses."""
        return (self.has_decimals and _maybe_not_finite(data)) or (self.has_any and is_deep(data))


def _maybe_not_finite(data: bytes) -> bool:
    """Return whether a JSON text may hold NaN or Infinity for a Decimal, which ignores underscores in its text."""
    lowered = data.lower().replace(b"_", b"")
    return b"nan" in lowered or b"inf" in lowered or b"\\u" in lowered


def _listed(builtins: Any) -> Any:
    """Return JSON values with lists for the tuples that msgspec leaves."""
    if isinstance(builtins, dict):
        return {key: _listed(value) for key, value in typing.cast("dict[str, Any]", builtins).items()}
    if isinstance(builtins, (list, tuple)):
        return [_listed(item) for item in typing.cast("list[Any]", builtins)]
    return builtins


def box_of(tp: Any) -> Any:
    """Return a Struct around `tp`, because msgspec caches its work only for Structs."""
    return msgspec.defstruct("Box", [("v", tp)], array_like=True, gc=False)


def _convertible(tp: Any) -> bool:
    """Whether msgspec understands the declared type itself, apart from its parts."""
    try:
        msgspec.json.Decoder(tp)
    except (TypeError, NameError, AttributeError, NotImplementedError, ValueError, RecursionError):
        return False
    return True


ANYTHING = CustomType(plain, to_jsonable, lambda _mode: {}, takes_decimals=True)
