"""Consumers: several processes, those that die or sleep, faults of the file, looks for work."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from servey.background_call.call import Call, Done, Failed, Outcome
from servey.servey_thread import sqlite_consumer, sqlite_file
from servey.servey_thread.sqlite_call_queue import SqliteCallQueue
from servey.servey_thread.sqlite_file import SqliteFile
from support.queues import Runs, a_call, until

LEASE = 0.6

PROCESS = """
import asyncio, sys, time
from servey.background_call.call import Again, Done, Failed
from servey.servey_thread.sqlite_call_queue import SqliteCallQueue
from servey.servey_thread.sqlite_file import SqliteFile

async def line():
    return (await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)).strip()

async def run(call):
    print(call.id, flush=True)
    if call.id.startswith("block"):
        time.sleep(3)
    elif call.id.startswith("hang"):
        if await line() == "fail":
            return Failed(b"{}")
    return Done()

async def main(path, lease):
    file = SqliteFile(path, 60.0)
    queue = SqliteCallQueue(file, calls_at_once=4, lease=float(lease), poll=0.02)
    async with queue.consuming(run):
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


class Other:
    """Another process that consumes the same file. It prints the ids of the calls that it begins."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def begun(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().strip()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())


@asynccontextmanager
async def other_process(path: Path, lease: float = LEASE) -> AsyncGenerator[Other]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROCESS, str(path), str(lease), stdin=pipe, stdout=pipe
    )
    try:
        yield Other(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@asynccontextmanager
async def a_queue(
    path: Path | None, *, seconds: float = 60.0, calls_at_once: int = 8, poll: float = 0.02
) -> AsyncGenerator[tuple[SqliteFile, SqliteCallQueue]]:
    file = SqliteFile(None if path is None else str(path), seconds)
    try:
        yield file, SqliteCallQueue(file, calls_at_once=calls_at_once, lease=LEASE, poll=poll)
    finally:
        await file.close()


def exists(path: Path) -> bool:
    return path.exists()


async def test_the_calls_of_a_killed_process_are_taken_by_another(path: Path):
    async with a_queue(path) as (_, queue), other_process(path) as other:
        await queue.put([a_call("hang", attempt=2)])
        assert await other.begun() == "hang"
        other.send(signal.SIGKILL)
        runs = Runs()
        async with runs.of(queue):
            await runs.until(1)
    assert [(call.id, call.attempt) for call in runs.calls] == [("hang", 2)]


async def test_a_process_that_sleeps_loses_its_calls_and_works_on_when_it_wakes(path: Path):
    async with a_queue(path) as (_, queue), other_process(path) as other:
        await queue.put([a_call("hang")])
        assert await other.begun() == "hang"
        other.send(signal.SIGSTOP)
        runs = Runs()
        async with runs.of(queue):
            await runs.until(1)
        other.send(signal.SIGCONT)
        other.say("fail")  # the outcome of a lost claim, of a call that has ended
        await queue.put([a_call("next")])
        assert await other.begun() == "next"

        async def has_ended() -> bool:
            return not await queue.open_calls(10)

        await until(has_ended)
        assert await queue.failed(10) == []


async def test_a_process_whose_event_loop_is_blocked_keeps_its_calls(path: Path):
    async with a_queue(path) as (_, queue), other_process(path) as other:
        await queue.put([a_call("block")])
        assert await other.begun() == "block"
        runs = Runs()
        async with runs.of(queue):
            start = time.monotonic()
            while time.monotonic() < start + 4 * LEASE:
                [found] = await queue.open_calls(10)
                assert found.is_running
                await asyncio.sleep(0.05)
    assert runs.ids == []


async def test_a_process_that_puts_and_ends_leaves_its_calls(path: Path):
    async with other_process(path) as other:
        async with a_queue(path) as (_, queue):
            await queue.put([a_call("a")])
        assert await other.begun() == "a"


async def test_a_consumer_creates_no_file_and_sees_one_that_another_process_creates(path: Path):
    runs = Runs()
    async with a_queue(path) as (_, queue), runs.of(queue):
        await asyncio.sleep(0.1)
        assert not exists(path)
        async with a_queue(path) as (_, other):
            await other.put([a_call("a")])
        await runs.until(1)


async def test_a_queue_that_nothing_uses_creates_no_file(path: Path):
    async with a_queue(path) as (_, queue):
        assert (await queue.failed(1), await queue.open_calls(1)) == ([], [])
        assert (await queue.retry("a"), await queue.forget("a")) == (False, False)
    assert not exists(path)


async def test_an_idle_consumer_writes_nothing(path: Path):
    runs = Runs()
    async with a_queue(path) as (file, queue):
        await queue.put([a_call("later", after=1000)])
        await file.close()
        async with runs.of(queue):
            await asyncio.sleep(2 * LEASE)
            log = path.with_name("store.db-wal")
            written = log.stat().st_size if exists(log) else 0
    assert written <= 3 * 4096  # the first page, written when the file is opened


async def test_own_calls_do_not_wait_for_the_next_look(path: Path):
    runs = Runs()
    async with a_queue(path, poll=3600.0) as (_, queue), runs.of(queue):
        await asyncio.sleep(0.05)
        await queue.put([a_call("a")])
        await runs.until(1)
        await asyncio.to_thread(queue.put_now, [a_call("b"), a_call("c", after=0.1)])
        await runs.until(3)


async def test_a_call_that_was_put_from_another_event_loop_does_not_wait_for_the_next_look(path: Path):
    runs = Runs()
    async with a_queue(path, poll=3600.0) as (_, queue), runs.of(queue):
        await asyncio.sleep(0.05)
        await asyncio.to_thread(lambda: asyncio.run(queue.put([a_call("a")])))
        await runs.until(1)


async def test_an_outcome_is_not_lost_while_the_file_is_locked(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sqlite_consumer, "_PAUSE_SECONDS", 0.05)
    async with a_queue(path, seconds=0.1, calls_at_once=1) as (_, queue):
        go = asyncio.Event()

        async def run(call: Call) -> Outcome:
            await go.wait()
            return Failed(b"{}", call.id)

        runs = Runs(run)
        async with runs.of(queue):
            await queue.put([a_call("a", after=-1), a_call("b")])
            await runs.until(1)
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
            go.set()
            await asyncio.sleep(0.5)
            other.close()
            await runs.until(2)
        assert [found.traceback for found in await queue.failed(10)] == ["b", "a"]
    assert runs.ids == ["a", "b"]


async def test_an_outcome_is_not_lost_while_the_disk_is_full(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sqlite_consumer, "_PAUSE_SECONDS", 0.05)

    def limit(pages: int):
        return lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    async with a_queue(path) as (file, queue):
        go = asyncio.Event()

        async def run(call: Call) -> Outcome:
            await go.wait()
            return Failed(b"x" * 100_000)

        runs = Runs(run)
        async with runs.of(queue):
            await queue.put([a_call("a")])
            await runs.until(1)
            await file.run(limit(12), writes=False)
            go.set()
            await asyncio.sleep(0.3)
            assert await queue.failed(10) == []
            await file.run(limit(1_000_000), writes=False)
        assert [found.call.id for found in await queue.failed(10)] == ["a"]
    assert runs.ids == ["a"]


async def test_a_stop_ends_in_time_although_the_file_is_locked(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sqlite_consumer, "_RETURN_SECONDS", 0.2)

    async def run(call: Call) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    async with a_queue(path, seconds=0.5) as (_, queue):
        stack, runs = contextlib.AsyncExitStack(), Runs(run)
        await stack.enter_async_context(runs.of(queue))
        await queue.put([a_call("a")])
        await runs.until(1)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        leaving = asyncio.ensure_future(stack.aclose())
        await asyncio.sleep(0.05)
        leaving.cancel()
        await asyncio.wait([leaving], timeout=30)
        assert leaving.cancelled()
        other.close()
        later = Runs()
        async with later.of(queue):  # the owner is dead: its calls come back
            await later.until(1)


async def test_a_call_that_this_release_cannot_read_fails(path: Path):
    async with a_queue(path) as (file, queue):
        strange = "INSERT INTO calls (id, state, at, call) VALUES ('strange', 0, 5.0, x'3f')"
        await file.run(lambda connection: connection.execute(strange).rowcount)
        runs = Runs()
        async with runs.of(queue):
            await queue.put([a_call("a")])
            await runs.until(1)
        [found] = await queue.failed(10)
    assert (found.call.id, b"not a call" in found.problem) == ("strange", True)


async def test_a_clock_that_jumps_back_holds_up_no_call_that_is_due(path: Path, monkeypatch: pytest.MonkeyPatch):
    runs, start, offset = Runs(), time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: start() + offset)
    async with a_queue(path) as (_, queue):
        await queue.put([a_call("a"), a_call("later", after=1000)])
        offset = -3600.0
        async with runs.of(queue):
            await queue.put([a_call("b")])
            await runs.until(2)
            offset = 3600.0
            await runs.until(3)
    assert (sorted(runs.ids[:2]), runs.ids[2:]) == (["a", "b"], ["later"])


async def test_an_owner_that_leaves_is_forgotten(path: Path):
    runs = Runs()
    async with a_queue(path) as (file, queue):
        async with runs.of(queue):
            await queue.put([a_call("a")])
            await runs.until(1)
        owners = await file.run(lambda connection: connection.execute("SELECT * FROM owners").fetchall())
    assert owners == []


async def test_calls_that_end_with_the_memory_are_counted_in_the_log(caplog: pytest.LogCaptureFixture):
    async with a_queue(None) as (_, queue):
        runs = Runs()
        async with runs.of(queue):
            await queue.put([a_call("a"), a_call("later", after=1000), a_call("much later", after=2000)])
            await runs.until(1)
    assert [record.getMessage() for record in caplog.records] == [
        "2 background calls lost: SERVEY_STORE=memory does not outlive the process"
    ]


async def test_memory_that_holds_no_open_calls_ends_silently(caplog: pytest.LogCaptureFixture):
    async with a_queue(None) as (_, queue):
        runs = Runs()
        async with runs.of(queue):
            await queue.put([a_call("a")])
            await runs.until(1)
    assert caplog.records == []


async def test_ended_calls_are_deleted_in_the_background(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sqlite_file, "_PURGE_SECONDS", 0.1)
    runs, start, offset = Runs(), time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: start() + offset)
    async with a_queue(path) as (file, queue):
        async with runs.of(queue):
            await queue.put([a_call(str(number)) for number in range(1100)])
            await runs.until(1100)
        offset = 90_000.0

        async def is_empty() -> bool:
            return await file.run(lambda connection: connection.execute("SELECT * FROM calls LIMIT 1").fetchall()) == []

        await until(is_empty)


async def test_two_processes_share_the_calls_and_run_each_once(path: Path):
    async with a_queue(path, calls_at_once=2) as (_, queue), other_process(path) as other:
        await queue.put([a_call("hang")])
        assert await other.begun() == "hang"

        async def run(call: Call) -> Outcome:
            await asyncio.sleep(0.002)
            return Done()

        runs = Runs(run)
        async with runs.of(queue):
            for start in range(0, 300, 30):
                await queue.put([a_call(str(number)) for number in range(start, start + 30)])
                await asyncio.sleep(0.02)

            async def have_ended() -> bool:
                return len(await queue.open_calls(10)) == 1

            await until(have_ended)
        await queue.put([a_call("last")])
        theirs = [await other.begun()]
        while theirs[-1] != "last":
            theirs.append(await other.begun())
    assert sorted(runs.ids + theirs) == sorted([*(str(number) for number in range(300)), "last"])
    assert runs.ids
    assert len(theirs) > 1
