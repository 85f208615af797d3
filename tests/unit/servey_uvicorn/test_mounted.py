"""Which services are found in an application."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Host, Mount, Route

from servey.http.mounted import mounted_services
from servey.servey_starlette.app import create_app
from servey.service import Service

SERVICE = Service([])


def fast_api() -> FastAPI:
    app = FastAPI()
    app.mount("/api", create_app(SERVICE))
    return app


@pytest.mark.parametrize(
    ("app", "prefix"),
    [
        (create_app(SERVICE), ""),
        (GZipMiddleware(create_app(SERVICE)), ""),
        (fast_api(), "/api"),
        (Starlette(routes=[Mount("/a", routes=[Mount("/b", create_app(SERVICE))])]), "/a/b"),
        (Starlette(routes=[Mount("/a", create_app(SERVICE), middleware=[Middleware(GZipMiddleware)])]), "/a"),
        (Starlette(routes=[Host("api.example.com", create_app(SERVICE))]), ""),
    ],
    ids=["its own", "wrapped", "FastAPI", "nested", "mounted with middleware", "host"],
)
def test_a_service_is_found_with_the_path_it_is_mounted_at(app: Any, prefix: str) -> None:
    (found,) = mounted_services(app)
    assert (found.service, found.prefix) == (SERVICE, prefix)
    assert "/livez" in found.paths


def test_an_application_without_a_service_has_none() -> None:
    async def bare(scope: Any, receive: Any, send: Any) -> None: ...

    assert mounted_services(Starlette(routes=[Route("/", bare)])) == []
    assert mounted_services(bare) == []
