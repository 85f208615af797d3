"""Check examples against the signature of their action, when the service is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from servey.action.example import NOT_GIVEN, Example
from servey.codec import ResultError, to_jsonable
from servey.errors import CallError, DefinitionError, summary

if TYPE_CHECKING:
    from servey.action.operation import Operation


class CheckedExample(msgspec.Struct, frozen=True):
    """An example whose values fit the signature.

    Args:
        example: The declaration.
        params: The arguments as JSON values.
        result: The result as JSON values, or `NOT_GIVEN`.
    """

    example: Example
    params: Mapping[str, Any]
    result: Any


def check_examples(operation: Operation) -> tuple[CheckedExample, ...]:
    """Return the examples of an action.

    Raises:
        DefinitionError: An example does not match the signature; all such problems in one error.
    """
    checked: list[CheckedExample] = []
    problems: list[DefinitionError] = []
    for example in operation.action.examples:
        try:
            checked.append(_check(operation, example))
        except DefinitionError as error:
            problems.append(error)
    if problems:
        raise DefinitionError.join(problems)
    return tuple(checked)


def _check(operation: Operation, example: Example) -> CheckedExample:
    def wrong(what: str) -> DefinitionError:
        return DefinitionError(
            f"the example {example.name!r} of {operation.name} {what}",
            where=operation.action.where,
            fix="correct the example, or the signature",
        )

    if example.error is not None and example.result is not NOT_GIVEN:
        raise wrong("has a result and an error; a call has one of them")
    try:
        params = {name: to_jsonable(value) for name, value in example.params.items()}
        result = NOT_GIVEN if example.result is NOT_GIVEN else to_jsonable(example.result)
    except (TypeError, ValueError, ResultError) as error:
        raise wrong(f"has a value that JSON cannot hold: {error}") from error
    part = "parameters"
    try:
        if example.error != "invalid":
            operation.decode(params)
        part = "result"
        if result is not NOT_GIVEN:
            operation.result.decode(result)
    except CallError as error:
        raise wrong(f"does not match the {part}: {summary(error)}") from error
    return CheckedExample(example, params, result)
