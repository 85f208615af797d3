"""Actions with effects that a test can count, and their queue."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from servey import background
from servey.action.action import action
from servey.service import Service
from servey.settings import Settings

ACTIONS = """
import os
import sqlite3
import threading
import time

from servey import WEB_POST, CallContext, FixedRateTrigger, background
from servey.action.action import action
from servey.servey_thread.plugin import ThreadPlugin

local = threading.local()


class ShortLease(ThreadPlugin):
    def __init__(self) -> None:
        super().__init__(lease=1.0)


def database() -> sqlite3.Connection:
    if not hasattr(local, "database"):
        local.database = sqlite3.connect("effects.db", timeout=60, isolation_level=None)
        local.database.execute("PRAGMA synchronous = OFF")
    return local.database


@action
def mark(number: int, context: CallContext) -> None:
    database().execute("INSERT INTO runs VALUES (?, ?)", (number, os.getpid()))
    time.sleep(0.002)
    database().execute("INSERT OR IGNORE INTO effects VALUES (?, ?)", (context.call_id, number))


@action
def sleep(seconds: float) -> None:
    database().execute("INSERT INTO runs VALUES (?, ?)", (0, os.getpid()))
    time.sleep(seconds)

"""


@action
def mark(number: int) -> None: ...


@action
def sleep(seconds: float) -> None: ...


class Effects:
    """The database that the calls write to, and the queue that they come from.

    Args:
        directory: Where the processes run.
        settings: Further settings of the processes.
    """

    def __init__(self, directory: Path, **settings: Any) -> None:
        self._settings = Settings(**{"store": str(directory / ".servey" / "store.db"), **settings})
        self._database = sqlite3.connect(directory / "effects.db", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("CREATE TABLE runs (number INTEGER, pid INTEGER)")
        self._database.execute("CREATE TABLE effects (key TEXT PRIMARY KEY, number INTEGER)")

    def submit(self, numbers: Sequence[int]) -> None:
        service = Service([mark, sleep], settings=self._settings)

        async def submit() -> None:
            async with service.running():
                for start in range(0, len(numbers), 100):
                    part = numbers[start : start + 100]
                    await asyncio.gather(*(background.asubmit(mark, number=number) for number in part))

        asyncio.run(submit())

    def submit_sleep(self, seconds: float) -> None:
        service = Service([mark, sleep], settings=self._settings)

        async def submit() -> None:
            async with service.running():
                await background.asubmit(sleep, seconds=seconds)

        asyncio.run(submit())

    def open_calls(self) -> int:
        service = Service([mark, sleep], settings=self._settings)

        async def count() -> int:
            async with service.running():
                return len(await service.stores.calls.open_calls(100_000))

        return asyncio.run(count())

    def runs(self) -> Counter[int]:
        return Counter(number for (number,) in self._database.execute("SELECT number FROM runs"))

    def run_count(self, pid: int) -> int:
        return self._database.execute("SELECT count(*) FROM runs WHERE pid = ?", (pid,)).fetchone()[0]

    def numbers(self) -> list[int]:
        return sorted(number for (number,) in self._database.execute("SELECT number FROM effects"))

    def close(self) -> None:
        self._database.close()
