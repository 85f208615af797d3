"""Whatever the user's code raises, and wherever: one caller is answered, and everybody else is served on."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pydantic
import pytest
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from behaviour.conftest import BOUND
from servey import WEB_GET, WEB_POST, Authorization, BatchInvoker, ErrorMapping, WebTrigger, WebTriggerMethod, resource
from servey.action.action import action
from servey.cache_control.cache_header import CacheHeader
from servey.cache_control.ttl_cache_control import TtlCacheControl
from servey.errors import InternalError
from servey.plugin import Injector, Plugin
from servey.servey_direct import direct
from servey.servey_starlette.app import create_app
from servey.service import Service
from servey.settings import Settings
from support.served import served_by_uvicorn

RAISED: Mapping[str, Callable[[], BaseException]] = {
    "exit": lambda: SystemExit(3),
    "interrupt": lambda: KeyboardInterrupt(),
    "close": lambda: GeneratorExit(),
    "group": lambda: BaseExceptionGroup("several", [SystemExit(3), ValueError("one")]),
    "cancel": lambda: asyncio.CancelledError(),
    "error": lambda: RuntimeError("wrong"),
}
OTHERS = 100
LONG = 3 * BOUND
"""Seconds: there are many requests and tracebacks in one test."""
WEB = (WEB_GET, WEB_POST)


def said(text: str) -> str:
    """Raise what a caller's text says."""
    if text in RAISED:
        raise RAISED[text]()
    return text


@action(triggers=(WEB_GET,))
async def fine(number: int) -> int:
    await asyncio.sleep(0)
    return number


@dataclass(frozen=True)
class Ask:
    """A request in which ``TEXT`` stands for what is raised."""

    method: str = "GET"
    path: str = "/actions/broken?text=TEXT"
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


QUERY = '{ broken(text: "TEXT") }'


def by_graphql(document: str) -> Ask:
    """Ask twice in one request, so that each is in a task."""
    doubled = f"{{ one: {document[1:-1].strip()} two: {document[1:-1].strip()} }}"
    return Ask("POST", "/graphql", json.dumps({"query": doubled}), {"content-type": "application/json"})


Place = tuple[Any, Sequence[Ask]]
BOTH = (Ask(), by_graphql(QUERY))


def in_an_async_action(**options: Any) -> Place:
    @action(triggers=WEB, **options)
    async def broken(text: str) -> str:
        await asyncio.sleep(0)
        return said(text)

    return Service([broken, fine]), BOTH


def in_a_kept_async_action() -> Place:
    return in_an_async_action(cache_control=TtlCacheControl(60))


def in_a_def_action(**options: Any) -> Place:
    @action(triggers=WEB, **options)
    def broken(text: str) -> str:
        return said(text)

    return Service([broken, fine]), BOTH


def in_a_kept_def_action() -> Place:
    return in_a_def_action(cache_control=TtlCacheControl(60))


def in_a_def_action_on_the_loop() -> Place:
    return in_a_def_action(run_in="loop")


def in_an_action_that_another_awaits() -> Place:
    @action(cache_control=TtlCacheControl(60))
    async def inner(text: str) -> str:
        return said(text)

    @action(triggers=WEB)
    async def broken(text: str) -> str:
        return await inner(text)

    return Service([inner, broken, fine]), BOTH


def in_a_task_of_the_action() -> Place:
    async def inner(text: str) -> str:
        return said(text)

    @action(triggers=WEB)
    async def broken(text: str) -> str:
        return (await asyncio.gather(inner(text), inner("fine")))[0]

    return Service([broken, fine]), BOTH


def in_a_call_of_another_action() -> Place:
    services: list[Service] = []

    @action
    async def inner(text: str) -> str:
        return said(text)

    @action(triggers=WEB)
    async def broken(text: str) -> str:
        called = (direct.call(services[0], "inner", {"text": text}) for _ in range(2))
        return (await asyncio.gather(*called))[0]

    services.append(Service([inner, broken, fine]))
    return services[0], BOTH


@dataclass
class Row:
    text: str

    @action
    async def told(self) -> str:
        return said(self.text)

    @action
    def told_by_a_def(self) -> str:
        return said(self.text)


