"""The browser pages: the OpenAPI document in Swagger UI, and the errors catalogue. Both work offline, at any prefix.

Their addresses are relative, so a proxy may serve them below a prefix that the service does not know of. They run
under a Content-Security-Policy without inline script or style, and load nothing from elsewhere.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from servey.servey_starlette.docs_assets import Assets, MissingAssetsError
from servey.servey_starlette.document import accepts, matches
from servey.service import Service

_log = logging.getLogger("servey.docs")

DOCS_PATH, ERRORS_PATH = "/docs", "/docs/errors"

DOCS_PATHS = (DOCS_PATH, f"{DOCS_PATH}/", ERRORS_PATH, f"{ERRORS_PATH}/", f"{DOCS_PATH}/assets/*")
"""The paths that the pages take; ``*`` stands for all below."""


def docs_routes(service: Service) -> list[BaseRoute]:
    """Return the routes of the pages."""
    pages = _Pages(service)
    return [
        Route(DOCS_PATH, pages.docs),
        Route(ERRORS_PATH, pages.errors),
        # relative as all addresses are: the full path may be unknown here
        Route(f"{DOCS_PATH}/", _redirect("../docs")),
        Route(f"{ERRORS_PATH}/", _redirect("../errors")),
        Route(f"{DOCS_PATH}/assets/{{id}}/{{name:path}}", pages.asset),
    ]


def content_security_policy(servers: Sequence[str] = ()) -> str:
    """Return the policy of the pages.

    Args:
        servers: The URLs of ``SERVEY_API_SERVERS``, which "Try it out" calls.
    """
    origins = filter(None, map(_origin, servers))
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            " ".join(dict.fromkeys(("connect-src", "'self'", *origins))),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


class _Pages:
    """The pages of one service. Nothing is read or rendered before the first request."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._assets = Assets()
        self._headers = {
            "Content-Security-Policy": content_security_policy(service.settings.api_servers),
            "Cache-Control": "no-cache",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        if not self._assets.are_there:
            _log.error("%s can only say: %s", DOCS_PATH, MissingAssetsError())

    async def docs(self, request: Request) -> Response:
        return self._answer(request, lambda: self._docs)

    async def errors(self, request: Request) -> Response:
        return self._answer(request, lambda: self._errors)

    async def asset(self, request: Request) -> Response:
        try:
            asset = self._assets.find(request.path_params["id"], request.path_params["name"])
        except MissingAssetsError as error:
            raise HTTPException(500, str(error)) from error
        if asset is None:
            raise HTTPException(404)
        encoding = next((coding for coding in asset.encodings if accepts(request, coding)), "")
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",  # its address changes when it does
            "Cross-Origin-Resource-Policy": "same-origin",
            "ETag": f'"{asset.sha256[:20]}{encoding and "-"}{encoding}"',
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
        }
        if matches(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        if encoding:
            headers["Content-Encoding"] = encoding
        path = self._assets.path(asset, encoding)
        return FileResponse(path, headers=headers, media_type=f"{asset.type}; charset=utf-8")

    def _answer(self, request: Request, page: Callable[[], tuple[bytes, str]]) -> Response:
        try:
            content, tag = page()
        except MissingAssetsError as error:
            raise HTTPException(500, str(error)) from error
        headers = self._headers | {"ETag": tag}
        if matches(request, tag):
            return Response(status_code=304, headers=headers)
        if request.method == "HEAD":
            headers |= {"Content-Length": str(len(content))}
            content = b""
        return Response(content, headers=headers, media_type="text/html")

    @cached_property
    def _docs(self) -> tuple[bytes, str]:
        elsewhere = bool(self._service.settings.api_servers)
        return self._page("docs.html", "docs/assets", {"servers": "document" if elsewhere else "here"})

    @cached_property
    def _errors(self) -> tuple[bytes, str]:
        from servey.servey_starlette.docs_errors import catalogue  # rendered when somebody asks

        return self._page("errors.html", "assets", catalogue(self._service))

    def _page(self, name: str, assets: str, parts: Mapping[str, str]) -> tuple[bytes, str]:
        """Return a page and its entity tag."""
        from hashlib import sha256
        from html import escape

        content = self._assets.page(name).substitute(
            parts, title=escape(self._service.settings.api_title), assets=f"{assets}/{self._assets.manifest.id}"
        )
        encoded = content.encode("utf-8", "replace")
        return encoded, f'"{sha256(encoded).hexdigest()[:20]}"'


def _redirect(location: str) -> Callable[[Request], Awaitable[Response]]:
    async def redirect(request: Request) -> Response:
        return Response(status_code=307, headers={"Location": location, "Cache-Control": "no-cache"})

    return redirect


def _origin(server: str) -> str:
    """Return a server's origin as a Content-Security-Policy says it; empty for a reference to this one.

    It knows no IPv6 addresses, and none of the placeholders that a server's URL may have.
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(server)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("", "http", "https") or not re.fullmatch(r"[a-z0-9._-]+", host):
        return ""
    return f"{parts.scheme}://{host}".removeprefix("://") + (f":{port}" if port else "")
