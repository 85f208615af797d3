"""Making background calls: the same outcomes for every queue."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from servey.action.action import action
from servey.action.context import CallContext
from servey.background_call import lease, runner
from servey.background_call.background import background
from servey.background_call.call import Again, Call, Done, Failed, Outcome
from servey.background_call.last_run import LastRun, last_run
from servey.background_call.retry import Retry
from servey.background_call.runner import Runner
from servey.errors import (
    CallError,
    ConflictError,
    DefinitionError,
    ErrorMapping,
    NotFoundError,
    OverloadedError,
    TooManyRequestsError,
)
from servey.security.access_control import ALLOW_NONE
from servey.security.authorization import Authorization
from servey.servey_test.submitted_calls import collecting
from servey.service import Service
from servey.settings import Settings
from support.queues import a_call


def service_of(*actions: Any, **settings: Any) -> Service:
    return Service(actions, settings=Settings(store="memory", **settings))


def outcomes_of(service: Service, *calls: Call) -> list[Outcome]:
    async def main() -> list[Outcome]:
        async with asyncio.timeout(30), service.running():
            return [await Runner(service).run(call) for call in calls]

    return asyncio.run(main())


def outcome_of(service: Service, id: str = "1", **fields: Any) -> Any:
    return outcomes_of(service, a_call(id, **{"action": "work", "arguments": msgspec.Raw(b"{}"), **fields}))[0]


def problem_of(outcome: Any) -> dict[str, Any]:
    assert isinstance(outcome, Failed)
    return msgspec.json.decode(outcome.problem)


def raising(error: BaseException, *, retry: Retry | None = None, errors: Sequence[Any] = ()) -> Any:
    @action(retry=retry, errors=errors)
    async def work() -> None:
        raise error

    return work


# --- the call -------------------------------------------------------------------------------------------------------


def test_the_action_gets_the_context_of_its_call() -> None:
    seen: list[Any] = []

    @action(access_control=ALLOW_NONE)
    def work(context: CallContext, caller: Authorization) -> int:
        seen.extend([context.transport, context.call_id, context.attempt, context.traceparent, context.request_id])
        return len(caller.subject or "")

    fields = {"attempt": 3, "caller": Authorization("me"), "traceparent": "00-a-b-01", "request_id": "r"}
    assert outcome_of(service_of(work), "7", **fields) == Done(b"2")
    assert seen == ["background", "7", 3, "00-a-b-01", "r"]


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(None, 40.0), (7.0, 7.0), (100_000.0, 100_000.0), (math.inf, runner.LONGEST_SECONDS)]
)
def test_each_call_has_a_deadline(timeout: float | None, seconds: float) -> None:
    @action(timeout=timeout)
    async def work(context: CallContext) -> float:
        assert context.deadline is not None
        return context.deadline - asyncio.get_running_loop().time()

    outcome = outcome_of(service_of(work, background_timeout=40.0))
    assert seconds - 5 < float(outcome.result) <= seconds


def test_a_call_past_its_deadline_has_failed() -> None:
    @action
    async def work() -> None:
        await asyncio.sleep(30)

    assert problem_of(outcome_of(service_of(work, background_timeout=0.05)))["status"] == 504


def test_a_call_that_needs_a_caller_has_failed_without_one() -> None:
    @action(retry=Retry())
    def work(caller: Authorization) -> None: ...

    assert problem_of(outcome_of(service_of(work)))["status"] == 401


def test_a_cancellation_passes_and_a_cancelled_error_of_the_action_is_a_failure() -> None:
    begun = asyncio.Event()

    @action
    async def work() -> None:
        begun.set()
        await asyncio.sleep(60)

    @action
    async def cancels() -> None:
        raise asyncio.CancelledError

    service = service_of(work, cancels)

    async def main() -> Outcome:
        async with asyncio.timeout(30), service.running():
            task = asyncio.create_task(Runner(service).run(a_call("1", action="work", arguments=msgspec.Raw(b"{}"))))
            await begun.wait()
            task.cancel()
            await asyncio.wait((task,))
            assert task.cancelled()
            return await Runner(service).run(a_call("2", action="cancels", arguments=msgspec.Raw(b"{}")))

    assert problem_of(asyncio.run(main()))["status"] == 500


def test_what_a_background_call_submits_leaves_before_its_outcome() -> None:
    @action
    async def work() -> None:
        background.submit(further)
        assert submitted.waiting == ()

    @action
    async def further() -> None: ...

    service = service_of(work, further)
    with collecting(service) as submitted:
        outcome_of(service, request_id="r", traceparent="00-a-b-01")
        [call] = submitted.waiting
    assert (call.action, call.request_id, call.traceparent) == ("further", "r", "00-a-b-01")


# --- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyError("k"), SystemExit(3), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_an_action_raises_is_kept_with_its_traceback(kind: BaseException, asynchronous: bool) -> None:
    def work() -> None:
        raise kind

    async def work_async() -> None:
        raise kind

    made = action(name="work")(work_async if asynchronous else work)
    outcome = outcome_of(service_of(made), request_id="r")
    problem = problem_of(outcome)
    assert (problem["status"], problem["code"], problem["request_id"]) == (500, "internal_error", "r")
    assert "raise kind" not in outcome.problem.decode()
    assert "raise kind" in outcome.traceback
    assert "servey/action" not in outcome.traceback, "the traceback begins in the action"
    assert type(kind).__name__ in outcome.traceback


class Unwritable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [Unwritable(), ValueError("caf\udce9"), ValueError("x" * 10**6)], ids=["a", "b", "c"])
@pytest.mark.parametrize("retry", [None, Retry()])
def test_any_exception_has_an_outcome_that_can_be_stored(error: Exception, retry: Retry | None) -> None:
    outcome = outcome_of(service_of(raising(error, retry=retry)))
    if retry is not None:
        assert isinstance(outcome, Again)
        return
    assert isinstance(outcome, Failed)
    assert len(outcome.traceback.encode()) <= runner.TRACEBACK_LIMIT
    assert outcome.traceback


def test_large_problem_details_are_cut() -> None:
    error = NotFoundError("x" * 100_000, data={"rows": list(range(50_000))})
    outcome = outcome_of(service_of(raising(error)), request_id="r")
    assert len(outcome.problem) < runner.PROBLEM_LIMIT
    problem = problem_of(outcome)
    assert (problem["status"], problem["code"], problem["request_id"]) == (404, "not_found", "r")
    assert problem["detail"] == "x" * 1000


def test_other_parameters_are_a_failure_that_lists_all_problems() -> None:
    @action(retry=Retry())
    def work(value: int, other: str = "") -> None: ...

    outcome = outcome_of(service_of(work), arguments=msgspec.Raw(b'{"old":1,"other":2}'))
    problem = problem_of(outcome)
    assert (problem["status"], {item["path"] for item in problem["errors"]}) == (422, {"/old", "/other", "/value"})


def test_a_defect_of_the_runner_is_a_failure_too(monkeypatch: pytest.MonkeyPatch) -> None:
    @action
    def work() -> None: ...

    service = service_of(work)
    monkeypatch.setattr(service, "call", None)
    outcome = outcome_of(service)
    assert problem_of(outcome)["status"] == 500
    assert "TypeError" in outcome.traceback


def test_a_call_of_an_unknown_action_is_postponed_and_then_fails() -> None:
    service = service_of(raising(KeyError()))
    call = a_call("1", action="gone")
    for number in range(1, runner.MOST_POSTPONED + 1):
        [again] = outcomes_of(service, call)
        assert isinstance(again, Again)
        call = again.call
        assert (call.postponed, call.attempt) == (number, 1)
        assert 0 < call.due - time.time() <= runner.POSTPONE_SECONDS
    [failed] = outcomes_of(service, call)
    assert (problem_of(failed)["status"], "gone" in problem_of(failed)["detail"]) == (404, True)


def test_a_late_call_is_skipped_even_if_its_action_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    service = service_of(raising(KeyError()))
    late = time.time() - 1
    calls = [a_call("1", action=name, expires=late) for name in ("work", "gone")]
    assert outcomes_of(service, *calls) == [Done(skipped="it could not begin in time")] * 2
    assert [item.levelname for item in caplog.records] == ["WARNING"] * 2


# --- retries --------------------------------------------------------------------------------------------------------


class Custom(Exception): ...


@pytest.mark.parametrize(
    ("error", "is_again"),
    [
        (KeyError(), True),
        (OverloadedError(), True),
        (TooManyRequestsError(), True),
        (NotFoundError(), False),
        (ConflictError(), True),
        (Custom(), True),
        (LookupError(), False),
    ],
    ids=lambda value: value.__class__.__name__,
)
def test_retried_is_what_is_not_the_callers_fault_or_is_named(error: Exception, is_again: bool) -> None:
    retry = Retry(on=(ConflictError, Custom))
    mappings = (ErrorMapping(Custom, 409), ErrorMapping(LookupError, 404)) if not isinstance(error, KeyError) else ()
    outcome = outcome_of(service_of(raising(error, retry=retry, errors=mappings)))
    assert isinstance(outcome, Again if is_again else Failed)


def test_without_a_retry_a_failure_is_final() -> None:
    assert isinstance(outcome_of(service_of(raising(OverloadedError()))), Failed)


def test_the_attempts_end_and_their_delays_grow() -> None:
    service = service_of(raising(KeyError(), retry=Retry(times=3, first=2, factor=3, most=40)), max_delay=8.0)
    delays: list[float] = []
    call = a_call("1", action="work", arguments=msgspec.Raw(b"{}"), expires=time.time() + 60)
    while True:
        [outcome] = outcomes_of(service, call)
        if isinstance(outcome, Failed):
            break
        assert isinstance(outcome, Again)
        assert outcome.call == msgspec.structs.replace(
            call, attempt=call.attempt + 1, due=outcome.call.due, expires=None
        )
        call = outcome.call
        delays.append(call.due - time.time())
    assert [round(delay / expected) for delay, expected in zip(delays, (2, 6, 8), strict=True)] == [1, 1, 1]
    assert call.attempt == 4


def test_a_delay_is_spread_and_limited_however_large_its_factor_is() -> None:
    retry = Retry(times=100, first=10, factor=1e6, most=600)
    assert {retry.delay(attempt, spread=0) for attempt in range(2, 101)} == {600}
    delays = [retry.delay(1) for _ in range(1000)]
    assert 9 <= min(delays) < 9.5 < 10.5 < max(delays) <= 11


@pytest.mark.parametrize(
    "wrong",
    [
        {"times": 0},
        {"times": 101},
        {"times": True},
        {"first": 0},
        {"first": math.nan},
        {"factor": 0.5},
        {"most": 0.5},
        {"most": math.inf},
        {"on": KeyError},
        {"on": (1,)},
    ],
    ids=repr,
)
def test_a_wrong_retry_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=next(iter(wrong))):
        Retry(**wrong)


# --- alone ----------------------------------------------------------------------------------------------------------

SKIPPED = Done(skipped="the run before it has not ended")


class Working:
    """A service whose action `work` waits, and calls of it."""

    def __init__(self, *, entries: Callable[[Any], Any] = lambda store: store) -> None:
        self.released = asyncio.Event()
        self.begun = asyncio.Semaphore(0)

        @action
        async def work() -> None:
            self.begun.release()
            await self.released.wait()

        self.service = service_of(work)
        self.service.stores.entries = entries(self.service.stores.entries)
        self.runner = Runner(self.service)

    def start(self, id: str) -> asyncio.Task[Outcome]:
        call = a_call(id, action="work", arguments=msgspec.Raw(b"{}"), alone="work")
        return asyncio.create_task(self.runner.run(call))

    async def begin(self, id: str) -> asyncio.Task[Outcome]:
        task = self.start(id)
        await self.begun.acquire()
        return task


def in_time(main: Callable[[], Any]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30):
            await main()

    asyncio.run(limited())


def test_a_call_that_is_alone_excludes_others_until_it_ends() -> None:
    async def main() -> None:
        working = Working()
        async with working.service.running():
            first = await working.begin("1")
            assert await working.start("2") == SKIPPED
            working.released.set()
            assert await first == Done()
            assert await working.start("3") == Done()
            assert await working.service.stores.entries.get("alone:work") is None

    in_time(main)


def test_a_call_that_is_given_again_takes_over_its_lease() -> None:
    async def main() -> None:
        working = Working()
        async with working.service.running():
            lost = await working.begin("1")
            again = await working.begin("1")
            lost.cancel()  # it gives back a lease that is not its own any more
            await asyncio.wait((lost,))
            assert await working.start("2") == SKIPPED
            working.released.set()
            assert await again == Done()

    in_time(main)


class Endless:
    """A store whose entries stay, and that counts the renewals."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.renewals = 0

    async def get(self, key: str, /) -> bytes | None:
        return self.entries.get(key)

    async def add(self, key: str, value: bytes, seconds: float, /) -> bytes | None:
        found = self.entries.setdefault(key, value)
        return None if found is value else found

    async def swap(self, key: str, old: bytes, new: bytes | None, seconds: float, /) -> bool:
        if self.entries.get(key) != old:
            return False
        self.renewals += old == new
        if new is None:
            del self.entries[key]
        else:
            self.entries[key] = new
        return True


