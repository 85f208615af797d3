"""The errors of an operation in a document, with their meaning and their responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from servey.action.checked_example import CheckedExample
from servey.action.operation import Operation
from servey.docstring.documentation import Documentation
from servey.errors import (
    CALL_ERRORS,
    CallError,
    ConflictError,
    ForbiddenError,
    InProgressError,
    InternalError,
    InvalidError,
    MalformedError,
    PreconditionError,
    TooManyRequestsError,
    UnauthorizedError,
    phrase,
)
from servey.schema.components import PREFIX
from servey.schema.examples import example_objects, filled, shown_examples
from servey.schema.headers import error_headers
from servey.security.access_control import ALLOW_ALL

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "Problem details (RFC 9457). Programs should check `code`, which does not change.",
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "Where the error is explained."},
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "code": {"type": "string", "description": "What went wrong, for programs."},
        "detail": {"type": "string", "description": "What happened this time, for people."},
        "errors": {
            "type": "array",
            "description": "Every mistake in the input.",
            "items": {
                "type": "object",
                "properties": {
                    "path": {"type": "string", "description": "The place of the mistake: a JSON pointer (RFC 6901)."},
                    "message": {"type": "string", "description": "The mistake in words."},
                },
                "required": ["path", "message"],
            },
        },
        "request_id": {"type": "string", "description": "The id of the request in the service's log."},
    },
    "required": ["type", "title", "status", "code"],
}


class _Error(msgspec.Struct, frozen=True):
    """One error that an operation answers with."""

    status: int
    code: str
    meaning: str

    @classmethod
    def of(cls, error: type[CallError]) -> _Error:
        return cls(error.status, error.code, Documentation.of_class(error).lead)

    def problem(self, types: str) -> dict[str, Any]:
        """Return the problem details of every answer with this error."""
        kind = f"{types}{self.code}" if types else "about:blank"
        return {"type": kind, "title": phrase(self.status), "status": self.status, "code": self.code}


_CODES: Mapping[str | None, type[CallError]] = {error.code: error for error in CALL_ERRORS}


def problem_responses(
    operation: Operation,
    types: str,
    *,
    takes_tokens: bool,
    takes_conditions: bool,
    included: Sequence[Operation] = (),
) -> dict[str, Any]:
    """Return the response objects of an operation's errors, by status; the last one is for all other errors.

    Args:
        operation: The operation.
        types: The beginning of the ``type`` of a problem.
        takes_tokens: Whether callers of the service have tokens; open actions refuse a bad token, too.
        takes_conditions: Whether requests may have conditions (RFC 9110 §13).
        included: The nested actions that callers may include; their errors are the operation's.
    """
    by_status: dict[int, dict[str, _Error]] = {}
    for error in _errors(operation, takes_tokens, takes_conditions, included):
        by_status.setdefault(error.status, {}).setdefault(error.code, error)
    found: dict[str, Any] = {}
    for status, errors in sorted(by_status.items()):
        lines = [f"`{error.code}`: {error.meaning}".removesuffix(": ") for error in errors.values()]
        examples = [
            (item, _answer(operation, item, errors[item.example.error], types))
            for item in shown_examples(operation)
            if item.example.error in errors
        ]
        shown = {item.example.error for item, _ in examples}
        general = {code: {"value": error.problem(types)} for code, error in errors.items() if code not in shown}
        headers = error_headers(operation, status, list(errors))
        found[str(status)] = _response("\n\n".join(lines), {**example_objects(examples), **general}, headers)
    unexpected = _Error.of(InternalError)
    found["default"] = _response("Any other error.", {unexpected.code: {"value": unexpected.problem(types)}})
    return found


def _errors(
    operation: Operation, takes_tokens: bool, takes_conditions: bool, included: Sequence[Operation]
) -> Iterable[_Error]:
    """Yield the possible errors of an operation."""
    every = (operation, *included)
    conditions: dict[type[CallError], bool] = {
        MalformedError: True,
        InvalidError: True,  # an action without parameters refuses arguments, too
        UnauthorizedError: takes_tokens,
        ForbiddenError: any(item.action.access_control is not ALLOW_ALL for item in every),
        PreconditionError: takes_conditions,
        InProgressError: operation.action.idempotency is not None,
        ConflictError: operation.action.idempotency is not None,
        TooManyRequestsError: any(item.action.rate_limit is not None for item in every),
    }
    yield from (_Error.of(error) for error, is_possible in conditions.items() if is_possible)
    for item in every:
        for mapping in item.errors:
            yield _Error(mapping.status, mapping.code, Documentation.of_class(mapping.type).lead)
    for item in shown_examples(operation):
        if item.example.error in _CODES:
            yield _Error.of(_CODES[item.example.error])


def _answer(operation: Operation, item: CheckedExample, error: _Error, types: str) -> dict[str, Any]:
    """Return the answer to an example of an error, without a call."""
    if error.code == InvalidError.code:
        try:
            operation.decode(item.params)
        except CallError as refused:
            return refused.problem(types=types)
    return error.problem(types)


def _response(description: str, examples: dict[str, Any], headers: dict[str, Any] | None = None) -> dict[str, Any]:
    content = {"schema": {"$ref": f"{PREFIX}Problem"}, "examples": examples}
    return filled(
        {"description": description, "headers": headers or {}, "content": {"application/problem+json": content}}
    )
