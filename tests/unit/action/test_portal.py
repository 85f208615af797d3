"""Calls from threads without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import ContextVar

import pytest

from servey import CallContext, NotFoundError, Origin, resource
from servey.action.action import action
from servey.action.portal import Portal
from servey.service import Service

BOUND = 20.0
WHO: ContextVar[str] = ContextVar("who", default="nobody")


class Pool: ...


async def call(service: Service, name: str) -> object:
    return await service.call(name, {}, CallContext(Origin.SYSTEM, "test", "1"))


def test_a_service_is_open_from_the_entering_to_the_leaving_of_a_portal() -> None:
    events: list[str] = []

    @resource(scope="service")
    async def pool() -> AsyncIterator[Pool]:
        events.append("open")
        yield Pool()
        events.append("close")

    @action
    async def use(pool: Pool) -> str:
        events.append("use")
        return threading.current_thread().name

    service = Service([use], resources=[pool])
    with Portal(service.running) as portal:
        names = {portal.call(call, service, "use") for _ in range(2)}
        with ThreadPoolExecutor(2) as threads:
            names |= set(threads.map(lambda _: portal.call(call, service, "use"), range(2)))
    assert len(names) == 1
    assert events == ["open", *["use"] * 4, "close"]


def test_the_error_of_a_call_is_raised_where_it_was_made() -> None:
    service = Service()
    with Portal(service.running) as portal, pytest.raises(NotFoundError):
        portal.call(call, service, "nothing")


def test_what_fails_to_open_is_raised_by_entering_and_what_fails_to_close_by_leaving() -> None:
    @asynccontextmanager
    async def failing(*, opens: bool) -> AsyncIterator[None]:
        if not opens:
            raise OSError("will not open")
        yield
        raise OSError("will not close")

    with pytest.raises(OSError, match="will not open"), Portal(lambda: failing(opens=False)):
        raise AssertionError("entered")
    with pytest.raises(OSError, match="will not close"), Portal(lambda: failing(opens=True)):
        pass


def test_a_call_has_the_context_variables_of_its_caller() -> None:
    async def who() -> str:
        return WHO.get()

    with Portal(Service().running) as portal:
        WHO.set("me")
        assert portal.call(who) == "me"


def test_a_portal_waits_for_the_calls_of_its_service_when_it_closes() -> None:
    entered, go = threading.Event(), threading.Event()

    @action
    def slow() -> str:
        entered.set()
        assert go.wait(BOUND)
        return "done"

    service = Service([slow])
    with Portal(service.running) as portal:
        future = portal.submit(call, service, "slow")
        assert entered.wait(BOUND)
        threading.Timer(0.02, go.set).start()
    assert future.result(BOUND) == "done"


def test_a_portal_that_is_not_open_takes_no_call() -> None:
    portal = Portal(Service().running)
    with pytest.raises(RuntimeError, match="not open"):
        portal.call(asyncio.sleep, 0)
    with portal:
        pass
    with pytest.raises(RuntimeError, match="not open"):
        portal.call(asyncio.sleep, 0)
