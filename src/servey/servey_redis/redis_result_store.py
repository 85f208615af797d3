"""Results in a Redis or Valkey server, which several processes share.

The keys of one action share a hash tag, so that a cluster keeps them in one place::

    {prefix}:{<scope>}:c            the action's token
    {prefix}:{<scope>}:<args>:c     the arguments' token
    {prefix}:{<scope>}:<args>:<id>  a result, with both tokens as they were when its run began

A result is valid while both tokens are the same. An invalidation deletes a token: the next look-up makes a new one, so
that earlier results, and those of runs in progress, do not match any more. No keys have to be searched for. If the
server evicts a token, no old result comes back.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Awaitable
from concurrent.futures import wait
from typing import Any, Literal, TypeVar

import msgspec

from servey.cache_control.circuit_breaker import PAUSE_SECONDS, CircuitBreaker, within
from servey.cache_control.memory_result_store import LARGEST_PART
from servey.cache_control.representation import Representation
from servey.cache_control.result_store import Lease, Lookup, ResultKey
from servey.errors import checked_headers
from servey.servey_redis.connections import PerLoop, checked_url, client
from servey.servey_redis.connections import TimeoutError as RedisTimeoutError
from servey.servey_redis.invalidation_queue import InvalidationQueue

T = TypeVar("T")

_log = logging.getLogger("servey.results")

_TOKEN_MILLISECONDS = 300_000
"""The lifetime of a token without a result. The result of a run that takes longer is not stored."""

_CLOCKS_APART = 60
"""How many seconds the clock of another process may be ahead."""

_GET = """
local function get(key)
  local found = redis.pcall('GET', key)
  return type(found) == 'string' and found
end
local function token(key)
  local found = get(key)
  if not found then
    found = ARGV[1]
    redis.call('SET', key, found, 'PX', ARGV[2])
  end
  return found
end
return {get(KEYS[1]), token(KEYS[2]), token(KEYS[3])}
"""

_PUT = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] or redis.call('GET', KEYS[3]) ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
for i = 2, 3 do
  if redis.call('PTTL', KEYS[i]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[i], ARGV[4]) end
end
return 1
"""


