"""The errors that only GraphQL has, and the form of all errors in GraphQL."""

from __future__ import annotations

from typing import Any

from servey.errors import CallError, InternalError, MalformedError
from servey.problem_details import encodable_text, problem_details

_OMITTED = frozenset({"type", "title", "detail"})
"""The members of problem details that are not among the extensions of a GraphQL error."""


class UnknownDocumentError(MalformedError):
    """The service does not know the persisted GraphQL document, or the request has a document and must name one."""

    code = "persisted_query_not_found"


class IntRangeError(InternalError):
    """A result is an int of more than the 32 bits of GraphQL's ``Int``; its action must declare `servey.BigInt`."""

    code = "int_range"


GRAPHQL_ERRORS: tuple[type[CallError], ...] = (UnknownDocumentError, IntRangeError)
"""The errors that only GraphQL has."""


def error_of(error: CallError, request_id: str) -> dict[str, Any]:
    """Return a `CallError` as an error of a response (GraphQL, September 2025, §7.1.6).

    Its ``extensions`` are the members of its problem details (``code``, ``status``, ``errors``, ``request_id``, …) and
    its HTTP ``headers``, because one answer contains the errors of several calls.
    """
    members = {name: value for name, value in problem_details(error, request_id).items() if name not in _OMITTED}
    if error.headers:
        members["headers"] = error.headers
    return {"message": encodable_text(_message(error)), "extensions": members}


def _message(error: CallError) -> str:
    if error.detail or not error.errors:
        return error.detail or error.title
    problems = [f"{path}: {message}" if path else message for path, message in error.errors[:5]]
    return "; ".join(problems) + ("; …" if len(error.errors) > 5 else "")
