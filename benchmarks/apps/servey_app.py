"""The service in servey."""

from benchmarks.apps.models import USERS, Parcel, User
from servey.action.action import action
from servey.servey_starlette.app import create_app
from servey.service import Service
from servey.trigger.web_trigger import WebTrigger, WebTriggerMethod

GET, POST = WebTriggerMethod.GET, WebTriggerMethod.POST


@action(triggers=(WebTrigger(GET, "/hello"),))
async def hello(name: str) -> str:
    return f"Hello {name}!"


@action(triggers=(WebTrigger(GET, "/hello_sync"),))
def hello_sync(name: str) -> str:
    return f"Hello {name}!"


@action(triggers=(WebTrigger(GET, "/parcels/{id}"),))
async def parcel(id: int) -> Parcel:
    return Parcel(id, "Ada", 1.5)


@action(triggers=(WebTrigger(POST, "/echo"),))
async def echo(user: User) -> User:
    return user


@action(triggers=(WebTrigger(GET, "/users"),))
async def users(n: int = 100) -> list[User]:
    return USERS[:n]


app = create_app(Service(actions=(hello, hello_sync, parcel, echo, users)))
