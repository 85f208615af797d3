"""Open the SQLite file of the store. Check that other users cannot change it, and create or update its tables."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from contextlib import suppress

from servey.errors import SettingsError

OLDEST = (3, 35)
"""The first SQLite with `UPDATE … RETURNING`."""

BUSY_SECONDS = 0.1
"""How long one statement waits for the lock of another process, in seconds. Then `SqliteFile` tries again."""

_APPLICATION = 0x73727679
"""The `application_id` of servey's files: "srvy"."""
_CREATING = threading.Lock()

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE calls (
            id TEXT NOT NULL PRIMARY KEY,
            state INTEGER NOT NULL,
            at REAL NOT NULL,
            call BLOB NOT NULL,
            owner TEXT,
            losses INTEGER NOT NULL DEFAULT 0,
            problem BLOB,
            traceback TEXT
        )""",
        "CREATE INDEX calls_by_state ON calls (state, at)",
        "CREATE TABLE owners (owner TEXT NOT NULL PRIMARY KEY, beat INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE entries (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL, ends REAL NOT NULL)",
        "CREATE INDEX entries_by_end ON entries (ends)",
    ),
)
"""The statements that lead from each version of the tables (`PRAGMA user_version`) to the next one."""


def connect(path: str | None) -> sqlite3.Connection:
    """Open the file, or create it; update its tables to the current version.

    Args:
        path: The path of the file; None for a database in memory.

    Raises:
        SettingsError: The place cannot be used; the message names ``SERVEY_STORE``.
        sqlite3.OperationalError: Another connection has locked the file.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        raise SettingsError(
            f"SERVEY_STORE needs SQLite 3.35 or later; this Python has SQLite {sqlite3.sqlite_version}. Use another "
            "Python"
        )
    if path is None:
        return _prepared(":memory:")
    try:
        _make_place(path)
        _check_place(path)
        return _prepared(path)
    except (OSError, sqlite3.Error) as error:
        if is_locked(error):
            raise
        raise SettingsError(
            f"SERVEY_STORE={path} cannot be used: {error}. Name a file that this process can write, or set "
            "SERVEY_STORE=memory, which loses the background calls when the process ends"
        ) from error


def is_locked(error: Exception) -> bool:
    """Return whether another connection has locked the database, so that a later try can succeed."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _make_place(path: str) -> None:
    """Create the directory and the file if they do not exist, so that only their owner can read them."""
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        os.makedirs(os.path.dirname(directory) or ".", exist_ok=True)
        with suppress(FileExistsError):  # another process was faster
            os.mkdir(directory, 0o700)
            with open(os.path.join(directory, ".gitignore"), "x", encoding="utf-8") as file:
                file.write("*\n")
    # SQLite gives its further files the permissions of this one. An existing file is not opened here: closing it would
    # drop the locks of other connections of this process (https://sqlite.org/howtocorrupt.html §2.2).
    with _CREATING, suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _check_place(path: str) -> None:
    """Refuse a file that other users can change, because servey trusts the callers in it."""
    if os.name != "posix":
        return
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        raise OSError("it is not a file")
    if mode & stat.S_IWOTH:
        raise SettingsError(
            f"SERVEY_STORE={path} is not safe: other users can write the file, and so make calls as any caller. Run: "
            f"chmod 600 {path}"
        )
    directory = os.path.dirname(path) or "."
    mode = os.stat(directory).st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise SettingsError(
            f"SERVEY_STORE={path} is not safe: other users can write its directory, and so replace the file. Run: "
            f"chmod o-w {directory}, or name a file in another directory"
        )


def _prepared(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        _check_program(connection, path)
        [mode] = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode not in {"wal", "memory"}:
            raise sqlite3.NotSupportedError("its file system does not support a write-ahead log")
        connection.execute("PRAGMA synchronous = NORMAL")  # no fsync per commit: survives a kill, not a loss of power
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("BEGIN IMMEDIATE")  # of several processes, one creates the tables
        _migrate(connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_program(connection: sqlite3.Connection, path: str) -> None:
    # In this order, because another process may create the tables and the id between the two reads.
    [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    [application] = connection.execute("PRAGMA application_id").fetchone()
    if tables and application != _APPLICATION:
        raise SettingsError(f"SERVEY_STORE={path} is a database of another program. Name another file")
    version = _version(connection)
    if version > len(MIGRATIONS):
        raise SettingsError(
            f"SERVEY_STORE={path} was written by a later release of servey (version {version} of its tables; this "
            f"release knows {len(MIGRATIONS)}). Update servey, or name another file"
        )


def _migrate(connection: sqlite3.Connection) -> None:
    for statements in MIGRATIONS[_version(connection) :]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    # This writes even without a migration, so the start finds a file that it cannot write.
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _version(connection: sqlite3.Connection) -> int:
    [version] = connection.execute("PRAGMA user_version").fetchone()
    return version
