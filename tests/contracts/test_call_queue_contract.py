"""The rules of every queue of background calls."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import msgspec
import pytest

from servey.background_call.call import Again, Call, Done, Failed, FailedCall, OpenCall, Outcome
from servey.ports import CallQueue, OpenCallsQueue
from servey.security.authorization import Authorization
from servey.servey_thread.sqlite_call_queue import SqliteCallQueue
from servey.servey_thread.sqlite_file import SqliteFile
from support.brokers import emptied
from support.celery_queues import WorkedQueue
from support.length import length
from support.queues import Runs, a_call, until

PROBLEM = b'{"status":500}'


class Place(Protocol):
    """What an implementation gives to this suite: one empty place with calls, and queues of it."""

    def __call__(self, *, calls_at_once: int = 8, poll: float = 0.05) -> CallQueue:
        """Return one more queue of the same place, as another process has one.

        Args:
            calls_at_once: How many calls its consumer runs at the same time.
            poll: The time between two looks for the calls of other processes, in seconds, if it looks for them.
        """
        ...


Open = Callable[[], AbstractAsyncContextManager[Place]]


EMBEDDED, BROKERS = ["file", "memory"], ["valkey", "rabbitmq"]
embedded = pytest.mark.parametrize("opened", EMBEDDED, indirect=True)
"""A rule of queues that know the order, the waiting calls and the end of each process."""


leaves_sockets = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""Celery's worker leaves sockets to the garbage collector; in a process of its own, nothing is left."""


