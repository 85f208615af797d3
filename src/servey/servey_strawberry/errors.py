"""The errors of a GraphQL answer: those of the one table, by their codes; of a defect nothing but the request id."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any

from graphql import GraphQLError, GraphQLSyntaxError

from servey.codec.pointer import step
from servey.errors import CallError, InternalError, IntRangeError, InvalidError, MalformedError
from servey.problem_details import encodable_text, problem_details

_log = logging.getLogger("servey.graphql")

MOST_ERRORS = 50
"""How many errors are told at most; what a caller can get wrong in one request has no end."""

_IN_PLAIN_HTTP = frozenset({"type", "title", "detail"})
"""The members of problem details that an error of GraphQL has no use for, or elsewhere."""

_MOST_CHARACTERS = 500
"""How long the message of an error of graphql-core is at most: it repeats names that the caller made up, each time."""

_INT = "Int cannot represent non 32-bit signed integer value: "
"""How graphql-core begins to say that a number is too big."""
_BIG = "more than the 32 bits of GraphQL's Int; an action that has such numbers declares servey.BigInt"


def error_of(error: CallError, request_id: str) -> dict[str, Any]:
    """Return a `CallError` as an error of a response (GraphQL, September 2025, §7.1.6).

    Its ``extensions`` are the members of its problem details: ``code``, ``status``, ``errors``, ``request_id``, …; and
    the ``headers`` that it has over HTTP, where an answer is of one call alone.
    """
    members = {name: value for name, value in problem_details(error, request_id).items() if name not in _IN_PLAIN_HTTP}
    if error.headers:
        members["headers"] = error.headers
    return {"message": encodable_text(_message(error)), "extensions": members}


def request_errors(errors: Iterable[GraphQLError], request_id: str) -> list[dict[str, Any]]:
    """Return what is wrong with a request of which nothing is executed; the same thing at several places once."""
    told: dict[str, dict[str, Any]] = {}
    for error in errors:
        kind = MalformedError if isinstance(error, GraphQLSyntaxError) else InvalidError
        message = _cut(_hinted(error.message))
        found = told.get(message)
        if found is None:
            if len(told) >= MOST_ERRORS:
                break
            found = told[message] = {"message": message}
            if error.path:
                found["path"] = error.path
        if error.locations:
            found.setdefault("locations", []).extend(_places(error))
        problem = _variable_problem(error)
        listed = {"errors": [problem]} if problem is not None else {}
        found["extensions"] = {"code": kind.code, "status": kind.status, **listed, "request_id": request_id}
    for item in told.values():
        if "locations" in item:
            item["locations"] = item["locations"][:MOST_ERRORS]
    return list(told.values())


def execution_errors(errors: Sequence[GraphQLError] | None, request_id: str) -> list[dict[str, Any]]:
    """Return what failed while a document was executed, each with its path."""
    found: list[dict[str, Any]] = []
    for error in errors or ():
        told = error_of(_call_error(error, request_id), request_id)
        if len(found) < MOST_ERRORS * 20:  # a list of many may have many, each at its place
            # an error without a path is one of the whole query
            place = {"locations": _places(error), "path": error.path} if error.path else {}
            found.append({"message": told["message"], **place, **told})
    return found


def _call_error(error: GraphQLError, request_id: str) -> CallError:
    cause: BaseException | None = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    if isinstance(cause, CallError):
        return cause
    where = ".".join(map(str, error.path or ()))
    if isinstance(cause, GraphQLError):
        if cause.message.startswith(_INT):
            told = _hinted(cause.message)
            _log.error("%s: %s (request %s)", where, told, request_id, extra={"request_id": request_id})
            return IntRangeError(told)
        if cause.nodes:  # an argument, which only now turns out to be none
            return InvalidError(cause.message)
    _log.error(
        "%s: the result cannot be written: %s (request %s)",
        where,
        cause,
        request_id,
        exc_info=cause,
        extra={"request_id": request_id},
    )
    return InternalError()


def _message(error: CallError) -> str:
    if error.detail or not error.errors:
        return error.detail or error.title
    told = [f"{path}: {message}" if path else message for path, message in error.errors[:5]]
    return "; ".join(told) + ("; …" if len(error.errors) > 5 else "")


def _hinted(message: str) -> str:
    """Return a message of graphql-core in terms that a caller knows, with a hint if a number is too large."""
    message = message.replace("<Decimal instance>", "a number with a fraction")
    place, found, number = message.partition(_INT)
    if not found:
        return message
    shown = number if len(number) <= 40 else "the number"
    return f"{place}{shown.rstrip('.')} is {_BIG}"


_VARIABLE = re.compile(r"Variable '\$(\w+)' has invalid (?:default )?value(?: at ([^:]*))?\Z")
_PART = re.compile(r"\.(\w+)|\[(\d+)\]")
_MEMBER = re.compile(r"Expected value of type '\w+' (?:not to include unknown|to include required) field '([^']*)'")


def _variable_problem(error: GraphQLError) -> dict[str, str] | None:
    """Return what is wrong with a variable, with its JSON pointer into the variables; None for another error.

    graphql-core has the place in its message only.
    """
    cause = error.original_error
    if not isinstance(cause, GraphQLError):
        return None
    found = _VARIABLE.match(error.message.removesuffix(f": {cause.message}"))
    if found is None:
        return None
    parts = [found[1], *(name or index for name, index in _PART.findall(found[2] or ""))]
    if (member := _MEMBER.match(cause.message)) is not None:
        parts.append(member[1])
    path = ""
    for part in parts:
        path = step(path, part)
    return {"path": path, "message": _cut(_hinted(cause.message))}


def _cut(message: str) -> str:
    return message if len(message) <= _MOST_CHARACTERS else f"{message[:_MOST_CHARACTERS]}…"


def _places(error: GraphQLError) -> list[dict[str, int]]:
    return [{"line": place.line, "column": place.column} for place in error.locations or ()]
