"""A service in its event loops: opened once, closed by the last, used in several loops."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from servey.action.action import action
from servey.action.context import CallContext, Origin, new_request_id
from servey.action.resource import resource
from servey.servey_direct.direct import call
from servey.service import Service
from servey.settings import Settings

BOUND = 60.0


class Pool:
    def __init__(self):
        self.open = True


def pooled(events, *, closing=None):
    """A service with an asynchronous pool; the events say what becomes of it."""

    @resource(scope="service")
    async def pool() -> AsyncIterator[Pool]:
        events.append("open")
        pool = Pool()
        yield pool
        if closing is not None:
            await closing.wait()
        pool.open = False
        events.append("close")

    @action
    async def use(pool: Pool) -> bool:
        events.append("use")
        return pool.open

    @action
    async def plain() -> str:
        return "plain"

    return Service([use, plain], resources=[pool])


async def use(service, name="use"):
    operation = service.operation(name)
    return await operation.run(operation.decode({}), CallContext(Origin.SYSTEM, "test", new_request_id()))


async def until(happened):
    for _ in range(int(BOUND / 0.002)):
        if happened():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("nothing happened")


def run(main):
    return asyncio.run(asyncio.wait_for(main, BOUND))


def test_a_service_is_open_while_it_runs():
    events = []
    service = pooled(events)

    async def main():
        assert not service.ready
        async with service.running() as entered:
            assert entered is service
            assert service.ready
            assert await use(service)
        assert not service.ready

    run(main())
    assert events == ["open", "use", "close"]


def test_running_nests():
    events = []
    service = pooled(events)

    async def main():
        async with service.running():
            async with service.running():
                await use(service)
            assert service.ready
            await use(service)

    run(main())
    assert events == ["open", "use", "use", "close"]


def test_running_repeats_in_one_loop():
    events = []
    service = pooled(events)

    async def main():
        for _ in range(2):
            async with service.running():
                await use(service)

    run(main())
    assert events == ["open", "use", "close"] * 2


def test_running_repeats_in_several_loops():
    events = []
    service = pooled(events)

    async def main():
        async with service.running():
            await use(service)

    for _ in range(3):
        run(main())
    assert events == ["open", "use", "close"] * 3


def test_two_loops_at_once_have_a_pool_each():
    events, pools = [], set()
    together = threading.Barrier(2, timeout=BOUND)

    @resource(scope="service")
    async def pool() -> AsyncIterator[Pool]:
        yield Pool()

    @action
    async def act(pool: Pool) -> None:
        pools.add(id(pool))
        together.wait()
        events.append(pool.open)

    service = Service([act], resources=[pool])
    threads = [threading.Thread(target=lambda: asyncio.run(call(service, "act", {}))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert (len(pools), events) == (2, [True, True])


def test_what_an_action_needs_is_opened_by_its_first_call_where_nobody_entered():
    events = []
    service = pooled(events)

    async def main():
        assert await use(service, "plain") == "plain"
        assert events == []
        assert await asyncio.gather(use(service), use(service)) == [True, True]

    run(main())
    assert events == ["open", "use", "use"]


def test_who_enters_while_the_last_one_leaves_gets_an_open_service():
    events = []
    closing = asyncio.Event()
    service = pooled(events, closing=closing)

    async def visit():
        async with service.running():
            return await use(service)

    async def main():
        first = asyncio.ensure_future(visit())
        await until(lambda: events == ["open", "use"] and not service.ready)
        assert not service.ready
        second = asyncio.ensure_future(visit())
        await asyncio.sleep(0.01)
        closing.set()
        assert await asyncio.gather(first, second) == [True, True]

    run(main())
    assert events == ["open", "use", "close"] * 2


def test_many_who_come_and_go_always_find_it_open():
    events = []
    service = pooled(events)

    async def main():
        async def visit(pause):
            await asyncio.sleep(pause)
            async with service.running():
                return await use(service)

        return await asyncio.gather(*(visit(index / 10_000) for index in range(100)))

    assert run(main()) == [True] * 100
    assert events.count("open") == events.count("close")


def test_a_stop_that_is_cancelled_still_closes():
    events = []
    started, go = threading.Event(), threading.Event()

    @resource(scope="service")
    async def pool() -> AsyncIterator[Pool]:
        yield Pool()
        events.append("close")

    @action
    def hang() -> None:
        started.set()
        go.wait(BOUND)

    service = Service([hang], resources=[pool])

    async def main():
        hanging: list[asyncio.Future[None]] = []

        async def stop():
            async with service.running():
                hanging.append(asyncio.ensure_future(use(service, "hang")))
                await until(started.is_set)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stop(), 0.2)
        assert events == ["close"]
        go.set()
        await hanging[0]

    run(main())


def test_a_stop_waits_for_what_runs_in_threads():
    events = []
    started, go = threading.Event(), threading.Event()

    @resource(scope="service")
    def pool() -> Iterator[Pool]:
        yield Pool()
        events.append("close")

    @action
    def slow(pool: Pool) -> None:
        started.set()
        assert go.wait(BOUND)
        events.append("done")

    service = Service([slow], resources=[pool])

    async def main():
        async with service.running():
            task = asyncio.ensure_future(use(service, "slow"))
            await until(started.is_set)
            asyncio.get_running_loop().call_later(0.05, go.set)
        await task

    run(main())
    assert events == ["done", "close"]


def test_a_stop_waits_no_longer_than_the_shutdown_timeout():
    started, go = threading.Event(), threading.Event()

    @action
    def hang() -> None:
        started.set()
        go.wait(BOUND)

    service = Service([hang], settings=Settings(shutdown_timeout=0.05))

    async def main():
        async with service.running():
            task = asyncio.ensure_future(use(service, "hang"))
            await until(started.is_set)
            before = asyncio.get_running_loop().time()
        took = asyncio.get_running_loop().time() - before
        go.set()
        await task
        return took

    assert 0.04 < run(main()) < BOUND / 2


def test_calls_that_hang_in_every_thread_keep_no_stop_from_closing():
    events = []
    started, go = threading.Event(), threading.Event()

    @resource(scope="service")
    def pool() -> Iterator[Pool]:
        events.append(threading.current_thread())
        yield Pool()
        events.append(threading.current_thread())

    @action
    def hang(pool: Pool) -> None:
        started.set()
        go.wait(BOUND)

    service = Service([hang], resources=[pool], settings=Settings(threads=1, shutdown_timeout=0.05))

    async def main():
        async with service.running():
            task = asyncio.ensure_future(use(service, "hang"))
            await until(started.is_set)
        assert len(events) == 2
        go.set()
        await task

    run(main())
    assert len(set(events)) == 1  # what is bound to its thread, a sqlite3 connection, may be a service's resource
    assert threading.main_thread() not in events


def test_an_error_inside_leaves_the_service_closed():
    events = []
    service = pooled(events)

    async def main():
        with pytest.raises(LookupError):
            async with service.running():
                raise LookupError
        assert not service.ready

    run(main())
    assert events == ["open", "close"]


def test_what_fails_to_close_leaves_a_service_that_can_be_opened_again():
    events = []

    @resource(scope="service")
    async def first() -> AsyncIterator[Pool]:
        events.append("open")
        try:
            yield Pool()
        finally:
            events.append("close")

    class Broken:
        pass

    @resource(scope="service")
    async def second(pool: Pool) -> AsyncIterator[Broken]:
        yield Broken()
        raise OSError("will not close")

    service = Service(resources=[first, second])

    async def main():
        for _ in range(2):
            with pytest.raises(OSError, match="will not close"):
                async with service.running():
                    assert service.ready
            assert not service.ready

    run(main())
    assert events == ["open", "close"] * 2
