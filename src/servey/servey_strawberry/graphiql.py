"""GraphiQL, the page to write and run GraphQL. It works offline, and at any prefix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from html import escape
from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from servey.servey_starlette.browser_pages import BrowserPages, Page, policy, redirect
from servey.service import Service

GRAPHIQL_PATH = "/graphiql"

POLICY = policy(
    {
        # Monaco positions each line of text by an attribute, which cannot add a style sheet or a script
        "style-src-attr": ["'unsafe-inline'"],
        "worker-src": ["'self'"],
        "font-src": ["'self'"],
    }
)
"""The Content-Security-Policy of the page."""


class Example(Protocol):
    """An example of an action."""

    @property
    def title(self) -> str:
        """The title for users."""
        ...

    @property
    def query(self) -> str:
        """The GraphQL document."""
        ...

    @property
    def variables(self) -> str:
        """The variables, as JSON; empty for none."""
        ...


def graphiql_routes(
    service: Service, examples: Callable[[Service], Sequence[Example]] = lambda service: ()
) -> list[BaseRoute]:
    """Return the routes of GraphiQL. The page calls ``../graphql``, and ``../login`` if the service has a login.

    Args:
        service: The service.
        examples: Returns the examples of the page; the first request calls it.
    """
    graphiql = _GraphiQL(service, examples)
    return [
        Route(GRAPHIQL_PATH, redirect(GRAPHIQL_PATH.removeprefix("/") + "/")),
        Route(f"{GRAPHIQL_PATH}/", graphiql.show),
        Route(f"{GRAPHIQL_PATH}/assets/{{id}}/{{name:path}}", graphiql.pages.asset),
    ]


class _GraphiQL:
    """The page of one service."""

    def __init__(self, service: Service, examples: Callable[[Service], Sequence[Example]]) -> None:
        self._service = service
        self._examples = examples
        self.pages = BrowserPages(f"{GRAPHIQL_PATH}/", POLICY)

    async def show(self, request: Request) -> Response:
        return self.pages.answer(request, lambda: self._page)

    @cached_property
    def _page(self) -> Page:
        service = self._service
        offered = [
            {"title": example.title, "query": example.query, "variables": example.variables}
            for example in self._examples(service)
        ]
        has_login = service.authentication.authenticator is not None and service.authentication.token_issuer is not None
        parts = {
            "title": escape(service.settings.api.api_title),
            "examples": escape(msgspec.json.encode(offered).decode()),
            "login": "../login" if has_login else "",
            "links": _LINKS if service.settings.api.docs else "",
        }
        return self.pages.page("graphiql.html", "assets", parts)


_LINKS = """<a class="other" href="../docs">REST</a>
<a class="other" href="../docs/errors">Errors</a>"""
