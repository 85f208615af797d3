"""Resources and injectors: opened, closed, undone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from servey import WEB_GET, WEB_POST, CallContext, ConflictError, DeadlineError, InvalidError, resource
from servey.action.action import action
from servey.errors import InternalError
from servey.plugin import Injector, Plugin
from servey.service import Service
from servey.settings import Settings

WEB = (WEB_GET, WEB_POST)
KINDS = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
SCOPES = pytest.mark.parametrize("scope", ["call", "request"])
"""Of a call that comes alone, both are opened around it."""
BOUND = 60.0


class Pool:
    def __init__(self, events: list[str]) -> None:
        self.events = events


class Session:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool


def store(events: list[str], *, asynchronous: bool, scope: Any = "call") -> list[Any]:
    """Return a pool for the service and a session for each call or request, which say what becomes of them."""
    if asynchronous:

        @resource(scope="service")
        async def pool() -> AsyncIterator[Pool]:
            events.append("open pool")
            yield Pool(events)
            events.append("close pool")

        @resource(scope=scope)
        async def session(pool: Pool, context: CallContext) -> AsyncIterator[Session]:
            events.append("begin")
            try:
                yield Session(pool)
            except BaseException as error:
                events.append(f"rollback {type(error).__name__}")
                raise
            events.append("commit")

    else:

        @resource(scope="service")
        def pool() -> Iterator[Pool]:
            events.append("open pool")
            yield Pool(events)
            events.append("close pool")

        @resource(scope=scope)
        def session(pool: Pool, context: CallContext) -> Iterator[Session]:
            events.append("begin")
            try:
                yield Session(pool)
            except BaseException as error:
                events.append(f"rollback {type(error).__name__}")
                raise
            events.append("commit")

    return [pool, session]


def actions(*, asynchronous: bool) -> list[Any]:
    async def maybe(session: Session, what: str) -> Any:
        return act(session, what)

    def act(session: Session, what: str) -> Any:
        session.pool.events.append(what)
        if what == "conflict":
            raise ConflictError("somebody was faster")
        if what == "bug":
            raise RuntimeError("a bug")
        return object() if what == "no string" else what

    act.__annotations__["return"] = maybe.__annotations__["return"] = str
    return [action(triggers=WEB, name="act")(maybe if asynchronous else act)]


@SCOPES
@KINDS
@pytest.mark.parametrize("action_asynchronous", [False, True], ids=["def", "async-def"])
def test_a_service_resource_is_open_while_it_runs_and_a_call_resource_around_each_call(
    concurrent_transport: Any, asynchronous: bool, action_asynchronous: bool, scope: str
) -> None:
    events: list[str] = []
    service = Service(
        actions(asynchronous=action_asynchronous), resources=store(events, asynchronous=asynchronous, scope=scope)
    )
    lane = [concurrent_transport.Call("act", {"what": what}) for what in ("one", "two")]
    assert [item.result for item in concurrent_transport.call_all(service, [lane])[0]] == ["one", "two"]
    assert events == ["open pool", "begin", "one", "commit", "begin", "two", "commit", "close pool"]


@SCOPES
@KINDS
def test_a_single_call_opens_and_closes_everything(transport: Any, asynchronous: bool, scope: str) -> None:
    events: list[str] = []
    service = Service(actions(asynchronous=False), resources=store(events, asynchronous=asynchronous, scope=scope))
    assert transport.call(service, "act", {"what": "one"}).result == "one"
    assert events == ["open pool", "begin", "one", "commit", "close pool"]


@SCOPES
@KINDS
@pytest.mark.parametrize("action_asynchronous", [False, True], ids=["def", "async-def"])
@pytest.mark.parametrize(
    ("what", "error", "raised"),
    [
        ("conflict", ConflictError, "ConflictError"),
        ("bug", InternalError, "RuntimeError"),
        ("no string", InternalError, "ResultError"),
    ],
)
def test_a_failed_call_rolls_back(
    transport: Any, asynchronous: bool, action_asynchronous: bool, scope: str, what: str, error: Any, raised: str
) -> None:
    events: list[str] = []
    service = Service(
        actions(asynchronous=action_asynchronous), resources=store(events, asynchronous=asynchronous, scope=scope)
    )
    assert transport.call(service, "act", {"what": what}).is_error(error)
    assert events == ["open pool", "begin", what, f"rollback {raised}", "close pool"]


@SCOPES
@KINDS
def test_a_call_given_up_at_its_deadline_rolls_back(concurrent_transport: Any, asynchronous: bool, scope: str) -> None:
    events: list[str] = []

    @action(triggers=WEB, timeout=0.5)
    async def slow(session: Session) -> None:
        await asyncio.Event().wait()

    service = Service([slow], resources=store(events, asynchronous=asynchronous, scope=scope))
    assert concurrent_transport.call(service, "slow").is_error(DeadlineError)
    seen = [event.removesuffix(" CancelledError").removesuffix(" DeadlineError") for event in events]
    assert seen == ["open pool", "begin", "rollback", "close pool"]


@SCOPES
@KINDS
def test_invalid_input_opens_no_session(transport: Any, asynchronous: bool, scope: str) -> None:
    events: list[str] = []

    @action(triggers=WEB)
    def act(number: int, session: Session) -> None:
        raise AssertionError("called")

    service = Service([act], resources=store(events, asynchronous=asynchronous, scope=scope))
    assert transport.call(service, "act", {"number": "x"}).is_error(InvalidError)
    assert "begin" not in events
    assert events.count("open pool") == events.count("close pool")


@SCOPES
@KINDS
def test_a_session_that_cannot_be_opened_is_a_masked_defect(transport: Any, asynchronous: bool, scope: Any) -> None:
    called: list[str] = []

    if asynchronous:

        @resource(scope=scope)
        async def session() -> AsyncIterator[Session]:
            raise OSError("the database is at 10.0.0.7")
            yield

    else:

        @resource(scope=scope)
        def session() -> Iterator[Session]:
            raise OSError("the database is at 10.0.0.7")
            yield

    @action(triggers=WEB)
    async def act(session: Session) -> None:
        called.append("called")

    outcome = transport.call(Service([act], resources=[session]), "act")
    assert outcome.is_error(InternalError)
    assert "10.0.0.7" not in outcome.seen
    assert called == []


@SCOPES
@KINDS
def test_a_session_that_cannot_be_committed_fails_the_call(transport: Any, asynchronous: bool, scope: Any) -> None:
    if asynchronous:

        @resource(scope=scope)
        async def session() -> AsyncIterator[Session]:
            yield Session(Pool([]))
            raise ConflictError("somebody was faster")

    else:

        @resource(scope=scope)
        def session() -> Iterator[Session]:
            yield Session(Pool([]))
            raise ConflictError("somebody was faster")

    @action(triggers=WEB)
    def act(session: Session) -> str:
        return "done"

    assert transport.call(Service([act], resources=[session]), "act").is_error(ConflictError)


@SCOPES
def test_two_calls_have_two_sessions_and_one_pool(concurrent_transport: Any, scope: str) -> None:
    events: list[str] = []
    pools: set[int] = set()
    sessions: list[Session] = []
    together = threading.Barrier(2, timeout=BOUND)

    @action(triggers=WEB)
    def act(session: Session) -> None:
        pools.add(id(session.pool))
        sessions.append(session)
        together.wait()

    service = Service([act], resources=store(events, asynchronous=False, scope=scope), settings=Settings(threads=2))
    outcomes = concurrent_transport.call_all(service, [[concurrent_transport.Call("act")]] * 2)
    assert [lane[0].ok for lane in outcomes] == [True, True]
    assert (len(pools), len({id(item) for item in sessions}), events.count("open pool")) == (1, 2, 1)


def test_a_resource_never_comes_from_the_input(json_transport: Any) -> None:
    events: list[str] = []
    service = Service(actions(asynchronous=False), resources=store(events, asynchronous=False))
    outcome = json_transport.call(service, "act", {"what": "x", "session": {}})
    assert outcome.is_error(InvalidError)
    assert outcome.paths == {"/session"}


@dataclass
class Tenant:
    name: str


class Tenants(Plugin):
    def injectors(self) -> Any:
        return (Injector(Tenant, lambda context: Tenant(f"tenant of {context.request_id}")),)


def test_a_plugin_fills_parameters_by_their_type(transport: Any) -> None:
    @action(triggers=WEB)
    def tenant(tenant: Tenant, *, context: CallContext) -> bool:
        return tenant == Tenant(f"tenant of {context.request_id}")

    assert transport.call(Service([tenant], plugins=[Tenants()]), "tenant").result is True


def test_what_plugins_start_is_open_while_the_service_runs(transport: Any) -> None:
    events: list[str] = []

    class Clock(Plugin):
        def lifespans(self) -> Any:
            from contextlib import asynccontextmanager

            @asynccontextmanager
            async def clock(service: Service) -> AsyncIterator[None]:
                events.append("start")
                yield
                events.append("stop")

            return (clock,)

    @action(triggers=WEB)
    def now() -> str:
        events.append("call")
        return "now"

    assert transport.call(Service([now], plugins=[Clock()]), "now").result == "now"
    assert events == ["start", "call", "stop"]
