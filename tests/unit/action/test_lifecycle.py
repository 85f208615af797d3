"""The order of a stop, and what it waits for."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from servey import CallContext, Origin, resource
from servey.action.action import action
from servey.plugin import Plugin, TriggerSupport
from servey.service import Service
from servey.settings import Settings

BOUND = 20.0


class Pool:
    pass


class Often:
    """A trigger that calls again and again."""


class Oftener(Plugin):
    """Calls each action again and again until the stop begins, then waits for its calls."""

    def __init__(self, events: list[str], *, ends: bool = True) -> None:
        self.events, self.ends = events, ends
        self.ended = asyncio.Event()

    def triggers(self) -> tuple[TriggerSupport, ...]:
        return (TriggerSupport(Often, self.start),)

    @asynccontextmanager
    async def start(self, service: Service, triggered: Any) -> AsyncIterator[None]:
        stopping = asyncio.create_task(service.until_stopping())
        calling = [asyncio.create_task(self.call(operation, stopping)) for operation, _ in triggered]
        self.events.append("start")
        yield
        await asyncio.gather(*calling)
        self.events.append("end")
        self.ended.set()

    async def call(self, operation: Any, stopping: asyncio.Task[None]) -> None:
        while not (self.ends and stopping.done()):
            context = CallContext(Origin.SYSTEM, "often", "1")
            await operation.run(operation.decode({}), context)
            await asyncio.wait([stopping], timeout=0.001)
        self.events.append("begins no more")


def pooled(events: list[str]) -> Callable[..., Any]:
    @resource(scope="service")
    async def pool() -> AsyncIterator[Pool]:
        events.append("open")
        yield Pool()
        events.append("close")

    return pool


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, BOUND))


async def called(service: Service, name: str) -> Any:
    operation = service.operations[name]
    return await operation.run(operation.decode({}), CallContext(Origin.SYSTEM, "test", "1"))


def test_a_stop_ends_triggers_then_calls_then_resources() -> None:
    events: list[str] = []
    ticked, entered = asyncio.Event(), asyncio.Event()
    plugin = Oftener(events)

    @action(triggers=(Often(),))
    async def tick() -> None:
        ticked.set()

    @action
    async def slow(pool: Pool) -> None:
        entered.set()
        await service.until_stopping()
        await plugin.ended.wait()
        events.append("slow is done")

    service = Service([tick, slow], resources=[pooled(events)], plugins=[plugin])

    async def main() -> None:
        async with service.serving():
            assert service.ready
            await ticked.wait()
            slowly = asyncio.create_task(called(service, "slow"))
            await entered.wait()
        assert not service.ready
        await slowly

    run(main())
    assert events == ["open", "start", "begins no more", "end", "slow is done", "close"]


@pytest.mark.parametrize("is_async", [True, False])
def test_a_stop_waits_for_calls_under_way(is_async: bool) -> None:
    events: list[str] = []
    entered, go = threading.Event(), threading.Event()

    def work() -> None:
        entered.set()
        assert go.wait(BOUND)
        events.append("done")

    @action(name="work")
    def in_thread(pool: Pool) -> None:
        work()

    @action(name="work")
    async def on_loop(pool: Pool) -> None:
        await asyncio.to_thread(work)

    service = Service([on_loop if is_async else in_thread], resources=[pooled(events)])

    async def main() -> None:
        async with service.running():
            working = asyncio.create_task(called(service, "work"))
            await asyncio.to_thread(entered.wait)
            asyncio.get_running_loop().call_later(0.02, go.set)
        assert events == ["open", "done", "close"]
        await working

    run(main())


def test_a_call_that_does_not_end_in_time_is_logged_and_waited_for_no_longer(caplog: pytest.LogCaptureFixture) -> None:
    @action
    async def hang() -> None:
        await asyncio.Event().wait()

    service = Service([hang], settings=Settings(shutdown_timeout=0.01))

    async def main() -> None:
        async with service.running():
            hanging = asyncio.create_task(called(service, "hang"))
            await asyncio.sleep(0)
        hanging.cancel()

    with caplog.at_level(logging.WARNING, "servey.runtime"):
        run(main())
    assert [record.getMessage() for record in caplog.records] == [
        "1 calls did not end within the time limit of the stop"
    ]


def test_a_trigger_that_does_not_end_is_cancelled_and_all_closes(caplog: pytest.LogCaptureFixture) -> None:
    events: list[str] = []

    @action(triggers=(Often(),))
    async def tick() -> None:
        await asyncio.sleep(0)

    plugin = Oftener(events, ends=False)
    service = Service([tick], resources=[pooled(events)], plugins=[plugin], settings=Settings(shutdown_timeout=0.05))

    async def main() -> None:
        async with service.serving():
            pass

    with caplog.at_level(logging.WARNING, "servey.runtime"):
        run(main())
    assert events == ["open", "start", "close"]
    assert len(caplog.records) >= 1


def test_triggers_start_again_after_a_stop_inside_of_a_longer_run() -> None:
    events: list[str] = []

    @action(triggers=(Often(),))
    async def tick() -> None: ...

    service = Service([tick], plugins=[Oftener(events)])

    async def main() -> None:
        async with service.running():
            for _ in range(2):
                async with service.serving(), service.serving():
                    assert service.ready
                assert not service.ready

    run(main())
    assert events == ["start", "begins no more", "end"] * 2


def test_a_call_that_enters_and_leaves_the_service_does_not_wait_for_itself() -> None:
    @action
    async def outer() -> str:
        async with service.running():
            pass
        return "done"

    service = Service([outer], settings=Settings(shutdown_timeout=BOUND * 2))

    async def main() -> None:
        assert await called(service, "outer") == "done"

    run(main())


def test_a_trigger_that_fails_to_start_leaves_nothing_open() -> None:
    events: list[str] = []

    class Broken(Plugin):
        def triggers(self) -> tuple[TriggerSupport, ...]:
            return (TriggerSupport(Often, self.start),)

        @asynccontextmanager
        async def start(self, service: Service, triggered: Any) -> AsyncIterator[None]:
            raise OSError("will not start")
            yield

    @action(triggers=(Often(),))
    async def tick() -> None: ...

    service = Service([tick], resources=[pooled(events)], plugins=[Broken()])

    async def main() -> None:
        with pytest.raises(OSError, match="will not start"):
            async with service.serving():
                raise AssertionError("entered")
        assert not service.ready
        async with service.running():  # and it can be opened again
            assert service.ready

    run(main())
    assert events == ["open", "close"] * 2


def test_an_error_at_the_end_of_a_trigger_is_raised_and_all_closes() -> None:
    events: list[str] = []

    class Late(Plugin):
        def triggers(self) -> tuple[TriggerSupport, ...]:
            return (TriggerSupport(Often, self.start),)

        @asynccontextmanager
        async def start(self, service: Service, triggered: Any) -> AsyncIterator[None]:
            yield
            raise TimeoutError("the trigger's own")

    @action(triggers=(Often(),))
    async def tick() -> None: ...

    service = Service([tick], resources=[pooled(events)], plugins=[Late()])

    async def main() -> None:
        with pytest.raises(TimeoutError, match="own"):
            async with service.serving():
                pass

    run(main())
    assert events == ["open", "close"]
