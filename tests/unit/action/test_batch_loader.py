"""The calls of one request that are made together: when, in which threads, and what becomes of each."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

import pytest

from servey import BatchInvoker, resource
from servey.action import thread_batch
from servey.action.action import action
from servey.action.batch_loader import BatchLoader
from servey.action.context import CURRENT_CALL, CallContext, Origin
from servey.action.workers import Job, WorkerThreads
from servey.cache_control.ttl_cache_control import TtlCacheControl
from servey.errors import DeadlineError, InternalError, NotFoundError, OverloadedError
from servey.service import Service
from servey.settings import Settings

BOUND = 60.0


@pytest.fixture
def jobs(monkeypatch):
    """The labels of the jobs that worker threads were given; none to help, however slow the machine is."""
    monkeypatch.setattr(thread_batch, "PATIENCE_SECONDS", BOUND)
    labels = []
    run = WorkerThreads.run

    def counted(self, call, *, deadline, label, request_id):
        labels.append(label)
        return run(self, call, deadline=deadline, label=label, request_id=request_id)

    monkeypatch.setattr(WorkerThreads, "run", counted)
    return labels


@pytest.fixture
def impatient(monkeypatch):
    """More threads help at once."""
    monkeypatch.setattr(thread_batch, "PATIENCE_SECONDS", 0.0)


def grouped(group, deadline=None, request_id="r"):
    return CallContext(Origin.NETWORK, "test", request_id, batch_loader=group, deadline=deadline)


def call(service, name, group, deadline=None, **arguments):
    """A task that calls an action as a part of the request that the group belongs to."""
    operation = service.operations[name]
    return asyncio.create_task(operation.run(operation.decode(arguments), grouped(group, deadline), operation.check))


def run(service, main):
    async def running():
        async with service.running(), asyncio.timeout(BOUND):
            return await main(BatchLoader())

    return asyncio.run(running())


def kinds(outcomes):
    return [type(outcome) if isinstance(outcome, BaseException) else outcome for outcome in outcomes]


async def until(condition):
    """Give way to others until `condition` holds; the test's bound ends it otherwise."""
    while not condition():  # noqa: ASYNC110 - what is waited for happens in a thread
        await asyncio.sleep(0.001)


class Gate:
    """Holds whoever comes until it is opened."""

    def __init__(self):
        self.begun = threading.Event()
        self.opened = threading.Event()

    def __call__(self):
        self.begun.set()
        assert self.opened.wait(BOUND)


# --- one way into the threads -----------------------------------------------------------------------------------------


def test_a_hundred_quick_calls_are_one_job(jobs):
    threads = set()

    @action
    def double(n: int) -> int:
        threads.add(threading.current_thread().name)
        return n * 2

    service = Service([double])

    async def main(group):
        return await asyncio.gather(*(call(service, "double", group, n=n) for n in range(100)))

    assert run(service, main) == [n * 2 for n in range(100)]
    assert (jobs, threads) == (["double"], {"servey-worker-1"})


def test_calls_of_several_actions_share_a_job_and_those_of_other_requests_do_not(jobs):
    @action
    def f(n: int) -> int:
        return n

    @action
    def g() -> str:
        return "g"

    service = Service([f, g])

    async def main(group):
        both = (call(service, "f", group, n=1), call(service, "g", group), call(service, "f", group, n=2))
        return await asyncio.gather(*both, call(service, "g", BatchLoader()))

    assert run(service, main) == [1, "g", 2, "g"]
    assert sorted(jobs) == ["f, g", "g"]


def test_a_call_without_a_group_is_a_job_of_its_own(jobs):
    @action
    def f() -> int:
        return 1

    service = Service([f])

    async def main(group):
        return await asyncio.gather(call(service, "f", None), call(service, "f", None))

    assert run(service, main) == [1, 1]
    assert jobs == ["f", "f"]


