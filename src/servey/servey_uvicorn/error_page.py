"""The development server's answers while the application cannot be loaded: the error, as a page or as a problem."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from html import escape

from starlette.types import Receive, Scope, Send

from servey.errors import CallError, InternalError
from servey.http.problem import Problems
from servey.http.request import LIVENESS_PATH, READINESS_PATH, request_id_of
from servey.security.urls import is_loopback
from servey.settings import Settings

_STYLE = """
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
h1 { font-size: 1.25rem; border-left: .3rem solid #d33; padding-left: .7rem }
pre { font: .875rem/1.5 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere;
      padding: 1rem; border-radius: .4rem; background: light-dark(#f4f4f5, #1d1d20); tab-size: 4 }
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="1">
<title>The service cannot be loaded</title>
<style>{style}</style>
</head>
<body>
<h1>The service cannot be loaded</h1>
<pre>{text}</pre>
<p>The server loads it again when a file changes, and this page then shows what you asked for.</p>
</body>
</html>
"""
_RETRY = (b"retry-after", b"1")
_JSON = ((b"content-type", b"application/json"),)
_PAGE_HEADERS = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    _RETRY,
)
_HIDDEN = "The server's terminal says why."
_LOCAL = re.compile(r"(?:(?:[a-z0-9-]+\.)*localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)
_PASSED_ON = re.compile(rb"forwarded|via|x-real-ip|x-forwarded-.*|x-original-host|cf-.*")
"""Headers of proxies and tunnels, some of which send a ``Host`` of this machine."""


class ErrorPage:
    """An ASGI application that answers every request with an error.

    It shows the error to this machine only: not if the server is bound to another address than loopback, and not if the
    request came through a tunnel or a proxy, as its ``Host`` or another header shows.
    """

    def __init__(self, text: str, settings: Settings) -> None:
        text = text.encode("utf-8", "backslashreplace").decode()  # an undecodable file name has lone surrogates
        self._text = text if settings.is_local else _HIDDEN
        self._problems = Problems(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an HTTP request."""
        if scope["type"] == "lifespan":
            for _ in ("startup", "shutdown"):
                await send({"type": f"{(await receive())['type']}.complete"})
        if scope["type"] != "http":
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if scope["path"] == LIVENESS_PATH:
            await _answer(scope, send, 200, b'{"status":"alive"}', _JSON)
        elif scope["path"] == READINESS_PATH:
            await _answer(scope, send, 503, b'{"status":"not ready"}', (*_JSON, _RETRY))
        elif b"text/html" in headers.get(b"accept", b""):
            body = _PAGE.format(style=_STYLE, text=escape(self._shown(scope))).encode()
            await _answer(scope, send, 500, body, _PAGE_HEADERS)
        else:
            error: CallError = InternalError(self._shown(scope), headers={"Retry-After": "1"})
            await self._problems.send(error, request_id_of(headers), scope, send)

    def _shown(self, scope: Scope) -> str:
        return self._text if is_from_here(scope) else _HIDDEN


def is_from_here(scope: Scope) -> bool:
    """Return whether a request comes directly from this machine, and under a name of this machine."""
    if any(_PASSED_ON.fullmatch(name) for name, _ in scope["headers"]):
        return False
    hosts: list[bytes] = [value for name, value in scope["headers"] if name == b"host"]
    peer = scope.get("client")
    return len(hosts) == 1 and is_local(hosts[0].decode("latin-1")) and peer is not None and is_loopback(peer[0])


def is_local(host: str) -> bool:
    """Return whether a ``Host`` header names this machine itself.

    Example:
        >>> [is_local(host) for host in ("localhost:8000", "127.0.0.1", "[::1]:80", "app.example.com")]
        [True, True, True, False]
    """
    return _LOCAL.fullmatch(host) is not None


async def _answer(scope: Scope, send: Send, status: int, body: bytes, own: Sequence[tuple[bytes, bytes]]) -> None:
    headers = [*own, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