def _all_said(rows: list[Batched]) -> list[str]:
    return [said(row.text) for row in rows]


async def _all_said_on_the_loop(rows: list[Batched]) -> list[str]:
    await asyncio.sleep(0)
    return [said(row.text) for row in rows]


def _said_one_by_one(rows: list[Batched]) -> list[Any]:
    return [RAISED[row.text]() if row.text in RAISED else row.text for row in rows]


@dataclass
class Batched:
    text: str

    @action(batch_invoker=BatchInvoker(_all_said))
    def told(self) -> str:
        return self.text

    @action(batch_invoker=BatchInvoker(_all_said_on_the_loop))
    def told_on_the_loop(self) -> str:
        return self.text

    @action(batch_invoker=BatchInvoker(_said_one_by_one))
    def told_one_by_one(self) -> str:
        return self.text

    @action(batch_invoker=BatchInvoker(_all_said, arg_extractor=lambda row: Batched(said(row.text))))
    def told_of_an_item(self) -> str:
        return self.text


def in_nested_actions() -> Place:
    @action(triggers=(WEB_GET,))
    def rows(text: str) -> list[Row]:
        return [Row(text), Row(text)]

    include = "/actions/rows?text=TEXT&include="
    return Service([rows, fine]), (
        Ask(path=f"{include}told"),
        Ask(path=f"{include}told_by_a_def"),
        by_graphql('{ rows(text: "TEXT") { told } }'),
        by_graphql('{ rows(text: "TEXT") { toldByADef told } }'),
    )


def in_batch_functions() -> Place:
    @action(triggers=(WEB_GET,))
    def rows(text: str) -> list[Batched]:
        return [Batched(text), Batched(text)]

    names = ("told", "told_on_the_loop", "told_one_by_one", "told_of_an_item")
    fields = ("told", "toldOnTheLoop", "toldOneByOne", "toldOfAnItem")
    return Service([rows, fine]), (
        *(Ask(path=f"/actions/rows?text=TEXT&include={name}") for name in names),
        *(by_graphql(f'{{ rows(text: "TEXT") {{ {name} }} }}') for name in fields),
    )


class ByWord(Plugin):
    """Takes a token for the name of who calls."""

    def authorizers(self) -> Any:
        return (self,)

    async def authorize(self, token: str, /) -> Authorization | None:
        return Authorization(token)


class Authorizing(ByWord):
    async def authorize(self, token: str, /) -> Authorization | None:
        return Authorization(said(token))


TOKEN = {"authorization": "Bearer TEXT"}


def _with_token(*asks: Ask) -> Sequence[Ask]:
    return [Ask(item.method, item.path, item.body, {**item.headers, **TOKEN}) for item in asks]


class Checked:
    def check(self, authorization: Authorization | None) -> None:
        said(str(authorization and authorization.subject))


class CheckedOnTheLoop:
    async def check(self, authorization: Authorization | None) -> None:
        await asyncio.sleep(0)
        said(str(authorization and authorization.subject))


def in_an_access_control(control: Any = None) -> Place:
    @action(triggers=WEB, access_control=control or Checked())
    async def broken(text: str) -> str:
        return text

    return Service([broken, fine], plugins=[ByWord()]), _with_token(*BOTH)


def in_an_async_access_control() -> Place:
    return in_an_access_control(CheckedOnTheLoop())


def in_an_authorizer() -> Place:
    @action(triggers=WEB)
    async def broken(text: str) -> str:
        return text

    return Service([broken, fine], plugins=[Authorizing()]), _with_token(*BOTH)


class Session:
    pass


class Injecting(Plugin):
    def injectors(self) -> Any:
        return (Injector(Session, lambda context: Session() if said(context.request_id) else None),)


def in_an_injector() -> Place:
    @action(triggers=WEB)
    async def broken(text: str, session: Session) -> str:
        return text

    asks = [Ask(item.method, item.path, item.body, {**item.headers, "x-request-id": "TEXT"}) for item in BOTH]
    return Service([broken, fine], plugins=[Injecting()]), asks


