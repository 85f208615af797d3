"""Actions for some, for `uvicorn guarded:app`, and inside another application, for `uvicorn guarded:mounted`."""

from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount

from servey import WEB_GET, WEB_POST, Authorization
from servey.action.action import action
from servey.security.access_control import ALLOW_NONE, ScopeAccessControl
from servey.servey_starlette.app import create_app
from servey.service import Service
from servey.settings import Settings


@action(triggers=(WEB_GET,))
def echo_authorization(authorization: Authorization | None) -> str:
    """Tell who calls."""
    return "nobody" if authorization is None else f"{authorization.subject}: {' '.join(sorted(authorization.scopes))}"


@action(triggers=(WEB_GET,), access_control=ScopeAccessControl(execute_scope="root"))
def only_for_root() -> str:
    """Tell a secret."""
    return "Some Secret Data!"


@action(triggers=(WEB_POST,), access_control=ScopeAccessControl(execute_scope="write"))
def change(text: str) -> str:
    """Change something."""
    return text


@action(triggers=(WEB_GET,), access_control=ALLOW_NONE)
def for_nobody() -> str:
    """Run by schedules only."""
    return ""


service = Service([echo_authorization, only_for_root, change, for_nobody], settings=Settings.from_environment())


@asynccontextmanager
async def lifespan(_):
    async with service.running():
        yield


app = create_app(service)
mounted = Starlette(routes=[Mount("/api", app)], lifespan=lifespan)
