"""The access log: one record for each request.

A record has the path as the client sent it. It never has values of the query, headers, tokens or bodies.
"""

from __future__ import annotations

import logging
import re
from asyncio import CancelledError
from collections.abc import MutableMapping
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from servey.errors import count_of
from servey.http.endpoint import CALL_KEY, OPERATIONS_KEY, Operations
from servey.http.request import LIVENESS_PATH, READINESS_PATH
from servey.log import AccessRecord

_log = logging.getLogger("servey.access")

CLIENT_LEFT = 499
"""The status of a request whose client left before the answer began: nginx's convention; no client sees it."""

_PATH_LIMIT, _NAME_LIMIT, _NAMES_LIMIT = 1000, 64, 20
_HEALTH = frozenset({LIVENESS_PATH, READINESS_PATH})
_TRACE = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


def access_logged(app: ASGIApp) -> ASGIApp:
    """Return `app` with an access log; `app` itself if the level of the logger drops all records."""
    return AccessLog(app) if _log.isEnabledFor(logging.INFO) else app


class AccessLog:
    """An ASGI application whose requests are logged by ``servey.access`` at INFO, health checks at DEBUG."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._has_health = _log.isEnabledFor(logging.DEBUG)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, and log it."""
        if scope["type"] != "http" or (not self._has_health and scope["path"] in _HEALTH):
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, receive)
        outcome = ""
        began = perf_counter()
        try:
            await self._app(scope, receive, answer.send)
        except BaseException as error:
            outcome = "cancelled" if isinstance(error, CancelledError) else "failed"
            raise
        finally:
            answer.end(outcome)
            _write(scope, answer, began)


class _Answer:
    """Notes the status and the size of an answer while it is sent."""

    __slots__ = ("_cycle", "_send", "headers", "is_complete", "outcome", "size", "status")

    def __init__(self, send: Send, receive: Receive) -> None:
        self._send = send
        self._cycle = getattr(receive, "__self__", None)  # uvicorn's, which knows when the client has left
        self.status = self.size = 0
        self.headers: Any = ()
        self.outcome = ""
        self.is_complete = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            if not getattr(self._cycle, "disconnected", False):
                self.size += len(message.get("body", b""))
                self.is_complete = not message.get("more_body", False)
        elif message["type"] == "http.response.start" and not getattr(self._cycle, "disconnected", False):
            self.status = message["status"]
            self.headers = message.get("headers", ())
        await self._send(message)

    def end(self, outcome: str) -> None:
        """Note the outcome if the answer is not complete; if there is none, uvicorn sends a 500."""
        if self.is_complete:
            return
        if getattr(self._cycle, "disconnected", False):
            outcome = "disconnected"
            self.status = self.status or CLIENT_LEFT
        self.outcome = outcome or ("incomplete" if self.status else "unanswered")
        self.status = self.status or 500


def _write(scope: Scope, answer: _Answer, began: float) -> None:
    milliseconds = (perf_counter() - began) * 1000
    method, path = scope["method"], _path(scope)
    members: dict[str, Any] = {"method": method, "path": path}
    shown = query_names(scope["query_string"]) if scope["query_string"] else ""
    if shown:
        members["query"] = shown
    members["status"] = answer.status
    members["duration_ms"] = round(milliseconds, 3)
    _add_call(members, scope, answer)
    notes = f" ({answer.outcome})" if answer.outcome else ""
    operations: Operations | None = scope.get(OPERATIONS_KEY)
    if operations is not None:
        names = _names(operations)
        if names:
            members["operation"] = names
            shown += f" {names}"
        members["errors"] = operations.errors
        if operations.errors:
            notes = f" ({count_of(operations.errors, 'error')}){notes}"
    _add_transport(members, scope, answer)
    message = f"{method} {path}{shown} {answer.status}{notes} {milliseconds:.1f} ms"
    _log.handle(AccessRecord(_log.name, logging.DEBUG if scope["path"] in _HEALTH else logging.INFO, message, members))


def _add_call(members: dict[str, Any], scope: Scope, answer: _Answer) -> None:
    """Add the action, the request id and the caller, where known."""
    called = scope.get(CALL_KEY)
    if called is not None:
        members["action"], context = called
        members["request_id"] = context.request_id
        if context.authorization is not None:
            members["subject"] = context.authorization.subject
        return
    for name, value in answer.headers:
        if name == b"x-request-id":
            members["request_id"] = value.decode("latin-1")


def _add_transport(members: dict[str, Any], scope: Scope, answer: _Answer) -> None:
    """Add the facts of the connection and of the answer."""
    client = scope.get("client")
    if client:
        members["client"] = _visible(client[0][:_NAME_LIMIT])  # a proxy may pass on any text
    members["http_version"] = scope["http_version"]
    members["bytes"] = answer.size
    if answer.outcome:
        members["outcome"] = answer.outcome
    for name, value in scope["headers"]:
        if name == b"traceparent":
            trace = _TRACE.fullmatch(value)
            if trace is not None:
                members["trace_id"] = trace[1].decode()
            break


def _names(operations: Operations) -> str:
    """Return the names of operations, shortened and escaped, because callers choose them."""
    shown = [name[:_NAME_LIMIT] for name in operations.names[:_NAMES_LIMIT]]
    if len(operations.names) > _NAMES_LIMIT:
        shown.append("…")
    return _visible(",".join(shown))


def _path(scope: MutableMapping[str, Any]) -> str:
    raw: bytes | None = scope.get("raw_path")
    path: str = scope["path"] if raw is None else raw.partition(b"?")[0].decode("latin-1")
    return _visible(path if len(path) <= _PATH_LIMIT else path[:_PATH_LIMIT] + "…")


def _visible(text: str) -> str:
    """Return text without line breaks and other control characters."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def query_names(query: bytes) -> str:
    """Return a query string without its values: ``?state=…&city=…``.

    Example:
        >>> query_names(b"state=new&city=Bonn&eyJhbGciOiJub25lIn0")
        '?state=…&city=…&…'
    """
    items = query.decode("latin-1").split("&", _NAMES_LIMIT)
    shown: list[str] = []
    for item in items[:_NAMES_LIMIT]:
        name, sign, _ = item.partition("=")
        # a value without a name may be a token
        shown.append(f"{name[:_NAME_LIMIT]}=…" if sign and name else "…")
    if len(items) > _NAMES_LIMIT:
        shown.append("…")
    return _visible("?" + "&".join(shown))
