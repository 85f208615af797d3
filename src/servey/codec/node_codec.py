"""Read and write the values of one type as JSON, for `Codec` and `ArgumentsCodec`.

msgspec does it in one step. If it refuses a value, other modules read or write the value again part by part.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, Generic

import msgspec

from servey.codec.engine import SchemaMode
from servey.codec.node import Node, T
from servey.codec.numbers import parse
from servey.codec.problems import CustomTypeError, ResultError, first_problem
from servey.codec.structs import hook, reachable
from servey.codec.type_adapter import Compiler, SkippedChecks, TypeAdapter
from servey.errors import DefinitionError, InvalidError, MalformedError, Problem
from servey.problem_details import is_text

EXPLAIN_LIMIT = 256 * 1024
"""For larger bodies (in bytes) only the first problem is reported: finding all would block the event loop."""

REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, CustomTypeError, RecursionError)
"""The exceptions of reading a text or a value that is refused."""

REFUSED = (CustomTypeError, TypeError, ValueError, OverflowError, RecursionError)
"""The exceptions for a value that does not match its type."""

_IDENTICAL = frozenset({str, int, bool, type(None)})
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="deterministic").encode


class NodeCodec(Generic[T]):
    """Reads and writes the values of one node. The label says what they are, for errors."""

    _mode: SchemaMode = "output"
    _classes: tuple[type, ...] = ()
    unreadable: DefinitionError | None = None
    """Why servey cannot read the type, only write it; None if it can read it."""

    def __init__(self, label: str, root: Node, compiler: Compiler) -> None:
        self.label = label
        self.root = root
        self._compiler = compiler
        self._skipped = SkippedChecks.of(root)
        self._adapter: TypeAdapter = compiler.adapter(root)
        self._text_adapter: TypeAdapter = compiler.adapter(root, self._skipped.skips_checks)
        is_simple = root.kind == "leaf" and not root.constraints and root.cls in _IDENTICAL
        self._identical: type | None = root.cls if is_simple else None
        self._decoder: Any = None

    def classes(self) -> tuple[type, ...]:
        """Return the classes in the type, in the order of reading, for finding nested actions."""
        return self._classes

    def json_schema(self, mode: SchemaMode | None = None) -> dict[str, Any]:
        """Return the JSON schema (2020-12) of the type as input or output, with its classes in ``$defs``.

        Without a mode, it is that of results for a `Codec`, and of input for an `ArgumentsCodec`.
        """
        from servey.codec.schema import DIALECT, SchemaWriter  # for documents only

        writer = SchemaWriter(mode or self._mode)
        is_arguments = self.root.flavor == "arguments"
        schema = writer.object(self.root.fields) if is_arguments else writer.of(self.root)
        definitions = {"$defs": writer.definitions} if writer.definitions else {}
        return {"$schema": DIALECT, **schema, **definitions}

    def _compiled_decoder(self) -> Any:
        """Return the decoder, which is made at its first use: most codecs only write results."""
        if self._decoder is None:
            if self.unreadable is not None:
                raise self.unreadable
            self._decoder = msgspec.json.Decoder(
                self._text_adapter.input_type, dec_hook=hook, float_hook=self._skipped.float_hook
            )
        return self._decoder

    def decode_json(self, data: bytes) -> T:
        """Return the value of a JSON text in UTF-8.

        Raises:
            MalformedError: The text is not JSON, not UTF-8, or nested too deeply.
            InvalidError: The value does not have the type. The error has all problems with their JSON pointers.
            DefinitionError: The type has a class that can only be written, like a dataclass with ``init=False``.
        """
        if self._skipped.skips_checks and self._skipped.needs_checks(data):
            return self.decode(parsed(data))
        try:
            return self._text_adapter.build(self._compiled_decoder().decode(data))
        except REFUSALS as error:
            return self.decode(parsed_again(data, error))

    def decode(self, builtins: Any) -> T:
        """Return the value of parsed JSON, in which numbers may be `Decimal`, by the same rules."""
        if self.unreadable is not None:
            raise self.unreadable
        try:
            return self._adapter.attempt(builtins)
        except RecursionError as error:
            raise _malformed(error) from None
        except REFUSALS as error:
            return self._read_slowly(builtins, error)

    def _read_slowly(self, builtins: Any, error: Exception) -> T:
        """Return the value of JSON that msgspec refuses; raise an `InvalidError` with all its problems."""
        from servey.codec.explain import Explainer  # for values that are refused

        explainer = Explainer(self._compiler)
        try:
            value = explainer.walk(self.root, builtins)
        except RecursionError:
            problems = [Problem(found.path.removeprefix("/0"), found.message) for found in first_problem(error)]
            raise InvalidError(errors=problems) from None
        if explainer.problems:
            raise InvalidError(errors=explainer.problems) from None
        return value

    def encode_json(self, value: T) -> bytes:
        """Return the JSON text of a value, projected on the declared type.

        Raises:
            ResultError: The value does not have the type.
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
        if self._has_simple_sets:
            with contextlib.suppress(*REFUSED):
                return self._encoded(value, _encode_sorted)
        return self._written(self._projected(value), _encode_sorted)

    def _encoded(self, value: Any, encode: Callable[[Any], bytes] = _encode) -> bytes:
        """Return the text that msgspec writes; raise one of `REFUSED` if the value does not match its type."""
        data = encode(self._text_adapter.to_output(value))
        if self._skipped.has_decimals and not is_finite(data):
            raise ValueError
        return data

    def encode(self, value: T) -> Any:
        """Return the JSON values of a value, by the same rules."""
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
        """Whether msgspec can sort each set: it sorts by ``<``, which does not order sets."""
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


def is_finite(data: bytes) -> bool:
    """Whether a text has no NaN and no Infinity, which an adapter without checks writes for a `Decimal`."""
    return b"NaN" not in data and b"Infinity" not in data


def parsed(data: bytes) -> Any:
    """Return the values of a JSON text.

    Raises:
        MalformedError: The text is not JSON, not UTF-8, or nested too deeply.
        InvalidError: A number is out of range.
    """
    try:
        return parse(data)
    except msgspec.ValidationError as error:
        raise InvalidError(errors=first_problem(error)) from None
    except REFUSALS as error:
        raise _malformed(error) from None


def parsed_again(data: bytes, error: Exception) -> Any:
    """Return the values of a text that was refused with an error, for a slower reading that finds every problem.

    Raises:
        MalformedError: The text is not JSON, not UTF-8, or nested too deeply.
        InvalidError: The text is longer than `EXPLAIN_LIMIT`; the error has the first problem.
    """
    if not isinstance(error, (msgspec.ValidationError, CustomTypeError)):
        raise _malformed(error) from None
    if len(data) > EXPLAIN_LIMIT:
        raise InvalidError(errors=first_problem(error)) from None
    return parsed(data)


def _malformed(error: Exception) -> MalformedError:
    if isinstance(error, RecursionError):
        return MalformedError("nested too deeply")
    return MalformedError("the text is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error))
