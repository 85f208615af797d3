"""The routes of GraphQL in the application."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute, Route

from servey.http.request import Receive, Scope, Send
from servey.schema.graphql.examples import example_documents
from servey.schema.graphql.model import Model
from servey.schema.graphql.model_builder import read_model
from servey.servey_strawberry.graphiql import graphiql_routes
from servey.service import Service

if TYPE_CHECKING:
    from servey.servey_strawberry.endpoint import GraphQLEndpoint

GRAPHQL_PATH = "/graphql"


def graphql_routes(service: Service) -> list[BaseRoute]:
    """Return the route of ``/graphql``, and of the page on which it is tried out.

    Raises:
        DefinitionError: Something that the service declares cannot be said in GraphQL.
        SettingsError: The persisted documents are not good.
        MissingExtraError: Strawberry is not installed.
    """
    entry = _Entry(service, read_model(service))
    if service.settings.production or service.settings.graphql_documents:
        entry.opened()
    routes: list[BaseRoute] = [Route(GRAPHQL_PATH, entry)]
    if service.settings.serves_graphiql:
        routes += graphiql_routes(service, lambda _: example_documents(entry.model))
    return routes


class _Entry:
    """The endpoint, made when it is first needed: most starts while somebody develops are for something else, and
    Strawberry takes longer to import than all the rest.
    """

    def __init__(self, service: Service, model: Model) -> None:
        self._service, self.model = service, model
        self._making = threading.Lock()
        self._endpoint: GraphQLEndpoint | None = None

    def opened(self) -> GraphQLEndpoint:
        """Return the endpoint."""
        from servey.servey_strawberry.endpoint import GraphQLEndpoint

        with self._making:
            if self._endpoint is None:
                self._endpoint = GraphQLEndpoint(self._service, self.model)
            return self._endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoint or await asyncio.to_thread(self.opened)
        await endpoint(scope, receive, send)