def test_a_lease_is_renewed_and_one_that_ended_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.03)

    async def main() -> None:
        store = Endless()
        working = Working(entries=lambda _: store)
        async with working.service.running():
            first = await working.begin("1")
            while store.renewals < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            store.entries.clear()  # it has ended while the machine slept
            while not store.entries:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert await working.start("2") == SKIPPED
            working.released.set()
            assert await first == Done()
            assert store.entries == {}
            renewals = store.renewals
            await asyncio.sleep(0.1)
            assert store.renewals == renewals

    in_time(main)


def test_a_lost_lease_is_logged_once_and_left_to_its_new_owner(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.03)

    async def main() -> None:
        store = Endless()
        working = Working(entries=lambda _: store)
        async with working.service.running():
            first = await working.begin("1")
            store.entries["alone:work"] = b"other"
            while not caplog.records:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            working.released.set()
            assert await first == Done()
            assert store.entries == {"alone:work": b"other"}

    in_time(main)
    assert [item.getMessage() for item in caplog.records] == ["work (1) does not run alone: its lease has ended"]


class Broken:
    """A store that fails from a moment on."""

    def __init__(self, store: Any, error: Exception) -> None:
        self.store, self.error = store, error
        self.works = False

    async def add(self, key: str, value: bytes, seconds: float, /) -> bytes | None:
        if not self.works:
            raise self.error
        return await self.store.add(key, value, seconds)

    async def swap(self, *_: Any) -> bool:
        raise self.error

    async def get(self, key: str, /) -> bytes | None:
        raise self.error