def _in_a_resource(made: Any, *, in_thread: bool) -> Place:
    if in_thread:

        @action(triggers=WEB)
        def broken(text: str, session: Session) -> str:
            return text
    else:

        @action(triggers=WEB)
        async def broken(text: str, session: Session) -> str:
            return text

    service = Service([broken, fine], resources=[made], plugins=[ByWord()])
    return service, _with_token(*BOTH)


def _sync_session(*, closing: bool) -> Any:
    @resource
    def session(caller: Authorization) -> Iterator[Session]:
        if not closing:
            said(str(caller.subject))
        yield Session()
        said(str(caller.subject))

    return session


def _async_session(*, closing: bool) -> Any:
    @resource
    async def session(caller: Authorization) -> AsyncIterator[Session]:
        if not closing:
            said(str(caller.subject))
        yield Session()
        said(str(caller.subject))

    return session


def opening_a_resource_in_a_thread() -> Place:
    return _in_a_resource(_sync_session(closing=False), in_thread=True)


def closing_a_resource_in_a_thread() -> Place:
    return _in_a_resource(_sync_session(closing=True), in_thread=True)


def opening_a_resource_beside_the_loop() -> Place:
    return _in_a_resource(_sync_session(closing=False), in_thread=False)


def closing_a_resource_beside_the_loop() -> Place:
    return _in_a_resource(_sync_session(closing=True), in_thread=False)


def opening_a_resource_on_the_loop() -> Place:
    return _in_a_resource(_async_session(closing=False), in_thread=False)


def closing_a_resource_on_the_loop() -> Place:
    return _in_a_resource(_async_session(closing=True), in_thread=True)


class Caching:
    def cache_header(self, result: Any, content: bytes) -> CacheHeader:
        said(result)
        return CacheHeader(max_age=60)


class Tagging:
    def cache_header(self, result: Any, content: bytes) -> CacheHeader:
        return CacheHeader()

    def current_etag(self, arguments: Mapping[str, Any]) -> str:
        return said(arguments["text"])


class TaggingOnTheLoop(Tagging):
    async def current_etag(self, arguments: Mapping[str, Any]) -> str:  # type: ignore[override]
        await asyncio.sleep(0)
        return said(arguments["text"])


def in_a_cache_control() -> Place:
    return in_an_async_action_with(Caching())


def in_an_async_action_with(control: Any) -> Place:
    @action(triggers=WEB, cache_control=control)
    async def broken(text: str) -> str:
        return text

    return Service([broken, fine]), BOTH


def _asked_for_a_tag(control: Any) -> Place:
    @action(triggers=(WebTrigger(WebTriggerMethod.PUT, "/broken/{text}"),), cache_control=control)
    async def broken(text: str) -> str:
        return text

    return Service([broken, fine]), (Ask("PUT", "/broken/TEXT", "", {"if-match": '"a"'}),)


def asked_for_an_entity_tag() -> Place:
    return _asked_for_a_tag(Tagging())


def asked_for_an_entity_tag_on_the_loop() -> Place:
    return _asked_for_a_tag(TaggingOnTheLoop())


class SilentError(Exception):
    def __str__(self) -> str:
        return said(self.args[0])


def in_the_message_of_an_error() -> Place:
    @action(triggers=WEB, errors=(ErrorMapping(SilentError),))
    async def broken(text: str) -> str:
        raise SilentError(text)

    return Service([broken, fine]), BOTH


@dataclass
class Argument:
    text: str

    def __post_init__(self) -> None:
        said(self.text)


class Model(pydantic.BaseModel):
    text: str

    @pydantic.field_validator("text")
    @classmethod
    def _said(cls, text: str) -> str:
        return said(text)


class Written(pydantic.BaseModel):
    text: str

    @pydantic.field_serializer("text")
    def _said(self, text: str) -> str:
        return said(text)


def making_an_argument(kind: Any = Argument) -> Place:
    @action(triggers=WEB)
    async def broken(argument: kind) -> str:
        return argument.text

    body = '{"argument": {"text": "TEXT"}}'
    return Service([broken, fine]), (
        Ask("POST", "/actions/broken", body, {"content-type": "application/json"}),
        by_graphql('{ broken(argument: {text: "TEXT"}) }'),
    )


