"""Read an ASGI request: query string, body and request id. Nothing here depends on actions."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from servey.action.context import new_request_id
from servey.codec.problems import PROBLEM_LIMIT, step
from servey.errors import (
    InvalidError,
    MalformedError,
    Problem,
    TooLargeError,
    UnsupportedMediaError,
    UriTooLongError,
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Endpoint = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application, or the part of one that serves a route."""

LIVENESS_PATH, READINESS_PATH = "/livez", "/readyz"
"""The paths of the health checks."""

_MAX_FIELDS = 1000
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}\Z")

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")


class Disconnected(Exception):
    """The client went away before its request was read."""


def request_id_of(headers: Mapping[bytes, bytes]) -> str:
    """Return the client's ``X-Request-ID`` if it is safe in logs and headers, otherwise a new id."""
    given = headers.get(b"x-request-id")
    if given is not None and _REQUEST_ID.match(given):
        return given.decode("ascii")
    return new_request_id()


def traceparent_of(headers: Mapping[bytes, bytes]) -> str:
    """Return the client's ``traceparent`` (W3C Trace Context §3.2); an empty text if it has another form."""
    given = headers.get(b"traceparent")
    return given.decode("ascii") if given is not None and _TRACEPARENT.match(given) else ""


def client_of(scope: Scope) -> str:
    """Return the address of the client; empty if the server does not know it."""
    client = scope.get("client")
    return client[0] if client else ""


def query_pairs(query: bytes, limit: int) -> Sequence[tuple[str, str]]:
    """Return the names and values of a query string (WHATWG URL §5.1), strictly.

    Raises:
        UriTooLongError: The query string is longer than `limit` bytes.
        MalformedError: Its percent-encoding or its UTF-8 is wrong, or it has over 1,000 fields.
    """
    if len(query) > limit:
        raise UriTooLongError(f"the query string has {len(query)} bytes; the limit is {limit}")
    try:
        text = query.decode()
        if "%" not in text and "+" not in text:
            if "&" not in text:
                name, _, value = text.partition("=")
                return ((name, value),) if text else ()
            parts = text.split("&")
            if len(parts) <= _MAX_FIELDS:
                return [(name, value) for name, _, value in [part.partition("=") for part in parts if part]]
        if text.count("&") >= _MAX_FIELDS:
            raise MalformedError(f"the query string has more than {_MAX_FIELDS} fields")
        _check_escapes(text)
        return parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise MalformedError("the query string is not UTF-8") from error


def unescape_segment(segment: str) -> str:
    """Decode the percent-encoding of one path segment (RFC 3986 §2.1), strictly.

    Raises:
        MalformedError: The percent-encoding or the UTF-8 is wrong.
    """
    from urllib.parse import unquote_to_bytes

    _check_escapes(segment)
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError as error:
        raise MalformedError(f"the path segment {segment[:100]!r} is not UTF-8") from error


def check_content_type(headers: Mapping[bytes, bytes]) -> None:
    """Check that a body is declared as JSON: ``application/json`` or ``application/*+json``, in UTF-8.

    Browsers send forms and plain text to other origins without a preflight request. The server refuses them, so a page
    of another origin cannot call actions with the cookies of its visitor.

    Raises:
        UnsupportedMediaError: The body has another content type, or none.
    """
    if b"content-encoding" in headers and headers[b"content-encoding"].strip().lower() != b"identity":
        raise UnsupportedMediaError("the content is encoded; send it as it is")
    given = headers.get(b"content-type", b"")
    if given == b"application/json":
        return
    essence, *parameters = [part.strip() for part in given.decode("latin-1").lower().split(";")]
    is_json = essence == "application/json" or (essence.startswith("application/") and essence.endswith("+json"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' "') not in ("utf-8", "utf8"):
            is_json = False
    if not is_json:
        shown = given.decode("latin-1")[:100] if given else "missing"
        raise UnsupportedMediaError(f"the content type is {shown}; send application/json in UTF-8")


async def read_json(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """Return the whole JSON body; an empty body means an empty object.

    Raises:
        UnsupportedMediaError: The body has another content type, or none.
        TooLargeError: The body has more than `limit` bytes, or declares so; the rest is not read.
        Disconnected: The client went away.
    """
    content_type = headers.get(b"content-type")
    if content_type is not None:
        check_content_type(headers)
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared[:20]) > limit:
        raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    body: bytes = message.get("body", b"")
    if message.get("more_body"):  # rare: most bodies are one message
        body = await _whole_body(body, receive, limit)
    if len(body) > limit:
        raise _too_large(limit)
    if not body:
        return b"{}"
    if content_type is None:
        check_content_type(headers)
    return body


async def _whole_body(first: bytes, receive: Receive, limit: int) -> bytes:
    """Return a body that arrives in several messages; stop reading after the first message over the limit."""
    parts, size, more = [first], len(first), True
    while more and size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
    return b"".join(parts)


def refuse_query(query: bytes, limit: int) -> None:
    """Refuse a query string if the action reads the body.

    Raises:
        InvalidError: The query string has fields; one problem for each field.
    """
    unknown = [
        Problem(step("", name), "unknown: this action reads its body, not the query")
        for name, _ in query_pairs(query, limit)[:PROBLEM_LIMIT]
    ]
    if unknown:
        raise InvalidError(errors=unknown)


def _check_escapes(text: str) -> None:
    if (bad := _BAD_ESCAPE.search(text)) is not None:
        raise MalformedError(f"bad percent-encoding at {text[bad.start() : bad.start() + 3]!r}")


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body is larger than {limit} bytes")
