"""A connection to an SQLite file, which reconnects after a failure of the file."""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import suppress
from time import monotonic

from servey.errors import OverloadedError, SettingsError
from servey.servey_thread.sqlite_place import connect, is_locked

_log = logging.getLogger("servey.store")

_CHECK_SECONDS = 1.0
"""The time between two checks of `opened` for a replaced file."""
_LOG_SECONDS = 60.0
"""An error of one kind is logged at most once in this time."""
_OWN_ERRORS = (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError)
"""The errors of a single job; all others concern the file."""


class SqliteConnection:
    """The connection to a file, for one thread.

    Args:
        path: The path of the file; None for a database in memory, which ends with `close`.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.is_in_use = False
        """Whether the file was opened, and `close` was not called since then."""
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._checks_at = 0.0
        self._logged: dict[str, float] = {}
        self._parent: SqliteConnection | None = None

    def after_fork(self) -> SqliteConnection:
        """Return the connection for a forked process: one that refuses if the file is open in the parent.

        The locks of SQLite do not survive a fork (https://sqlite.org/howtocorrupt.html §2.6), and closing the
        connection of the parent is not allowed either.
        """
        if self._connection is None:
            return self
        forked = SqliteConnection(self.path)
        forked._parent = self
        return forked

    def opened(self) -> sqlite3.Connection:
        """Return the connection. If the file was removed or replaced, open it again.

        Raises:
            SettingsError: It cannot be opened, or this process was forked from one that has it open.
            sqlite3.Error: Another program has locked it.
        """
        if self._parent is not None:
            raise SettingsError(
                "the store is open in the process that forked this one, and SQLite cannot use it here: submit "
                "background calls there, or start processes with spawn"
            )
        if self._connection is not None and self._is_replaced():
            _log.error("the store %s was removed or replaced; its background calls are lost", self.path)
            self._disconnect()
        if self._connection is None:
            self._connection = connect(self.path)
            self._identity = _identity(self.path)
            self.is_in_use = True
        return self._connection

    def rollback(self) -> None:
        """End the transaction without its changes."""
        try:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._disconnect()

    def failed(self, error: Exception) -> Exception:
        """Log an error of the file, and return the error for the callers."""
        if isinstance(error, SettingsError) and not self.is_in_use:
            return error
        kind = getattr(error, "sqlite_errorname", type(error).__name__)
        now = monotonic()
        if now >= self._logged.get(kind, 0.0):
            self._logged[kind] = now + _LOG_SECONDS
            _log.error("the store %s does not work: %s (%s)", self.path or "in memory", error, kind)
        if kind == "SQLITE_FULL":
            self._reuse_log()
        elif not is_locked(error):
            self._disconnect()  # the next job opens the file again; by then it may be another file
        return OverloadedError("the store of background calls has failed; try again later")

    def _reuse_log(self) -> None:
        """Copy the log into the database and write it from its start again: the log itself may have filled the disk."""
        with suppress(sqlite3.Error):
            if self._connection is not None:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Close the file. The last connection of all processes writes the log into the file, and removes the log."""
        self.is_in_use = False
        self._drop()

    def _disconnect(self) -> None:
        if self.path is not None:  # the database in memory would be lost
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.close()
        except sqlite3.Error as error:
            _log.warning("the store %s was not closed properly: %s", self.path or "in memory", error)

    def _is_replaced(self) -> bool:
        now = monotonic()
        if now < self._checks_at:
            return False
        self._checks_at = now + _CHECK_SECONDS
        return _identity(self.path) != self._identity


def is_of_file(error: Exception) -> bool:
    """Return whether the error concerns the file, and so all jobs of the transaction."""
    return isinstance(error, (sqlite3.DatabaseError, MemoryError)) and not isinstance(error, _OWN_ERRORS)


def _identity(path: str | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
