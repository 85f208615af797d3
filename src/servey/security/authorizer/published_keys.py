"""Keys that an issuer publishes as a JSON Web Key Set (RFC 7517 §5), fetched repeatedly."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

from servey.errors import OverloadedError
from servey.security.authorizer.key_ring import ALSO_CALLED, PUBLIC_KEY_ALGORITHMS, KeyRing, VerificationKey
from servey.security.urls import shown_url

_log = logging.getLogger("servey.security")

LEAST_INTERVAL, LONGEST_INTERVAL = 60.0, 3600.0
"""Bounds of an issuer's ``max-age``, in seconds."""

_MOST_KEYS = 100
_FIRST_RETRY = 1.0


class _Fetch:
    """A fetch under way, with one future in each event loop, however many callers wait there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: dict[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = {}

    async def wait(self, seconds: float | None = None) -> None:
        """Return when it has ended, or after so many seconds."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._ended is None:
                return
            ended = self._ended.get(loop)
            if ended is None:
                ended = self._ended[loop] = loop.create_future()
        await asyncio.wait([ended], timeout=seconds)  # unlike wait_for, it does not cancel the future

    def end(self) -> None:
        """Wake the callers that wait, in all threads."""
        with self._lock:
            ended, self._ended = self._ended or {}, None
        for loop, future in ended.items():
            with suppress(RuntimeError):  # that loop is closed
                loop.call_soon_threadsafe(future.set_result, None)


