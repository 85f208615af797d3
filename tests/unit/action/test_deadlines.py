from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from servey.action import deadlines as module
from servey.action.deadlines import TICK_SECONDS, Deadlines
from servey.errors import DeadlineError

BOUND = 60.0
"""Seconds after which a test that hangs fails."""

Main = Callable[[], Coroutine[Any, Any, Any]]


def _uvloop() -> asyncio.AbstractEventLoop:
    return pytest.importorskip("uvloop").new_event_loop()


@pytest.fixture(params=[asyncio.new_event_loop, _uvloop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Main], Any]:
    def run(main: Main) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(BOUND):
                return await main()

        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(bounded())

    return run


async def forever() -> None:
    await asyncio.Event().wait()


def current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def here() -> tuple[asyncio.AbstractEventLoop, Deadlines]:
    loop = asyncio.get_running_loop()
    return loop, Deadlines(loop)


def test_a_call_in_time_returns_its_value(run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        loop, deadlines = here()
        assert await deadlines.run(asyncio.sleep(0, "value"), loop.time() + BOUND) == "value"
        assert not len(deadlines)

    run(main)


def test_a_call_in_time_raises_its_own_error(run: Callable[[Main], Any]) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError("mine")

    async def main() -> None:
        loop, deadlines = here()
        with pytest.raises(KeyError, match="mine"):
            await deadlines.run(fail(), loop.time() + BOUND)
        assert not len(deadlines)

    run(main)


def test_a_call_whose_deadline_passes_raises_deadline_error_and_leaves_its_task_intact(
    run: Callable[[Main], Any],
) -> None:
    async def main() -> None:
        loop, deadlines = here()
        with pytest.raises(DeadlineError) as raised:
            await deadlines.run(forever(), loop.time() + 0.01)
        assert isinstance(raised.value.__cause__, asyncio.CancelledError)
        assert current().cancelling() == 0
        assert not len(deadlines)
        await asyncio.sleep(0)  # nothing of the cancellation is left

    run(main)


def test_a_deadline_is_never_noticed_early(run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        loop, deadlines = here()
        late: list[float] = []

        async def call(seconds: float) -> None:
            at = loop.time() + seconds
            with pytest.raises(DeadlineError):
                await deadlines.run(forever(), at)
            late.append(loop.time() - at)

        await asyncio.gather(*(call(number * 0.017) for number in range(12)))
        assert min(late) >= 0

    run(main)


def test_deadlines_are_looked_at_every_tick_while_there_are_any() -> None:
    async def main() -> None:
        loop, deadlines = here()
        at = loop.time() + TICK_SECONDS * 4
        ticks: list[float] = []
        call_at = loop.call_at

        def recorded(when: float, *args: Any, **options: Any) -> asyncio.TimerHandle:
            ticks.append(when - loop.time())
            return call_at(when, *args, **options)

        loop.call_at = recorded  # type: ignore[method-assign]
        with pytest.raises(DeadlineError):
            await deadlines.run(forever(), at)
        assert ticks
        assert max(ticks) <= TICK_SECONDS

    asyncio.run(main())


def test_a_call_that_never_suspends_is_not_given_up_however_late(run: Callable[[Main], Any]) -> None:
    async def at_once() -> str:
        return "value"

    async def main() -> None:
        loop, deadlines = here()
        assert await deadlines.run(at_once(), loop.time() - 1) == "value"
        await asyncio.sleep(TICK_SECONDS * 2)
        assert current().cancelling() == 0

    run(main)


def test_a_call_whose_deadline_has_passed_already_is_given_up_at_its_first_suspension(
    run: Callable[[Main], Any],
) -> None:
    async def main() -> None:
        loop, deadlines = here()
        steps: list[str] = []

        async def call() -> None:
            steps.append("begun")
            await forever()
            steps.append("never")

        with pytest.raises(DeadlineError):
            await deadlines.run(call(), loop.time() - 1)
        assert steps == ["begun"]

    run(main)


def test_the_value_of_a_call_that_swallows_the_cancellation_is_returned(run: Callable[[Main], Any]) -> None:
    async def stubborn() -> str:
        try:
            await forever()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "late"

    async def main() -> None:
        loop, deadlines = here()
        assert await deadlines.run(stubborn(), loop.time()) == "late"
        assert current().cancelling() == 0
        assert not len(deadlines)

    run(main)


def test_the_error_of_a_call_that_swallows_the_cancellation_is_raised(run: Callable[[Main], Any]) -> None:
    async def stubborn() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            raise KeyError("mine") from None

    async def main() -> None:
        loop, deadlines = here()
        with pytest.raises(KeyError, match="mine"):
            await deadlines.run(stubborn(), loop.time())
        assert current().cancelling() == 0
        assert not len(deadlines)

    run(main)


def test_a_call_is_cancelled_once_only(run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        loop, deadlines = here()
        others = asyncio.Event()
        cancellations = 0

        async def stubborn() -> str:
            nonlocal cancellations
            while True:
                try:
                    await others.wait()
                except asyncio.CancelledError:
                    cancellations += 1
                else:
                    return "late"

        deadlines.add("release", loop.time() + TICK_SECONDS * 3, others.set)
        assert await deadlines.run(stubborn(), loop.time()) == "late"
        assert cancellations == 1

    run(main)


def test_a_cancellation_from_outside_comes_out_as_it_is(run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        loop, deadlines = here()
        task = asyncio.create_task(deadlines.run(forever(), loop.time() + BOUND))
        await asyncio.sleep(0)
        assert len(deadlines) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert task.cancelling() == 1
        assert not len(deadlines)

    run(main)


@pytest.mark.parametrize("first", ["outer", "deadline"])
def test_a_cancellation_from_outside_wins_over_a_deadline_of_the_same_tick(
    run: Callable[[Main], Any], first: str
) -> None:
    async def main() -> None:
        loop, deadlines = here()
        at = loop.time()
        task = asyncio.create_task(deadlines.run(forever(), at))
        if first == "outer":
            deadlines.add("outer", at, task.cancel)
            await asyncio.sleep(0)
        else:
            await asyncio.sleep(0)
            deadlines.add("outer", at, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1
        assert not len(deadlines)

    run(main)


def test_a_task_that_was_cancelled_before_and_went_on_can_have_a_deadline(run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        loop, deadlines = here()

        async def went_on() -> int:
            try:
                await forever()
            except asyncio.CancelledError:
                assert current().cancelling() == 1
            with pytest.raises(DeadlineError):
                await deadlines.run(forever(), loop.time())
            return current().cancelling()

        task = asyncio.create_task(went_on())
        await asyncio.sleep(0)
        task.cancel()
        assert await task == 1

    run(main)


@pytest.mark.parametrize(("outer", "inner", "expected"), [(1, 0, "inner"), (0, 1, "outer"), (0, 0, "outer")])
def test_of_nested_deadlines_the_one_that_passes_gives_up_its_own_call(
    run: Callable[[Main], Any], outer: float, inner: float, expected: str
) -> None:
    async def main() -> None:
        loop, deadlines = here()
        now = loop.time()

        async def outer_call() -> str:
            try:
                await deadlines.run(forever(), now + inner * BOUND)
            except DeadlineError:
                await asyncio.sleep(0)
                return "inner"
            raise AssertionError

        try:
            passed = await deadlines.run(outer_call(), now + outer * BOUND)
        except DeadlineError:
            passed = "outer"
        assert passed == expected
        assert current().cancelling() == 0
        assert not len(deadlines)

    run(main)


def test_a_deadline_within_asyncio_timeout_and_round_it_each_raise_their_own_error(run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        loop, deadlines = here()

        async def limited(seconds: float) -> None:
            async with asyncio.timeout(seconds):
                await forever()

        async with asyncio.timeout(BOUND) as unused:
            with pytest.raises(DeadlineError):
                await deadlines.run(forever(), loop.time())
        assert not unused.expired()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await deadlines.run(forever(), loop.time() + BOUND)
        with pytest.raises(TimeoutError):
            await deadlines.run(limited(0.01), loop.time() + BOUND)
        with pytest.raises(DeadlineError):
            await deadlines.run(limited(BOUND), loop.time())
        assert current().cancelling() == 0
        assert not len(deadlines)

    run(main)


def test_a_deadline_gives_up_a_task_group_and_all_its_tasks(run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        loop, deadlines = here()
        children: list[asyncio.Task[None]] = []

        async def group() -> None:
            async with asyncio.TaskGroup() as tasks:
                children.extend(tasks.create_task(forever()) for _ in range(3))

        with pytest.raises(DeadlineError):
            await deadlines.run(group(), loop.time())
        assert [child.cancelled() for child in children] == [True] * 3
        assert current().cancelling() == 0

    run(main)


def test_a_deadline_in_a_task_group_fails_the_group_and_a_sibling_that_fails_cancels_the_call(
    run: Callable[[Main], Any],
) -> None:
    async def main() -> None:
        loop, deadlines = here()

        async def fail() -> None:
            raise KeyError("mine")

        async def overruns() -> None:
            async with asyncio.TaskGroup() as tasks:
                others.append(tasks.create_task(forever()))
                tasks.create_task(deadlines.run(forever(), loop.time()))

        async def has_a_sibling_that_fails() -> None:
            async with asyncio.TaskGroup() as tasks:
                others.append(tasks.create_task(deadlines.run(forever(), loop.time() + BOUND)))
                tasks.create_task(fail())

        others: list[asyncio.Task[None]] = []
        with pytest.raises(ExceptionGroup) as raised:
            await overruns()
        assert [type(error) for error in raised.value.exceptions] == [DeadlineError]
        with pytest.raises(ExceptionGroup) as raised:
            await has_a_sibling_that_fails()
        assert [type(error) for error in raised.value.exceptions] == [KeyError]
        assert [other.cancelled() for other in others] == [True, True]
        assert not len(deadlines)

    run(main)


def test_one_future_may_be_awaited_under_several_deadlines(run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        loop, deadlines = here()
        shared: asyncio.Future[None] = loop.create_future()
        early = asyncio.create_task(deadlines.run(shared, loop.time()))
        late = asyncio.create_task(deadlines.run(shared, loop.time() + BOUND))
        await asyncio.wait((early, late))
        assert isinstance(early.exception(), DeadlineError)
        assert late.cancelled()  # as by the other task, for it was their common future that was cancelled
        assert not len(deadlines)

    run(main)


def test_a_call_outside_a_task_is_refused() -> None:
    loop = asyncio.new_event_loop()
    try:
        call = Deadlines(loop).run(loop.create_future(), 0.0)
        with pytest.raises(RuntimeError):
            call.send(None)
    finally:
        loop.close()


def test_a_call_that_is_closed_half_way_leaves_the_table(run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        loop, deadlines = here()

        async def closed_half_way() -> int:
            call = deadlines.run(forever(), loop.time() + BOUND)
            call.send(None)
            entered = len(deadlines)
            call.close()
            return entered

        assert await closed_half_way() == 1
        assert not len(deadlines)

    run(main)


def test_all_calls_share_one_timer_that_stops_with_the_last() -> None:
    async def main() -> None:
        loop, deadlines = here()
        timers: list[Callable[[], object]] = []  # the test says when one of them fires
        loop.call_later = lambda _, callback: timers.append(callback)  # type: ignore[method-assign,assignment]
        calls = [asyncio.create_task(deadlines.run(forever(), loop.time() + BOUND)) for _ in range(100)]
        await asyncio.sleep(0)
        assert (len(deadlines), len(timers)) == (100, 1)
        timers[-1]()
        assert (len(deadlines), len(timers)) == (100, 2)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        await asyncio.gather(*(deadlines.run(asyncio.sleep(0), loop.time() + BOUND) for _ in range(100)))
        assert len(timers) == 2
        timers[-1]()
        assert len(timers) == 2  # it found nothing, and was not set again
        await deadlines.run(asyncio.sleep(0), loop.time() + BOUND)
        assert len(timers) == 3

    asyncio.run(main())


def test_a_loop_closes_cleanly_while_calls_and_the_timer_are_pending(
    run: Callable[[Main], Any], caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[asyncio.Task[None]] = []

    async def main() -> None:
        loop, deadlines = here()
        calls.extend(asyncio.create_task(deadlines.run(forever(), loop.time() + BOUND)) for _ in range(3))
        await asyncio.sleep(0)

    run(main)
    assert [call.cancelled() for call in calls] == [True] * 3
    calls.clear()
    gc.collect()
    assert caplog.records == []


def test_what_is_added_expires_once_unless_it_is_discarded(run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        loop, deadlines = here()
        expired: list[str] = []
        done = asyncio.Event()
        deadlines.add("a", loop.time(), lambda: expired.append("a"))
        deadlines.add("b", loop.time(), lambda: expired.append("b"))
        deadlines.add("c", loop.time() + TICK_SECONDS * 3, done.set)
        assert deadlines.discard("b")
        await done.wait()
        assert expired == ["a"]
        assert not deadlines.discard("a")
        assert not len(deadlines)

    run(main)


def test_what_expires_may_discard_and_add_others(run: Callable[[Main], Any], caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop, deadlines = here()
        expired: list[str] = []
        done = asyncio.Event()
        now = loop.time()

        def first() -> None:
            expired.append("first")
            deadlines.discard("second")
            deadlines.add("third", now, done.set)

        deadlines.add("first", now, first)
        deadlines.add("second", now, lambda: expired.append("second"))
        await done.wait()
        assert expired == ["first"]
        assert caplog.records == []

    run(main)


# What a call does when it is cancelled, what happens to it in which order, and how often its task was cancelled
# before: whatever comes of it under asyncio.timeout has to come of it here. No clock: the test says when a deadline
# passes, and all ends when `release` is set.
#
# Before 3.11.3, asyncio.timeout took earlier cancellations of its task for its own: it ended with CancelledError where
# later ones raise TimeoutError. The later ones are right, and so is servey on all of them.

COUNTS_EARLIER_CANCELLATIONS = sys.version_info >= (3, 11, 3)


async def _waits(release: asyncio.Event) -> str:
    await release.wait()
    return "in time"


async def _swallows(release: asyncio.Event) -> str:
    try:
        await release.wait()
    except asyncio.CancelledError:
        await asyncio.sleep(0)
        return "swallowed"
    return "in time"


async def _fails(release: asyncio.Event) -> str:
    try:
        await release.wait()
    except asyncio.CancelledError:
        raise KeyError("cleanup") from None
    return "in time"


async def _cancels_itself(release: asyncio.Event) -> str:
    await release.wait()
    raise asyncio.CancelledError


async def _cleans_up_slowly(release: asyncio.Event) -> str:
    try:
        await release.wait()
    finally:
        await release.wait()
    return "in time"


async def _swallows_all(release: asyncio.Event) -> str:
    cancellations = 0
    while not release.is_set():
        try:
            await release.wait()
        except asyncio.CancelledError:
            cancellations += 1
    return f"swallowed {cancellations}"


async def _has_a_group(release: asyncio.Event) -> str:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(release.wait())
        tasks.create_task(_cleans_up_slowly(release))
    return "in time"


Body = Callable[[asyncio.Event], Coroutine[Any, Any, str]]
Limit = Callable[[Awaitable[str]], Coroutine[Any, Any, str]]

BODIES = (_waits, _swallows, _fails, _cancels_itself, _cleans_up_slowly, _swallows_all, _has_a_group)
SCRIPTS = (
    "",
    "expire",
    "cancel",
    "expire cancel",
    "cancel expire",
    "expire pause cancel",
    "cancel pause expire",
    "cancel cancel expire",
    "expire pause cancel pause cancel",
)


async def _outcome(limit: Limit, expire: Callable[[], object], body: Body, script: str, before: int) -> tuple[str, int]:
    """Return how `body` ends under `limit`, and how many cancellations its task is left with."""
    loop = asyncio.get_running_loop()
    begun, release = asyncio.Event(), asyncio.Event()
    left = -1

    async def call() -> str:
        nonlocal left
        for _ in range(before):
            current().cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        begun.set()
        try:
            return await limit(body(release))
        finally:
            left = current().cancelling()

    task = asyncio.create_task(call())
    await begun.wait()
    for step in script.split():
        if step == "pause":
            for _ in range(10):
                await asyncio.sleep(0)
        else:
            loop.call_soon({"expire": expire, "cancel": task.cancel}[step])
    for _ in range(10):
        await asyncio.sleep(0)
    release.set()
    await asyncio.wait((task,))
    if task.cancelled():
        result = "cancelled"
    elif isinstance(error := task.exception(), DeadlineError | TimeoutError):
        result = "deadline"
    else:
        result = repr(error) if error else task.result()
    return result, left


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_every_outcome_is_that_of_asyncio_timeout(
    run: Callable[[Main], Any], monkeypatch: pytest.MonkeyPatch, body: Body, script: str, before: int
) -> None:
    monkeypatch.setattr(module, "TICK_SECONDS", BOUND)

    async def main() -> None:
        loop, deadlines = here()
        timeout = asyncio.timeout(None)

        async def by_asyncio(awaitable: Awaitable[str]) -> str:
            async with timeout:
                return await awaitable

        def expire() -> None:
            with suppress(RuntimeError):  # it has been left
                timeout.reschedule(loop.time() - 1)  # by call_soon

        async def by_servey(awaitable: Awaitable[str]) -> str:
            return await deadlines.run(awaitable, loop.time() - 1)

        earlier = before if COUNTS_EARLIER_CANCELLATIONS else 0
        result, left = await _outcome(by_asyncio, expire, body, script, earlier)
        tick = deadlines._tick
        outcome = await _outcome(by_servey, lambda: loop.call_soon(tick), body, script, before)
        assert outcome == (result, left - earlier + before)
        assert not len(deadlines)

    run(main)