def in_a_validator() -> Place:
    return making_an_argument(Model)


def writing_a_result() -> Place:
    @action(triggers=WEB)
    async def broken(text: str) -> Written:
        return Written.model_construct(text=text)

    return Service([broken, fine]), BOTH


async def _route(request: Request) -> PlainTextResponse:
    await asyncio.sleep(0)
    return PlainTextResponse(said(request.query_params["text"]))


class Routes(Plugin):
    def starlette_routes(self, service: Service) -> Any:
        return (Route("/plain", _route),)


class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Any:
        said(request.headers.get("x-said", ""))
        return await call_next(request)


def in_a_route_of_a_plugin() -> Place:
    return Service([fine], plugins=[Routes()]), (Ask(path="/plain?text=TEXT"),)


def in_a_route_below_middleware() -> Place:
    app = create_app(Service([fine], plugins=[Routes()]), middleware=[Middleware(Passing), Middleware(Passing)])
    return app, (Ask(path="/plain?text=TEXT"),)


def in_middleware() -> Place:
    app = create_app(
        Service([fine]), middleware=[Middleware(BaseHTTPMiddleware, dispatch=_passed), Middleware(Passing)]
    )
    return app, (Ask(path="/livez", headers={"x-said": "TEXT"}),)


async def _passed(request: Request, call_next: Any) -> Any:
    return await call_next(request)


def in_an_action_below_middleware() -> Place:
    service, asks = in_an_async_action()
    return create_app(service, middleware=[Middleware(Passing)]), asks


class Authenticating(Plugin):
    def authenticators(self) -> Any:
        return (self,)

    def authenticate(self, username: str, password: str, /) -> Authorization | None:
        return Authorization(said(username))


class AuthenticatingOnTheLoop(Plugin):
    def authenticators(self) -> Any:
        return (self,)

    async def authenticate(self, username: str, password: str, /) -> Authorization | None:
        await asyncio.sleep(0)
        return Authorization(said(username))


def _logging_in(plugin: Plugin) -> Place:
    form = {"content-type": "application/x-www-form-urlencoded"}
    ask = Ask("POST", "/login", "grant_type=password&username=TEXT&password=secret", form)
    settings = Settings(jwt_secret_key="a secret that is long enough for everybody")
    return Service([fine], plugins=[plugin], settings=settings), (ask,)


def in_an_authenticator() -> Place:
    return _logging_in(Authenticating())


def in_an_async_authenticator() -> Place:
    return _logging_in(AuthenticatingOnTheLoop())


PLACES: Sequence[Callable[[], Place]] = (
    in_an_async_action,
    in_a_kept_async_action,
    in_a_def_action,
    in_a_kept_def_action,
    in_a_def_action_on_the_loop,
    in_an_action_that_another_awaits,
    in_a_task_of_the_action,
    in_a_call_of_another_action,
    in_nested_actions,
    in_batch_functions,
    in_an_access_control,
    in_an_async_access_control,
    in_an_authorizer,
    in_an_injector,
    opening_a_resource_in_a_thread,
    closing_a_resource_in_a_thread,
    opening_a_resource_beside_the_loop,
    closing_a_resource_beside_the_loop,
    opening_a_resource_on_the_loop,
    closing_a_resource_on_the_loop,
    in_a_cache_control,
    asked_for_an_entity_tag,
    asked_for_an_entity_tag_on_the_loop,
    in_the_message_of_an_error,
    making_an_argument,
    in_a_validator,
    writing_a_result,
    in_a_route_of_a_plugin,
    in_a_route_below_middleware,
    in_middleware,
    in_an_action_below_middleware,
    in_an_authenticator,
    in_an_async_authenticator,
)