def test_calls_that_come_some_turns_of_the_loop_later_are_still_in_time(jobs):
    @action
    def f(n: int) -> int:
        return n

    service = Service([f])

    async def main(group):
        async def later(turns):
            for _ in range(turns):
                await asyncio.sleep(0)
            return await call(service, "f", group, n=turns)

        return await asyncio.gather(*map(later, range(20)))

    assert run(service, main) == list(range(20))
    assert jobs == ["f"]


def test_each_level_has_a_job_of_its_own(jobs):
    @action
    def f(n: int) -> int:
        return n + 1

    service = Service([f])

    async def main(group):
        async def nested(n):
            return await call(service, "f", group, n=await call(service, "f", group, n=n))

        return await asyncio.gather(*map(nested, range(10)))

    assert run(service, main) == [n + 2 for n in range(10)]
    assert jobs == ["f", "f"]


def test_results_that_are_kept_are_made_together(jobs):
    @action(cache_control=TtlCacheControl(30))
    def f(n: int) -> int:
        return n

    service = Service([f])
    operation = service.operations["f"]

    async def main(group):
        async def fetched(n):
            return await service.cached["f"].fetch_object(operation.decode({"n": n}), grouped(group))

        first = await asyncio.gather(*map(fetched, range(10)))
        again = await asyncio.gather(*map(fetched, range(10)))
        return [[value for value, _ in found] for found in (first, again)]

    assert run(service, main) == [list(range(10))] * 2
    assert jobs == ["f"]


def test_two_actions_in_batches_in_the_same_turn_are_two_batches():
    seen = []

    def batch(name):
        async def fn(items):
            seen.append((name, [item.n for item in items]))
            return [item.n for item in items]

        return BatchInvoker(fn)

    @dataclass
    class Number:
        n: int

        @action(batch_invoker=batch("f"))
        async def f(self) -> int:
            raise AssertionError

        @action(batch_invoker=batch("g"))
        async def g(self) -> int:
            raise AssertionError

    @action
    def number() -> Number:
        return Number(1)

    service = Service([number])

    async def main(group):
        async def both(n):
            owner = {"self": {"n": n}}
            first = await asyncio.gather(
                call(service, "number_f", group, **owner), call(service, "number_g", group, **owner)
            )
            return [*first, await call(service, "number_f", group, self={"n": n + 10})]

        return await asyncio.gather(*map(both, range(2)))

    assert run(service, main) == [[0, 0, 10], [1, 1, 11]]
    assert seen == [("f", [0, 1]), ("g", [0, 1]), ("f", [10, 11])]


# --- slow calls -------------------------------------------------------------------------------------------------------


def test_slow_calls_are_spread_over_threads():
    together = threading.Barrier(5)

    @action
    def meet() -> int:
        together.wait(BOUND)  # nobody passes before five are here
        return 1

    service = Service([meet])

    async def main(group):
        return await asyncio.gather(*(call(service, "meet", group) for _ in range(5)))

    assert run(service, main) == [1] * 5


def test_one_request_has_so_many_threads_at_most_and_the_rest_is_for_others(impatient):
    gate, lock = Gate(), threading.Lock()
    inside = []

    @action
    def hold(n: int) -> int:
        with lock:
            inside.append(n)
        gate()
        return n

    @action
    def other() -> str:
        return "other"

    service = Service([hold, other], settings=Settings(threads=40))

    async def main(group):
        held = [call(service, "hold", group, n=n) for n in range(20)]
        await until(lambda: len(inside) == thread_batch.MOST_THREADS)
        for _ in range(50):
            await asyncio.sleep(0)
        found = await call(service, "other", BatchLoader())
        begun = sorted(inside)
        gate.opened.set()
        return found, begun, await asyncio.gather(*held)

    assert run(service, main) == ("other", list(range(thread_batch.MOST_THREADS)), list(range(20)))


def test_the_result_of_a_quick_call_does_not_wait_for_a_slow_one_in_its_thread():
    gate = Gate()

    @action
    def quick() -> str:
        return "quick"

    @action
    def slow() -> str:
        gate()
        return "slow"

    service = Service([quick, slow])

    async def main(group):
        calls = [call(service, "quick", group), call(service, "slow", group)]
        try:
            found = await calls[0], calls[1].done()
        finally:
            gate.opened.set()
        return found, await calls[1]

    assert run(service, main) == (("quick", False), "slow")


