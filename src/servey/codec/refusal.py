"""What becomes of an input that is not of its type: the error for the caller, with every problem.

For `Codec` and `ArgumentsCodec` alike. The walk that collects the problems is imported for the first refusal.
"""

from __future__ import annotations

import decimal
import typing
from typing import Any

import msgspec

from servey.codec.failure import IslandError, first_problem
from servey.codec.node import Node
from servey.codec.plan import Compiler
from servey.codec.shadow import reachable
from servey.errors import InvalidError, MalformedError, Problem

EXPLAIN_LIMIT = 256 * 1024
"""Bodies over this many bytes are told their first problem only: the walk for all of them holds the loop."""

REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, IslandError, RecursionError)
"""What reading a text or a value raises when it is refused."""


def refused_text(compiler: Compiler, node: Node, data: bytes, error: Exception) -> InvalidError | MalformedError:
    """Return the error for a JSON text.

    Args:
        compiler: The codec's compiler.
        node: What it should be.
        data: The text.
        error: Why it was refused, one of `REFUSALS`.
    """
    if isinstance(error, (msgspec.ValidationError, IslandError)):
        if len(data) > EXPLAIN_LIMIT:
            return InvalidError(errors=first_problem(error))
        try:
            builtins = msgspec.json.decode(data)
        except msgspec.ValidationError:  # a number that no float holds: good JSON, of no value
            return InvalidError(errors=first_problem(error))
        except REFUSALS as other:  # something of a wrong type stands before the place where it is no JSON
            error = other
        else:
            return refused_value(compiler, node, builtins, error)
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
        return MalformedError("nested too deeply")
    from servey.codec.explain import Explainer

    try:
        problems = Explainer(compiler).explain(node, builtins)
    except RecursionError:
        problems = []
    if not problems:  # this walk finds nothing wrong
        problems = [Problem(found.path.removeprefix(prefix), found.message) for found in first_problem(error)]
    return InvalidError(errors=problems)


def has_decimals(node: Node) -> bool:
    """Whether a Decimal is part of the type: msgspec lets NaN and Infinity through there."""
    return any(n.kind == "leaf" and n.cls is decimal.Decimal for n in reachable(node))


def maybe_not_finite(data: bytes) -> bool:
    """Whether a JSON text may hold a Decimal's NaN or Infinity."""
    lowered = data.lower().replace(b"_", b"")
    return b"nan" in lowered or b"inf" in lowered or b"\\u" in lowered


def any_not_finite(builtins: Any) -> bool:
    """Whether some text in JSON values reads as NaN or Infinity."""
    if isinstance(builtins, str):
        # Decimal lets underscores stand anywhere
        text = builtins.replace("_", "").strip()
        if not text.lstrip("+-").lower().startswith(("nan", "snan", "inf")):
            return False
        try:
            return not decimal.Decimal(text).is_finite()
        except decimal.InvalidOperation:  # "information"
            return False
    if isinstance(builtins, dict):
        members = typing.cast("dict[Any, Any]", builtins)
        return any(any_not_finite(key) or any_not_finite(value) for key, value in members.items())
    if isinstance(builtins, (list, tuple)):
        return any(map(any_not_finite, typing.cast("list[Any]", builtins)))
    return isinstance(builtins, (float, decimal.Decimal)) and not decimal.Decimal(builtins).is_finite()


def check_decimals(compiler: Compiler, node: Node, builtins: Any) -> None:
    """Raise `IslandError` when a Decimal of the value is NaN or infinite."""
    if not any_not_finite(builtins):
        return
    from servey.codec.explain import Explainer

    if problems := Explainer(compiler).explain(node, builtins):
        raise IslandError(problems)
