from __future__ import annotations

import asyncio
import gc
import logging
import random
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Coroutine, Hashable, Iterator
from contextvars import ContextVar
from types import FrameType
from typing import Any, TypeVar

import pytest

from servey.action import workers as workers_module
from servey.action.deadlines import Deadlines
from servey.action.workers import WorkerThreads
from servey.errors import CallError, DeadlineError, OverloadedError

BOUND = 60.0
"""Seconds after which a test that hangs fails."""

T = TypeVar("T")

Main = Callable[[WorkerThreads], Coroutine[Any, Any, Any]]
Run = Callable[..., Any]


def _uvloop() -> asyncio.AbstractEventLoop:
    return pytest.importorskip("uvloop").new_event_loop()


@pytest.fixture(params=[asyncio.new_event_loop, _uvloop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a function with workers in a new event loop; see that all of their threads end."""
    before = set(threading.enumerate())

    def run(main: Main, threads: int = 2, deadlines: type[Deadlines] = Deadlines) -> Any:
        async def bounded() -> Any:
            loop = asyncio.get_running_loop()
            workers = WorkerThreads(loop, threads, deadlines(loop))
            try:
                async with asyncio.timeout(BOUND):
                    return await main(workers)
            finally:
                workers.close()

        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(bounded())

    yield run
    for thread in set(threading.enumerate()) - before:
        thread.join(BOUND)
        assert not thread.is_alive()


def call(workers: WorkerThreads, function: Callable[[], T], deadline: float | None = None) -> Coroutine[Any, Any, T]:
    return workers.run(function, deadline=deadline, label="stock.count", request_id="r-1")


def now() -> float:
    return asyncio.get_running_loop().time()


async def until(condition: Callable[[], bool]) -> None:
    """Give way to others until `condition` holds; the test's bound ends it otherwise."""
    while not condition():  # noqa: ASYNC110 - what is waited for happens in a thread
        await asyncio.sleep(0.001)


class Gate:
    """A job that says when it has begun and ends when it is let go."""

    def __init__(self, result: Any = None) -> None:
        self.begun = threading.Event()
        self.let_go = threading.Event()
        self.result = result

    def __call__(self) -> Any:
        self.begun.set()
        assert self.let_go.wait(BOUND)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


# what a job is


def test_a_job_runs_in_a_named_daemon_thread_and_its_value_comes_back(run: Run) -> None:
    async def main(workers: WorkerThreads) -> None:
        thread = await call(workers, threading.current_thread)
        assert thread is not threading.current_thread()
        assert thread.name == "servey-worker-1"
        assert thread.daemon

    run(main)


def test_a_job_sees_the_callers_context_and_leaves_it_alone(run: Run) -> None:
    variable: ContextVar[str] = ContextVar("variable")

    def job() -> str:
        seen = variable.get()
        variable.set("job's")
        return seen

    async def main(workers: WorkerThreads) -> None:
        variable.set("caller's")
        assert await call(workers, job) == "caller's"
        assert variable.get() == "caller's"

    run(main)


def test_an_error_of_a_job_is_raised_in_the_caller_and_kept_alive_by_nobody(run: Run) -> None:
    class MineError(Exception):
        pass

    def fail() -> None:
        raise MineError("mine")

    async def main(workers: WorkerThreads) -> None:
        async def caught() -> tuple[str, weakref.ref[MineError]]:
            try:
                await call(workers, fail)
            except MineError as error:
                return traceback.extract_tb(error.__traceback__)[-1].name, weakref.ref(error)
            raise AssertionError

        gc.disable()
        try:
            where, error = await caught()
            assert where == "fail"
            await asyncio.sleep(0)
            assert error() is None
        finally:
            gc.enable()

    run(main)


def test_stop_iteration_becomes_a_runtime_error_as_in_a_coroutine(run: Run) -> None:
    async def main(workers: WorkerThreads) -> None:
        with pytest.raises(RuntimeError) as raised:
            await call(workers, lambda: next(iter(())))
        assert isinstance(raised.value.__cause__, StopIteration)

    run(main)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_what_is_no_exception_fails_the_call_and_not_the_thread(run: Run, kind: type[BaseException]) -> None:
    def leave() -> None:
        raise kind

    async def main(workers: WorkerThreads) -> None:
        with pytest.raises(RuntimeError) as raised:
            await call(workers, leave)
        assert type(raised.value.__cause__) is kind
        assert (await call(workers, threading.current_thread)).name == "servey-worker-1"

    run(main)


def test_an_idle_thread_keeps_nothing_of_its_last_job_alive(run: Run) -> None:
    class Large:
        def touch(self) -> Large:
            return self

    async def main(workers: WorkerThreads) -> None:
        large = Large()
        kept = weakref.ref(large)
        await call(workers, large.touch)
        del large
        await until(lambda: kept() is None)

    run(main)


@pytest.mark.parametrize("busy", [False, True])
def test_the_error_of_a_deadline_is_kept_alive_by_nobody_though_the_job_hangs(run: Run, busy: bool) -> None:
    async def main(workers: WorkerThreads) -> None:
        async def caught() -> weakref.ref[CallError]:
            try:
                await call(workers, gate, now())
            except (DeadlineError, OverloadedError) as error:
                return weakref.ref(error)
            raise AssertionError

        gate = Gate()
        if busy:
            task = asyncio.create_task(call(workers, gate))
            await until(gate.begun.is_set)
        gc.disable()
        try:
            error = await caught()
            await asyncio.sleep(0)
            assert error() is None
        finally:
            gc.enable()
            gate.let_go.set()
        if busy:
            await task

    run(main, threads=1)


# threads


def test_threads_start_one_by_one_while_none_is_idle_up_to_the_bound(run: Run) -> None:
    async def main(workers: WorkerThreads) -> None:
        async def name() -> str:
            return (await call(workers, threading.current_thread)).name

        assert [await name() for _ in range(5)] == ["servey-worker-1"] * 5

        gates = [Gate(threading.current_thread) for _ in range(5)]
        jobs = [asyncio.create_task(call(workers, gate)) for gate in gates]
        await until(lambda: workers.waiting == 2)
        assert workers.running == 3
        assert [gate.begun.wait(BOUND) for gate in gates[:3]] == [True] * 3
        assert [gate.begun.is_set() for gate in gates[3:]] == [False] * 2
        for gate in gates:
            gate.let_go.set()
        await asyncio.gather(*jobs)
        assert await workers.drain(BOUND) == 0
        assert (workers.running, workers.waiting) == (0, 0)
        assert {await name() for _ in range(20)} <= {f"servey-worker-{number}" for number in (1, 2, 3)}

    run(main, threads=3)


def test_jobs_that_wait_run_in_the_order_they_came(run: Run) -> None:
    async def main(workers: WorkerThreads) -> None:
        gate, order = Gate(), []
        first = asyncio.create_task(call(workers, gate))
        await until(gate.begun.is_set)
        rest = [asyncio.create_task(call(workers, lambda number=number: order.append(number))) for number in range(10)]
        await until(lambda: workers.waiting == 10)
        gate.let_go.set()
        await asyncio.gather(first, *rest)
        assert order == list(range(10))

    run(main, threads=1)


def test_a_pool_of_no_threads_is_refused() -> None:
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(ValueError):
            WorkerThreads(loop, 0)
    finally:
        loop.close()


def test_a_job_for_which_the_system_has_no_thread_waits_for_one_or_is_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main(workers: WorkerThreads) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_thread)
            with pytest.raises(OverloadedError):
                await call(workers, str)
        assert (workers.running, workers.waiting) == (0, 0)
        gate = Gate("first")
        first = asyncio.create_task(call(workers, gate))
        await until(gate.begun.is_set)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_thread)
            second = asyncio.create_task(call(workers, lambda: "second"))
            await until(lambda: workers.waiting == 1)
        gate.let_go.set()
        assert await asyncio.gather(first, second) == ["first", "second"]

    run(main)