class PublishedKeys:
    """The keys of an issuer. If they cannot be fetched, the known ones stay valid.

    Args:
        url: The URL of the key set; empty if it is discovered.
        issuer: The issuer, if the key set is discovered (OpenID Connect Discovery 1.0 §4).
        interval: Seconds after which the keys are fetched again, unless the answer has a ``max-age``.
        pause: The least time between two fetches for tokens with an unknown key, in seconds.
        timeout: Seconds that a fetch may take.
    """

    def __init__(
        self, url: str = "", *, issuer: str = "", interval: float = 300.0, pause: float = 10.0, timeout: float = 5.0
    ) -> None:
        self._url, self._issuer = url, issuer
        self._usual_interval, self._pause, self._timeout = interval, pause, timeout
        self._ring: KeyRing | None = None
        self._lock = threading.Lock()
        self._fetching: _Fetch | None = None
        self._failures = 0
        self._due = 0.0
        self._may_ask_at = 0.0
        self._keepers = 0

    def __repr__(self) -> str:
        return shown_url(self._issuer or self._url)

    @property
    def ring(self) -> KeyRing | None:
        """The keys, if they are up to date."""
        return self._ring if self._keepers or time.monotonic() < self._due else None

    def may_have(self, algorithm: str) -> bool:
        """Return whether a key for an algorithm can be among them: no secret is ever published."""
        return ALSO_CALLED.get(algorithm, algorithm) in PUBLIC_KEY_ALGORITHMS

    async def current(self) -> KeyRing:
        """Return the keys; raise `OverloadedError` if they could not be fetched yet."""
        if self._ring is None or self.ring is None:
            await self._ask()
        if self._ring is None:
            seconds = max(1, math.ceil(min(self._due, self._may_ask_at) - time.monotonic()))
            raise OverloadedError("the keys that tokens are verified with are not there yet", retry_after=seconds)
        return self._ring

    async def renewed(self, ring: KeyRing) -> KeyRing:
        """Return the newest keys; fetch them if they are those of `ring`, unless that was tried a moment ago."""
        if self._ring is ring:
            await self._ask()
        return self._ring or ring

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Fetch the keys now and whenever they are due, in the background, while the context is open."""
        with self._lock:
            self._keepers += 1
        task = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            with self._lock:
                self._keepers -= 1

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(max(0.0, self._due - time.monotonic()))
            if time.monotonic() >= self._due:  # a caller may have had them fetched meanwhile
                await self._start().wait()

    async def _ask(self) -> None:
        """Fetch the keys for a caller, unless the last such fetch is not long ago; wait for the fetch under way."""
        with self._lock:
            now = time.monotonic()
            under_way = self._fetching
            if under_way is None and now < self._may_ask_at:
                return
            if under_way is None:
                self._may_ask_at = now + self._pause
        await (under_way or self._start()).wait(self._timeout)

    def _start(self) -> _Fetch:
        """Return the fetch that is under way, or that begins now; there is never more than one."""
        with self._lock:
            if self._fetching is not None:
                return self._fetching
            self._fetching = under_way = _Fetch()
        # not a thread of a pool, which the program would wait for at its end
        try:
            threading.Thread(target=self._fetch, args=(under_way,), name="servey-keys", daemon=True).start()
        except RuntimeError as error:  # there can be no more threads now
            self._end(under_way, self._failed(error))
        return under_way

    def _fetch(self, under_way: _Fetch) -> None:
        interval = LEAST_INTERVAL
        try:
            keys, max_age = self._fetched()
            interval = self._taken(KeyRing(keys), max_age)
        except Exception as error:  # noqa: BLE001 - the next fetch may succeed
            interval = self._failed(error)
        finally:
            self._end(under_way, interval)

    def _end(self, under_way: _Fetch, interval: float) -> None:
        with self._lock:
            self._due = time.monotonic() + interval
            self._fetching = None
        under_way.end()

    def _failed(self, error: Exception) -> float:
        """Return the seconds until the next fetch, after one that has failed."""
        self._failures += 1
        if self._failures == 1:
            stays = "the known keys stay valid" if self._ring else "none of its tokens can be verified yet"
            _log.warning("the keys of %s cannot be fetched, and %s: %s", self, stays, error)
        return min(_FIRST_RETRY * 2 ** min(self._failures - 1, 10), self._usual_interval, LEAST_INTERVAL)

    def _taken(self, ring: KeyRing, max_age: int | None) -> float:
        """Use fetched keys; return the seconds until the next fetch."""
        if self._failures:
            _log.info("the keys of %s can be fetched again", self)
        self._failures = 0
        if self._ring is None or self._ring.names != ring.names:
            if not ring.keys:
                _log.warning("%s publishes no key that tokens can be verified with", self)
            _log.debug("the keys of %s: %s", self, ", ".join(sorted(str(key.kid) for key in ring.keys)))
            self._ring = ring
        return self._usual_interval if max_age is None else min(max(max_age, LEAST_INTERVAL), LONGEST_INTERVAL)

    def _fetched(self) -> tuple[list[VerificationKey], int | None]:
        from servey.security.authorizer.json_fetch import fetch_json

        # discovered each time: where the keys are may change, and the old place still answer with the old ones
        members, max_age = fetch_json(self._url or self._discovered(), self._timeout)
        return keys_of(members), max_age

    def _discovered(self) -> str:
        from servey.security.authorizer.json_fetch import FetchError, fetch_json

        at = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
        members = fetch_json(at, self._timeout).members
        if members.get("issuer") != self._issuer:
            found = shown_url(str(members.get("issuer"))[:200])
            raise FetchError(f"{shown_url(at)} names the issuer {found!r}: write exactly this, or another issuer")
        url = members.get("jwks_uri")
        if not isinstance(url, str):
            raise FetchError(f"{shown_url(at)} does not say where the keys are (jwks_uri)")
        return url


def keys_of(jwks: dict[str, Any]) -> list[VerificationKey]:
    """Return the keys of a JSON Web Key Set that tokens can be verified with; others are passed over (RFC 7517 §5).

    Raises:
        ValueError: It is not a key set, or has over 100 keys.
    """
    from servey.security.authorizer.asymmetric_key import jwk_verification_key

    members: Any = jwks.get("keys")
    if not isinstance(members, list):
        raise ValueError("it is not a JSON Web Key Set")
    if len(members) > _MOST_KEYS:  # pyright: ignore[reportUnknownArgumentType]
        raise ValueError(f"it has more than {_MOST_KEYS} keys")
    found: list[VerificationKey] = []
    for member in members:  # pyright: ignore[reportUnknownVariableType]
        try:
            if not isinstance(member, dict):
                raise ValueError("it is not a JSON object")
            found.append(jwk_verification_key(member))  # pyright: ignore[reportUnknownArgumentType]
        except ValueError as error:
            _log.debug("a key of a key set is passed over: %s", error)
    return found
