"""The response headers in a document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from servey.action.operation import Operation
from servey.errors import ForbiddenError, InProgressError, TooManyRequestsError, UnauthorizedError
from servey.idempotency.idempotency import Idempotency
from servey.idempotency.key import LONGEST, PATTERN, SHORTEST

Headers = dict[str, dict[str, Any]]


def _header(description: str, schema: dict[str, Any], *examples: Any, required: bool = False) -> dict[str, Any]:
    """Return a header object (OpenAPI 3.1 §4.8.21)."""
    found: dict[str, Any] = {"description": description}
    if required:
        found["required"] = True
    return {**found, "schema": {**schema, "examples": list(examples)} if examples else schema}


_TEXT = {"type": "string"}
_SECONDS = {"type": "integer", "minimum": 0}
_LACKS = 'Bearer error="insufficient_scope", scope="{}"'

_RATE_LIMIT: Headers = {
    "RateLimit": _header(
        "What is left of the rate limit: calls (`r`), and seconds until there are more (`t`).", _TEXT, required=True
    ),
    "RateLimit-Policy": _header("The rate limit: calls (`q`) in so many seconds (`w`).", _TEXT, required=True),
}

_RATE_LIMIT_IF_COUNTED: Headers = {
    name: {key: value for key, value in header.items() if key != "required"} for name, header in _RATE_LIMIT.items()
}

_KEPT: Headers = {
    "Cache-Control": _header("Which caches may store the result, and for how many seconds.", _TEXT, required=True),
    "Expires": _header("When the result stops being fresh.", _TEXT),
    "Vary": _header("The headers of the request that the result depends on.", _TEXT),
    "Age": _header("The age of a cached result in seconds.", _SECONDS),
    "Cache-Status": _header("Whether the result comes from the service's result cache (RFC 9211).", _TEXT),
}
_NOT_MODIFIED: Headers = {
    "ETag": _header("The version of the result, for `If-None-Match`.", _TEXT, required=True),
    **_KEPT,
}
_CACHING: Headers = {
    **_NOT_MODIFIED,
    "Last-Modified": _header("When the result changed last.", _TEXT),
}


_REPEATED: Headers = {
    "Idempotent-Replayed": _header("`true` if this is the kept answer of the first call with this key.", _TEXT)
}


def key_parameter(operation: Operation, idempotency: Idempotency) -> dict[str, Any]:
    """Return the parameter object for the ``Idempotency-Key`` (OpenAPI 3.1 §4.8.12)."""
    shortest = SHORTEST if operation.is_open else 1
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": idempotency.required,
        "description": (
            "A new key, such as a UUID, for each call, and the same one for its repeats, which get the answer of the "
            f"first successful call for {idempotency.hours:g} hours."
        ),
        "schema": {"type": "string", "minLength": shortest, "maxLength": LONGEST, "pattern": PATTERN},
    }


def result_headers(operation: Operation, *, reads: bool, not_modified: bool = False) -> Headers:
    """Return the headers of a result, or of a 304.

    Args:
        operation: The operation.
        reads: Whether the method is GET; answers to other methods have no validators (RFC 9110 §8.8).
        not_modified: Whether the answer is a 304.
    """
    cached = _NOT_MODIFIED if not_modified else _CACHING if reads else _KEPT
    return {
        **(cached if operation.action.cache_control is not None else {}),
        **(_RATE_LIMIT if operation.action.rate_limit is not None else {}),
        **(_REPEATED if operation.action.idempotency is not None else {}),
    }


def error_headers(operation: Operation, status: int, codes: Sequence[str]) -> Headers:
    """Return the headers of an answer with an error.

    Args:
        operation: The operation.
        status: The HTTP status.
        codes: The codes of the errors that have this status.
    """
    if status == UnauthorizedError.status:
        always = list(codes) == [UnauthorizedError.code]  # a user's own error may set other headers
        examples = ("Bearer", 'Bearer error="invalid_token", error_description="the token has expired"')
        return {"WWW-Authenticate": _header("How to authenticate (RFC 6750 §3).", _TEXT, *examples, required=always)}
    if status == ForbiddenError.status:
        named = operation.access_summary.scopes
        scopes = sorted((sorted(names) for names in named if names), key=lambda names: len(names))
        description = "The scope that the token lacks (RFC 6750 §3.1), if a scope is missing."
        return {"WWW-Authenticate": _header(description, _TEXT, _LACKS.format(" ".join(scopes[0])))} if scopes else {}
    if status == TooManyRequestsError.status:
        always = list(codes) == [TooManyRequestsError.code]
        description = "The seconds to wait before the next call."
        limit = _RATE_LIMIT if operation.action.rate_limit is not None else {}
        return {"Retry-After": _header(description, _SECONDS, required=always), **limit}
    if status == InProgressError.status and InProgressError.code in codes:
        return {"Retry-After": _header("The seconds to wait before the next try.", _SECONDS)}
    return _RATE_LIMIT_IF_COUNTED if operation.action.rate_limit is not None else {}
