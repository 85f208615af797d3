"""The access log: one record for each request, which has what happened and nothing that was said.

Values of the query, headers, tokens and bodies are in no record. The path is, as it came.
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
from servey.http.health import LIVENESS_PATH, READINESS_PATH
from servey.log import AccessRecord

_log = logging.getLogger("servey.access")

CLIENT_LEFT = 499
"""The status of a request whose client left before the answer began, by nginx's convention; nobody has seen it."""

_PATH_LIMIT, _NAME_LIMIT, _NAMES_LIMIT = 1000, 64, 20
_HEALTH = frozenset({LIVENESS_PATH, READINESS_PATH})
_TRACE = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


def access_logged(app: ASGIApp) -> ASGIApp:
    """Return `app` with its requests logged; `app` itself where the level of the log wants none of them."""
    return AccessLog(app) if _log.isEnabledFor(logging.INFO) else app


class AccessLog:
    """An ASGI application whose requests are logged by ``servey.access`` at INFO, health checks at DEBUG.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._has_health = _log.isEnabledFor(logging.DEBUG)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, and log what came of it."""
        if scope["type"] != "http" or (not self._has_health and scope["path"] in _HEALTH):
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, receive)
        began = perf_counter()
        try:
            await self._app(scope, receive, answer.send)
        except CancelledError:
            answer.end("cancelled")
            _write(scope, answer, began)
            raise
        except BaseException:
            answer.end("failed")
            _write(scope, answer, began)
            raise
        answer.end("")
        _write(scope, answer, began)


class _Answer:
    """What is sent of an answer."""

    __slots__ = ("_cycle", "_send", "headers", "outcome", "size", "status", "whole")

    def __init__(self, send: Send, receive: Receive) -> None:
        self._send = send
        self._cycle = getattr(receive, "__self__", None)  # uvicorn's, which knows when the client has left
        self.status = self.size = 0
        self.headers: Any = ()
        self.outcome = ""
        self.whole = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            if not getattr(self._cycle, "disconnected", False):
                self.size += len(message.get("body", b""))
                self.whole = not message.get("more_body", False)
        elif message["type"] == "http.response.start" and not getattr(self._cycle, "disconnected", False):
            self.status = message["status"]
            self.headers = message.get("headers", ())
        await self._send(message)

    def end(self, outcome: str) -> None:
        """Say how it ended where that is not plain; without an answer, uvicorn sends a 500."""
        if self.whole:
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
    names = query_names(scope["query_string"]) if scope["query_string"] else ""
    if names:
        members["query"] = names
    members["status"] = answer.status
    members["duration_ms"] = round(milliseconds, 3)
    called = scope.get(CALL_KEY)
    if called is not None:
        members["action"], context = called
        members["request_id"] = context.request_id
        if context.authorization is not None:
            members["subject"] = context.authorization.subject
    else:
        for name, value in answer.headers:
            if name == b"x-request-id":
                members["request_id"] = value.decode("latin-1")
    operations: Operations | None = scope.get(OPERATIONS_KEY)
    if operations is not None:
        asked = _names(operations)
        if asked:
            members["operation"] = asked
            names += f" {asked}"
        members["errors"] = operations.errors
    client = scope.get("client")
    if client:
        members["client"] = _visible(client[0][:_NAME_LIMIT])  # a proxy may tell whatever it was told
    members["http_version"] = scope["http_version"]
    members["bytes"] = answer.size
    if answer.outcome:
        members["outcome"] = answer.outcome
    for name, value in scope["headers"]:
        if name == b"traceparent":
            if (trace := _TRACE.fullmatch(value)) is not None:
                members["trace_id"] = trace[1].decode()
            break
    told = f" ({answer.outcome})" if answer.outcome else ""
    if operations is not None and operations.errors:
        told = f" ({count_of(operations.errors, 'error')}){told}"
    message = f"{method} {path}{names} {answer.status}{told} {milliseconds:.1f} ms"
    _log.handle(AccessRecord(_log.name, logging.DEBUG if scope["path"] in _HEALTH else logging.INFO, message, members))


def _names(operations: Operations) -> str:
    """Return the names of operations, shortened and escaped, because the caller has chosen them."""
    shown = [name[:_NAME_LIMIT] for name in operations.names[:_NAMES_LIMIT]]
    if len(operations.names) > _NAMES_LIMIT:
        shown.append("…")
    return _visible(",".join(shown))


def _path(scope: MutableMapping[str, Any]) -> str:
    raw: bytes | None = scope.get("raw_path")
    path: str = scope["path"] if raw is None else raw.partition(b"?")[0].decode("latin-1")
    return _visible(path if len(path) <= _PATH_LIMIT else path[:_PATH_LIMIT] + "…")


def _visible(text: str) -> str:
    """Return text in which nothing breaks a line; a server lets hardly any of that through."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def query_names(query: bytes) -> str:
    """Return a query string without what it says: ``?state=…&city=…``.

    Example:
        >>> query_names(b"state=new&city=Bonn&eyJhbGciOiJub25lIn0")
        '?state=…&city=…&…'
    """
    items = query.decode("latin-1").split("&", _NAMES_LIMIT)
    shown: list[str] = []
    for item in items[:_NAMES_LIMIT]:
        name, sign, _ = item.partition("=")
        # what has no name may be a token
        shown.append(f"{name[:_NAME_LIMIT]}=…" if sign and name else "…")
    if len(items) > _NAMES_LIMIT:
        shown.append("…")
    return _visible("?" + "&".join(shown))
