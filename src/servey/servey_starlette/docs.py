"""The browser pages: the OpenAPI document in Swagger UI, and the errors catalogue. Both work offline, at any prefix.

Addresses are relative, so a proxy can serve the pages below a prefix that the service does not know. The
Content-Security-Policy forbids inline scripts and styles, and resources of other hosts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from html import escape
from typing import Protocol, runtime_checkable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from servey.servey_starlette.browser_pages import BrowserPages, Page, policy, redirect
from servey.service import Service

DOCS_PATH, ERRORS_PATH = "/docs", "/docs/errors"


@runtime_checkable
class DocsExtension(Protocol):
    """A plugin that adds pages to the application, and links to them from ``/docs``."""

    def docs_links(self, service: Service) -> Sequence[tuple[str, str]]:
        """Return the path of each page, relative to the application, and its title."""
        ...


def docs_routes(service: Service) -> list[BaseRoute]:
    """Return the routes of the pages."""
    docs = _Docs(service)
    return [
        Route(DOCS_PATH, docs.docs),
        Route(ERRORS_PATH, docs.errors),
        # relative, because the full path may be unknown here
        Route(f"{DOCS_PATH}/", redirect("../docs")),
        Route(f"{ERRORS_PATH}/", redirect("../errors")),
        Route(f"{DOCS_PATH}/assets/{{id}}/{{name:path}}", docs.pages.asset),
    ]


def content_security_policy(servers: Sequence[str] = ()) -> str:
    """Return the policy of the pages.

    Args:
        servers: The URLs of ``SERVEY_API_SERVERS``, which "Try it out" calls.
    """
    return policy({"connect-src": ["'self'", *filter(None, map(_origin, servers))]})


class _Docs:
    """The two pages of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.pages = BrowserPages(DOCS_PATH, content_security_policy(service.settings.api.api_servers))

    async def docs(self, request: Request) -> Response:
        return self.pages.answer(request, lambda: self._docs)

    async def errors(self, request: Request) -> Response:
        return self.pages.answer(request, lambda: self._errors)

    @cached_property
    def _docs(self) -> Page:
        elsewhere = bool(self._service.settings.api.api_servers)
        return self._page("docs.html", "docs/assets", {"servers": "document" if elsewhere else "here"})

    @cached_property
    def _errors(self) -> Page:
        from servey.servey_starlette.docs_errors import catalogue  # rendered at the first request

        return self._page("errors.html", "assets", catalogue(self._service))

    def _page(self, name: str, assets: str, parts: Mapping[str, str]) -> Page:
        settings = self._service.settings
        up = "" if name == "docs.html" else "../"
        plugins = [plugin for plugin in self._service.plugins if isinstance(plugin, DocsExtension)]
        pages = [page for plugin in plugins for page in plugin.docs_links(self._service)]
        links = "".join(f'<a href="{up}{escape(path)}">{escape(title)}</a>\n' for path, title in pages)
        return self.pages.page(name, assets, {**parts, "title": escape(settings.api.api_title), "links": links})


def _origin(server: str) -> str:
    """Return a server's origin in the form of a Content-Security-Policy; empty for a relative reference.

    The policy cannot express IPv6 addresses or placeholders in a URL.
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
