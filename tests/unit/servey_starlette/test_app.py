from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from servey import WEB_GET, WEB_POST, Authorization, ConflictError, WebTrigger, WebTriggerMethod, resource
from servey.action.action import action
from servey.errors import SettingsError
from servey.http.bearer import AUTHORIZATION_KEY
from servey.plugin import Plugin
from servey.security.access_control import ScopeAccessControl
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client, client_of
from servey.service import Service
from servey.settings import Settings

PAGE = "https://page.example"


@action(triggers=(WEB_GET, WEB_POST))
async def greet(name: str = "you") -> str:
    if name == "bug":
        raise RuntimeError("swordfish")
    return f"Hello {name}!"


@action(triggers=(WebTrigger(WebTriggerMethod.GET, "/users/{id}"),))
async def user(id: str) -> str:
    return id


class Recorder:
    """What an application sends, also when it raises afterwards."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.raised: Exception | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self.app(scope, receive, send)
        except Exception as error:  # noqa: BLE001
            self.raised = error


# --- CORS -----------------------------------------------------------------------------------------------------------


class Crashing:
    """A middleware of the user's own with a defect."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if any(name == b"x-crash" for name, _ in scope.get("headers", ())):
            raise RuntimeError("swordfish")
        await self.app(scope, receive, send)


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "status"),
    [
        ("GET", "/actions/greet", "", {}, 200),
        ("GET", "/actions/greet", "name=bug", {}, 500),
        ("GET", "/actions/greet", "nome=x", {}, 422),
        ("GET", "/nope", "", {}, 404),
        ("DELETE", "/actions/greet", "", {}, 405),
        ("GET", "/livez", "", {}, 200),
        ("GET", "/actions/greet", "", {"x-crash": "1"}, 500),
    ],
)
@pytest.mark.parametrize("middleware", [(), (Middleware(Crashing),)], ids=["plain", "with-middleware"])
async def test_every_answer_has_the_cors_headers(
    method: str, path: str, query: str, headers: dict[str, str], status: int, middleware: Any
) -> None:
    if headers and not middleware:
        headers, status = {}, 200
    service = Service([greet], settings=Settings(cors_origins=(PAGE,)))
    app = Recorder(create_app(service, middleware=middleware))
    response = await Client(app).request(method, path, query=query, headers={"origin": PAGE, **headers})
    assert (response.status, response.headers["access-control-allow-origin"]) == (status, PAGE)
    exposed = response.headers["access-control-expose-headers"].lower()
    assert {"x-request-id", "retry-after", "www-authenticate"} <= set(exposed.split(", "))
    stranger = await Client(app).request(
        method, path, query=query, headers={"origin": "https://evil.example", **headers}
    )
    assert stranger.headers.get("access-control-allow-origin") is None


async def test_a_preflight_is_answered_for_pages_that_may() -> None:
    http = Client(create_app(Service([greet], settings=Settings(cors_origins=(PAGE,), cors_credentials=True))))
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    response = await http.request("OPTIONS", "/actions/greet", headers={"origin": PAGE, **asked})
    assert response.status == 200
    assert response.headers["access-control-allow-origin"] == PAGE
    assert response.headers["access-control-allow-credentials"] == "true"
    assert "POST" in response.headers["access-control-allow-methods"]
    assert {"authorization", "content-type"} <= set(
        response.headers["access-control-allow-headers"].lower().split(", ")
    )
    refused = await http.request("OPTIONS", "/actions/greet", headers={"origin": "https://evil.example", **asked})
    assert "access-control-allow-origin" not in refused.headers
    assert refused.headers["x-request-id"]
    assert (refused.status, refused.headers["content-type"]) == (403, "application/problem+json")
    problem = refused.json()
    assert {name: problem[name] for name in ("type", "title", "status", "code")} == {
        "type": "/docs/errors#forbidden",
        "title": "Forbidden",
        "status": 403,
        "code": "forbidden",
    }
    for wrong in ({"access-control-request-method": "BREW"}, {"access-control-request-headers": "x-mine"}):
        refused = await http.request("OPTIONS", "/nowhere", headers={"origin": PAGE, **asked, **wrong})
        assert (refused.status, refused.json()["code"]) == (403, "forbidden")
        assert refused.headers["access-control-allow-origin"] == PAGE  # so that the page can read why
    assert (await http.request("OPTIONS", "/actions/greet", headers={"origin": PAGE})).status == 204