def test_a_job_for_which_the_system_has_no_thread_takes_one_that_became_idle_meanwhile(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(workers: WorkerThreads) -> None:
        def no_thread(_: threading.Thread) -> None:
            gate.let_go.set()
            end = time.monotonic() + BOUND
            while workers.running > 1:  # the job that has no thread yet is counted
                assert time.monotonic() < end
            raise RuntimeError("can't start new thread")

        gate = Gate("first")
        first = asyncio.create_task(call(workers, gate))
        await until(gate.begun.is_set)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_thread)
            assert await call(workers, lambda: "second") == "second"
        assert await first == "first"

    run(main)


def test_no_result_of_20000_jobs_is_lost(run: Run) -> None:
    async def main(workers: WorkerThreads) -> None:
        async def ask(task: int) -> int:
            total = 0
            for number in range(100):
                total += await call(workers, lambda number=number: number, now() + BOUND * 2)
            return total

        assert await asyncio.gather(*(ask(task) for task in range(100))) == [sum(range(100))] * 100
        # above, a result that is left behind comes with the next one; here there is none
        for _ in range(2500):
            assert await asyncio.gather(*(call(workers, lambda n=n: n) for n in range(4))) == [0, 1, 2, 3]
        assert await workers.drain(BOUND) == 0
        assert (workers.running, workers.waiting) == (0, 0)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads change places in unlikely moments
    try:
        run(main, threads=8)
    finally:
        sys.setswitchinterval(interval)


