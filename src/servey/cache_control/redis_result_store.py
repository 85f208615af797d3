"""Results kept in a Redis or Valkey server that several processes share.

The keys of one action share a hash tag, so that a cluster keeps them in one place::

    {prefix}:{<scope>}:c            the action's token
    {prefix}:{<scope>}:<args>:c     the arguments' token
    {prefix}:{<scope>}:<args>:<id>  a result, with both tokens as they were when its run began

A result counts while both tokens are the same. To invalidate is to delete a token: the next look-up makes a new one,
and whatever was made before, or is being made, matches no more. Nothing has to be searched for, and a token that the
server drops for want of memory can bring no old result back.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import threading
import time
from collections.abc import Awaitable
from typing import Any, Literal, TypeVar, cast

import msgspec

from servey.cache_control.circuit import PAUSE_SECONDS, Circuit, within
from servey.cache_control.memory_result_store import LARGEST_PART
from servey.cache_control.representation import Representation
from servey.cache_control.result_store import Lease, Lookup, ResultKey
from servey.cache_control.store_url import check_store_url
from servey.errors import MissingExtraError, checked_headers, is_missing

try:
    import redis
    import redis.asyncio
    from redis.asyncio.retry import Retry as AsyncRetry
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ModuleNotFoundError as error:
    if not is_missing("redis", error):
        raise
    raise MissingExtraError("redis", "redis") from error

_ASYNC, _SYNC = cast(Any, redis.asyncio), cast(Any, redis)
"""The packages; what their constructors take is not told to type checkers."""

T = TypeVar("T")

_log = logging.getLogger("servey.results")

SCHEMES = {"redis": "redis", "rediss": "rediss", "unix": "unix", "valkey": "redis", "valkeys": "rediss"}
"""The schemes of the URLs of stores, and what redis-py calls them."""

_TOKEN_MILLISECONDS = 300_000
"""How long a token stays that no result was kept with: a run that takes longer is not kept."""

_CLOCKS_APART = 60
"""So many seconds the clock of another process may be ahead."""

_CONNECTIONS = 32
_OWED = 1000
"""So many invalidations wait at most for a store that does not answer, before they become one of everything."""

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
    """What the server keeps. It has its own key in it: what is read by a mistake of whatever kind is no result."""

    version: Literal[1]
    key: bytes
    lease: bytes
    representation: Representation


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode


class RedisResultStore:
    """A `servey.ports.ResultStore` in a Redis or Valkey server.

    Each answer is waited for `timeout` seconds; after that, or after any error, the store is left alone for a short
    while. What was invalidated meanwhile is invalidated before it is used again.

    Args:
        url: Where the server is: ``redis://``, ``rediss://``, ``unix://``, ``valkey://`` or ``valkeys://``.
        timeout: For how long an answer is waited for, in seconds.
        size: An eighth of this many bytes is the largest result that is kept.
        prefix: What all keys begin with.

    Raises:
        SettingsError: The URL is none of a store.
    """

    is_shared = True

    def __init__(
        self, url: str, *, timeout: float = 0.25, size: int = 64 * 1024 * 1024, prefix: str = "servey"
    ) -> None:
        scheme, colon, rest = url.partition(":")
        self._url = f"{SCHEMES.get(scheme, scheme)}{colon}{rest}"
        self._timeout = timeout
        self._largest = size // LARGEST_PART
        self._prefix = prefix
        self._circuit = Circuit("the store of results", _log)
        self._clients: dict[asyncio.AbstractEventLoop, _Client] = {}
        self._lock = threading.Lock()
        self.owed: dict[tuple[str, bytes | None], int] = {}
        """What is invalidated here and not yet there: scopes and arguments, numbered; changed with the lock held."""
        self._changes = 0
        self._blocking: Any = None
        check_store_url(self._url, "SERVEY_RESULT_CACHE is neither off nor memory")

    async def get(self, key: ResultKey) -> Lookup:
        """Return what is kept under a key."""
        if not self._circuit.closed():
            return Lookup(None, self._changes, "store-unavailable")
        if self.owed and not await self._settle():
            return Lookup(None, self._changes, "store-unavailable")
        names = self._names(key)
        try:
            client = self._client()
            found, *tokens = await self._within(client.get(names, [os.urandom(16), _TOKEN_MILLISECONDS]))
            lease = b"".join(tokens)
        except Exception as error:  # noqa: BLE001 - whatever a broken store, or a foreign server, does
            return Lookup(None, self._changes, self._failed(error))
        self._circuit.succeeded()
        if self._is_owed(key):
            return Lookup(None, self._changes, "invalidated")
        return Lookup(_read(found, names[0], lease, is_private=bool(key[2])), lease)

    async def put(self, key: ResultKey, representation: Representation, lease: Lease) -> bool:
        """Keep a result unless it is too large or was invalidated since, and return whether it is kept."""
        max_age = representation.cache.max_age
        if not isinstance(lease, bytes) or not max_age or self._is_owed(key) or not self._circuit.closed():
            return False
        names = self._names(key)
        content = _encode(_Kept(1, names[0].encode(), lease, representation))
        if len(content) > self._largest:
            return False
        half = len(lease) // 2
        try:
            done = await self._within(self._client().put(names, [lease[:half], lease[half:], content, max_age * 1000]))
        except Exception as error:  # noqa: BLE001
            self._failed(error)
            return False
        return done == 1

    def allows(self, key: ResultKey, lease: Lease, lookup: Lookup) -> bool:
        """Return whether both leases are the same."""
        return lease == lookup.lease

    def invalidate(self, scope: str, arguments: bytes | None) -> None:
        """Forget results, those of runs under way included.

        In an event loop, a task does it. This process uses none of them from now on, and tells the server until it has
        heard it.
        """
        self._owe(scope, arguments)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if not self._circuit.closed() or not self._settle_here():
                self._settle_elsewhere()
        else:
            self._settle_later()

    async def ainvalidate(self, scope: str, arguments: bytes | None) -> bool:
        """Forget results, and return whether the server has."""
        self._owe(scope, arguments)
        if await self._settle():
            return True
        self._settle_later()
        return False

    async def close(self) -> None:
        """Tell the server what is invalidated, if it answers now, and close the connections of this event loop."""
        if self.owed:
            await self._settle()
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            if client.settling is not None:
                client.settling.cancel()
                await asyncio.wait((client.settling,))
            await client.redis.aclose()
        if not self._clients and self._blocking is not None:
            self._blocking.close()
            self._blocking = None

    # --- what is owed to the server ---------------------------------------------------------------------------------

    def _owe(self, scope: str, arguments: bytes | None) -> None:
        with self._lock:
            self._changes += 1
            self.owed[scope, None if (scope, None) in self.owed else arguments] = self._changes
            if len(self.owed) > _OWED:
                self.owed = {(name, None): self._changes for name, _ in self.owed}

    def _is_owed(self, key: ResultKey) -> bool:
        return bool(self.owed) and ((key[0], None) in self.owed or (key[0], key[1]) in self.owed)

    def _owing(self) -> tuple[dict[tuple[str, bytes | None], int], list[str]]:
        """Return what is owed, and the tokens that have to be deleted for it."""
        with self._lock:
            owed = dict(self.owed)
        return owed, [self._token(scope, arguments) for scope, arguments in owed]

    def _paid(self, owed: dict[tuple[str, bytes | None], int]) -> None:
        with self._lock:
            for what, number in owed.items():
                if self.owed.get(what) == number:  # else it was invalidated once more in the meantime
                    del self.owed[what]

    def _settle_later(self) -> None:
        """Have a task of the running event loop settle what is owed: one, however much that is."""
        client = self._client()
        if client.settling is None or client.settling.done():
            client.settling = asyncio.create_task(self._settle_all())

    def _settle_elsewhere(self) -> None:
        """Have a task of some event loop do so."""
        for loop in list(self._clients):
            try:
                loop.call_soon_threadsafe(self._settle_later)
            except RuntimeError:  # it is closed
                continue
            return

    async def _settle_all(self) -> None:
        while self.owed:
            if not await self._settle():
                await asyncio.sleep(PAUSE_SECONDS)

    async def _settle(self) -> bool:
        """Delete the tokens of everything that is owed, and return whether it is done."""
        owed, tokens = self._owing()
        try:
            if tokens:
                await self._within(_deleting(self._client().redis, tokens).execute())
        except Exception as error:  # noqa: BLE001 - see `get`
            self._failed(error)
            return False
        self._circuit.succeeded()
        self._paid(owed)
        return True

    def _settle_here(self) -> bool:
        """Do what `_settle` does, in a thread that has no event loop."""
        owed, tokens = self._owing()
        try:
            with self._lock:
                if self._blocking is None:
                    self._blocking = self._connect(_SYNC, Retry, socket_timeout=self._timeout)
                client = self._blocking
            if tokens:
                _deleting(client, tokens).execute()
        except Exception as error:  # noqa: BLE001 - see `get`
            self._failed(error)
            return False
        self._circuit.succeeded()
        self._paid(owed)
        return True

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

    def _client(self) -> _Client:
        """Return the client of the running event loop; it connects when it is used."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            for closed in [other for other in self._clients if other.is_closed()]:
                self._clients.pop(closed, None)
            client = self._clients[loop] = _Client(self._connect(_ASYNC, AsyncRetry))
        return client

    def _connect(self, package: Any, retry: Any, **options: Any) -> Any:
        """Return a client of redis-py, or of its part for asyncio."""
        pool = package.BlockingConnectionPool.from_url(
            self._url,
            max_connections=_CONNECTIONS,
            timeout=self._timeout,
            socket_connect_timeout=self._timeout,
            # once more, because a server that was started anew has closed the connections
            retry=retry(NoBackoff(), 1),
            **options,
        )
        return package.Redis.from_pool(pool)

    async def _within(self, answer: Awaitable[T]) -> T:
        return await within(self._timeout, answer)

    def _failed(self, error: Exception) -> str:
        self._circuit.failed(error)
        late = isinstance(error, (TimeoutError, redis.TimeoutError))
        return "store-timeout" if late else "store-error"


class _Client:
    """What one event loop has of the server."""

    def __init__(self, redis: Any) -> None:
        self.redis = redis
        self.get: Any = redis.register_script(_GET)
        self.put: Any = redis.register_script(_PUT)
        self.settling: asyncio.Task[None] | None = None


def _deleting(client: Any, tokens: list[str]) -> Any:
    """Return the deletion of keys, to be executed in one round trip; each by itself, for a cluster."""
    pipeline = client.pipeline(transaction=False)
    for token in tokens:
        pipeline.delete(token)
    return pipeline


def _read(found: Any, name: str, lease: bytes, *, is_private: bool) -> Representation | None:
    """Return the result in what the server has, unless it is none, or not of this key, or not of now."""
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