async def test_without_a_setting_no_page_may() -> None:
    response = await Client(create_app(Service([greet]))).request("GET", "/actions/greet", headers={"origin": PAGE})
    assert not [name for name in response.headers if name.startswith("access-control")]


async def test_a_star_lets_every_page_in_without_credentials() -> None:
    http = Client(create_app(Service([greet], settings=Settings(cors_origins=("*",)))))
    response = await http.request("GET", "/actions/greet", headers={"origin": PAGE})
    assert response.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in response.headers


def test_a_star_with_credentials_is_refused() -> None:
    with pytest.raises(SettingsError, match="CORS_ALLOW_CREDENTIALS"):
        Settings(cors_origins=("*",), cors_credentials=True)
    with pytest.raises(SettingsError, match="CORS_ALLOWED_ORIGINS"):
        Settings(cors_origins=("https://page.example/path",))


# --- liveness and readiness -----------------------------------------------------------------------------------------


async def test_it_is_alive_at_once_and_ready_when_it_runs() -> None:
    app = create_app(Service([greet]))
    before = Client(app)
    assert (await before.request("GET", "/livez")).status == 200
    response = await before.request("GET", "/readyz")
    assert (response.status, response.headers["retry-after"]) == (503, "1")
    async with client_of(app) as http:
        assert (await http.request("GET", "/readyz")).status == 200
        assert (await http.request("HEAD", "/readyz")).status == 200
    assert (await before.request("GET", "/readyz")).status == 503


async def test_it_is_not_ready_while_it_stops() -> None:
    statuses: list[int] = []

    class Slow(Plugin):
        def lifespans(self) -> Any:
            @asynccontextmanager
            async def slow(service: Service) -> AsyncIterator[None]:
                yield
                statuses.append((await Client(app).request("GET", "/readyz")).status)

            return (slow,)

    app = create_app(Service([greet], plugins=[Slow()]))
    async with client_of(app):
        pass
    assert statuses == [503]


async def test_a_service_that_cannot_start_says_so() -> None:
    class Pool:
        pass

    @resource(scope="service")
    async def pool() -> AsyncIterator[Pool]:
        raise OSError("no database")
        yield

    with pytest.raises((RuntimeError, OSError), match="no database"):
        async with client_of(create_app(Service([greet], resources=[pool]))):
            pass


# --- inside another application -------------------------------------------------------------------------------------