@pytest.mark.parametrize("place", PLACES, ids=[place.__name__ for place in PLACES])
def test_one_caller_is_answered_with_an_internal_error_and_the_others_are_served_on(
    place: Callable[[], Place], caplog: pytest.LogCaptureFixture
) -> None:
    target, asks = place()
    others_at_once = OTHERS if place in CROWDED else 5

    async def main(base: str) -> tuple[list[Any], list[Any]]:
        limits = httpx.Limits(max_connections=40, max_keepalive_connections=0)
        async with asyncio.timeout(LONG), httpx.AsyncClient(base_url=base, timeout=LONG, limits=limits) as client:
            others = [client.get(f"/actions/fine?number={number}") for number in range(others_at_once)]
            wrong = [_sent(client, ask, text) for ask in asks for text in RAISED]
            answers = await asyncio.gather(*others, *wrong)
            return answers[:others_at_once], answers[others_at_once:]

    app = create_app(target) if isinstance(target, Service) else target
    with caplog.at_level(logging.WARNING), served_by_uvicorn(app) as port:
        others, answers = asyncio.run(main(f"http://127.0.0.1:{port}"))
    assert [answer.json() for answer in others] == list(range(others_at_once))
    asked = [(ask.path, text) for ask in asks for text in RAISED]
    seen = {item: _told(answer) for item, answer in zip(asked, answers, strict=True)}
    assert {item: told for item, told in seen.items() if told != "internal_error"} == {}
    logged = [record for record in caplog.records if record.levelno >= logging.ERROR and _has_cause(record)]
    told = "\n".join(f"{record.getMessage()} {getattr(record, 'request_id', '')}" for record in logged)
    missing = [answer.headers["x-request-id"] for answer in answers if answer.headers["x-request-id"] not in told]
    assert missing == [] or place in ROUTES


ROUTES = (in_a_route_of_a_plugin, in_a_route_below_middleware, in_middleware)
"""The server itself logs what a route raises, which has no request id of its own."""


CROWDED = (
    in_a_kept_async_action,
    in_a_def_action,
    in_a_task_of_the_action,
    in_nested_actions,
    in_batch_functions,
    in_an_action_below_middleware,
)
"""Where 100 others are served at the same time."""


def _has_cause(record: logging.LogRecord) -> bool:
    """Whether a record has the traceback, what pydantic tells of it, or the request whose record has it."""
    return bool(record.exc_info) or "Error calling function" in record.getMessage() or record.name == "servey.results"


def _sent(client: httpx.AsyncClient, ask: Ask, text: str) -> Any:
    headers = {name: value.replace("TEXT", text) for name, value in ask.headers.items()}
    path, body = ask.path.replace("TEXT", text), ask.body.replace("TEXT", text)
    return client.request(ask.method, path, content=body.encode(), headers=headers)


def _told(answer: httpx.Response) -> str:
    """Return the code of the error of an answer that has nothing but one error, with a request id."""
    body = answer.json()
    if "errors" in body and answer.url.path == "/graphql":
        codes = {(item["extensions"]["code"], item["extensions"]["request_id"]) for item in body["errors"]}
        return "internal_error" if codes == {("internal_error", answer.headers["x-request-id"])} else repr(body)
    if answer.status_code == 500 and body.get("error") == "server_error" and answer.headers.get("x-request-id"):
        return "internal_error"
    expected = (500, InternalError.code, answer.headers.get("x-request-id"))
    found = (answer.status_code, body.get("code"), body.get("request_id"))
    return "internal_error" if found == expected else repr((answer.status_code, body))


@pytest.mark.parametrize("text", RAISED)
@pytest.mark.parametrize("kind", ["async", "def"])
def test_an_action_does_not_choose_the_exit_code(system_transport: Any, kind: str, text: str) -> None:
    service, _ = in_an_async_action() if kind == "async" else in_a_def_action()
    assert system_transport.call(service, "broken", {"text": text}).is_error(InternalError)


def test_a_call_that_is_cancelled_is_cancelled() -> None:
    began = threading.Event()

    @action
    async def wait() -> None:
        began.set()
        await asyncio.sleep(BOUND)

    async def main() -> bool:
        task = asyncio.ensure_future(direct.call(Service([wait]), "wait"))
        await asyncio.to_thread(began.wait, BOUND)
        task.cancel()
        await asyncio.wait((task,))
        return task.cancelled()

    assert asyncio.run(main())