# --- what is each call's own ------------------------------------------------------------------------------------------


def test_errors_concern_their_calls_alone(caplog):
    @action
    def f(n: int) -> int:
        if n == 1:
            raise NotFoundError("no such thing")
        if n == 2:
            raise StopIteration
        if n == 3:
            raise SystemExit
        return "x" if n == 4 else n

    service = Service([f])

    async def main(group):
        return await asyncio.gather(*(call(service, "f", group, n=n) for n in range(6)), return_exceptions=True)

    assert kinds(run(service, main)) == [0, NotFoundError, InternalError, InternalError, InternalError, 5]
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 3


def test_each_call_sees_the_context_of_its_caller_and_leaves_it_alone():
    variable = ContextVar("variable", default="nobody's")

    @action
    def f() -> list[str]:
        seen = [variable.get(), CURRENT_CALL.get().request_id]
        variable.set("changed")
        return seen

    service = Service([f])
    operation = service.operations["f"]

    async def main(group):
        async def each(n):
            variable.set(f"v-{n}")
            found = await operation.run(operation.decode({}), grouped(group, request_id=f"r-{n}"), operation.check)
            return [*found, variable.get()]

        return await asyncio.gather(*map(each, range(3)))

    assert run(service, main) == [[f"v-{n}", f"r-{n}", f"v-{n}"] for n in range(3)]


@dataclass
class Session:
    number: int


def test_each_call_has_resources_of_its_own_in_its_thread(jobs):
    events = []

    @resource(scope="call")
    def session() -> Iterator[Session]:
        events.append("open")
        yield Session(len(events))
        events.append("close")

    @action
    def f(session: Session) -> int:
        return session.number

    service = Service([f], resources=[session])

    async def main(group):
        return await asyncio.gather(call(service, "f", group), call(service, "f", group))

    assert run(service, main) == [1, 3]
    assert (events, jobs) == (["open", "close"] * 2, ["f"])


def test_what_needs_asynchronous_resources_goes_its_own_way(jobs):
    @resource(scope="call")
    async def session() -> AsyncIterator[Session]:
        yield Session(1)

    @action
    def f(session: Session) -> int:
        return session.number

    service = Service([f], resources=[session])

    async def main(group):
        return await asyncio.gather(call(service, "f", group), call(service, "f", group))

    assert run(service, main) == [1, 1]
    assert jobs == ["f", "f"]


# --- deadlines and callers who leave ----------------------------------------------------------------------------------


