"""GraphiQL, in which one writes GraphQL and tries it out: a page that works offline, at any prefix."""

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
        # Sheets are files or constructed ones. Monaco writes each line of text with an attribute that says where it
        # is, and no sheet and no script can come of one.
        "style-src-attr": ["'unsafe-inline'"],
        "worker-src": ["'self'"],
        "font-src": ["'self'"],
    }
)
"""The Content-Security-Policy of the page."""


class Example(Protocol):
    """An example of an action, ready to be run."""

    @property
    def title(self) -> str:
        """What it is called, for people."""
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
    """Return the routes of GraphiQL; it sends to ``../graphql``, and to ``../login`` where the service has a login.

    Args:
        service: The service.
        examples: Returns the examples that the page offers; called when it is first asked for.
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
            "title": escape(service.settings.api_title),
            "examples": escape(msgspec.json.encode(offered).decode()),
            "login": "../login" if has_login else "",
            "links": _LINKS if service.settings.docs else "",
        }
        return self.pages.page("graphiql.html", "assets", parts)


_LINKS = """<a class="other" href="../docs">REST</a>
<a class="other" href="../docs/errors">Errors</a>"""
