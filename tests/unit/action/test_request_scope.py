"""The scope of one request: what becomes of its resources when opening or closing is slow, fails or is given up."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from servey.action.action import action
from servey.action.context import CallContext, Origin
from servey.action.request_scope import RequestScope
from servey.action.resource import resource
from servey.errors import ConflictError, DeadlineError, InternalError, OverloadedError
from servey.service import Service

BOUND = 10.0
"""Seconds after which what should have happened did not."""


class Session:
    pass


def context_in(scope, name="test"):
    return CallContext(Origin.NETWORK, "test", name, request_scope=scope)


def session_of(events, *, opening=None, closing=None, limit=None):
    """Return a resource that awaits `opening` and `closing` and says what becomes of it."""

    @resource(scope="request", limit=limit)
    async def session() -> AsyncIterator[Session]:
        events.append("begin")
        if opening is not None:
            await opening()
        try:
            yield Session()
            if closing is not None:
                await closing()
        except BaseException as error:
            events.append(f"rollback {type(error).__name__}")
            raise
        finally:
            events.append("close")

    return session


@action(timeout=0.2)
async def quick(session: Session) -> int:
    return 1


@action(timeout=BOUND)
async def patient(session: Session) -> int:
    return 2


@action
async def failing(session: Session) -> int:
    raise ConflictError("somebody was faster")


def run(session, main):
    async def bounded():
        service = Service([quick, patient, failing], resources=[session])

        async def called(name, scope):
            operation = service.operation(name)
            return await operation.run(operation.decode({}), context_in(scope))

        async with asyncio.timeout(BOUND), service.running():
            await main(called)
            assert service.runtime.keepers == set()

    asyncio.run(bounded())


def test_an_opening_that_is_given_up_is_tried_again_by_the_next_call():
    events = []

    async def opening():
        if events == ["begin"]:
            try:
                await asyncio.Event().wait()
            finally:
                events.append("given up")

    async def main(called):
        async with RequestScope() as scope:
            with pytest.raises(DeadlineError):
                await called("quick", scope)
            assert await called("patient", scope) == 2
        assert events == ["begin", "given up", "begin", "close"]

    run(session_of(events, opening=opening, limit=1), main)


def test_a_place_is_given_back_when_the_opening_fails():
    events = []

    async def opening():
        raise OSError("no database")

    async def main(called):
        for _ in range(3):
            async with RequestScope() as scope:
                with pytest.raises(InternalError):
                    await called("quick", scope)
        assert events == ["begin"] * 3

    run(session_of(events, opening=opening, limit=1), main)


def test_a_commit_that_takes_longer_than_the_calls_may_is_given_up_and_closed_once():
    events = []

    async def main(called):
        with pytest.raises(DeadlineError):
            async with RequestScope() as scope:
                assert await called("quick", scope) == 1
        assert events == ["begin", "rollback CancelledError", "close"]

    run(session_of(events, closing=asyncio.Event().wait), main)


def test_whoever_cancels_the_commit_waits_until_it_is_undone():
    events = []
    commits = asyncio.Event()

    async def closing():
        commits.set()
        await asyncio.Event().wait()

    async def main(called):
        async def request():
            async with RequestScope() as scope:
                await called("patient", scope)

        task = asyncio.create_task(request())
        await commits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert events == ["begin", "rollback CancelledError", "close"]

    run(session_of(events, closing=closing), main)


@pytest.mark.parametrize("all_or_none", [False, True])
def test_a_scope_that_is_all_or_none_raises_the_error_that_a_call_has_been_answered_with(all_or_none):
    events = []

    async def main(called):
        scope = RequestScope(all_or_none=all_or_none)
        after = []

        async def done():
            after.append("done")

        scope.then(done)
        raised = None
        try:
            async with scope:
                with pytest.raises(ConflictError) as told:
                    await called("failing", scope)
        except ConflictError as error:
            raised = error
        assert raised is (told.value if all_or_none else None)
        assert after == ([] if all_or_none else ["done"])
        assert events == ["begin", "rollback ConflictError", "close"]

    run(session_of(events), main)


def test_the_error_that_the_scope_is_left_with_is_seen_where_no_call_has_failed():
    events = []

    async def main(called):
        async def request():
            async with RequestScope() as scope:
                await called("quick", scope)
                raise KeyError

        with pytest.raises(KeyError):
            await request()
        assert events == ["begin", "rollback KeyError", "close"]

    run(session_of(events), main)


def test_a_call_that_comes_when_the_scope_is_left_is_refused():
    events = []

    async def main(called):
        async with RequestScope() as scope:
            pass
        with pytest.raises(OverloadedError):
            await called("quick", scope)
        async with RequestScope() as scope:
            await called("quick", scope)
        with pytest.raises(OverloadedError):
            await called("quick", scope)
        assert events == ["begin", "close"]

    run(session_of(events), main)


def test_calls_have_their_turns_in_the_order_in_which_they_came():
    order = []
    gates = [asyncio.Event() for _ in range(3)]

    @action
    async def act(number: int, session: Session) -> None:
        order.append(number)
        await gates[number].wait()

    async def main():
        operation = Service([act], resources=[session_of([])]).operation("act")
        async with asyncio.timeout(BOUND), RequestScope() as scope:
            calls = []
            for number in (2, 0, 1):
                calls.append(
                    asyncio.create_task(operation.run(operation.decode({"number": number}), context_in(scope)))
                )
                await asyncio.sleep(0)
            for number in (0, 1, 2):
                gates[number].set()
            await asyncio.gather(*calls)
        assert order == [2, 0, 1]

    asyncio.run(main())


def test_the_service_closes_nothing_before_what_requests_have_open():
    """A call in a thread outlives its request, and the service stops; undoing what it did takes a while."""
    events = []
    may_end = threading.Event()

    class Pool:
        pass

    @resource(scope="service")
    async def pool() -> AsyncIterator[Pool]:
        yield Pool()
        events.append("close pool")

    @resource(scope="request")
    async def session(pool: Pool) -> AsyncIterator[Session]:
        try:
            yield Session()
        finally:
            for _ in range(100):
                await asyncio.sleep(0)
            events.append("close session")

    @action(timeout=0.1)
    def hanging(session: Session) -> None:
        may_end.wait(BOUND)

    async def main():
        service = Service([hanging], resources=[pool, session])
        operation = service.operation("hanging")
        async with asyncio.timeout(BOUND), service.running():
            async with RequestScope() as scope:
                with pytest.raises(DeadlineError):
                    await operation.run(operation.decode({}), context_in(scope))
            assert events == []
            may_end.set()

    asyncio.run(main())
    assert events == ["close session", "close pool"]


def test_a_resource_that_is_cancelled_while_it_closes_is_a_defect_and_no_stop():
    """Nobody cancelled the request: what the resource waited for was cancelled."""
    events = []

    async def closing():
        raise asyncio.CancelledError

    async def main(called):
        with pytest.raises(InternalError):
            async with RequestScope() as scope:
                await called("quick", scope)
        assert events == ["begin", "rollback CancelledError", "close"]

    run(session_of(events, closing=closing), main)


def test_a_limit_holds_for_all_event_loops_of_a_process():
    is_open, may_close, asked = threading.Event(), threading.Event(), threading.Event()
    order = []

    @resource(limit=1)
    def session() -> Iterator[Session]:
        yield Session()
        order.append("closed")

    @action
    def holding(session: Session) -> None:
        is_open.set()
        may_close.wait(BOUND)

    @action
    def other(session: Session) -> None:
        order.append("other")

    service = Service([holding, other], resources=[session])

    async def call(name):
        async with service.running():
            waiting = asyncio.create_task(
                service.operation(name).run(service.operation(name).decode({}), context_in(None, name))
            )
            if name == "other":
                for _ in range(20):
                    await asyncio.sleep(0)
                asked.set()
            await waiting

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(asyncio.run, call("holding"))
        assert is_open.wait(BOUND)
        second = threads.submit(asyncio.run, call("other"))
        assert asked.wait(BOUND)
        assert order == []
        may_close.set()
        first.result(BOUND)
        second.result(BOUND)
    assert order == ["closed", "other", "closed"]
