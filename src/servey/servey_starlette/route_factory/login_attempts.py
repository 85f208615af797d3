"""Counting failed logins, so that nobody can try passwords out."""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
import time
import unicodedata
from asyncio import Future, get_running_loop
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from limits import parse
from limits.aio.strategies import MovingWindowRateLimiter

from servey.errors import OverloadedError, TooManyRequestsError
from servey.security.rate_limit.caller import network_of, warn_of_no_address
from servey.security.rate_limit.memory_storage import MemoryStorage, room_for

FAILURES_PER_CLIENT = "10/minute"
FAILURES_PER_SITE = "100/minute"
"""Of one /48 network of IPv6, which one customer may have whole: 65,536 clients."""
FAILURES_PER_USER = "20/minute"
"""More than one client has, so that one alone cannot keep a user from logging in elsewhere."""

_ROOM = 4 * 1024 * 1024
"""Bytes that the failures of clients may take, and those of sites."""

_USERS = 2**14
"""So many counters there are for user names. Each is of all names that have its number by a keyed digest."""

Key = tuple[str, str]
"""What is counted (client, site or user), and whose."""


class LoginAttempts:
    """Lets so many logins fail in a minute: of one client, and of one user name. Those that succeed do not count.

    A login under way counts as one that will fail, so that a thousand at once are no way around it; those that are too
    many wait for its end. Everything is this process's own.

    No failure of a user name is forgotten within its minute, whatever other names are made up: there are counters for
    all, and names that share one only share its limit.
    """

    def __init__(self) -> None:
        users = parse(FAILURES_PER_USER)
        self._limits = {"client": parse(FAILURES_PER_CLIENT), "site": parse(FAILURES_PER_SITE), "user": users}
        rooms = {"client": _ROOM, "site": _ROOM, "user": room_for(_USERS, users.amount)}
        self._failures = {kind: MovingWindowRateLimiter(MemoryStorage(room)) for kind, room in rooms.items()}
        self._secret = secrets.token_bytes()  # who knows it can choose names that share a counter with another
        self._under_way: Counter[Key] = Counter()
        self._waiting: dict[Key, dict[Future[None], None]] = {}

    @asynccontextmanager
    async def attempt(self, client: str, username: str, at: float) -> AsyncGenerator[Callable[[], None]]:
        """Let one attempt be made; yields what says that it failed.

        Args:
            client: The address that it comes from; empty where it is not known, and then only the name counts.
            username: Who is to be logged in, whether or not there is such a user.
            at: Until when it may wait for others that are under way, in the event loop's time.

        Raises:
            TooManyRequestsError: Too many failed before.
            OverloadedError: Too many are under way, and none ended in time.
        """
        keys = self._keys(client, username)
        await self._admitted(keys, at)
        self._under_way.update(keys)
        for key in keys:
            if key in self._waiting and await self._admits(key):  # there is room for more than the one that was woken
                self._wake(key)
        failed = False

        def fail() -> None:
            nonlocal failed
            failed = True

        try:
            yield fail
        finally:
            for key in keys:
                if failed:
                    await self._failures[key[0]].hit(self._limits[key[0]], *key)
                self._under_way[key] -= 1
                if not self._under_way[key]:
                    del self._under_way[key]
            for key in keys:
                self._wake(key)

    def _keys(self, client: str, username: str) -> Sequence[Key]:
        # an authenticator may take Root for root; that one counter is for both is right for others, too
        name = unicodedata.normalize("NFKC", username).strip().casefold().encode()
        digest = hashlib.blake2b(name, digest_size=8, key=self._secret).digest()
        user = ("user", str(int.from_bytes(digest) % _USERS))
        if not client:
            warn_of_no_address()
            return (user,)
        network, site = network_of(client), network_of(client, 48)
        return ("client", network), *([("site", site)] if site != network else []), user

    async def _admitted(self, keys: Sequence[Key], at: float) -> None:
        """Return when one more may fail of every key; from then on nothing may be awaited that takes time.

        Who is woken for a key and does not begin wakes the next one, so that nobody waits for what is over.
        """
        woken: Key | None = None
        while (key := await self._used_up(keys)) is not None:
            if woken is not None and (woken != key or not self._under_way[key]):
                self._wake(woken)
            if not self._under_way[key]:
                raise TooManyRequestsError("too many logins have failed", retry_after=await self._seconds_left(key))
            await self._somebody_is_done(key, at)
            woken = key

    async def _used_up(self, keys: Sequence[Key]) -> Key | None:
        """Return the key of which no more may fail; of several, one that nothing under way can free."""
        full = [key for key in keys if not await self._admits(key)]
        return min(full, key=lambda key: self._under_way[key], default=None)

    async def _admits(self, key: Key) -> bool:
        return await self._failures[key[0]].test(self._limits[key[0]], *key, cost=self._under_way[key] + 1)

    async def _seconds_left(self, key: Key) -> int:
        reset, _ = await self._failures[key[0]].get_window_stats(self._limits[key[0]], *key)
        return max(1, math.ceil(reset - time.time()))

    async def _somebody_is_done(self, key: Key, at: float) -> None:
        future: Future[None] = get_running_loop().create_future()
        self._waiting.setdefault(key, {})[future] = None
        try:
            async with asyncio.timeout_at(at):
                await future
        except BaseException as error:
            if future.done() and not future.cancelled():
                self._wake(key)
            self._forget(key, future)
            if isinstance(error, TimeoutError):
                raise OverloadedError("too many logins at once") from error
            raise

    def _wake(self, key: Key) -> None:
        """Let the one that has waited for longest for a key look again."""
        for future in self._waiting.get(key, ()):
            if not future.done():
                future.set_result(None)
                self._forget(key, future)
                break

    def _forget(self, key: Key, future: Future[None]) -> None:
        waiting = self._waiting.get(key, {})
        waiting.pop(future, None)
        if not waiting:
            self._waiting.pop(key, None)
