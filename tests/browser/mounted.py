"""The tour inside another application, for `uvicorn mounted:app`."""

from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount

from servey.servey_starlette.app import create_app
from servey.service import Service

service = Service.from_settings()


@asynccontextmanager
async def lifespan(_):
    async with service.running():
        yield


app = Starlette(routes=[Mount("/api", create_app(service))], lifespan=lifespan)
