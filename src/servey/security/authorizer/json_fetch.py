"""Fetch a small JSON document from another host, by the standard library: the base install has no HTTP client."""

from __future__ import annotations

import json
import re
import socket
import threading
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from servey.security.urls import is_trusted_url, shown_url

MAX_BYTES = 512 * 1024


class FetchError(Exception):
    """A document cannot be fetched; the message has the reason."""


class Document(NamedTuple):
    """A JSON object, and its ``max-age`` in seconds (RFC 9111 §5.2.2.1)."""

    members: dict[str, Any]
    max_age: int | None


class _SameOrigin(HTTPRedirectHandler):
    max_redirections = 3

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if (before.scheme, before.netloc) != (after.scheme, after.netloc):
            elsewhere = shown_url(f"{after.scheme}://{after.netloc}")
            raise FetchError(f"it redirects to {elsewhere}, and only {before.netloc} is trusted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Deadline:
    """Shut down the connections of one fetch when its time is over.

    The timeout of a socket is for each step: a byte now and then, in the header or between two chunks, would extend it
    without end.
    """

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def covers(self, connection: socket.socket) -> None:
        """End a connection at the deadline."""
        with self._lock:
            self._sockets.append(connection)
            if self.is_over:
                _shut_down(connection)

    def _end(self) -> None:
        with self._lock:
            self.is_over = True
            for connection in self._sockets:
                _shut_down(connection)


class _Covered(HTTPConnection):
    """A connection with a deadline. It covers the socket as soon as the socket exists, also for tunnels of proxies."""

    def __init__(self, *args: Any, deadline: _Deadline, **options: Any) -> None:
        self._deadline = deadline
        self._socket: Any = None
        super().__init__(*args, **options)

    @property
    def sock(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._socket

    @sock.setter
    def sock(self, value: Any) -> None:
        self._socket = value
        if value is not None:
            self._deadline.covers(value)


class _CoveredByTls(_Covered, HTTPSConnection):
    """The same over TLS. The whole handshake must end within the timeout."""


class _Covering(HTTPSHandler, HTTPHandler):
    """Opens connections that a deadline covers."""

    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: Request) -> Any:
        return self.do_open(_Covered, req, deadline=self._deadline)  # pyright: ignore[reportArgumentType]

    def https_open(self, req: Request) -> Any:
        # without a context, a connection makes the one that the handler has: certificates are verified
        return self.do_open(_CoveredByTls, req, deadline=self._deadline)  # pyright: ignore[reportArgumentType]


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # it is closed, or the socket under TLS, which has gone over into another
        # not the method of a TLS socket: later bytes would be read as if there were no TLS
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def fetch_json(url: str, timeout: float) -> Document:
    """Return the JSON object at a URL. Blocks; call it in a thread.

    Args:
        url: By https, or http to this machine.
        timeout: Seconds for each step, and for the whole; only looking up a host and trying more than one of its
            addresses may take longer.

    Raises:
        FetchError: The document cannot be fetched, is too large, or is not a JSON object.
    """
    if not is_trusted_url(url):
        raise FetchError(f"{shown_url(url)!r} is not an https:// URL")
    request = Request(url, headers={"Accept": "application/json, application/jwk-set+json", "User-Agent": "servey"})
    with _Deadline(timeout) as deadline:
        proxies = [ProxyHandler({})] if url.startswith("http:") else []
        opener: OpenerDirector = build_opener(_SameOrigin, _Covering(deadline), *proxies)
        try:
            with opener.open(request, timeout=timeout) as response:
                body = response.read(MAX_BYTES + 1)
                if len(body) > MAX_BYTES:
                    raise FetchError(f"it is larger than {MAX_BYTES} bytes")
                cache_control: str = response.headers.get("Cache-Control", "")
            if deadline.is_over:
                raise _too_late(timeout)
            members = json.loads(body)
        except (HTTPException, OSError, ValueError, RecursionError) as error:
            if deadline.is_over:
                raise _too_late(timeout) from error
            raise FetchError(_reason(error)) from error
    if not isinstance(members, dict):
        raise FetchError("it is not a JSON object")
    max_age = re.search(r"(?:^|[\s,])max-age=\"?(\d{1,9})", cache_control, re.IGNORECASE)
    return Document(members, int(max_age[1]) if max_age else None)  # pyright: ignore[reportUnknownArgumentType]


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError | HTTPException):  # urllib's own are the former
        return "it is no JSON"
    return str(getattr(error, "reason", "") or error) or type(error).__name__


def _too_late(timeout: float) -> FetchError:
    return FetchError(f"it has not come in {timeout:g} s")