class Counting:
    """A middleware of the user's own."""

    seen: list[str]

    def __init__(self, app: Any, seen: list[str]) -> None:
        self.app, self.seen = app, seen

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def marked(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-marked", b"yes")]
            await send(message)

        self.seen.append(f"in {scope['path']}")
        await self.app(scope, receive, marked)
        self.seen.append("out")
        return None


def outer_starlette(service: Service, middleware: list[Middleware]) -> Any:
    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with service.running():
            yield

    return Starlette(
        routes=[Route("/mine", lambda request: PlainTextResponse("mine")), Mount("/api", create_app(service))],
        middleware=middleware,
        lifespan=lifespan,
    )


def outer_fastapi(service: Service, middleware: list[Middleware]) -> Any:
    from fastapi import FastAPI

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(middleware=middleware, lifespan=lifespan)
    app.add_route("/mine", lambda request: PlainTextResponse("mine"))
    app.mount("/api", create_app(service))
    return app


# FastAPI is in the group of the benchmarks; without it, Starlette stands for both
OUTER = [outer_starlette, *([outer_fastapi] if find_spec("fastapi") else [])]


@pytest.mark.parametrize("outer", OUTER)
async def test_it_can_be_mounted_in_another_application(outer: Any) -> None:
    seen: list[str] = []
    app = outer(Service([greet, user]), [Middleware(Counting, seen=seen)])
    async with client_of(app) as http:
        assert (await http.request("GET", "/mine")).content == b"mine"
        assert (await http.request("GET", "/api/actions/greet", query="name=a")).json() == "Hello a!"
        assert (await http.request("POST", "/api/actions/greet", json={"name": "b"})).json() == "Hello b!"
        assert (await http.request("GET", "/api/users/a%2Fb")).json() == "a/b"
        assert (await http.request("GET", "/api/readyz")).status == 200
        assert (await http.request("GET", "/actions/greet")).status == 404
        missing = await http.request("GET", "/api/nope")
        assert (missing.status, missing.headers["content-type"]) == (404, "application/problem+json")
        response = await http.request("DELETE", "/api/actions/greet")
        assert (response.status, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
        assert response.headers["x-marked"] == "yes"
    assert seen[:4] == ["in /mine", "out", "in /api/actions/greet", "out"]


@pytest.mark.parametrize("outer", OUTER)
async def test_a_middleware_outside_may_have_verified_the_caller(outer: Any) -> None:
    @action(triggers=(WEB_GET,), access_control=ScopeAccessControl("root"))
    async def guarded(authorization: Authorization) -> str:
        return str(authorization.subject)

    class Verifying:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            scope[AUTHORIZATION_KEY] = Authorization("verified", frozenset({"root"}))
            await self.app(scope, receive, send)

    async with client_of(outer(Service([guarded]), [Middleware(Verifying)])) as http:
        assert (await http.request("GET", "/api/actions/guarded")).json() == "verified"


# --- middleware, routes, lifespans and plugins of the user's own ----------------------------------------------------


async def test_a_users_middleware_runs_around_actions() -> None:
    seen: list[str] = []
    http = Client(create_app(Service([greet, user]), middleware=[Middleware(Counting, seen=seen)]))
    for path in ("/actions/greet", "/users/7", "/nope"):
        assert (await http.request("GET", path)).headers["x-marked"] == "yes"
    assert seen == ["in /actions/greet", "out", "in /users/7", "out", "in /nope", "out"]


async def test_a_middleware_added_later_runs_too() -> None:
    seen: list[str] = []
    app = create_app(Service([greet]))
    app.add_middleware(Counting, seen=seen)
    assert (await Client(app).request("GET", "/actions/greet")).headers["x-marked"] == "yes"


async def test_a_defect_of_a_users_middleware_is_a_masked_problem_and_reaches_the_server() -> None:
    app = Recorder(create_app(Service([greet]), middleware=[Middleware(Crashing)]))
    response = await Client(app).request("GET", "/actions/greet", headers={"x-crash": "1", "x-request-id": "r1"})
    assert (response.status, response.headers["content-type"]) == (500, "application/problem+json")
    assert response.json() == {
        "type": "/docs/errors#internal_error",
        "title": "Internal Server Error",
        "status": 500,
        "code": "internal_error",
        "request_id": "r1",
    }
    assert isinstance(app.raised, RuntimeError)  # so that the server logs it


async def test_the_debug_mode_shows_nothing_of_an_actions_defect() -> None:
    http = Client(create_app(Service([greet]), debug=True))
    response = await http.request("GET", "/actions/greet", query="name=bug")
    assert (response.status, response.json()["code"]) == (500, "internal_error")
    assert b"swordfish" not in response.content


async def test_routes_of_the_users_own_are_served_beside_the_actions() -> None:
    async def mine(request: Request) -> Response:
        if "conflict" in request.query_params:
            raise ConflictError("somebody was faster")
        if "teapot" in request.query_params:
            raise HTTPException(418, "short and stout", headers={"X-Tea": "green"})
        if "moved" in request.query_params:
            raise HTTPException(304)
        if "bug" in request.query_params:
            raise RuntimeError("swordfish")
        return PlainTextResponse(request.path_params["name"])

    app = Recorder(create_app(Service([greet]), routes=[Route("/mine/{name}", mine)]))
    http = Client(app)
    assert (await http.request("GET", "/mine/x")).content == b"x"
    assert (await http.request("GET", "/actions/greet")).json() == "Hello you!"
    for query, status, code in (
        ("conflict", 409, "conflict"),
        ("teapot", 418, "im_a_teapot"),
        ("bug", 500, "internal_error"),
    ):
        response = await http.request("GET", "/mine/x", query=query)
        problem = response.json()
        assert (response.status, problem["status"], problem["code"]) == (status, status, code)
        assert response.headers["content-type"] == "application/problem+json"
        assert problem["request_id"] == response.headers["x-request-id"]
        assert b"swordfish" not in response.content
        if status == 418:
            assert (response.headers["x-tea"], problem["detail"]) == ("green", "short and stout")
    assert (await http.request("GET", "/mine/x", query="moved")).status == 304
    response = await http.request("POST", "/mine/x")
    assert (response.status, response.json()["code"]) == (405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_a_lifespan_of_the_users_own_runs_inside_the_services() -> None:
    events: list[str] = []

    class Pool:
        pass

    @resource(scope="service")
    async def pool() -> AsyncIterator[Pool]:
        events.append("open")
        yield Pool()
        events.append("close")

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, int]]:
        events.append("start")
        yield {"answer": 42}
        events.append("stop")

    async with client_of(create_app(Service([greet], resources=[pool]), lifespan=lifespan)):
        events.append("run")
    assert events == ["open", "start", "run", "stop", "close"]


class Pages(Plugin):
    def starlette_routes(self, service: Service) -> Any:
        async def page(request: Request) -> Response:
            return PlainTextResponse(",".join(service.operations))

        return (Route("/page", page),)


async def test_a_plugin_adds_routes() -> None:
    http = Client(create_app(Service([greet, user], plugins=[Pages()])))
    assert (await http.request("GET", "/page")).content == b"greet,user"


async def test_calls_under_way_end_before_what_they_use_is_closed() -> None:
    events: list[str] = []
    entered, leave = asyncio.Event(), asyncio.Event()

    class Pool:
        pass

    @resource(scope="service")
    async def pool() -> AsyncIterator[Pool]:
        yield Pool()
        events.append("close")

    @action(triggers=(WEB_GET,))
    def work(pool: Pool) -> None:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(10)
        events.append("done")

    loop = asyncio.get_running_loop()
    async with client_of(create_app(Service([work], resources=[pool]))) as http:
        call = asyncio.ensure_future(http.request("GET", "/actions/work"))
        await entered.wait()
        loop.call_later(0.05, leave.set)
    assert events == ["done", "close"]
    assert (await call).status == 200


async def test_a_service_that_a_call_starts_warns_that_nobody_will_close_it(caplog: pytest.LogCaptureFixture) -> None:
    class Pool:
        pass

    @resource(scope="service")
    async def pool() -> AsyncIterator[Pool]:
        yield Pool()

    @action(triggers=(WEB_GET,))
    async def use(pool: Pool) -> bool:
        return True

    http = Client(create_app(Service([use], resources=[pool])))
    assert (await http.request("GET", "/actions/use")).json() is True
    assert (await http.request("GET", "/actions/use")).json() is True
    (record,) = [item for item in caplog.records if item.name == "servey.runtime"]
    assert record.levelno == logging.WARNING


async def test_a_resource_that_cannot_be_opened_fails_the_start_with_its_own_words() -> None:
    class Pool:
        pass

    @resource(scope="service")
    async def pool() -> AsyncIterator[Pool]:
        raise OSError("no database")
        yield Pool()

    with pytest.raises(RuntimeError) as caught:
        async with client_of(create_app(Service(resources=[pool]))):
            raise AssertionError("started")
    told = str(caught.value).splitlines()
    assert told[0] == "the resource 'pool' cannot be opened: OSError: no database"
    assert all(line.startswith("  at ") for line in told[1:])


@pytest.mark.parametrize(
    ("settings", "root", "expected"),
    [
        ({}, "", "/docs/errors#not_found"),
        ({}, "/api", "/api/docs/errors#not_found"),
        ({"docs": False}, "/api", "about:blank"),
        ({"problem_types": "https://example.com/errors/"}, "/api", "https://example.com/errors/not_found"),
        ({"problem_types": "https://example.com/errors/", "docs": False}, "", "https://example.com/errors/not_found"),
    ],
)
async def test_the_type_of_a_problem_leads_to_the_errors_catalogue(settings, root, expected):
    app = create_app(Service([], settings=Settings(**settings)))
    response = await Client(app, root).request("GET", "/nothing")
    assert response.json()["type"] == expected
