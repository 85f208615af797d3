"""Counting failed logins, so that nobody can try passwords out."""

from __future__ import annotations

import hashlib
import math
import time
from asyncio import Future, get_running_loop
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from limits import parse
from limits.aio.strategies import MovingWindowRateLimiter

from servey.errors import TooManyRequestsError
from servey.security.rate_limit.caller import network_of
from servey.security.rate_limit.memory_storage import MemoryStorage

FAILURES_PER_CLIENT = "10/minute"
FAILURES_PER_USER = "20/minute"
"""More than one client has, so that one alone cannot keep a user from logging in elsewhere."""

_ROOM = 4 * 1024 * 1024
"""Bytes that the failures may take."""

Keys = Sequence[tuple[str, str]]


class LoginAttempts:
    """Lets so many logins fail in a minute: of one client, and of one user name. Those that succeed do not count.

    A login under way counts as one that will fail, so that a thousand at once are no way around it; those that are too
    many wait for its end. Everything is this process's own.
    """

    def __init__(self) -> None:
        self._failures = MovingWindowRateLimiter(MemoryStorage(_ROOM))
        self._limits = {"client": parse(FAILURES_PER_CLIENT), "user": parse(FAILURES_PER_USER)}
        self._under_way: Counter[tuple[str, str]] = Counter()
        self._waiting: dict[Future[None], None] = {}

    @asynccontextmanager
    async def attempt(self, client: str, username: str) -> AsyncGenerator[Callable[[], None]]:
        """Let one attempt be made; yields what says that it failed.

        Args:
            client: The address that it comes from.
            username: Who is to be logged in, whether or not there is such a user.

        Raises:
            TooManyRequestsError: Too many failed before.
        """
        # a digest, so that a name of any length takes the same room
        keys = (("client", network_of(client)), ("user", hashlib.sha256(username.encode()).hexdigest()))
        while (key := await self._used_up(keys)) is not None:
            if not self._under_way[key]:
                raise TooManyRequestsError("too many logins have failed", retry_after=await self._seconds_left(key))
            await self._somebody_is_done()
        self._under_way.update(keys)
        failed = False

        def fail() -> None:
            nonlocal failed
            failed = True

        try:
            yield fail
        finally:
            for key in keys:
                if failed:
                    await self._failures.hit(self._limits[key[0]], *key)
                self._under_way[key] -= 1
                if not self._under_way[key]:
                    del self._under_way[key]
            self._wake()

    async def _used_up(self, keys: Keys) -> tuple[str, str] | None:
        """Return the key of which no more may fail; of two, one that nothing under way can free."""
        full = [key for key in keys if not await self._admits(key)]
        return min(full, key=lambda key: self._under_way[key], default=None)

    async def _admits(self, key: tuple[str, str]) -> bool:
        return await self._failures.test(self._limits[key[0]], *key, cost=self._under_way[key] + 1)

    async def _seconds_left(self, key: tuple[str, str]) -> int:
        reset, _ = await self._failures.get_window_stats(self._limits[key[0]], *key)
        return max(1, math.ceil(reset - time.time()))

    async def _somebody_is_done(self) -> None:
        future: Future[None] = get_running_loop().create_future()
        self._waiting[future] = None
        try:
            await future
        finally:
            self._waiting.pop(future, None)

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()
