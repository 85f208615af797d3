"""Common parts of all browser pages: sending, assets, and the Content-Security-Policy.

Addresses are relative, so a proxy can serve the pages below a prefix that the service does not know. The policy forbids
inline scripts and resources of other hosts.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from servey.servey_starlette.docs_assets import Assets, MissingAssetsError
from servey.servey_starlette.document import accepts, matches

_log = logging.getLogger("servey.docs")

_POLICY: dict[str, Sequence[str]] = {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'", "data:"],
    "connect-src": ["'self'"],
    "base-uri": ["'none'"],
    "form-action": ["'none'"],
    "frame-ancestors": ["'none'"],
}


class Page(NamedTuple):
    """The bytes of a page, and their entity tag."""

    content: bytes
    etag: str


def policy(directives: Mapping[str, Sequence[str]]) -> str:
    """Return the Content-Security-Policy of a page.

    Args:
        directives: The directives that differ from the common ones, each with its sources.
    """
    named = {**_POLICY, **directives}
    return "; ".join(" ".join(dict.fromkeys((name, *sources))) for name, sources in named.items())


def redirect(location: str) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that redirects to a page, by a relative address."""

    async def answer(request: Request) -> Response:
        return Response(status_code=307, headers={"Location": location, "Cache-Control": "no-cache"})

    return answer


class BrowserPages:
    """Pages and their assets. Nothing is read or rendered before the first request.

    Args:
        path: The path of the pages, for the log.
        content_security_policy: The policy of the pages.
    """

    def __init__(self, path: str, content_security_policy: str) -> None:
        self._assets = Assets()
        self._headers = {
            "Content-Security-Policy": content_security_policy,
            "Cache-Control": "no-cache",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        if not self._assets.are_there:
            _log.error("%s can only show: %s", path, MissingAssetsError())

    def page(self, name: str, assets: str, parts: Mapping[str, str]) -> Page:
        """Return a page.

        Args:
            name: The file of its template.
            assets: The path of its assets, relative to the page.
            parts: The variable parts of the template, as HTML.

        Raises:
            MissingAssetsError: The template cannot be read.
        """
        content = self._assets.page(name).substitute(parts, assets=f"{assets}/{self._assets.manifest.id}")
        encoded = content.encode("utf-8", "replace")
        return Page(encoded, f'"{sha256(encoded).hexdigest()[:20]}"')

    def answer(self, request: Request, page: Callable[[], Page]) -> Response:
        """Return the answer to a request for a page; a 304 if the client has the page."""
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

    async def asset(self, request: Request) -> Response:
        """Return an asset: the endpoint of a route with ``{id}`` and ``{name:path}``."""
        try:
            asset = self._assets.find(request.path_params["id"], request.path_params["name"])
        except MissingAssetsError as error:
            raise HTTPException(500, str(error)) from error
        if asset is None:
            raise HTTPException(404)
        encoding = next((coding for coding in asset.encodings if accepts(request, coding)), "")
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",  # its address changes with its content
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
