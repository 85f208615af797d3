"""The GraphQL routes of an application."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute, Route

from servey.http.request import Receive, Scope, Send
from servey.schema.graphql.examples import example_documents
from servey.schema.graphql.model import Model
from servey.schema.graphql.model_builder import build_model
from servey.servey_strawberry.graphiql import graphiql_routes
from servey.servey_strawberry.settings import GraphQLSettings
from servey.service import Service

if TYPE_CHECKING:
    from servey.servey_strawberry.endpoint import GraphQLEndpoint

GRAPHQL_PATH = "/graphql"


def graphql_routes(service: Service) -> list[BaseRoute]:
    """Return the routes of ``/graphql`` and of GraphiQL.

    Raises:
        DefinitionError: GraphQL cannot express an action.
        SettingsError: The persisted documents are not valid.
        MissingExtraError: Strawberry is not installed.
    """
    entry = _LazyEndpoint(service, build_model(service))
    settings, production = service.settings.part(GraphQLSettings), service.settings.production
    if production or settings.graphql_documents:
        entry.create()
    routes: list[BaseRoute] = [Route(GRAPHQL_PATH, entry)]
    if settings.serves_page(production=production):
        routes += graphiql_routes(service, lambda _: example_documents(entry.model))
    return routes


class _LazyEndpoint:
    """The endpoint, created at the first request: the import of Strawberry takes longer than all other imports."""

    def __init__(self, service: Service, model: Model) -> None:
        self._service, self.model = service, model
        self._lock = threading.Lock()
        self._endpoint: GraphQLEndpoint | None = None

    def create(self) -> GraphQLEndpoint:
        """Return the endpoint; the first call creates it."""
        from servey.servey_strawberry.endpoint import GraphQLEndpoint

        with self._lock:
            if self._endpoint is None:
                self._endpoint = GraphQLEndpoint(self._service, self.model)
            return self._endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoint or await asyncio.to_thread(self.create)
        await endpoint(scope, receive, send)
