"""Threads, deadlines, overload, contexts."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from servey import WEB_GET, WEB_POST, CallContext, DeadlineError, OverloadedError, resource
from servey.action.action import action
from servey.action.context import CURRENT_CALL
from servey.errors import InternalError
from servey.service import Service
from servey.settings import Settings

WEB = (WEB_GET, WEB_POST)
BOUND = 60.0
"""Seconds after which something that should have happened did not."""
SHORT = 0.15
"""Seconds of a deadline that is to pass."""


def test_a_def_runs_off_the_event_loop_and_an_async_def_on_it(transport: Any) -> None:
    def running() -> bool:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return True

    @action(triggers=WEB)
    def plain() -> bool:
        return running()

    @action(triggers=WEB)
    async def asynchronous() -> bool:
        return running()

    @action(triggers=WEB, run_in="loop")
    def quick() -> bool:
        return running()

    calls = [transport.Call(name) for name in ("plain", "asynchronous", "quick")]
    outcomes = transport.call_all([plain, asynchronous, quick], [calls])[0]
    assert [item.result for item in outcomes] == [False, True, True]


def test_awaiting_what_was_cancelled_fails_the_call_and_cancels_nothing(transport: Any) -> None:
    @action(triggers=WEB)
    async def wait_for_a_cancelled_task() -> str:
        task = asyncio.ensure_future(asyncio.sleep(BOUND))
        task.cancel()
        await task
        return "never"

    assert transport.call([wait_for_a_cancelled_task], "wait_for_a_cancelled_task").is_error(InternalError)


def test_a_blocking_def_does_not_delay_an_async_call(concurrent_transport: Any) -> None:
    blocked, released = threading.Event(), threading.Event()

    @action(triggers=WEB)
    def block() -> bool:
        blocked.set()
        return released.wait(BOUND)

    @action(triggers=WEB)
    async def release() -> bool:
        arrived = await asyncio.to_thread(blocked.wait, BOUND)
        released.set()
        return arrived

    Call = concurrent_transport.Call
    outcomes = concurrent_transport.call_all([block, release], [[Call("block")], [Call("release")]])
    assert [lane[0].result for lane in outcomes] == [True, True]


def test_as_many_defs_run_side_by_side_as_there_are_threads(concurrent_transport: Any) -> None:
    together = threading.Barrier(3, timeout=BOUND)

    @action(triggers=WEB)
    def meet() -> bool:
        together.wait()
        return True

    service = Service([meet], settings=Settings(threads=3))
    outcomes = concurrent_transport.call_all(service, [[concurrent_transport.Call("meet")]] * 3)
    assert [lane[0].result for lane in outcomes] == [True] * 3


def test_a_call_that_finds_every_thread_busy_is_turned_away_at_its_deadline(concurrent_transport: Any) -> None:
    holding, released = threading.Event(), threading.Event()
    ran: list[str] = []

    @action(triggers=WEB)
    def hold() -> bool:
        holding.set()
        return released.wait(BOUND)

    @action(triggers=WEB)
    async def until_held() -> bool:
        return await asyncio.to_thread(holding.wait, BOUND)

    @action(triggers=WEB, timeout=SHORT)
    def quick() -> None:
        ran.append("quick")

    @action(triggers=WEB)
    async def release() -> None:
        released.set()

    Call = concurrent_transport.Call
    service = Service([hold, until_held, quick, release], settings=Settings(threads=1))
    lanes = [[Call("hold")], [Call("until_held"), Call("quick"), Call("release"), Call("hold")]]
    held, (seen, turned_away, _, again) = concurrent_transport.call_all(service, lanes)
    assert (held[0].result, seen.result, again.result) == (True, True, True)
    assert turned_away.is_error(OverloadedError)
    if concurrent_transport.network:  # a queue keeps no headers
        assert turned_away.headers["retry-after"].isdigit()
    assert ran == []  # withdrawn: nobody waits for it any more


@pytest.mark.parametrize("asynchronous", [False, True], ids=["def", "async"])
def test_a_call_that_takes_too_long_is_given_up(transport: Any, asynchronous: bool) -> None:
    released = threading.Event()

    if asynchronous:

        @action(triggers=WEB, timeout=SHORT)
        async def slow() -> None:
            await asyncio.Event().wait()

    else:

        @action(triggers=WEB, timeout=SHORT)
        def slow() -> None:
            released.wait(BOUND)

    @action(triggers=WEB)
    async def release() -> str:
        released.set()
        return "released"

    service = Service([slow, release], settings=Settings(shutdown_timeout=0.1))
    try:
        first, second = transport.call_all(service, [[transport.Call("slow"), transport.Call("release")]])[0]
    finally:
        released.set()
    assert first.is_error(DeadlineError)
    assert second.result == "released"


def test_a_def_that_overran_goes_on_and_is_logged_when_it_ends(
    concurrent_transport: Any, caplog: pytest.LogCaptureFixture
) -> None:
    released, ended = threading.Event(), threading.Event()

    @action(triggers=WEB, timeout=SHORT)
    def slow() -> None:
        released.wait(BOUND)
        ended.set()

    @action(triggers=WEB)
    async def release() -> None:
        released.set()

    Call = concurrent_transport.Call
    # the service stops after both, and waits for what is under way
    first, _ = concurrent_transport.call_all([slow, release], [[Call("slow", request_id="abc"), Call("release")]])[0]
    assert first.is_error(DeadlineError)
    assert ended.is_set()
    told = [item for item in caplog.records if item.name == "servey.workers"]
    assert [(item.levelno, "slow" in item.getMessage(), "abc" in item.getMessage()) for item in told] == [
        (logging.WARNING, True, True)
    ]


def test_a_call_given_up_is_cancelled_and_may_clean_up(transport: Any) -> None:
    happened: list[str] = []

    @action(triggers=WEB, timeout=SHORT)
    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            happened.append("cleaned up")

    assert transport.call([slow], "slow").is_error(DeadlineError)
    assert happened == ["cleaned up"]


def test_over_a_network_there_is_a_deadline_by_default(network_transport: Any) -> None:
    @action(triggers=WEB)
    async def left(context: CallContext) -> float:
        assert context.deadline is not None
        return context.deadline - asyncio.get_running_loop().time()

    @action(triggers=WEB)
    async def forever() -> None:
        await asyncio.Event().wait()

    assert 10 < network_transport.call([left], "left").result <= 15
    service = Service([forever], settings=Settings(timeout=SHORT))
    assert network_transport.call(service, "forever").is_error(DeadlineError)


def test_a_user_of_the_machine_has_no_deadline_unless_the_action_sets_one(machine_transport: Any) -> None:
    @action
    async def left(context: CallContext) -> float | None:
        return context.deadline

    @action(timeout=7)
    async def limited(context: CallContext) -> bool:
        return context.deadline is not None

    service = Service([left, limited], settings=Settings(timeout=SHORT))
    Call = machine_transport.Call
    outcomes = machine_transport.call_all(service, [[Call("left"), Call("limited")]])[0]
    assert [(item.ok, item.result) for item in outcomes] == [(True, None), (True, True)]


def test_an_action_may_have_no_deadline_at_all(transport: Any) -> None:
    @action(triggers=WEB, timeout=math.inf)
    async def left(context: CallContext) -> float | None:
        return context.deadline

    outcome = transport.call([left], "left")
    assert outcome.ok
    # each background call has a deadline, as a broker has to know when a call is lost
    assert (outcome.result is None) == (not transport.queued)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["def", "async"])
def test_the_current_call_is_known_wherever_the_action_runs(transport: Any, asynchronous: bool) -> None:
    if asynchronous:

        @action(triggers=WEB)
        async def same(context: CallContext) -> bool:
            return CURRENT_CALL.get() is context

    else:

        @action(triggers=WEB)
        def same(context: CallContext) -> bool:
            return CURRENT_CALL.get() is context

    assert transport.call([same], "same").result is True


TENANT: ContextVar[str] = ContextVar("tenant", default="nobody")


class Session:
    pass


def test_context_variables_reach_the_thread_and_do_not_leave_it(concurrent_transport: Any) -> None:
    @resource
    async def session() -> AsyncIterator[Session]:
        token = TENANT.set("acme")
        yield Session()
        TENANT.reset(token)

    @action(triggers=WEB)
    def tenant(session: Session) -> str:
        seen = TENANT.get()
        TENANT.set("mallory")
        return seen

    @action(triggers=WEB)
    def other() -> str:
        return TENANT.get()

    Call = concurrent_transport.Call
    service = Service([tenant, other], resources=[session], settings=Settings(threads=1))
    lane = [Call("tenant"), Call("other"), Call("tenant")]
    assert [item.result for item in concurrent_transport.call_all(service, [lane])[0]] == ["acme", "nobody", "acme"]


def test_a_def_and_its_resource_share_a_thread(transport: Any) -> None:
    @resource
    def session() -> Iterator[Session]:
        opened = threading.get_ident()
        made = Session()
        made.thread = opened  # type: ignore[attr-defined]
        yield made
        assert threading.get_ident() == opened

    @action(triggers=WEB)
    def same(session: Session) -> bool:
        return session.thread == threading.get_ident() != threading.main_thread().ident  # type: ignore[attr-defined]

    assert transport.call(Service([same], resources=[session]), "same").result is True
