"""The OpenAPI document over HTTP: written once, compressed once, with a 304 for clients that have it.

With a token, the document shows only the actions that the caller may call.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple
from urllib.parse import quote
from weakref import WeakKeyDictionary

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from servey.action.context import CallContext, Origin
from servey.cache_control.preconditions import EntityTags
from servey.errors import OverloadedError
from servey.http.bearer import AUTHORIZATION_KEY, authenticated
from servey.http.request import request_id_of
from servey.schema.openapi import openapi_document
from servey.service import Service

DOCUMENT_PATH = "/openapi.json"

_KEPT = 16
"""The largest number of cached documents with all actions (one for each root path, which a proxy may choose), and of
cached documents for callers with a token."""
_Which = tuple[str, frozenset[str] | None]
"""The key of a document: the root path, and the names of the actions that it shows; None for all."""

_WHOLE: _Which = ("", None)


class _Written(NamedTuple):
    plain: bytes
    zipped: bytes


class _Documents:
    """The last requested documents of one service.

    Tokens with different scopes need different documents, so there may be many. One thread writes them, one at a time;
    waiting requests occupy no thread.

    Args:
        service: The service.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._of_all: OrderedDict[_Which, _Written] = OrderedDict()
        self._of_some: OrderedDict[_Which, _Written] = OrderedDict()
        self._tag = b""
        self._lock = Lock()
        self._writing = Lock()  # for several event loops
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    async def etag(self, which: _Which) -> str:
        """Return the entity tag of a document, without writing it: the tag depends on the document with all actions.

        Raises:
            OverloadedError: Too many other documents wait.
        """
        if not self._tag:
            self._tag = hashlib.sha256((await self.get(_WHOLE)).plain).digest()
        root_path, visible = which
        names = None if visible is None else sorted(visible)
        return hashlib.sha256(self._tag + msgspec.msgpack.encode((root_path, names))).hexdigest()[:32]

    async def get(self, which: _Which) -> _Written:
        """Return a document. A thread writes it, so that a large document does not block other requests.

        Raises:
            OverloadedError: Too many other documents wait.
        """
        if (found := self._find(which)) is not None:
            return found
        loop = asyncio.get_running_loop()
        with self._lock:
            turn = self._turns.setdefault(loop, asyncio.Lock())
        try:
            async with asyncio.timeout(self._service.settings.calls.timeout):
                await turn.acquire()
        except TimeoutError as error:
            raise OverloadedError("too many requests wait for documents") from error
        try:
            return self._find(which) or await run_in_threadpool(self._write, which)
        finally:
            turn.release()

    def _find(self, which: _Which) -> _Written | None:
        with self._lock:
            kept = self._kept(which)
            if (found := kept.get(which)) is not None:
                kept.move_to_end(which)
            return found

    def _kept(self, which: _Which) -> OrderedDict[_Which, _Written]:
        return self._of_all if which[1] is None else self._of_some

    def _write(self, which: _Which) -> _Written:
        with self._writing:
            if (found := self._find(which)) is not None:
                return found
            root_path, visible = which
            plain = msgspec.json.encode(openapi_document(self._service, root_path=root_path, visible=visible))
            written = _Written(plain, gzip.compress(plain, mtime=0))
            with self._lock:
                kept = self._kept(which)
                kept[which] = written
                if len(kept) > _KEPT:
                    kept.popitem(last=False)
            return written


def document_routes(service: Service) -> Sequence[Route]:
    """Return the route of the OpenAPI document."""
    documents = _Documents(service)

    async def document(request: Request) -> Response:
        root = quote(request.scope.get("root_path", ""))
        visible = None
        if AUTHORIZATION_KEY in request.scope or "authorization" in request.headers:
            visible = await _visible(service, request)
        which = root, visible
        zipped = accepts(request, "gzip")
        etag = f'"{await documents.etag(which)}{"-gz" if zipped else ""}"'
        headers = {
            "ETag": etag,
            "Cache-Control": "no-cache" if visible is None else "private, no-cache",
            "Vary": "Authorization, Accept-Encoding",
        }
        if matches(request, etag):
            return Response(status_code=304, headers=headers)
        found = await documents.get(which)
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
        UnauthorizedError: The token is not valid.
        DeadlineError: The authorizers or the access controls take too long.
    """
    request_id = request_id_of(dict(request.scope["headers"]))
    # one deadline for all access checks, as for one call
    context = CallContext(Origin.NETWORK, "rest", request_id)
    deadline = service.runtime.loop.time() + service.settings.calls.timeout
    context.authorization = await authenticated(request.scope, service, context, deadline)
    routed = [route.operation for route in service.web_routes]
    nested = [operation for operation in service.operations.values() if operation.signature.owner is not None]
    return frozenset(operation.name for operation in await service.visible_to(context, [*routed, *nested]))


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
