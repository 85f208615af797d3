"""Read the GraphQL request of an HTTP request (GraphQL over HTTP, working draft of 2025, §5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from servey.codec.numbers import parse
from servey.errors import ForbiddenError, MalformedError, TooLargeError
from servey.http.request import query_pairs

JSON, GRAPHQL = "application/json", "application/graphql-response+json"
_WIDER = {GRAPHQL: (), JSON: ("application/*", "*/*")}
"""The media types, the preferred one first, with the wider ranges that include each."""
CSRF_HEADERS = (b"graphql-preflight", b"apollo-require-preflight", b"x-requested-with")
"""A GET needs one of these headers: a page of another site cannot send them without a CORS preflight (Fetch §3.3.5)."""
PLENTY_OF_CALLS = 10
"""The number of calls up to which a document may have all values of the limit. Each call may read all values, so the
limit falls in proportion for more calls."""

MOST_NESTED = 100
"""The maximum nesting of lists and objects in variables."""


class GraphQLRequest(msgspec.Struct, frozen=True):
    """One request.

    Args:
        query: The document.
        document_id: The name of a persisted document, or the SHA-256 of a document.
        operation_name: The name of the operation in the document.
        variables: The values of the variables by name.
    """

    query: str | None = None
    document_id: str | None = None
    operation_name: str | None = None
    variables: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])


def of_body(body: bytes, most: int) -> list[GraphQLRequest] | GraphQLRequest:
    """Return the request of a body, or the requests of an array.

    Args:
        body: The JSON.
        most: The maximum number of requests in an array; 1 allows no array.

    Raises:
        MalformedError: The body is not JSON, or not a request.
        TooLargeError: The array has too many requests.
    """
    try:
        found: Any = parse(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise MalformedError(f"the body is not JSON: {error}") from None
    if isinstance(found, list):
        requests = cast("list[Any]", found)
        if most == 1:
            raise MalformedError("the body is an array: send one request at a time (SERVEY_GRAPHQL_MAX_BATCH)")
        if not requests:
            raise MalformedError("the body is an empty array: put a request into it")
        if len(requests) > most:
            raise TooLargeError(f"the body has {len(requests)} requests; the limit is {most}")
        return [_of_parameters(item) for item in requests]
    return _of_parameters(found)


def of_query(query: bytes, max_size: int) -> GraphQLRequest:
    """Return the request of a query string; its ``variables`` and ``extensions`` are JSON.

    Raises:
        MalformedError: The query string is not a valid request.
        UriTooLongError: It exceeds the limit.
    """
    given: dict[str, Any] = {}
    for name, text in query_pairs(query, max_size):
        if name in given:
            raise MalformedError(f"the parameter {name} is given more than once")
        if name in ("variables", "extensions") and text:
            try:
                given[name] = parse(text)
            except (msgspec.DecodeError, RecursionError, ValueError) as error:
                raise MalformedError(f"the parameter {name} is not JSON: {error}") from None
        else:
            given[name] = text or None
    return _of_parameters(given)


def check_values(variables: Mapping[str, Any], most: int, calls: int) -> None:
    """Check the size of variables, because graphql-core reads them slowly.

    Args:
        variables: The values by name, as JSON.
        most: The maximum number of values.
        calls: The number of actions that may read them.

    Raises:
        MalformedError: The variables are nested too deeply.
        TooLargeError: There are too many values.
    """
    if calls > PLENTY_OF_CALLS:
        most = most * PLENTY_OF_CALLS // calls
    count, level = 0, [cast("dict[str, Any] | list[Any]", variables)]
    for _ in range(MOST_NESTED):
        inner: list[dict[str, Any] | list[Any]] = []
        for part in level:
            count += len(part)
            if count > most:
                raise TooLargeError(f"the variables have more than {most} values, for {calls} calls")
            items = part.values() if isinstance(part, dict) else part
            inner += [item for item in items if type(item) in (dict, list)]
        if not inner:
            return
        level = inner
    raise MalformedError(f"the variables are nested in more than {MOST_NESTED} levels")


def check_csrf(headers: Mapping[bytes, bytes]) -> None:
    """Check that a GET has a header that a page of another site cannot send without a preflight (CSRF).

    Raises:
        ForbiddenError: The request has no such header.
    """
    if any(name in headers for name in CSRF_HEADERS) or headers.get(b"content-type", b"").startswith(
        b"application/json"
    ):
        return
    raise ForbiddenError(
        "send the query by POST, send the header GraphQL-Preflight: 1 with the GET, or name a persisted document. "
        "Otherwise a page of another site could send queries in the name of its visitor"
    )


def _of_parameters(given: Any) -> GraphQLRequest:
    if not isinstance(given, dict):
        raise MalformedError("the body is not a JSON object with a query")
    members = cast("dict[str, Any]", given)
    query = _text(members, "query")
    extensions = _map(members, "extensions")
    persisted: Any = extensions.get("persistedQuery")
    document_id = _text(members, "documentId") or _text(members, "id")
    if document_id is None and isinstance(persisted, dict):
        document_id = _text(cast("dict[str, Any]", persisted), "sha256Hash")
    if query is None and document_id is None:
        raise MalformedError("there is no query: send a query, or the documentId of a persisted document")
    return GraphQLRequest(query, document_id, _text(members, "operationName"), _map(members, "variables"))


def _text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is None or isinstance(value, str):
        return value
    raise MalformedError(f"{name} is not a string")


def _map(members: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = members.get(name)
    if value is None:
        return {}
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    raise MalformedError(f"{name} is not a JSON object")


def media_type(accept: Sequence[str]) -> str | None:
    """Return the media type of the answer (RFC 9110 §12.5.1); None if the client accepts none.

    Args:
        accept: The values of the Accept headers; without this header, the answer is `application/json`.
    """
    ranges = [item for item in map(_media_range, ",".join(accept).split(",")) if item[1]]
    if not ranges:
        return JSON

    def rank(offered: str) -> tuple[float, bool]:
        exact = [quality for quality, media in ranges if media == offered]
        wide = [quality for quality, media in ranges if media in _WIDER[offered]]
        return exact[0] if exact else max(wide, default=0.0), bool(exact)

    best = max(_WIDER, key=rank)
    return best if rank(best)[0] > 0 else None


def _media_range(text: str) -> tuple[float, str]:
    """Return the quality and the media range of one member of an Accept header."""
    media, *parameters = (item.strip().lower() for item in text.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
    return quality, media
