"""The OpenAPI document over HTTP: made once, compressed once, and not sent again to who has it.

Who sends a token is shown what its bearer may call, and nothing else.
"""

from __future__ import annotations

import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from servey.action.context import CallContext, Origin
from servey.cache_control.preconditions import EntityTags
from servey.errors import CallError, DeadlineError
from servey.schema.openapi import openapi_document
from servey.security.authorization import Authorization
from servey.servey_starlette.request import AUTHORIZATION_KEY, authorization_of, request_id_of
from servey.service import Service

DOCUMENT_PATH = "/openapi.json"

_KEPT = 16
"""So many documents are kept: one for each root path, which a proxy may make up, and for each set of actions that
somebody may call."""


class _Written(NamedTuple):
    plain: bytes
    zipped: bytes
    etag: str


class _Documents:
    """The documents of one service that were asked for last.

    Args:
        service: The service.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._written: OrderedDict[tuple[str, frozenset[str] | None], _Written] = OrderedDict()
        self._lock = Lock()
        self._writing = Lock()

    def find(self, root_path: str, visible: frozenset[str] | None) -> _Written | None:
        """Return a document that is kept."""
        with self._lock:
            found = self._written.get((root_path, visible))
            if found is not None:
                self._written.move_to_end((root_path, visible))
            return found

    def write(self, root_path: str, visible: frozenset[str] | None) -> _Written:
        """Return a document, and keep it; in several threads at once, one writes and the others wait."""
        with self._writing:
            if (found := self.find(root_path, visible)) is not None:
                return found
            plain = msgspec.json.encode(openapi_document(self._service, root_path=root_path, visible=visible))
            etag = hashlib.sha256(plain).hexdigest()[:32]
            written = _Written(plain, gzip.compress(plain, mtime=0), etag)
            with self._lock:
                self._written[root_path, visible] = written
                if len(self._written) > _KEPT:
                    self._written.popitem(last=False)
            return written


def document_routes(service: Service) -> Sequence[Route]:
    """Return the route of the OpenAPI document."""
    documents = _Documents(service)

    async def document(request: Request) -> Response:
        root = quote(request.scope.get("root_path", ""))
        visible = None
        if AUTHORIZATION_KEY in request.scope or "authorization" in request.headers:
            visible = await _visible(service, request)
        found = documents.find(root, visible)
        if found is None:  # in a thread, so that a big service's document holds up nobody
            found = await run_in_threadpool(documents.write, root, visible)
        zipped = accepts(request, "gzip")
        etag = f'"{found.etag}-gz"' if zipped else f'"{found.etag}"'
        headers = {
            "ETag": etag,
            "Cache-Control": "no-cache" if visible is None else "private, no-cache",
            "Vary": "Authorization, Accept-Encoding",
        }
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


async def _visible(service: Service, request: Request) -> frozenset[str]:
    """Return the names of the actions that the caller of a request may call.

    Raises:
        UnauthorizedError: The token is not good.
        DeadlineError: The access controls take too long to say.
    """
    authorization: Authorization | None = request.scope.get(AUTHORIZATION_KEY)
    if authorization is None:
        authorization = await authorization_of(request.scope, service.authorizers)
    request_id = request_id_of(dict(request.scope["headers"]))
    # one for all, so that all of them together have the time that one call has
    context = CallContext(Origin.NETWORK, "rest", request_id, authorization)
    visible: set[str] = set()
    for route in service.web_routes:
        operation = route.operation
        try:
            if not operation.is_open:
                await operation.check_access(context)
        except DeadlineError:
            raise
        except CallError:
            continue
        visible.add(operation.name)
    return frozenset(visible)


def accepts(request: Request, coding: str) -> bool:
    """Return whether a request takes a content coding (RFC 9110 §12.5.3)."""
    for item in request.headers.get("accept-encoding", "").lower().split(","):
        name, _, weight = item.partition(";")
        if name.strip() == coding:
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def matches(request: Request, etag: str) -> bool:
    """Return whether a request names an entity tag in ``If-None-Match``, by weak comparison (RFC 9110 §13.1.2)."""
    return EntityTags.parse(",".join(request.headers.getlist("if-none-match"))).has_like(etag)
