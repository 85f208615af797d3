"""The GraphQL service in servey."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.apps import things as models
from benchmarks.apps.things import Place, Thing, home
from servey.action.action import action
from servey.action.batch_invoker import BatchInvoker
from servey.schema.graphql.model_builder import build_model
from servey.servey_starlette.app import create_app
from servey.servey_strawberry.endpoint import GraphQLEndpoint
from servey.servey_strawberry.graphql_context import GraphQLContext
from servey.service import Service
from servey.settings import Settings
from servey.trigger.web_trigger import WEB_GET


async def homes(owners: list["Owner"]) -> list[Place]:
    return [home(owner.number) for owner in owners]


@dataclass
class Owner:
    number: int

    @action(batch_invoker=BatchInvoker(homes))
    async def batched_home(self) -> Place:
        return home(self.number)

    @action
    async def async_home(self) -> Place:
        return home(self.number)

    @action
    def sync_home(self) -> Place:
        return home(self.number)


OWNERS = [Owner(owner.number) for owner in models.OWNERS]


@action(triggers=(WEB_GET,))
async def hello(name: str) -> str:
    return f"Hello {name}!"


@action(triggers=(WEB_GET,))
async def things() -> list[Thing]:
    return models.THINGS


@action(triggers=(WEB_GET,))
async def owners() -> list[Owner]:
    return OWNERS


SERVICE = Service(actions=(hello, things, owners), settings=Settings())
ENDPOINT = GraphQLEndpoint(SERVICE, build_model(SERVICE))


async def execute(query: str, variables: Mapping[str, Any]) -> Any:
    executed = await ENDPOINT.execute(ENDPOINT.documents.read(query), None, variables, GraphQLContext())
    if executed.refused or executed.errors:
        raise ExceptionGroup("failed", executed.refused or executed.errors)
    return executed.data


app = create_app(SERVICE)