class _Kept(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A stored result. It contains its own key, so that a wrong read is noticed."""

    version: Literal[1]
    key: bytes
    lease: bytes
    representation: Representation


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode


class RedisResultStore:
    """A `servey.ports.ResultStore` in a Redis or Valkey server.

    After `timeout` seconds without an answer, or after any error, the store is not used for a short time. Invalidations
    of that time are sent before it is used again.

    Args:
        url: The URL of the server: ``redis://``, ``rediss://``, ``unix://``, ``valkey://`` or ``valkeys://``.
        timeout: Seconds to wait for an answer.
        size: Bytes; the largest stored result has an eighth of it.
        prefix: The beginning of all keys.

    Raises:
        SettingsError: The URL is not valid.
    """

    is_shared = True

    def __init__(
        self, url: str, *, timeout: float = 0.25, size: int = 64 * 1024 * 1024, prefix: str = "servey"
    ) -> None:
        self._url = checked_url(url, "SERVEY_RESULT_CACHE is neither off nor memory")
        self._timeout = timeout
        self._largest = size // LARGEST_PART
        self._prefix = prefix
        self._circuit = CircuitBreaker("the store of results", _log)
        self._clients = PerLoop(lambda: _Client(client(self._url, timeout)))
        self.pending = InvalidationQueue()

    async def get(self, key: ResultKey) -> Lookup:
        """Return the result of a key."""
        if not self._circuit.allows_request():
            return Lookup(None, self.pending.changes, "store-unavailable")
        if self.pending and not await self._settle():
            return Lookup(None, self.pending.changes, "store-unavailable")
        names = self._names(key)
        try:
            found, *tokens = await self._within(self._clients.get().get(names, [os.urandom(16), _TOKEN_MILLISECONDS]))
            lease = b"".join(tokens)
        except Exception as error:  # noqa: BLE001 - from a broken store, or from another kind of server
            return Lookup(None, self.pending.changes, self._failed(error))
        self._circuit.succeeded()
        if self.pending.covers(*key[:2]):
            return Lookup(None, self.pending.changes, "invalidated")
        return Lookup(_read(found, names[0], lease, is_private=bool(key[2])), lease)

    async def put(self, key: ResultKey, representation: Representation, lease: Lease) -> bool:
        """Store a result unless it is too large or was invalidated since; return whether it is stored."""
        max_age = representation.cache.max_age
        if not isinstance(lease, bytes) or not max_age or self.pending.covers(*key[:2]):
            return False
        if not self._circuit.allows_request():
            return False
        names = self._names(key)
        content = _encode(_Kept(1, names[0].encode(), lease, representation))
        if len(content) > self._largest:
            return False
        half = len(lease) // 2
        try:
            done = await self._within(
                self._clients.get().put(names, [lease[:half], lease[half:], content, max_age * 1000])
            )
        except Exception as error:  # noqa: BLE001
            self._failed(error)
            return False
        return done == 1

    def allows(self, key: ResultKey, lease: Lease, lookup: Lookup) -> bool:
        """Return whether both leases are the same."""
        return lease == lookup.lease

    def invalidate(self, scope: str, arguments: bytes | None) -> None:
        """Invalidate results, including those of runs in progress.

        In an event loop, a task sends the invalidation, and repeats it until the server confirms it. This process uses
        none of the results from now on.
        """
        self.pending.add(scope, arguments)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._settle_from_thread()
        else:
            self._settle_later()

    async def ainvalidate(self, scope: str, arguments: bytes | None) -> bool:
        """Invalidate results, and return whether the server has confirmed it."""
        self.pending.add(scope, arguments)
        if await self._settle():
            return True
        self._settle_later()
        return False

    async def close(self) -> None:
        """Send pending invalidations, if the server answers now, and close the connections of this event loop."""
        if self.pending:
            await self._settle()
        found = self._clients.pop()
        if found is not None:
            if found.settling is not None:
                found.settling.cancel()
                await asyncio.wait((found.settling,))
            await found.redis.aclose()

    # --- pending invalidations ----------------------------------------------------------------------------------------

    def _settle_later(self) -> None:
        """Start the one task of the running event loop that sends pending invalidations."""
        own = self._clients.get()
        if own.settling is None or own.settling.done():
            own.settling = asyncio.create_task(self._settle_all())

    def _settle_from_thread(self) -> None:
        """Send pending invalidations from a thread without an event loop, and wait for the server's confirmation.

        An event loop of this store sends them, and repeats them later. Without one, they are sent once.
        """
        loop = self._clients.running_loop()
        if loop is None:
            asyncio.run(self._settle_once())
            return
        sending = self._settle_or_later()
        try:
            wait((asyncio.run_coroutine_threadsafe(sending, loop),), self._timeout)
        except RuntimeError:  # the loop was closed meanwhile
            sending.close()

    async def _settle_or_later(self) -> None:
        if not self._circuit.allows_request() or not await self._settle():
            self._settle_later()

    async def _settle_all(self) -> None:
        while self.pending:
            if not await self._settle():
                await asyncio.sleep(PAUSE_SECONDS)

    async def _settle(self) -> bool:
        """Send the pending invalidations, and return whether the server has confirmed them."""
        waiting = self.pending.waiting()
        try:
            if waiting:
                pipeline = self._clients.get().redis.pipeline(transaction=False)  # one round trip
                for scope, arguments in waiting:
                    pipeline.delete(self._token(scope, arguments))  # each key by itself, for a cluster
                await self._within(pipeline.execute())
        except Exception as error:  # noqa: BLE001 - see `get`
            self._failed(error)
            return False
        self._circuit.succeeded()
        self.pending.remove(waiting)
        return True

    async def _settle_once(self) -> None:
        """Do the same as `_settle` in an event loop that ends then."""
        if self._circuit.allows_request():
            await self._settle()
        own = self._clients.pop()
        if own is not None:
            await own.redis.aclose()

    # --- the server ---------------------------------------------------------------------------------------------------

    def _names(self, key: ResultKey) -> list[str]:
        scope, arguments, identity = key
        return [
            f"{self._arguments(scope, arguments)}:{identity.hex()}",
            self._token(scope, None),
            self._token(scope, arguments),
        ]

    def _token(self, scope: str, arguments: bytes | None) -> str:
        return f"{self._prefix}:{{{scope}}}:c" if arguments is None else f"{self._arguments(scope, arguments)}:c"

    def _arguments(self, scope: str, arguments: bytes) -> str:
        return f"{self._prefix}:{{{scope}}}:{hashlib.sha256(arguments).hexdigest()}"

    async def _within(self, answer: Awaitable[T]) -> T:
        return await within(self._timeout, answer)

    def _failed(self, error: Exception) -> str:
        self._circuit.failed(error)
        late = isinstance(error, (TimeoutError, RedisTimeoutError))
        return "store-timeout" if late else "store-error"


class _Client:
    """The client and the scripts of one event loop."""

    def __init__(self, redis: Any) -> None:
        self.redis = redis
        self.get: Any = redis.register_script(_GET)
        self.put: Any = redis.register_script(_PUT)
        self.settling: asyncio.Task[None] | None = None


def _read(found: Any, name: str, lease: bytes, *, is_private: bool) -> Representation | None:
    """Return the stored result; None if it is damaged, of another key, or not valid any more."""
    if not isinstance(found, bytes):
        return None
    try:
        kept = _decode(found)
        headers = checked_headers(kept.representation.headers)
    except (ValueError, TypeError, RecursionError):
        return None
    made = kept.representation
    if (
        kept.key != name.encode()
        or kept.lease != lease
        or made.private is not is_private
        or not 0 <= made.made_at <= time.time() + _CLOCKS_APART  # not a number, either
        or made.cache.etag is None
        or not 200 <= (made.status or 200) <= 299
    ):
        return None
    return msgspec.structs.replace(kept.representation, headers=headers)
