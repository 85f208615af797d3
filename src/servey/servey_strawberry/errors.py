"""The errors of a GraphQL answer: errors of `servey.errors` with their codes; for a defect, only the request id."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any

from graphql import GraphQLError, GraphQLSyntaxError

from servey.codec.problems import step
from servey.errors import CallError, InternalError, InvalidError, MalformedError
from servey.schema.graphql.errors import IntRangeError, error_of

_log = logging.getLogger("servey.graphql")

MOST_ERRORS = 50
"""The maximum number of errors in an answer."""

_MOST_CHARACTERS = 500
"""The maximum length of a message of graphql-core, which repeats names from the request."""


def request_errors(errors: Iterable[GraphQLError], request_id: str) -> list[dict[str, Any]]:
    """Return the errors of a request that is not executed; errors with the same message are one error."""
    listed: dict[str, dict[str, Any]] = {}
    for error in errors:
        kind = MalformedError if isinstance(error, GraphQLSyntaxError) else InvalidError
        message = _readable(error.message)
        found = listed.get(message)
        if found is None:
            if len(listed) >= MOST_ERRORS:
                break
            found = listed[message] = {"message": message}
            if error.path:
                found["path"] = error.path
        if error.locations:
            places = found.setdefault("locations", [])
            places += _places(error)[: MOST_ERRORS - len(places)]
        problem = _variable_problem(error)
        problems = {"errors": [problem]} if problem is not None else {}
        found["extensions"] = {"code": kind.code, "status": kind.status, **problems, "request_id": request_id}
    return list(listed.values())


def execution_errors(errors: Sequence[GraphQLError] | None, request_id: str) -> list[dict[str, Any]]:
    """Return the errors of an execution, each with its path."""
    found: list[dict[str, Any]] = []
    for error in errors or ():
        listed = error_of(_call_error(error, request_id), request_id)
        if len(found) < MOST_ERRORS * 20:  # a long list may have many errors, each with its path
            # an error without a path belongs to the whole query
            place = {"locations": _places(error), "path": error.path} if error.path else {}
            found.append({"message": listed["message"], **place, **listed})
    return found


def _call_error(error: GraphQLError, request_id: str) -> CallError:
    cause: BaseException | None = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    where = ".".join(map(str, error.path or ()))
    if isinstance(cause, IntRangeError):
        _log.error("%s: %s (request %s)", where, cause, request_id, extra={"request_id": request_id})
    if isinstance(cause, CallError):
        return cause
    if isinstance(cause, GraphQLError) and cause.nodes:  # an argument that only the execution can check
        return InvalidError(cause.message)
    _log.error(
        "%s: the result cannot be encoded: %s (request %s)",
        where,
        cause,
        request_id,
        exc_info=cause,
        extra={"request_id": request_id},
    )
    return InternalError()


_VARIABLE = re.compile(r"Variable '\$(\w+)' has invalid (?:default )?value(?: at ([^:]*))?\Z")
_PART = re.compile(r"\.(\w+)|\[(\d+)\]")
_MEMBER = re.compile(r"Expected value of type '\w+' (?:not to include unknown|to include required) field '([^']*)'")


def _variable_problem(error: GraphQLError) -> dict[str, str] | None:
    """Return the problem of a variable, with its JSON pointer into the variables; None for another error.

    graphql-core reports the path only in the message.
    """
    cause = error.original_error
    if not isinstance(cause, GraphQLError):
        return None
    found = _VARIABLE.match(error.message.removesuffix(f": {cause.message}"))
    if found is None:
        return None
    parts = [found[1], *(name or index for name, index in _PART.findall(found[2] or ""))]
    member = _MEMBER.match(cause.message)
    if member is not None:
        parts.append(member[1])
    path = ""
    for part in parts:
        path = step(path, part)
    return {"path": path, "message": _readable(cause.message)}


def _readable(message: str) -> str:
    """Return a message of graphql-core without Python's terms, at most `_MOST_CHARACTERS` long."""
    message = message.replace("<Decimal instance>", "a number with a fraction")
    return message if len(message) <= _MOST_CHARACTERS else f"{message[:_MOST_CHARACTERS]}…"


def _places(error: GraphQLError) -> list[dict[str, int]]:
    return [{"line": place.line, "column": place.column} for place in error.locations or ()]
