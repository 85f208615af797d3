"""The plugin of GraphQL. It imports Strawberry only when an application is created."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from servey.plugin import Plugin

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from servey.service import Service


class StrawberryPlugin(Plugin):
    """Serves actions with a web trigger by GraphQL."""

    def starlette_routes(self, service: Service) -> Sequence[BaseRoute]:
        """Return the routes of ``/graphql`` and of GraphiQL."""
        if not service.settings.graphql:
            return ()
        if find_spec("strawberry") is None:
            return ()
        from servey.servey_strawberry.routes import graphql_routes

        return graphql_routes(service)