def test_a_store_that_does_not_answer_postpones_a_call() -> None:
    async def main() -> None:
        working = Working(entries=lambda store: Broken(store, OverloadedError("locked")))
        async with working.service.running():
            outcome = await working.start("1")
        assert isinstance(outcome, Again)
        assert (outcome.call.attempt, outcome.call.postponed) == (1, 0)

    in_time(main)


@pytest.mark.parametrize("error", [OverloadedError("locked"), RuntimeError("defect")], ids=repr)
def test_a_store_that_fails_later_does_not_fail_the_call(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.1)

    async def main() -> None:
        broken: list[Broken] = []
        working = Working(entries=lambda store: broken.append(Broken(store, error)) or broken[0])
        broken[0].works = True
        async with working.service.running():
            task = await working.begin("1")
            while len(caplog.records) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            working.released.set()
            assert await task == Done()

    in_time(main)
    assert {item.levelno for item in caplog.records} == {logging.WARNING}


# --- the last run ---------------------------------------------------------------------------------------------------


def test_the_last_run_of_a_schedule_is_recorded() -> None:
    errors: list[CallError] = []

    @action(retry=Retry(times=1))
    def tick() -> None:
        for error in errors:
            raise error

    service = service_of(tick)

    async def main() -> list[LastRun | None]:
        runs: list[LastRun | None] = []
        async with service.running():
            for number, error in enumerate((None, OverloadedError(), NotFoundError())):
                errors[:] = [] if error is None else [error]
                call = a_call(f"tick:daily@{number}", action="tick", arguments=msgspec.Raw(b"{}"))
                await Runner(service).run(call)
                runs.append(await last_run(service, "tick:daily"))
            await Runner(service).run(a_call("other", action="tick", arguments=msgspec.Raw(b"{}")))
            runs.append(await last_run(service, ""))
        return runs

    runs = asyncio.run(main())
    assert [run and run.outcome for run in runs] == ["done", "again", "failed", None]


@pytest.mark.parametrize("error", [OverloadedError("locked"), RuntimeError("defect")], ids=repr)
def test_a_run_that_cannot_be_recorded_has_its_outcome(error: Exception) -> None:
    @action
    def work() -> int:
        return 3

    service = service_of(work)
    service.stores.entries = Broken(None, error)  # type: ignore[assignment]
    assert outcome_of(service, "work:daily@1") == Done(b"3")
