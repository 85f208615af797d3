"""The OpenAPI document over HTTP: made once, compressed once, and not sent again to who has it."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from servey.schema.openapi import openapi_document
from servey.service import Service

DOCUMENT_PATH = "/openapi.json"

_ROOTS = 16
"""For so many root paths the document is kept; each is another document, and a proxy may make them up."""


class _Written(NamedTuple):
    plain: bytes
    zipped: bytes
    etag: str


def document_routes(service: Service) -> Sequence[Route]:
    """Return the route of the OpenAPI document."""
    written: dict[str, _Written] = {}
    lock = Lock()

    def document(request: Request) -> Response:
        # a plain function: Starlette runs it in a thread, so that a big service's document holds up nobody
        root = quote(request.scope.get("root_path", ""))
        with lock:
            found = written.get(root)
            if found is None:
                if len(written) >= _ROOTS:
                    written.clear()
                found = written[root] = _write(service, root)
        zipped = accepts(request, "gzip")
        etag = f'"{found.etag}-gz"' if zipped else f'"{found.etag}"'
        headers = {"ETag": etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if matches(request, etag):
            return Response(status_code=304, headers=headers)
        if zipped:
            headers["Content-Encoding"] = "gzip"
        content = found.zipped if zipped else found.plain
        if request.method == "HEAD":
            headers["Content-Length"] = str(len(content))
            content = b""
        return Response(content, headers=headers, media_type="application/json")

    return [Route(DOCUMENT_PATH, document)]


def _write(service: Service, root_path: str) -> _Written:
    plain = msgspec.json.encode(openapi_document(service, root_path=root_path))
    return _Written(plain, gzip.compress(plain, mtime=0), hashlib.sha256(plain).hexdigest()[:32])


def accepts(request: Request, coding: str) -> bool:
    """Return whether a request takes a content coding (RFC 9110 §12.5.3)."""
    for item in request.headers.get("accept-encoding", "").lower().split(","):
        name, _, weight = item.partition(";")
        if name.strip() == coding:
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def matches(request: Request, etag: str) -> bool:
    """Return whether a request names an entity tag in ``If-None-Match``, by weak comparison (RFC 9110 §13.1.2)."""
    given = request.headers.get("if-none-match", "")
    return given.strip() == "*" or etag in (item.strip().removeprefix("W/") for item in given.split(","))
