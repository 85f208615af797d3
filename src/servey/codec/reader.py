"""Read JSON as values of one type, with every problem of a refused input; for `Codec` and `ArgumentsCodec` alike."""

from __future__ import annotations

import functools
from typing import Any, Generic

import msgspec

from servey.codec.node import Node, T
from servey.codec.numbers import parse
from servey.codec.problems import CustomTypeError, first_problem
from servey.codec.structs import hook
from servey.codec.type_adapter import Compiler, SkippedChecks, TypeAdapter
from servey.errors import DefinitionError, InvalidError, MalformedError, Problem

EXPLAIN_LIMIT = 256 * 1024
"""For larger bodies (in bytes) only the first problem is reported: finding all would block the event loop."""

REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, CustomTypeError, RecursionError)
"""The exceptions of reading a text or a value that is refused."""


class Reader(Generic[T]):
    """Reads the values of one node.

    Args:
        root: The node.
        compiler: The codec's compiler.
    """

    unreadable: DefinitionError | None = None
    """Why servey cannot read the type, only write it; None if it can read it."""

    def __init__(self, root: Node, compiler: Compiler) -> None:
        self.root = root
        self._compiler = compiler
        self._skipped = SkippedChecks.of(root)
        self._adapter: TypeAdapter = compiler.adapter(root)
        self._text_adapter: TypeAdapter = compiler.adapter(root, self._skipped.skips_checks)

    @functools.cached_property
    def _decoder(self) -> Any:
        """The decoder, made at its first use: most codecs only write results."""
        if self.unreadable is not None:
            raise self.unreadable
        return msgspec.json.Decoder(self._text_adapter.input_type, dec_hook=hook, float_hook=self._skipped.float_hook)

    def decode_json(self, data: bytes) -> T:
        """Return the value of a JSON text.

        Args:
            data: The text, in UTF-8.

        Raises:
            MalformedError: It is no JSON, not UTF-8, or nested too deeply.
            InvalidError: It is not of the type. The error has every problem with its JSON pointer.
            DefinitionError: The type has a class that can only be written, as a dataclass with ``init=False``.
        """
        if self._skipped.skips_checks and self._skipped.needs_checks(data):
            return self.decode(parsed(data))
        try:
            return self._text_adapter.build(self._decoder.decode(data))
        except REFUSALS as error:
            return self.decode(parsed_again(data, error))

    def decode(self, builtins: Any) -> T:
        """Return the value of parsed JSON, by the same rules and with the same errors.

        Args:
            builtins: dict, list, str, int, float, `Decimal`, bool or None.
        """
        if self.unreadable is not None:
            raise self.unreadable
        try:
            return self._adapter.attempt(builtins)
        except RecursionError as error:
            raise _malformed(error) from None
        except REFUSALS as error:
            return self._read_slowly(builtins, error)

    def _read_slowly(self, builtins: Any, error: Exception) -> T:
        """Return the value of what msgspec refuses; raise an `InvalidError` for all its problems."""
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


def parsed(data: bytes) -> Any:
    """Return the values of a JSON text.

    Raises:
        MalformedError: It is no JSON, not UTF-8, or nested too deeply.
        InvalidError: It has a number that nothing can hold.
    """
    try:
        return parse(data)
    except msgspec.ValidationError as error:
        raise InvalidError(errors=first_problem(error)) from None
    except REFUSALS as error:
        raise _malformed(error) from None


def parsed_again(data: bytes, error: Exception) -> Any:
    """Return the values of a refused JSON text, for a slower reading that finds every problem.

    Args:
        data: The text.
        error: Why it was refused, one of `REFUSALS`.

    Raises:
        MalformedError: It is no JSON, not UTF-8, or nested too deeply.
        InvalidError: It is longer than `EXPLAIN_LIMIT`; has the first problem.
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