@pytest.fixture(params=[*EMBEDDED, *(pytest.param(kind, marks=leaves_sockets) for kind in BROKERS)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens an empty place in the event loop of the test, and closes it."""
    if request.param in BROKERS:
        return celery(emptied(request.param, request), str(tmp_path / "store.db"))

    @asynccontextmanager
    async def sqlite() -> AsyncGenerator[Place]:
        files: list[SqliteFile] = []

        def queue(*, calls_at_once: int = 8, poll: float = 0.05) -> CallQueue:
            if request.param == "file" or not files:
                files.append(SqliteFile(str(tmp_path / "store.db") if request.param == "file" else None, 60.0))
            return SqliteCallQueue(files[-1], calls_at_once=calls_at_once, poll=poll)

        try:
            yield queue
        finally:
            for file in files:
                await file.close()

    return sqlite


def celery(broker: str, store: str) -> Open:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[Place]:
        queues: list[WorkedQueue] = []

        def queue(*, calls_at_once: int = 8, poll: float = 0.05) -> CallQueue:
            queues.append(WorkedQueue(broker, calls_at_once=calls_at_once, store=store))
            return queues[-1]

        try:
            yield queue
        finally:
            for used in queues:
                await used.close()
            queues.clear()
            gc.collect()

    return opened


def failing(problem: bytes = PROBLEM, traceback: str = "a line") -> Callable[[Call], asyncio.Future[Outcome]]:
    def run(call: Call) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        future.set_result(Failed(problem, traceback))
        return future

    return run


async def fail(queue: CallQueue, *calls: Call) -> None:
    """Put calls that fail, one after the other."""
    for call in calls:
        runs = Runs(failing())
        async with runs.of(queue):
            await queue.put([call])
            await runs.until(1)


def done_after(event: asyncio.Event) -> Callable[[Call], Awaitable[Outcome]]:
    """Return a function that runs a call until the event is set."""

    async def run(call: Call) -> Outcome:
        await event.wait()
        return Done()

    return run


async def test_a_call_arrives_as_it_was_put(opened: Open):
    caller = Authorization(subject="me", scopes=frozenset({"read"}), claims={"tenant": 1})
    call = a_call(
        "act#é\x00",
        expires=time.time() + 60,
        caller=caller,
        traceparent="00-1-2-01",
        alone="act",
        attempt=2,
        postponed=1,
    )
    async with opened() as place:
        queue, runs = place(), Runs()
        async with runs.of(queue):
            await queue.put([call])
            await runs.until(1)
    assert runs.calls == [call]


async def test_calls_wait_until_a_consumer_takes_them(opened: Open):
    async with opened() as place:
        queue, runs = place(), Runs()
        await queue.put([a_call("a"), a_call("b")])
        async with runs.of(queue):
            await runs.until(2)
    assert sorted(runs.ids) == ["a", "b"]


async def test_a_call_of_another_queue_of_the_place_arrives(opened: Open):
    async with opened() as place:
        runs = Runs()
        async with runs.of(place()):
            await place().put([a_call("a")])
            await runs.until(1)
    assert runs.ids == ["a"]


async def test_no_calls_may_be_put(opened: Open):
    async with opened() as place:
        await place().put([])
        await asyncio.to_thread(place().put_now, [])


async def test_calls_can_be_put_from_a_thread(opened: Open):
    async with opened() as place:
        queue, runs = place(), Runs()
        async with runs.of(queue):
            await asyncio.to_thread(queue.put_now, [a_call("a"), a_call("b")])
            await runs.until(2)
    assert sorted(runs.ids) == ["a", "b"]


@embedded
async def test_calls_are_taken_in_the_order_of_their_times(opened: Open):
    async with opened() as place:
        queue, runs = place(calls_at_once=1), Runs()
        await queue.put([a_call("c", after=-1), a_call("a", after=-3), a_call("b", after=-2)])
        async with runs.of(queue):
            await runs.until(3)
    assert runs.ids == ["a", "b", "c"]


async def test_a_known_id_is_ignored_while_the_call_waits_runs_or_has_ended(opened: Open):
    async with opened() as place:
        queue, go = place(), asyncio.Event()
        runs = Runs(done_after(go))
        await queue.put([a_call("act#a"), a_call("act#a", attempt=2)])
        await queue.put([a_call("act#a")])
        async with runs.of(queue):
            await runs.until(1)
            await queue.put([a_call("act#a"), a_call("act#b")])
            go.set()
            await runs.until(2)
        async with runs.of(queue):
            await queue.put([a_call("act#a"), a_call("act#b"), a_call("act#c")])
            await runs.until(3)
    assert (sorted(runs.ids), runs.calls[0].attempt) == (["act#a", "act#b", "act#c"], 1)


async def test_a_known_id_is_ignored_after_the_call_has_failed(opened: Open):
    async with opened() as place:
        queue, runs = place(), Runs()
        await fail(queue, a_call("act#a"))
        async with runs.of(queue):
            await queue.put([a_call("act#a"), a_call("act#b")])
            await runs.until(1)
    assert runs.ids == ["act#b"]


async def test_as_many_calls_run_at_once_as_the_setting_says(opened: Open):
    async with opened() as place:
        queue, go = place(calls_at_once=3), asyncio.Event()
        runs = Runs(done_after(go))
        async with runs.of(queue):
            await queue.put([a_call(str(number)) for number in range(10)])
            await runs.until(3)
            await asyncio.sleep(0.2)  # no fourth one comes
            before = len(runs.calls)
            go.set()
            await runs.until(10)
    assert (before, runs.most, len(set(runs.ids))) == (3, 3, 10)


@embedded
async def test_two_consumers_never_run_the_same_call(opened: Open):
    async with opened() as place:
        one, other, both = Runs(), Runs(), Runs()

        async def shared(call: Call) -> Outcome:
            return await both(call)

        one, other = Runs(shared), Runs(shared)
        queue, second = place(calls_at_once=2), place(calls_at_once=2)
        async with one.of(queue), other.of(second):
            for start in range(0, 200, 20):
                await queue.put([a_call(str(number)) for number in range(start, start + 20)])
            await both.until(200)
    assert sorted(one.ids + other.ids) == sorted(str(number) for number in range(200))


async def test_a_call_does_not_begin_before_it_is_due(opened: Open):
    async with opened() as place:
        queue, begun = place(), {}

        async def run(call: Call) -> Outcome:
            begun[call.id] = time.time()
            return Done()

        runs, call = Runs(run), a_call("late", after=0.4)
        async with runs.of(queue):
            await queue.put([call, a_call("now")])
            await runs.until(2)
    assert runs.ids == ["now", "late"]
    assert begun["late"] >= call.due


async def test_the_next_attempt_of_a_call_replaces_it(opened: Open):
    async with opened() as place:
        queue = place()

        async def run(call: Call) -> Outcome:
            if call.attempt == 3:
                return Done()
            return Again(msgspec.structs.replace(call, attempt=call.attempt + 1, due=time.time() + 0.1))

        runs = Runs(run)
        async with runs.of(queue):
            await queue.put([a_call("act#a")])
            await runs.until(2)
            await queue.put([a_call("act#a")])  # known: nothing is between two places
            await runs.until(3)
        assert [(call.id, call.attempt) for call in runs.calls] == [("act#a", 1), ("act#a", 2), ("act#a", 3)]
        assert await queue.failed(10) == []


async def test_failed_calls_are_kept_with_their_problem_the_latest_first(opened: Open):
    async with opened() as place:
        queue, before = place(), time.time()
        calls = [a_call("a", attempt=3), a_call("b")]
        await fail(queue, *calls)
        found = await queue.failed(10)
        assert await queue.failed(1) == found[:1]
    assert found == [
        FailedCall(call, failed_at=kept.failed_at, problem=PROBLEM, traceback="a line")
        for call, kept in zip(reversed(calls), found, strict=True)
    ]
    assert all(before <= kept.failed_at <= time.time() for kept in found)


async def test_a_retried_call_begins_with_its_first_attempt_and_does_not_expire(opened: Open):
    async with opened() as place:
        queue, runs = place(), Runs()
        call = a_call("a", attempt=4, postponed=2, expires=time.time() + 1)
        await fail(queue, call)
        assert await queue.retry("a")
        assert not await queue.retry("a")
        assert await queue.failed(10) == []
        async with runs.of(queue):
            await runs.until(1)
        assert not await queue.retry("a")
    assert runs.calls == [msgspec.structs.replace(call, attempt=1, postponed=0, expires=None)]


@embedded
async def test_retry_wakes_a_consumer(opened: Open):
    async with opened() as place:
        queue = place(poll=3600.0)
        outcomes: list[Outcome] = [Failed(PROBLEM), Done()]

        async def run(call: Call) -> Outcome:
            return outcomes.pop(0)

        runs = Runs(run)
        async with runs.of(queue):
            await queue.put([a_call("a")])
            await until(lambda: queue.retry("a"))
            await runs.until(2)


async def test_a_forgotten_failed_call_never_runs_and_its_id_stays_known(opened: Open):
    async with opened() as place:
        queue, runs = place(), Runs()
        await fail(queue, a_call("act#a"), a_call("act#b"))
        assert await queue.forget("act#a")
        assert not await queue.forget("act#a")
        assert [kept.call.id for kept in await queue.failed(10)] == ["act#b"]
        async with runs.of(queue):
            await queue.put([a_call("act#a"), a_call("act#c")])
            await runs.until(1)
    assert runs.ids == ["act#c"]


@embedded
async def test_a_forgotten_waiting_call_does_not_run(opened: Open):
    async with opened() as place:
        queue, runs = place(), Runs()
        await queue.put([a_call("a", after=-2), a_call("b"), a_call("later", after=100)])
        assert await queue.forget("a")
        assert await queue.forget("later")
        async with runs.of(queue):
            await runs.until(1)
    assert runs.ids == ["b"]


async def test_a_running_and_an_ended_call_cannot_be_forgotten_or_retried(opened: Open):
    async with opened() as place:
        queue, go = place(), asyncio.Event()
        runs = Runs(done_after(go))
        async with runs.of(queue):
            await queue.put([a_call("a")])
            await runs.until(1)
            while_running = await queue.forget("a"), await queue.retry("a")
            go.set()
        assert (while_running, await queue.forget("a"), await queue.retry("a")) == ((False, False), False, False)


async def test_an_unknown_call_cannot_be_forgotten_or_retried(opened: Open):
    async with opened() as place:
        queue = place()
        assert not await queue.forget("a")
        assert not await queue.retry("a")
        assert await queue.failed(10) == []


@embedded
async def test_open_calls_are_the_running_and_then_the_waiting_ones(opened: Open):
    async with opened() as place:
        queue, go = place(calls_at_once=1), asyncio.Event()
        if not isinstance(queue, OpenCallsQueue):
            pytest.skip("it does not list them")
        assert await queue.open_calls(10) == []
        runs = Runs(done_after(go))
        calls = [a_call("a", after=-9), a_call("d", after=200), a_call("c", after=100), a_call("b", after=-5)]
        async with runs.of(queue):
            await queue.put(calls)
            await runs.until(1)
            found, first = await queue.open_calls(10), await queue.open_calls(2)
            go.set()
            await runs.until(2)
        left = await queue.open_calls(10)
    a, d, c, b = calls
    assert found == [
        OpenCall(a, is_running=True),
        *(OpenCall(call, is_running=False) for call in (b, c, d)),
    ]
    assert first == found[:2]
    assert [call.call.id for call in left] == ["c", "d"]


async def test_leaving_waits_for_the_running_calls_and_takes_no_more(opened: Open):
    async with opened() as place:
        queue, go, ended = place(calls_at_once=1), asyncio.Event(), []

        async def run(call: Call) -> Outcome:
            await go.wait()
            ended.append(call.id)
            return Done()

        runs = Runs(run)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(runs.of(queue))
            await queue.put([a_call("a", after=-1), a_call("b")])
            await runs.until(1)
            leaving = asyncio.ensure_future(stack.pop_all().aclose())
            await asyncio.sleep(0.05)
            is_waiting = not leaving.done()
            go.set()
            await leaving
        assert (is_waiting, ended) == (True, ["a"])
        later = Runs()
        async with later.of(queue):
            await later.until(1)
        assert later.ids == ["b"]


async def test_a_cancelled_leaving_cancels_the_calls_and_gives_them_back(opened: Open):
    async with opened() as place:
        queue, cancelled = place(calls_at_once=2), []

        async def run(call: Call) -> Outcome:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(call.id)
                raise
            raise AssertionError

        runs = Runs(run)
        stack = contextlib.AsyncExitStack()
        await stack.enter_async_context(runs.of(queue))
        await queue.put([a_call("a", attempt=2), a_call("b"), a_call("c", after=0.05)])
        await runs.until(2)
        leaving = asyncio.ensure_future(stack.aclose())
        await asyncio.sleep(0.05)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert sorted(cancelled) == ["a", "b"]
        again = Runs()
        async with again.of(place()):  # another process has them at once
            await again.until(3)
        assert sorted((call.id, call.attempt) for call in again.calls) == [("a", 2), ("b", 1), ("c", 1)]


async def test_a_call_that_a_stop_cancels_often_does_not_fail(opened: Open):
    async with opened() as place:
        queue = place()

        async def run(call: Call) -> Outcome:
            await asyncio.Event().wait()
            raise AssertionError

        await queue.put([a_call("a")])
        for _ in range(7):
            runs, stack = Runs(run), contextlib.AsyncExitStack()
            await stack.enter_async_context(runs.of(queue))
            await runs.until(1)
            leaving = asyncio.ensure_future(stack.aclose())
            await asyncio.sleep(0)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
        runs = Runs()
        async with runs.of(queue):
            await runs.until(1)


@embedded
async def test_a_defect_of_the_runner_loses_no_call(opened: Open, caplog: pytest.LogCaptureFixture):
    async with opened() as place:
        queue = place()

        async def run(call: Call) -> Outcome:
            if call.id == "bad":
                raise RuntimeError("a defect")
            return Done()

        runs = Runs(run)
        with caplog.at_level(logging.ERROR):
            async with runs.of(queue):
                await queue.put([a_call("bad", after=-1), a_call("good")])
                await runs.until(2)
        if isinstance(queue, OpenCallsQueue):
            assert [call.call.id for call in await queue.open_calls(10)] == ["bad"]
    assert "bad" in caplog.text
    assert "a defect" in caplog.text


async def test_a_call_may_put_others(opened: Open):
    async with opened() as place:
        queue = place(calls_at_once=1)

        async def run(call: Call) -> Outcome:
            if call.id == "a":
                await queue.put([a_call("b")])
                await asyncio.to_thread(queue.put_now, [a_call("c")])
            return Done()

        runs = Runs(run)
        async with runs.of(queue):
            await queue.put([a_call("a")])
            await runs.until(3)
    assert sorted(runs.ids) == ["a", "b", "c"]


@embedded
async def test_calls_do_not_see_the_context_variables_of_other_calls(opened: Open):
    variable = contextvars.ContextVar("variable", default="none")
    async with opened() as place:
        queue, seen = place(calls_at_once=1), []

        async def run(call: Call) -> Outcome:
            seen.append(variable.get())
            variable.set(call.id)
            return Done()

        runs = Runs(run)
        async with runs.of(queue):
            variable.set("of who puts")
            await queue.put([a_call("a"), a_call("b")])
            await runs.until(2)
    assert seen == ["none", "none"]


async def test_many_threads_and_tasks_can_put_together(opened: Open):
    async with opened() as place:
        queue, runs = place(), Runs()
        threads = [
            threading.Thread(target=lambda n=n: [queue.put_now([a_call(f"{n}-{i}")]) for i in range(20)])
            for n in range(5)
        ]
        async with runs.of(queue):
            for thread in threads:
                thread.start()
            await asyncio.gather(*(queue.put([a_call(f"task-{n}"), a_call("act#same")]) for n in range(50)))
            await runs.until(151)
        for thread in threads:
            thread.join()
    assert len(runs.ids) == len(set(runs.ids)) == 151


@pytest.mark.long
async def test_ten_thousand_calls_wait(opened: Open):
    async with opened() as place:
        queue, runs = place(), Runs()
        total = 10_000 if isinstance(queue, OpenCallsQueue) else length(1000, 10_000)  # others take 4 ms for each
        calls = [a_call(str(number)) for number in range(total)]
        for start in range(0, total, 1000):
            await queue.put(calls[start : start + 1000])
        if isinstance(queue, OpenCallsQueue):
            assert len(await queue.open_calls(100_000)) == total
        async with runs.of(queue):
            await runs.until(total)
    assert len(set(runs.ids)) == total
