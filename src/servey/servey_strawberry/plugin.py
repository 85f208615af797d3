"""The plugin of GraphQL. It imports Strawberry only when an application is created."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from servey.plugin import Plugin
from servey.servey_strawberry.settings import GraphQLSettings
from servey.settings_part import SettingsPart

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from servey.service import Service


class StrawberryPlugin(Plugin):
    """Serves actions with a web trigger by GraphQL."""

    def settings(self) -> Sequence[type[SettingsPart]]:
        """Return the settings of GraphQL."""
        return (GraphQLSettings,)

    def starlette_routes(self, service: Service) -> Sequence[BaseRoute]:
        """Return the routes of ``/graphql`` and of GraphiQL."""
        if not _is_served(service):
            return ()
        from servey.servey_strawberry.routes import graphql_routes

        return graphql_routes(service)

    def docs_links(self, service: Service) -> Sequence[tuple[str, str]]:
        """Return the link to GraphiQL."""
        settings = service.settings.part(GraphQLSettings)
        has_page = _is_served(service) and settings.serves_page(production=service.settings.production)
        return (("graphiql/", "GraphiQL"),) if has_page else ()


def _is_served(service: Service) -> bool:
    return service.settings.part(GraphQLSettings).graphql and find_spec("strawberry") is not None
