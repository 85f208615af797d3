"""The claim of a running call on its idempotency key, and the answer that is kept after it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from servey.action.context import new_request_id
from servey.background_call.entries import VALUE_LIMIT
from servey.background_call.lease import Lease

if TYPE_CHECKING:
    from servey.action.context import CallContext

T = TypeVar("T")


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """The answer of a successful call.

    Args:
        content: The result as JSON.
        status: The HTTP status.
        headers: The HTTP header lines, without ``Set-Cookie``.
    """

    content: bytes
    status: int
    headers: Sequence[tuple[bytes, bytes]] = ()

    @classmethod
    def of(cls, content: bytes, status: int, headers: Iterable[tuple[bytes, bytes]]) -> Kept:
        """Return what is kept of an answer."""
        return cls(content, status, [line for line in headers if line[0] != b"set-cookie"])


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What a store has for an idempotency key.

    Args:
        arguments: The hash of the arguments.
        run: The id of the running call; empty if it has succeeded.
        kept: The answer; None of a running call, and if it is too large for the store.
    """

    arguments: bytes
    run: bytes = b""
    kept: Kept | None = None

    def encode(self) -> bytes:
        """Return the entry as bytes."""
        return _ENCODER.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Entry:
        """Return the entry with the bytes of `encode`."""
        return _DECODER.decode(data)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Entry)


class Claim:
    """The right of a call to run under an idempotency key.

    It lasts until the call has ended, with the request scope that it belongs to: only then its changes are made. A
    `def` that goes on in its thread after the deadline keeps the claim, too.

    Args:
        store: The `servey.ports.KeyValueStore`.
        key: The key of the entry.
        arguments: The hash of the arguments.
        seconds: How long the answer is kept.
        what: The call, for the log.
    """

    def __init__(self, store: Any, key: str, arguments: bytes, seconds: float, what: str) -> None:
        self._arguments, self._seconds = arguments, seconds
        self._lease = Lease(store, key, Entry(arguments, new_request_id().encode()).encode(), what)
        self._loop: Any = None
        self._lock = threading.Lock()
        # with the lock held
        self._is_over = self._runs = False

    async def take(self) -> Entry | None:
        """Take the claim, and return None; if there is an entry for the key, return it.

        Raises:
            CallError: The store does not answer.
        """
        found = await self._lease.take()
        return None if found is None else Entry.decode(found)

    async def hold(self, context: CallContext, run: Callable[[], Awaitable[T]], keep: Callable[[T], Kept]) -> T:
        """Hold the claim while a call runs, and keep its answer if it succeeds.

        Args:
            context: The context of the call.
            run: Runs the call.
            keep: Returns what is kept of its result.
        """
        context.claim = self
        self._lease.begin()
        try:
            result = await run()
            kept = keep(result)
        except BaseException:
            await self._end(None)
            raise
        scope = context.request_scope

        async def end(has_succeeded: bool) -> None:
            await self._end(kept if has_succeeded else None)

        if scope is None or not scope.at_end(end):
            await end(True)
        return result

    def in_thread(self, call: Callable[[], T]) -> Callable[[], T | None]:
        """Return a function for a thread that calls `call`, unless the claim has ended, and keeps the claim meanwhile.

        It is called in the event loop of the call.
        """
        self._loop = asyncio.get_running_loop()

        def run() -> T | None:
            with self._lock:
                if self._is_over:
                    return None  # nobody waits for the result
                self._runs = True
            try:
                return call()
            finally:
                with self._lock:
                    self._runs = False
                    is_late = self._is_over
                if is_late:
                    with suppress(RuntimeError):  # the event loop is closed; the lease ends by itself
                        asyncio.run_coroutine_threadsafe(self._lease.end(), self._loop)

        return run

    async def _end(self, kept: Kept | None) -> None:
        with self._lock:
            self._is_over = True
            if self._runs and kept is None:
                return
        if kept is None:
            await self._lease.end()
            return
        value = Entry(self._arguments, kept=kept).encode()
        if len(value) > VALUE_LIMIT:
            value = Entry(self._arguments).encode()
        await self._lease.end(value, self._seconds)
