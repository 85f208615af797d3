"""The thread of the SQLite file: transactions, callers, faults."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from servey.errors import OverloadedError, SettingsError
from servey.servey_thread.sqlite_file import SqliteFile


def add(key: str, connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO entries VALUES (?, x'', 0)", (key,))


def adding(key: str):
    return lambda connection: add(key, connection)


def keys(connection: sqlite3.Connection) -> list[str]:
    return [key for (key,) in connection.execute("SELECT key FROM entries ORDER BY key")]


def exists(path: Path) -> bool:
    return path.exists()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program has a lock on the whole file."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


async def test_nothing_is_created_before_the_first_job(path: Path):
    before = set(threading.enumerate())
    file = SqliteFile(str(path), 60.0)
    file.every(0.01, keys)
    assert not file.exists
    await file.close()
    assert not exists(path)
    assert set(threading.enumerate()) <= before
    await file.run(adding("a"))
    assert file.exists
    assert exists(path)
    await file.close()


async def test_open_creates_the_file(path: Path):
    file = SqliteFile(str(path), 60.0)
    await file.open()
    assert exists(path)
    await file.close()


@pytest.mark.parametrize("kind", ["file", "memory"])
async def test_a_closed_file_ends_its_thread_and_can_be_used_again(path: Path, kind: str):
    before = set(threading.enumerate())
    file = SqliteFile(str(path) if kind == "file" else None, 60.0)
    for _ in range(3):
        waiting = file.run(lambda connection: None)
        closing = asyncio.ensure_future(file.close())
        late = file.run(lambda connection: connection.execute("SELECT 1").fetchone())
        await waiting
        await closing
        assert await late == (1,)
        await file.close()
    assert file.exists == (kind == "file")
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
    assert set(threading.enumerate()) <= before  # one of an earlier test may end meanwhile


async def test_closing_does_the_jobs_that_wait_and_leaves_one_file(path: Path):
    file = SqliteFile(str(path), 60.0)
    jobs = [file.run(adding(str(number))) for number in range(100)]
    await file.close()
    assert all(job.done() for job in jobs)
    assert [entry.name for entry in path.parent.iterdir()] == ["store.db"]
    assert len(await file.run(keys, writes=False)) == 100
    await file.close()


async def test_jobs_that_come_together_share_a_transaction(path: Path):
    file = SqliteFile(str(path), 60.0)
    await file.open()
    go = threading.Event()
    first = file.run(lambda connection: go.wait(60), writes=False)
    jobs = [file.run(lambda connection: connection.in_transaction) for _ in range(50)]
    commits: list[str] = []
    watch = file.run(lambda connection: connection.set_trace_callback(commits.append), writes=False)
    go.set()
    await asyncio.gather(first, watch, *jobs)
    assert all(job.result() for job in jobs)
    assert [text for text in commits if text.startswith(("BEGIN", "COMMIT"))] == ["BEGIN IMMEDIATE", "COMMIT"]
    await file.close()


async def test_an_error_of_one_job_does_not_concern_the_others(path: Path):
    file = SqliteFile(str(path), 60.0)
    await file.open()

    def wrong(connection: sqlite3.Connection) -> None:
        add("wrong", connection)
        raise LookupError("own")

    def twice(connection: sqlite3.Connection) -> None:
        add("one", connection)

    work = [adding("one"), wrong, twice, adding("two")]
    found = await asyncio.gather(*(file.run(item) for item in work), return_exceptions=True)
    assert [type(item) for item in found] == [type(None), LookupError, sqlite3.IntegrityError, type(None)]
    assert await file.run(keys, writes=False) == ["one", "two"]
    await file.close()


async def test_a_process_that_changes_its_directory_keeps_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    file = SqliteFile("store.db", 60.0)
    await file.run(adding("a"))
    await file.close()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert await file.run(keys, writes=False) == ["a"]
    await file.close()


@pytest.mark.parametrize("name", [":memory:", "file:store?mode=memory", "a b", "é", "a?b#c"])
async def test_every_name_is_that_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(tmp_path)
    file = SqliteFile(name, 60.0)
    await file.run(adding("a"))
    await file.close()
    assert await file.run(keys, writes=False) == ["a"]
    await file.close()


async def test_a_system_without_more_threads_fails_jobs_until_it_has_some(path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    file = SqliteFile(str(path), 60.0)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="start new thread"):
            file.post(adding("a"))
    async with asyncio.timeout(60):
        await file.run(adding("b"))
        assert await file.run(keys, writes=False) == ["b"]
    await file.close()


async def test_jobs_of_threads_and_of_other_event_loops_get_their_results(path: Path):
    file = SqliteFile(str(path), 60.0)

    def in_a_thread(number: int) -> None:
        file.post(adding(f"thread {number}")).result(60)

    def in_a_loop(number: int) -> None:
        async def add_one() -> None:
            await file.run(adding(f"loop {number}"))

        asyncio.run(add_one())

    await asyncio.gather(*(asyncio.to_thread(work, n) for n in range(10) for work in (in_a_thread, in_a_loop)))
    assert len(await file.run(keys, writes=False)) == 20
    await file.close()


async def test_a_job_whose_caller_has_gone_is_done(path: Path):
    file = SqliteFile(str(path), 60.0)
    await file.open()
    go = threading.Event()
    first = file.run(lambda connection: go.wait(60), writes=False)
    task = asyncio.ensure_future(file.run(adding("a")))
    await asyncio.sleep(0)
    task.cancel()
    go.set()
    await first
    gone = asyncio.new_event_loop()

    async def begin() -> None:
        file.run(adding("b"))

    await asyncio.to_thread(lambda: (gone.run_until_complete(begin()), gone.close()))
    assert await file.run(keys) == ["a", "b"]
    await file.close()


async def test_a_periodic_job_runs_again_and_again_until_its_end(path: Path):
    file, loop, ran = SqliteFile(str(path), 60.0), asyncio.get_running_loop(), asyncio.Queue[int]()
    numbers = iter(range(1000))

    def work(connection: sqlite3.Connection) -> None:
        loop.call_soon_threadsafe(ran.put_nowait, next(numbers))
        raise RuntimeError("a periodic job may fail")

    end = file.every(0.01, work)
    await file.open()
    assert [await ran.get() for _ in range(3)] == [0, 1, 2]
    end()
    await file.run(keys, writes=False)
    await asyncio.sleep(0)
    count = next(numbers)
    await asyncio.sleep(0.05)
    assert next(numbers) == count + 1
    await file.close()


async def test_jobs_wait_while_another_program_locks_the_file(path: Path):
    file = SqliteFile(str(path), 60.0)
    await file.open()
    with locked(path):
        waiting = [file.run(adding("a"))]
        assert await file.run(keys, writes=False) == []  # reads need no lock
        waiting.append(file.run(adding("b")))
    await asyncio.gather(*waiting)
    assert await file.run(keys, writes=False) == ["a", "b"]
    await file.close()


async def test_jobs_fail_in_time_while_another_program_locks_the_file(path: Path, caplog: pytest.LogCaptureFixture):
    file = SqliteFile(str(path), 0.2)
    await file.open()
    with locked(path):
        found = await asyncio.gather(*(file.run(adding(str(n))) for n in range(500)), return_exceptions=True)
    assert {type(error) for error in found} == {OverloadedError}
    assert [record.getMessage() for record in caplog.records] == [
        f"the store {path} does not work: database is locked (SQLITE_BUSY)"
    ]
    await file.run(adding("a"))
    assert await file.run(keys, writes=False) == ["a"]
    await file.close()


async def test_a_file_that_is_locked_when_it_is_opened_is_waited_for(path: Path):
    file = SqliteFile(str(path), 60.0)
    other = sqlite3.connect(path)
    other.execute("VACUUM")
    other.close()
    os.chmod(path, 0o600)
    with locked(path):
        opening = asyncio.ensure_future(file.open())
        reading = asyncio.ensure_future(file.run(keys, writes=False))
        await asyncio.sleep(0.3)
        assert not opening.done()
    await opening
    assert await reading == []
    await file.close()


async def test_a_full_disk_fails_all_jobs_of_the_transaction_and_nothing_is_half_done(
    path: Path, caplog: pytest.LogCaptureFixture
):
    file = SqliteFile(str(path), 60.0)
    await file.run(lambda connection: connection.execute("PRAGMA max_page_count = 12").fetchall(), writes=False)

    def large(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO entries VALUES ('large', zeroblob(100000), 0)")

    work = [adding("a"), large, adding("b")]
    found = await asyncio.gather(*(file.run(item) for item in work), return_exceptions=True)
    assert [type(item) for item in found] == [OverloadedError] * 3
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "full" in caplog.text
    assert str(path) in caplog.text
    await file.run(adding("c"))
    await file.run(lambda connection: connection.execute("PRAGMA max_page_count = 1000").fetchall(), writes=False)
    await file.run(large)
    assert await file.run(keys, writes=False) == ["c", "large"]
    await file.close()


async def test_a_file_that_cannot_grow_works_again_when_it_can(path: Path):
    file = SqliteFile(str(path), 60.0)
    await file.run(adding("a"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def large(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO entries VALUES ('large', zeroblob(4000000), 0)")

    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(OverloadedError):
            await file.run(large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    await file.run(large)
    assert await file.run(keys, writes=False) == ["a", "large"]
    await file.close()


async def test_a_removed_file_is_created_again(path: Path, caplog: pytest.LogCaptureFixture):
    file = SqliteFile(str(path), 60.0)
    await file.run(adding("lost"))
    for entry in list(path.parent.iterdir()):
        entry.unlink()
    while not exists(path):
        await file.run(lambda connection: None)
        await asyncio.sleep(0.05)
    await file.run(adding("a"))
    other = SqliteFile(str(path), 60.0)
    assert await other.run(keys, writes=False) == ["a"]
    assert "removed or replaced" in caplog.text
    await file.close()
    assert await other.run(keys, writes=False) == ["a"]
    await other.close()


async def test_a_place_that_cannot_be_used_fails_every_job_until_it_can(tmp_path: Path):
    place = tmp_path / "place"
    place.touch()
    file = SqliteFile(str(place / "store.db"), 60.0)
    for writes in (True, False):
        with pytest.raises(SettingsError, match="SERVEY_STORE"):
            await file.run(keys, writes=writes)
    with pytest.raises(SettingsError, match="SERVEY_STORE"):
        await asyncio.to_thread(lambda: file.post(keys).result(60))
    os.unlink(place)
    assert await file.run(keys) == []
    await file.close()


async def test_a_file_that_gets_corrupt_fails_jobs_with_a_log(path: Path, caplog: pytest.LogCaptureFixture):
    file = SqliteFile(str(path), 60.0)
    await file.run(lambda connection: [add(str(number), connection) for number in range(10_000)])
    await file.close()
    await file.open()
    with path.open("r+b") as content:
        content.seek(20 * 4096)
        content.write(b"\xff" * 100 * 4096)
    with pytest.raises(OverloadedError):
        await file.run(keys, writes=False)
    with pytest.raises(OverloadedError):
        await file.run(lambda connection: connection.execute("DELETE FROM entries").fetchall())
    assert "SQLITE_CORRUPT" in caplog.text
    assert str(path) in caplog.text
    await file.close()


async def test_the_database_in_memory_is_kept_after_an_error():
    file = SqliteFile(None, 60.0)
    await file.run(adding("a"))
    await file.run(lambda connection: connection.execute("PRAGMA max_page_count = 12").fetchall(), writes=False)
    with pytest.raises(OverloadedError):
        await file.run(lambda connection: connection.execute("INSERT INTO entries VALUES ('b', zeroblob(99999), 0)"))
    with pytest.raises(OverloadedError):
        await file.run(lambda connection: connection.execute("SELECT * FROM missing"))
    assert await file.run(keys, writes=False) == ["a"]
    await file.close()


async def test_a_log_that_has_filled_the_disk_is_written_from_its_start_again(path: Path):
    def is_full(connection: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorname, error.sqlite_errorcode = "SQLITE_FULL", sqlite3.SQLITE_FULL
        raise error

    def size_of_log() -> int:
        return path.with_name("store.db-wal").stat().st_size

    file = SqliteFile(str(path), 60.0)
    for number in range(20):
        await file.run(adding(str(number)))
    before = size_of_log()
    with pytest.raises(OverloadedError):
        await file.run(is_full)
    await file.run(adding("after"))
    assert size_of_log() == before
    await file.close()
