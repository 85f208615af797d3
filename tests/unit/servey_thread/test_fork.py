"""A forked process does not use what the store of its parent has open, and loses nothing silently."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from servey import background
from servey.action.action import action
from servey.servey_direct import direct
from servey.servey_thread.sqlite_file import SqliteFile
from servey.service import Service
from servey.settings import Settings

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

BOUND = 30.0


def forked(work: Callable[[], object]) -> str:
    """Return what `work` returns or raises in a forked process, as text."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = str(work())
        except Exception as error:  # noqa: BLE001
            text = f"{type(error).__name__}: {error}"
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


async def test_an_open_file_is_refused_and_not_waited_for(tmp_path: Path):
    file = SqliteFile(str(tmp_path / "store.db"), BOUND)
    await file.open()
    text = await asyncio.to_thread(forked, lambda: file.post(lambda connection: None).result(BOUND))
    assert text.startswith("SettingsError: the store is open in the process that forked this one")
    await file.open()
    await file.close()


async def test_a_file_that_is_not_open_yet_can_be_used(tmp_path: Path):
    file = SqliteFile(str(tmp_path / "store.db"), BOUND)
    count = "SELECT count(*) FROM calls"
    work = lambda: file.post(lambda connection: connection.execute(count).fetchone()).result(BOUND)  # noqa: E731
    assert await asyncio.to_thread(forked, work) == "(0,)"
    assert await file.run(lambda connection: connection.execute(count).fetchone()) == (0,)
    await file.close()


@action
def other() -> None: ...


@action
def forks() -> str:
    return forked(lambda: background.submit(other))


async def test_a_submission_in_a_process_that_a_call_forks_is_refused():
    service = Service([forks, other], settings=Settings(store="memory"))
    async with asyncio.timeout(BOUND), service.running():
        assert (
            await direct.call(service, "forks", {}) == "RuntimeError: forks runs in another process: submit other there"
        )