def test_no_result_is_lost_wherever_a_thread_is_interrupted(run: Run) -> None:
    chance = random.Random(1)

    def interrupt(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != workers_module.__file__:
            return None
        if event == "line":
            time.sleep(chance.choice((0, 0, 0, 1e-5, 1e-4)))
        return interrupt

    async def main(workers: WorkerThreads) -> None:
        for _ in range(60):
            assert await asyncio.gather(*(call(workers, lambda n=n: n) for n in range(8))) == list(range(8))

    before, before_here = threading.gettrace(), sys.gettrace()
    threading.settrace(interrupt)
    sys.settrace(interrupt)
    try:
        run(main, threads=4)
    finally:
        sys.settrace(before_here)
        threading.settrace(before)  # type: ignore[arg-type]


# deadlines and cancellation


def test_a_job_in_time_is_not_given_up(run: Run) -> None:
    async def main(workers: WorkerThreads) -> None:
        assert await call(workers, lambda: "value", now() + BOUND) == "value"

    run(main)


def test_a_deadline_that_passes_before_a_thread_is_free_withdraws_the_job(run: Run) -> None:
    async def main(workers: WorkerThreads) -> None:
        gate, ran = Gate("first"), []
        first = asyncio.create_task(call(workers, gate))
        await until(gate.begun.is_set)
        with pytest.raises(OverloadedError) as raised:
            await call(workers, lambda: ran.append(1), now())
        assert int(raised.value.headers["Retry-After"]) >= 1
        assert (workers.running, workers.waiting) == (1, 0)
        gate.let_go.set()
        assert await first == "first"
        assert await call(workers, lambda: "next") == "next"
        assert ran == []

    run(main, threads=1)


@pytest.mark.parametrize("fails", [False, True])
def test_a_job_that_overruns_keeps_its_thread_and_is_logged_when_it_ends(
    run: Run, caplog: pytest.LogCaptureFixture, fails: bool
) -> None:
    caplog.set_level(logging.INFO)

    async def main(workers: WorkerThreads) -> None:
        gate = Gate(KeyError("mine") if fails else "value")
        with pytest.raises(DeadlineError):
            await call(workers, gate, now())
        assert gate.begun.is_set()
        assert workers.running == 1
        assert caplog.records == []
        gate.let_go.set()
        assert await workers.drain(BOUND) == 0
        [record] = caplog.records  # what is drained is logged
        assert (record.name, record.levelno) == ("servey.workers", logging.WARNING)
        assert "stock.count" in record.getMessage()
        assert "r-1" in record.getMessage()
        assert " s," in record.getMessage()
        assert (record.exc_info is not None) == fails
        assert workers.running == 0

    run(main)


def test_a_result_that_is_there_when_the_deadline_is_noticed_counts(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    expire: list[Callable[[], object]] = []

    class ByHand(Deadlines):
        def add(self, key: Hashable, at: float, expire_: Callable[[], object]) -> None:
            expire.append(expire_)

    async def main(workers: WorkerThreads) -> None:
        task = asyncio.create_task(call(workers, lambda: "value", now()))
        await asyncio.sleep(0)
        end = time.monotonic() + BOUND
        while workers.running:  # holds the loop, so that the result cannot be delivered
            assert time.monotonic() < end
        expire.pop()()
        assert await task == "value"

    run(main, deadlines=ByHand)
    assert caplog.records == []


def test_a_cancellation_withdraws_a_job_that_waits(run: Run) -> None:
    async def main(workers: WorkerThreads) -> None:
        gate, ran = Gate(), []
        first = asyncio.create_task(call(workers, gate))
        await until(gate.begun.is_set)
        second = asyncio.create_task(call(workers, lambda: ran.append(1), now() + BOUND))
        await until(lambda: workers.waiting == 1)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert (workers.running, workers.waiting) == (1, 0)
        gate.let_go.set()
        await first
        await call(workers, str)
        assert ran == []

    run(main, threads=1)


def test_a_job_that_runs_when_its_caller_is_cancelled_goes_on(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main(workers: WorkerThreads) -> None:
        gate = Gate()
        task = asyncio.create_task(call(workers, gate, now() + BOUND))
        await until(gate.begun.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert workers.running == 1
        gate.let_go.set()
        assert await workers.drain(BOUND) == 0
        assert [(record.name, record.levelno) for record in caplog.records] == [("servey.workers", logging.INFO)]

    run(main)


def test_a_cancellation_wins_over_a_deadline_of_the_same_moment(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    expire: list[Callable[[], object]] = []

    class ByHand(Deadlines):
        def add(self, key: Hashable, at: float, expire_: Callable[[], object]) -> None:
            expire.append(expire_)

    async def main(workers: WorkerThreads) -> None:
        gate = Gate()
        running = asyncio.create_task(call(workers, gate, now()))
        await until(gate.begun.is_set)
        waiting = asyncio.create_task(call(workers, gate, now()))
        await until(lambda: workers.waiting == 1)
        for task in (waiting, running):
            expire.pop()()
            task.cancel()
        done, _ = await asyncio.wait((running, waiting))
        assert [task.cancelled() for task in done] == [True, True]
        late = asyncio.create_task(call(workers, gate, now()))
        await until(lambda: len(expire) == 1)
        late.cancel()
        expire.pop()()
        await asyncio.wait((late,))
        assert late.cancelled()
        gate.let_go.set()
        assert await workers.drain(BOUND) == 0

    run(main, threads=1, deadlines=ByHand)
    gc.collect()
    assert [record.name for record in caplog.records] == ["servey.workers"]  # asyncio has nothing to complain of


def test_a_deadline_leaves_nothing_behind_in_the_table(run: Run) -> None:
    tables: list[Deadlines] = []

    class Seen(Deadlines):
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            super().__init__(loop)
            tables.append(self)

    async def main(workers: WorkerThreads) -> None:
        gate = Gate()
        await call(workers, str, now() + BOUND)
        assert len(tables[0]) == 0
        task = asyncio.create_task(call(workers, gate, now() + BOUND))
        await until(gate.begun.is_set)
        assert len(tables[0]) == 1
        task.cancel()
        await asyncio.wait((task,))
        assert len(tables[0]) == 0
        gate.let_go.set()

    run(main, deadlines=Seen)


def test_a_log_filter_that_fails_costs_no_thread(run: Run) -> None:
    def broken(_: logging.LogRecord) -> bool:
        raise ValueError("broken filter")

    async def main(workers: WorkerThreads) -> None:
        gate = Gate()
        with pytest.raises(DeadlineError):
            await call(workers, gate, now())
        gate.let_go.set()
        assert await workers.drain(BOUND) == 0
        assert await call(workers, lambda: "value") == "value"

    logging.getLogger("servey.workers").addFilter(broken)
    try:
        run(main, threads=1)
    finally:
        logging.getLogger("servey.workers").removeFilter(broken)


# the end


def test_drain_waits_for_jobs_that_run_and_for_jobs_that_wait(run: Run) -> None:
    async def main(workers: WorkerThreads) -> None:
        assert await workers.drain(0) == 0
        gates = [Gate(), Gate(), Gate()]
        jobs = [asyncio.create_task(call(workers, gate)) for gate in gates]
        await until(lambda: workers.waiting == 1)
        drains = [asyncio.create_task(workers.drain(BOUND)) for _ in range(2)]
        assert await workers.drain(0.01) == 3
        for gate, job in zip(gates, jobs, strict=True):
            assert not any(drain.done() for drain in drains)
            gate.let_go.set()
            await job
            await asyncio.sleep(0)
        assert await asyncio.gather(*drains) == [0, 0]

    run(main)


def test_drain_waits_for_a_job_that_nobody_waits_for(run: Run) -> None:
    async def main(workers: WorkerThreads) -> None:
        gate = Gate()
        await call(workers, str)
        assert await workers.drain(BOUND) == 0
        with pytest.raises(DeadlineError):
            await call(workers, gate, now())
        assert await workers.drain(0) == 1
        drain = asyncio.create_task(workers.drain(BOUND))
        await asyncio.sleep(0)
        gate.let_go.set()
        assert await drain == 0

    run(main)


def test_close_ends_idle_threads_at_once_and_busy_ones_after_their_jobs(run: Run) -> None:
    async def main(workers: WorkerThreads) -> None:
        before = set(threading.enumerate())  # other tests may have left some
        gates = [Gate("first"), Gate(threading.current_thread)]
        jobs = [asyncio.create_task(call(workers, gate)) for gate in gates]
        await until(lambda: all(gate.begun.is_set() for gate in gates))
        waits = asyncio.create_task(call(workers, threading.current_thread))
        await until(lambda: workers.waiting == 1)
        idle, busy = sorted(set(threading.enumerate()) - before, key=lambda thread: thread.name)
        workers.close()
        workers.close()
        with pytest.raises(OverloadedError):
            await call(workers, str)
        gates[0].let_go.set()
        assert await jobs[0] == "first"
        assert await waits is idle  # what was here before is done
        idle.join(BOUND)
        assert (idle.is_alive(), busy.is_alive()) == (False, True)
        gates[1].let_go.set()
        await jobs[1]
        busy.join(BOUND)
        assert not busy.is_alive()
        assert await workers.drain(BOUND) == 0

    run(main)


def test_close_ends_threads_that_are_idle(run: Run) -> None:
    async def main(workers: WorkerThreads) -> None:
        thread = await call(workers, threading.current_thread)
        await until(lambda: workers.running == 0)
        workers.close()
        thread.join(BOUND)
        assert not thread.is_alive()

    run(main)


@pytest.mark.parametrize("deadline", [False, True])
def test_a_job_that_ends_after_the_loop_was_closed_harms_nobody(
    run: Run, caplog: pytest.LogCaptureFixture, deadline: bool
) -> None:
    gates = [Gate(), Gate(KeyError("mine")), Gate()]
    left: list[WorkerThreads] = []
    threads: set[threading.Thread] = set()
    before = set(threading.enumerate())  # other tests may have left some

    async def main(workers: WorkerThreads) -> None:
        left.append(workers)
        for gate in gates:
            asyncio.create_task(call(workers, gate, now() + BOUND if deadline else None))  # noqa: RUF006
        await until(lambda: gates[0].begun.is_set() and gates[1].begun.is_set() and workers.waiting == 1)
        threads.update(set(threading.enumerate()) - before)

    run(main)  # the loop's end cancels the tasks
    for gate in gates:
        gate.let_go.set()
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()
    assert (left[0].running, left[0].waiting) == (0, 0)
    assert not gates[2].begun.is_set()
    kept = weakref.ref(gates[0])
    gates.clear()
    del gate
    gc.collect()
    assert kept() is None
    assert [record for record in caplog.records if record.name != "servey.workers"] == []


def test_a_process_ends_although_a_job_hangs() -> None:
    script = """
import asyncio, threading
from servey.action.workers import WorkerThreads
from servey.errors import DeadlineError

async def main():
    loop = asyncio.get_running_loop()
    workers = WorkerThreads(loop, 1)
    try:
        await workers.run(threading.Event().wait, deadline=loop.time(), label="hangs", request_id="1")
    except DeadlineError:
        print("given up", await workers.drain(0))
    workers.close()

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=BOUND, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "given up 1\n", "")
