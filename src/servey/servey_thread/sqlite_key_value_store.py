"""The store of small entries in an SQLite file: leases, claims, idempotency keys."""

from __future__ import annotations

import sqlite3
import time
from functools import partial

from servey.background_call.entries import check_entry
from servey.servey_thread.sqlite_file import SqliteFile

_ROWS_AT_ONCE = 500

_GET = "SELECT value FROM entries WHERE key = ? AND ends > ?"
_ADD = """
    INSERT INTO entries (key, value, ends) VALUES (:key, :value, :ends)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, ends = excluded.ends WHERE ends <= :now"""
_REPLACE = "UPDATE entries SET value = ?, ends = ? WHERE key = ? AND value = ? AND ends > ?"
_REMOVE = "DELETE FROM entries WHERE key = ? AND value = ? AND ends > ?"
_PURGE = "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE ends <= ? LIMIT ?)"


class SqliteKeyValueStore:
    """Stores entries in an SQLite file (`servey.ports.KeyValueStore`).

    The ends are wall-clock times, because entries outlive the process and restarts of the machine. If the clock jumps,
    an entry ends earlier or later.

    Args:
        file: The file.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        file.purge_by(_purge)

    async def get(self, key: str, /) -> bytes | None:
        """Return the value of a key; None if there is none.

        Raises:
            ValueError: The key is too long.
            OverloadedError: The file has failed.
        """
        check_entry(key)
        return await self._file.run(partial(_get, key), writes=False) if self._file.exists else None

    async def add(self, key: str, value: bytes, seconds: float, /) -> bytes | None:
        """Store a value for a time, unless the key has one. Return the value that is there already; None if added.

        Raises:
            ValueError: The key or the value is too long.
            OverloadedError: The file is locked or full, or it has failed.
        """
        check_entry(key, value)
        return await self._file.run(partial(_add, key, value, seconds))

    async def swap(self, key: str, old: bytes, new: bytes | None, seconds: float, /) -> bool:
        """Replace the value `old` by `new` for a time (None: remove it), and return whether `old` was there.

        Raises:
            ValueError: The key or the new value is too long.
            OverloadedError: The file is locked or full, or it has failed.
        """
        check_entry(key, new or b"")
        return self._file.exists and await self._file.run(partial(_swap, key, old, new, seconds))


def _get(key: str, connection: sqlite3.Connection) -> bytes | None:
    row = connection.execute(_GET, (key, time.time())).fetchone()
    return None if row is None else row[0]


def _add(key: str, value: bytes, seconds: float, connection: sqlite3.Connection) -> bytes | None:
    now = time.time()
    added = connection.execute(_ADD, {"key": key, "value": value, "ends": now + seconds, "now": now}).rowcount
    if added:
        return None
    [there] = connection.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
    return there


def _swap(key: str, old: bytes, new: bytes | None, seconds: float, connection: sqlite3.Connection) -> bool:
    now = time.time()
    if new is None:
        return connection.execute(_REMOVE, (key, old, now)).rowcount > 0
    return connection.execute(_REPLACE, (new, now + seconds, key, old, now)).rowcount > 0


def _purge(connection: sqlite3.Connection) -> bool:
    return connection.execute(_PURGE, (time.time(), _ROWS_AT_ONCE)).rowcount == _ROWS_AT_ONCE
