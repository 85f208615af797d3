"""The Strawberry schema of a service."""

from __future__ import annotations

from servey.errors import MissingExtraError
from servey.schema.graphql.model import Model
from servey.schema.graphql.model_builder import build_model
from servey.service import Service

try:
    import strawberry
except ModuleNotFoundError as error:
    if error.name != "strawberry":
        raise
    raise MissingExtraError("strawberry-graphql", "server") from error

from graphql import GraphQLSchema, is_introspection_type, is_specified_scalar_type, print_type
from strawberry.schema.config import StrawberryConfig

from servey.servey_strawberry.binding import bind
from servey.servey_strawberry.rendering import Rendering


def create_schema(service: Service, model: Model | None = None) -> ServeySchema:
    """Return the GraphQL schema of a service.

    Strawberry can execute it, too. Then actions are called without a token, unless the context is a
    `servey.servey_strawberry.graphql_context.GraphQLContext`.

    Args:
        service: The service.
        model: The model of the service; default: `build_model` builds it.

    Raises:
        DefinitionError: GraphQL cannot express an action.
        MissingExtraError: Strawberry is not installed.
    """
    model = build_model(service) if model is None else model
    rendering = Rendering(model)
    schema = ServeySchema(
        query=rendering.query(),
        mutation=rendering.mutation(),
        config=StrawberryConfig(auto_camel_case=False, scalar_map=rendering.scalar_map),
    )
    bind(schema.core, model, service)
    return schema


class ServeySchema(strawberry.Schema):
    """A schema that graphql-core executes and prints: Strawberry's printer cannot write all defaults."""

    @property
    def core(self) -> GraphQLSchema:
        """The schema of graphql-core."""
        return self._schema

    def as_str(self) -> str:
        """Return the schema in GraphQL's definition language."""
        types = [item for _, item in sorted(self.core.type_map.items())]
        return "\n\n".join(
            print_type(item) for item in types if not is_introspection_type(item) and not is_specified_scalar_type(item)
        )

    __str__ = as_str


def printed(schema: strawberry.Schema) -> str:
    """Return a schema in GraphQL's definition language, with a newline at the end."""
    return schema.as_str().rstrip() + "\n"
