"""Limits for failed logins, so that a client cannot find a password by trying."""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
import unicodedata
from asyncio import Semaphore
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from servey.errors import OverloadedError, TooManyRequestsError
from servey.ports import Window
from servey.security.rate_limit.caller import network_of, warn_of_no_address
from servey.security.rate_limit.memory_storage import MemoryStorage, room_for

_SECONDS = 60
FAILURES_PER_ADDRESS = 10
FAILURES_PER_SITE = 100
"""A site is a /48 network of IPv6 with 65,536 subnets; one customer may have a whole site."""
FAILURES_PER_ACCOUNT = 20
"""More than the limit of an address, so that one address cannot lock out a user at other addresses."""

_ROOM = 4 * 1024 * 1024
"""Bytes for the failures of addresses and sites."""

_ACCOUNTS = 2**14
"""The number of counters for accounts. A keyed digest chooses the counter of a user name."""


class LoginAttempts:
    """Limit the failed logins of each address, site and account within a minute, in this process.

    A login counts as failed until it succeeds, so concurrent attempts are limited, too. The limit of failures is also
    the limit of concurrent logins of an address or account; further logins wait.

    The accounts have a fixed number of counters, so invented names cannot push out the failures of another name. Names
    that share a counter share its limit; an attacker cannot choose them without the secret.
    """

    def __init__(self) -> None:
        self._addresses = MemoryStorage(_ROOM)
        self._accounts = MemoryStorage(room_for(_ACCOUNTS, FAILURES_PER_ACCOUNT))
        self._secret = secrets.token_bytes()
        self._running: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def attempt(self, client: str, username: str, at: float) -> AsyncGenerator[Callable[[], None]]:
        """Run one attempt; yields the function that reports its failure.

        Args:
            client: The address of the client. If it is unknown (empty), only the account counts.
            username: The name of the user, who may not exist.
            at: The deadline of the wait for other attempts, in the event loop's time.

        Raises:
            TooManyRequestsError: Too many attempts have failed.
            OverloadedError: Too many attempts are running, and none ended in time.
        """
        counters = [(self._addresses, _windows_of(client)), (self._accounts, [self._window_of(username)])]
        async with AsyncExitStack() as turns:
            try:
                async with asyncio.timeout_at(at):
                    for key, limit, _ in (window for _, windows in counters for window in windows):
                        await turns.enter_async_context(self._running.setdefault(key, Semaphore(limit)))
            except TimeoutError as error:
                raise OverloadedError("too many logins at once") from error
            failed = False

            def fail() -> None:
                nonlocal failed
                failed = True

            counted: list[tuple[MemoryStorage, Sequence[Window]]] = []
            try:
                for storage, windows in counters:
                    _count(storage, windows)
                    counted.append((storage, windows))
                yield fail
            finally:
                if not failed:
                    for storage, windows in counted:
                        storage.release_all(windows)

    def _window_of(self, username: str) -> Window:
        # an authenticator may ignore case
        name = unicodedata.normalize("NFKC", username).strip().casefold().encode()
        digest = hashlib.blake2b(name, digest_size=8, key=self._secret).digest()
        return f"account {int.from_bytes(digest) % _ACCOUNTS}", FAILURES_PER_ACCOUNT, _SECONDS


def _windows_of(client: str) -> Sequence[Window]:
    if not client:
        warn_of_no_address()
        return ()
    address, site = network_of(client), network_of(client, 48)
    windows = [(f"address {address}", FAILURES_PER_ADDRESS, _SECONDS)]
    if site != address:
        windows.append((f"site {site}", FAILURES_PER_SITE, _SECONDS))
    return windows


def _count(storage: MemoryStorage, windows: Sequence[Window]) -> None:
    refused = [age for is_admitted, age, _ in storage.acquire_all(windows) if not is_admitted]
    if refused:
        seconds = math.ceil(_SECONDS - min(refused))
        raise TooManyRequestsError("too many logins have failed", retry_after=min(max(seconds, 1), _SECONDS))
