"""The database, and the two resources that give it to actions.

A resource is a generator function that yields one value. An action with a parameter of the value's type gets it.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from tempfile import TemporaryDirectory

from servey import cache, resource


@dataclass(frozen=True)
class Database:
    """The SQLite file.

    Args:
        path: The path of the file.
    """

    path: Path

    def connect(self) -> Connection:
        """Return a new connection; a transaction begins with the first statement that writes."""
        # one call at a time uses it, but in several threads: hence check_same_thread
        connection = sqlite3.connect(self.path, isolation_level="IMMEDIATE", timeout=10, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a new connection; commit at the end, roll back after an error."""
        connection = self.connect()
        try:
            yield connection
            connection.commit()
        finally:
            connection.close()  # without a commit this rolls back


@resource(scope="service")
def database() -> Iterator[Database]:
    """Open the database when the service starts.

    TOUR_DATABASE is the path of the file; a new file gets the seed. Without the variable the file is in a temporary
    directory, deleted when the service stops.
    """
    with TemporaryDirectory() as directory:
        path = Path(os.environ.get("TOUR_DATABASE") or Path(directory) / "parcels.sqlite3")
        is_new = not path.exists()
        opened = Database(path)
        if is_new:
            connection = opened.connect()
            connection.executescript(SEED)
            connection.close()
        yield opened


@resource(scope="request")
def transaction(database: Database) -> Iterator[Connection]:
    """Open a connection for each request; commit if all its calls succeed, roll back if one fails. A GraphQL query
    for a hundred parcels and their histories has one connection.

    The cached report is invalidated after the commit. Before it, another call could cache the old data again.

    When an action fails, its error is raised here, at the ``yield``.
    """
    with database.transaction() as connection:
        yield connection
        has_written = connection.in_transaction
    if has_written:
        cache.invalidate("parcel_statistics")


SEED = """
PRAGMA journal_mode = WAL;

CREATE TABLE depots (
    code TEXT PRIMARY KEY,
    city TEXT NOT NULL,
    capacity INTEGER NOT NULL
) STRICT;

CREATE TABLE parcels (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    state TEXT NOT NULL,
    name TEXT NOT NULL,
    street TEXT NOT NULL,
    postcode TEXT NOT NULL,
    city TEXT NOT NULL,
    country TEXT NOT NULL,
    grams INTEGER NOT NULL,
    cents INTEGER NOT NULL,
    handling TEXT NOT NULL,
    registered_at TEXT NOT NULL, -- all times in UTC, so that their order is that of the text
    note TEXT,
    sender TEXT -- the user who registered it, if one had logged in
) STRICT;

CREATE TABLE users (
    name TEXT PRIMARY KEY,
    password TEXT NOT NULL, -- salt and scrypt: people.py
    scopes TEXT NOT NULL -- a JSON list
) STRICT;

CREATE TABLE events (
    number INTEGER NOT NULL REFERENCES parcels ON DELETE CASCADE,
    at TEXT NOT NULL,
    depot TEXT NOT NULL REFERENCES depots,
    state TEXT NOT NULL
) STRICT;

CREATE TABLE receipts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    call_id TEXT NOT NULL UNIQUE, -- the background call that wrote it
    parcel INTEGER NOT NULL UNIQUE REFERENCES parcels ON DELETE CASCADE,
    cents INTEGER NOT NULL,
    written_at TEXT NOT NULL
) STRICT;

CREATE TABLE reports (
    day TEXT PRIMARY KEY,
    parcels TEXT NOT NULL -- the number of parcels in each state, as JSON
) STRICT;

INSERT INTO depots VALUES ('BER', 'Berlin', 400), ('HAM', 'Hamburg', 250), ('VIE', 'Wien', 120);

INSERT INTO parcels VALUES
(1001, 'registered', 'Ada', 'Lindenweg 1', '10115', 'Berlin', 'DE', 800, 449, 'fragile upright',
 '2026-03-01T08:00:00+00:00', NULL, 'ada'),
(1002, 'in_transit', 'Ben', 'Kai 2', '20457', 'Hamburg', 'DE', 2400, 649, '',
 '2026-03-02T09:30:00+00:00', NULL, NULL),
(1003, 'delivered', 'Cleo', 'Ring 3', '1010', 'Wien', 'AT', 12000, 2349, 'cool',
 '2026-03-03T10:45:00+00:00', 'Ring twice', 'ada');

INSERT INTO events VALUES
(1001, '2026-03-01T08:00:00+00:00', 'BER', 'registered'),
(1002, '2026-03-02T09:30:00+00:00', 'BER', 'registered'),
(1002, '2026-03-02T21:15:00+00:00', 'HAM', 'in_transit'),
(1003, '2026-03-03T10:45:00+00:00', 'BER', 'registered'),
(1003, '2026-03-04T05:00:00+00:00', 'VIE', 'in_transit'),
(1003, '2026-03-04T14:20:00+00:00', 'VIE', 'delivered');

INSERT INTO receipts VALUES (1, 'of the seed', 1003, 2349, '2026-03-03T10:45:01+00:00');
"""
