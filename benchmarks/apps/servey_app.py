"""The service in servey."""

from benchmarks.apps.models import SCOPE, SECRET, USERS, Parcel, User
from servey.action.action import action
from servey.cache_control.ttl_cache_control import TtlCacheControl
from servey.security.access_control.scope_access_control import ScopeAccessControl
from servey.servey_starlette.app import create_app
from servey.service import Service
from servey.settings import Settings
from servey.trigger.web_trigger import WebTrigger, WebTriggerMethod

GET, POST = WebTriggerMethod.GET, WebTriggerMethod.POST


@action(triggers=(WebTrigger(GET, "/hello"),))
async def hello(name: str) -> str:
    return f"Hello {name}!"


@action(triggers=(WebTrigger(GET, "/authorized"),), access_control=ScopeAccessControl(SCOPE))
async def authorized(name: str) -> str:
    return f"Hello {name}!"


@action(triggers=(WebTrigger(GET, "/cached"),), cache_control=TtlCacheControl(3600))
async def cached(name: str) -> str:
    return f"Hello {name}!"


@action(triggers=(WebTrigger(GET, "/limited"),), rate_limit="1000/second")
async def limited(name: str) -> str:
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


ACTIONS = (hello, authorized, cached, limited, hello_sync, parcel, echo, users)

app = create_app(Service(actions=ACTIONS, settings=Settings(jwt_secret_key=SECRET)))
