"""The development server's answers while the application cannot be loaded: the error, as a page or as a problem."""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape

from starlette.responses import HTMLResponse, Response
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
_RETRY = {"Retry-After": "1"}
_PAGE_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    **_RETRY,
}
_HIDDEN = "The server's terminal says why."
_LOCAL = re.compile(rb"(?:(?:[a-z0-9-]+\.)*localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)
"""A ``Host`` header that names this machine itself."""
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
            answer = Response(b'{"status":"alive"}', media_type="application/json")
        elif scope["path"] == READINESS_PATH:
            answer = Response(b'{"status":"not ready"}', 503, _RETRY, "application/json")
        elif b"text/html" in headers.get(b"accept", b""):
            answer = HTMLResponse(_PAGE.format(style=_STYLE, text=escape(self._shown(scope))), 500, _PAGE_HEADERS)
        else:
            error: CallError = InternalError(self._shown(scope), headers=_RETRY)
            await self._problems.send(error, request_id_of(headers), scope, send)
            return
        if scope["method"] == "HEAD":
            answer.body = b""
        await answer(scope, receive, send)

    def _shown(self, scope: Scope) -> str:
        return self._text if is_from_here(scope) else _HIDDEN


def is_from_here(scope: Scope) -> bool:
    """Return whether a request comes directly from this machine, and under a name of this machine."""
    if any(_PASSED_ON.fullmatch(name) for name, _ in scope["headers"]):
        return False
    hosts: list[bytes] = [value for name, value in scope["headers"] if name == b"host"]
    is_named = len(hosts) == 1 and _LOCAL.fullmatch(hosts[0]) is not None
    peer = scope.get("client")
    return is_named and peer is not None and is_loopback(peer[0])
