"""Counting in memory: it costs the same however many callers there are, it is bounded, and filling it frees nobody."""

import asyncio
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import limits.aio.storage
import limits.storage
from limits.strategies import MovingWindowRateLimiter as SyncMovingWindow

from servey.security.rate_limit.call_counter import parse_rate_limit
from servey.security.rate_limit.memory_storage import MemoryStorage

ROOM = 1024 * 1024


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


NAMES = count()


def spray(storage: MemoryStorage, callers: int, *, limit: int = 10, calls: int = 1) -> None:
    """Let so many callers call who have never called before."""

    for _, name in zip(range(callers), NAMES, strict=False):
        for _ in range(calls):
            storage.acquire_all([(f"stranger {name}", limit, 60)])


def acquire(storage: MemoryStorage, key: str, limit: int = 10, times: int = 1) -> list[bool]:
    return [storage.acquire_all([(key, limit, 60)])[0][0] for _ in range(times)]


class Ours(MemoryStorage):
    async def acquire_entry(self, key: str, limit: int, expiry: int) -> bool:
        return self.acquire_all([(key, limit, expiry)])[0][0]


def cost(make: Callable[[], limits.aio.storage.MemoryStorage | Ours], callers: int, calls: int) -> float:
    """Return the CPU time of `calls` calls where `callers` have called before, with what they leave to be done."""

    async def main() -> float:
        storage = make()
        for caller in range(callers):
            await storage.acquire_entry(str(caller), 10, 60)
        await done(storage)
        begin = time.process_time()
        for _ in range(calls):
            await storage.acquire_entry("me", 10_000, 60)
            await done(storage)
        return time.process_time() - begin

    async def done(storage: object) -> None:
        task: Awaitable[None] | None = getattr(storage, "timer", None)
        if task is not None:
            await task

    return min(asyncio.run(main()) for _ in range(3))


def test_the_librarys_storage_for_memory_costs_more_with_every_caller():
    make = limits.aio.storage.MemoryStorage
    assert cost(make, 200, 5) > 5 * cost(make, 5, 5)


def test_the_librarys_other_storage_for_memory_keeps_a_thread():
    before = threading.active_count()
    storage = limits.storage.MemoryStorage()
    SyncMovingWindow(storage).hit(parse_rate_limit("1/hour", "f")[0], "me")
    try:
        assert threading.active_count() > before
    finally:
        storage.timer.cancel()
        storage.timer.join()


def test_a_call_costs_the_same_however_many_callers_there_are():
    assert cost(Ours, 20_000, 2000) < 3 * cost(Ours, 20, 2000)
    assert threading.active_count() == 1 or not any("Timer" in thread.name for thread in threading.enumerate())


def test_the_room_is_bounded_by_callers_and_by_calls():
    storage = MemoryStorage(ROOM)
    spray(storage, 5000)
    assert len(storage) < 2000
    assert storage.size <= ROOM
    spray(storage, 20, limit=10_000, calls=9999)
    assert len(storage) < 20
    assert storage.size <= ROOM


def test_what_is_over_takes_no_room():
    clock = Clock()
    storage = MemoryStorage(ROOM, clock)
    spray(storage, 1000)
    assert len(storage) == 1000
    clock.now += 60
    assert (len(storage), storage.size) == (0, 0)


def test_a_caller_who_has_used_up_a_limit_is_not_freed_by_any_number_of_strangers():
    storage = MemoryStorage(ROOM)
    assert acquire(storage, "me", times=11) == [True] * 10 + [False]
    spray(storage, 5000)
    assert acquire(storage, "me") == [False]


def test_who_keeps_calling_is_not_forgotten_for_strangers():
    storage = MemoryStorage(ROOM)
    for call in range(10):
        assert acquire(storage, "me") == [True], call
        spray(storage, 1200)
    assert acquire(storage, "me") == [False]


def test_who_keeps_calling_in_vain_is_not_freed_by_strangers_who_use_up_theirs():
    storage = MemoryStorage(ROOM)
    acquire(storage, "me", times=10)
    for _ in range(5):
        spray(storage, 1000, limit=1)
        assert acquire(storage, "me") == [False]


def test_a_caller_is_freed_when_the_oldest_call_is_over_and_not_before():
    clock = Clock()
    storage = MemoryStorage(ROOM, clock)
    for _ in range(10):
        assert acquire(storage, "me") == [True]
        clock.now += 1
    clock.now = 1059.999
    assert acquire(storage, "me") == [False]
    clock.now = 1060
    assert acquire(storage, "me", times=2) == [True, False]
    clock.now = 1061
    assert acquire(storage, "me", times=2) == [True, False]


def test_threads_and_their_loops_count_together():
    storage = MemoryStorage()
    begin = threading.Barrier(8)

    def calls(_: int) -> int:
        begin.wait(20)
        return sum(acquire(storage, "me", 1000, 400))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(calls, range(8))) == 1000
    finally:
        sys.setswitchinterval(interval)


def test_what_is_given_back_may_be_used_again():
    storage = MemoryStorage()
    mine = ("me", 10, 60)
    assert acquire(storage, "me", times=11) == [True] * 10 + [False]
    storage.release_all([mine])
    assert acquire(storage, "me", times=2) == [True, False]
    for _ in range(12):
        storage.release_all([mine])
    assert acquire(storage, "me", times=11) == [True] * 10 + [False]