def test_at_the_deadline_what_is_done_has_its_result_and_the_rest_is_late(monkeypatch, caplog):
    monkeypatch.setattr(thread_batch, "PATIENCE_SECONDS", BOUND)  # nobody helps, and nothing is given out early
    gate = Gate()
    made = []

    @action
    def f(n: int) -> int:
        made.append(n)
        if n == 1:
            gate()
        return n

    service = Service([f])

    async def main(group):
        at = asyncio.get_running_loop().time() + 0.2
        calls = [call(service, "f", group, at, n=n) for n in range(4)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        gate.opened.set()
        await service.runtime.workers.drain(BOUND)
        return outcomes

    caplog.set_level(logging.INFO, "servey.workers")
    assert kinds(run(service, main)) == [0, DeadlineError, DeadlineError, DeadlineError]
    assert made == [0, 1]
    assert [(record.levelname, record.args[0]) for record in caplog.records if record.name == "servey.workers"] == [
        ("WARNING", "f")
    ]


def test_what_never_had_a_thread_finds_the_service_overloaded():
    gate, made = Gate(), []

    @action
    def hold() -> None:
        gate()

    @action
    def f(n: int) -> int:
        made.append(n)
        return n

    service = Service([hold, f], settings=Settings(threads=1))

    async def main(group):
        held = call(service, "hold", None)
        await until(gate.begun.is_set)
        at = asyncio.get_running_loop().time() + 0.05
        outcomes = await asyncio.gather(*(call(service, "f", group, at, n=n) for n in range(2)), return_exceptions=True)
        waiting = service.runtime.workers.waiting
        gate.opened.set()
        await held
        await service.runtime.workers.drain(BOUND)
        return kinds(outcomes), waiting

    assert run(service, main) == ([OverloadedError] * 2, 0)
    assert made == []


def test_calls_that_no_thread_will_make_are_told_so():
    @action
    def f() -> int:
        return 1

    service = Service([f])

    async def main(group):
        service.runtime.workers.close()
        at = asyncio.get_running_loop().time() + 1000  # it is not the deadline that tells them
        calls = [call(service, "f", group, at) for _ in range(2)]
        return kinds(await asyncio.gather(*calls, return_exceptions=True))

    assert run(service, main) == [OverloadedError] * 2


def test_a_call_that_nobody_waits_for_any_more_is_not_begun(monkeypatch):
    monkeypatch.setattr(thread_batch, "PATIENCE_SECONDS", BOUND)
    gate, made = Gate(), []

    @action
    def f(n: int) -> int:
        made.append(n)
        if n == 0:
            gate()
        return n

    service = Service([f])

    async def main(group):
        calls = [call(service, "f", group, n=n) for n in range(4)]
        await asyncio.sleep(0)
        calls[1].cancel()  # before the calls are made
        await until(gate.begun.is_set)
        calls[2].cancel()  # and when another holds the thread
        await asyncio.wait(calls[1:3])
        gate.opened.set()
        return kinds(await asyncio.gather(*calls, return_exceptions=True))

    assert run(service, main) == [0, asyncio.CancelledError, asyncio.CancelledError, 3]
    assert made == [0, 3]


def test_a_request_that_nobody_waits_for_gives_its_place_for_a_thread_back():
    gate = Gate()

    @action
    def hold() -> None:
        gate()

    service = Service([hold], settings=Settings(threads=1))

    async def main(group):
        held = call(service, "hold", None)
        await until(gate.begun.is_set)
        calls = [call(service, "hold", group) for _ in range(3)]
        await until(lambda: service.runtime.workers.waiting == 1)
        for each in calls:
            each.cancel()
        await asyncio.wait(calls)
        await until(lambda: service.runtime.workers.waiting == 0)
        gate.opened.set()
        await held

    run(service, main)


def test_to_give_up_all_calls_at_once_takes_no_longer_for_each_than_to_give_up_one(monkeypatch):
    monkeypatch.setattr(thread_batch, "PATIENCE_SECONDS", BOUND)
    gate, asked = Gate(), []

    class Future(asyncio.Future):
        def done(self):
            asked.append(self)
            return super().done()

    def jobs_of(service, count):
        loop = service.runtime.loop
        return [(Job(gate, Future(loop=loop), "f", "r"), None) for _ in range(count)]

    service = Service([])

    async def main(group):
        calls = jobs_of(service, 200)
        hop = thread_batch.ThreadBatch(calls, service.runtime)
        await until(gate.begun.is_set)
        asked.clear()
        for job, _ in calls:
            job.future.cancel()
            hop.leave(job)
        gate.opened.set()
        return len(asked)

    assert run(service, main) <= 400


def test_a_group_lets_its_calls_go_when_they_are_done():
    async def fn(items):
        return [item.n for item in items]

    @dataclass
    class Number:
        n: int

        @action
        def threaded(self) -> int:
            return self.n

        @action(batch_invoker=BatchInvoker(fn))
        async def batched(self) -> int:
            raise AssertionError

    @action
    def number() -> Number:
        return Number(1)

    service = Service([number])

    async def main(group):
        names = ("number_threaded", "number_batched")
        found = await asyncio.gather(*(call(service, name, group, self={"n": 5}) for name in names))
        left = {name: value for name, value in vars(group).items() if isinstance(value, dict | list) and value}
        return found, left

    assert run(service, main) == ([5, 5], {})
