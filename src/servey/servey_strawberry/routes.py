"""The routes of GraphQL in the application."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from servey.servey_strawberry.endpoint import GraphQLEndpoint
from servey.servey_strawberry.reading import read_model
from servey.service import Service

GRAPHQL_PATH = "/graphql"


def graphql_routes(service: Service) -> list[BaseRoute]:
    """Return the route of ``/graphql``, and of the page on which it is tried out.

    Raises:
        DefinitionError: Something that the service declares cannot be said in GraphQL.
        SettingsError: The persisted documents are not good.
    """
    endpoint = GraphQLEndpoint(service, read_model(service))
    if service.settings.production or service.settings.graphql_documents:
        endpoint.make()
    routes: list[BaseRoute] = [Route(GRAPHQL_PATH, endpoint)]
    return routes
