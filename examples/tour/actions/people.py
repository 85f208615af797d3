"""The users: the tour's authenticator, as a plugin (``SERVEY_PLUGINS=actions.people:People``).

Without the plugin, servey's login for development has one user, ``root``.
"""

import hashlib
import hmac
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from sqlite3 import Connection, IntegrityError
from typing import Annotated

from msgspec import Meta

from servey import ALLOW_NONE, Authorization, ConflictError, Example
from servey.action.action import action
from servey.plugin import Plugin
from servey.ports import Authenticator
from servey.service import Service

from .storage import Database

Name = Annotated[str, Meta(pattern=r"^[a-z]{2,20}$", description="Small letters")]
Password = Annotated[str, Meta(min_length=8, max_length=100)]
Scope = Annotated[str, Meta(pattern=r"^[a-z:]{1,40}$", description="What the user may do, as in depots")]

DEMO = {"ada": [], "henk": ["depots"], "root": ["accounts", "depots", "root"]}
"""The users outside production, each with its scopes."""
DEMO_PASSWORD = (  # parcels-for-all
    "7a5c1e0f93b24d6880e1c2d3f4a5b697:"
    "cac652b5f0f6456a95fc96e60524f6c3bf44fc4a2a9ca5f4a36087ec2b272d28"
    "3c609b370d2564c96e35111e703c093b8ad6dcc1d603089e98ef2e4ae0f23a27"
)


def hashed(password: str, salt: bytes | None = None) -> str:
    """Return the salt and scrypt hash (RFC 7914) of a password, with 16 MiB and five passes, as OWASP recommends."""
    salt = os.urandom(16) if salt is None else salt
    digest = hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=5, maxmem=64 * 1024 * 1024)
    return f"{salt.hex()}:{digest.hex()}"


NOBODY = f"{bytes(16).hex()}:"
"""The hash for unknown users: their logins take as long as those of known users."""


class DatabaseAuthenticator:
    """Look users up in the service's database."""

    database: Database | None = None

    def authenticate(self, username: str, password: str) -> Authorization | None:
        """Return the user if the name and the password are right. A plain function runs in a worker thread."""
        assert self.database is not None, "the service is not open"
        connection = self.database.connect()
        try:
            row = connection.execute("SELECT * FROM users WHERE name = ?", (username,)).fetchone()
        finally:
            connection.close()
        kept = NOBODY if row is None else row["password"]
        is_right = hmac.compare_digest(hashed(password, bytes.fromhex(kept.partition(":")[0])), kept)
        if row is None or not is_right:
            return None
        return Authorization(subject=username, scopes=frozenset(json.loads(row["scopes"])))

    @asynccontextmanager
    async def lifespan(self, service: Service) -> AsyncIterator[None]:
        """Take the database that the service has opened. Outside production, add the users in DEMO."""
        self.database = service.runtime.values[Database]
        if not service.settings.production:
            connection = self.database.connect()
            if connection.execute("SELECT 1 FROM users").fetchone() is None:
                rows = [(name, DEMO_PASSWORD, json.dumps(scopes)) for name, scopes in DEMO.items()]
                connection.executemany("INSERT INTO users VALUES (?, ?, ?)", rows)
                connection.commit()
            connection.close()
        yield


class People(Plugin):
    """The plugin that lets the users of the database log in."""

    def __init__(self) -> None:
        self.authenticator = DatabaseAuthenticator()

    def authenticators(self) -> Sequence[Authenticator]:
        """Replace servey's login for development."""
        return (self.authenticator,)

    def lifespans(self) -> Sequence[Callable[[Service], AbstractAsyncContextManager[None]]]:
        """Give the authenticator its database after the service has opened its resources."""
        return (self.authenticator.lifespan,)


@action(
    access_control=ALLOW_NONE,
    tags=("people",),
    examples=(
        Example(name="new", params={"name": "mia", "password": "a long secret", "scopes": ["depots"]}, result=None),
        Example(
            name="over_a_network",
            params={"name": "mia", "password": "a long secret"},
            authorization=Authorization("root", frozenset({"root"})),
            error="forbidden",
        ),
    ),
)
def add_user(name: Name, password: Password, connection: Connection, scopes: list[Scope] | None = None) -> None:
    """Add a user. This action runs from the command line only, never over a network.

    Args:
        name: The user's name.
        password: The password; the database has only its scrypt hash.
        connection: Given by the service.
        scopes: What the user may do.
    """
    try:
        connection.execute("INSERT INTO users VALUES (?, ?, ?)", (name, hashed(password), json.dumps(scopes or [])))
    except IntegrityError:
        raise ConflictError(f"there is a user {name} already") from None
