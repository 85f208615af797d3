"""The error for an input that is not of its type, with every problem; for `Codec` and `ArgumentsCodec` alike.

The module that collects the problems is imported at the first refusal.
"""

from __future__ import annotations

from typing import Any

import msgspec

from servey.codec.node import Node
from servey.codec.numbers import parse
from servey.codec.problems import CustomTypeError, first_problem
from servey.codec.type_adapter import Compiler
from servey.errors import InvalidError, MalformedError, Problem

EXPLAIN_LIMIT = 256 * 1024
"""For larger bodies (in bytes) only the first problem is reported: finding all would block the event loop."""

REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, CustomTypeError, RecursionError)
"""The exceptions of reading a text or a value that is refused."""


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


def refused_value(
    compiler: Compiler, node: Node, builtins: Any, error: Exception, prefix: str = ""
) -> InvalidError | MalformedError:
    """Return the error for parsed JSON.

    Args:
        compiler: The codec's compiler.
        node: What it should be.
        builtins: The value.
        error: Why it was refused, one of `REFUSALS`.
        prefix: What stands before the value's own path in the error, as ``/0``.
    """
    if isinstance(error, RecursionError):
        return _malformed(error)
    from servey.codec.explain import Explainer

    try:
        problems = Explainer(compiler).explain(node, builtins)
    except RecursionError:
        problems = []
    if not problems:  # the explainer finds nothing wrong
        problems = [Problem(found.path.removeprefix(prefix), found.message) for found in first_problem(error)]
    return InvalidError(errors=problems)
