"""Results that the server keeps: looked up before an action runs, and made once for all who ask at the same time."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from servey.action.callables import module_of, qualified_name_of
from servey.action.context import CURRENT_CALL
from servey.action.deadlines import in_time
from servey.cache_control.argument_key import UnkeyableError, argument_key
from servey.cache_control.pending_invalidations import PendingInvalidations
from servey.cache_control.reply_headers import ReplyHeaders
from servey.cache_control.representation import Fetched, Representation
from servey.cache_control.result_store import Lease, Lookup, ResultKey
from servey.errors import DeadlineError, InternalError, OverloadedError

if TYPE_CHECKING:
    from servey.action.context import CallContext
    from servey.action.operation import Operation
    from servey.action.runtime import Runtime
    from servey.ports import ResultStore

_log = logging.getLogger("servey.results")

_NONE = (None,)

NOBODY = b"nobody"
"""Whose the results of a private action are that somebody without a token called."""

_VARY = frozenset({"", "authorization", "cookie", "accept-encoding", "origin"})
"""What a reply may say it varies by: who calls is in the key, and the rest is not seen by actions."""


class ResultCache:
    """The results of one action in a store.

    Args:
        operation: The action.
        store: Returns the store, which the actions of a service share.
        represent: Makes a representation of a result; the last step of `Operation.run`.
    """

    def __init__(
        self,
        operation: Operation,
        store: Callable[[], ResultStore],
        represent: Callable[[Any], Representation],
    ) -> None:
        self._operation = operation
        self._open = store
        self._represent = represent
        self._store: ResultStore | None = None
        self._is_private, self._is_shared = operation.is_private, False
        self._shares_limited = operation.execution.shares_limited
        self._scope = operation.name
        self._key_of: Callable[[Any], bytes] = lambda arguments: b""
        self._runs: dict[ResultKey, tuple[_Run, ...]] = {}
        """The runs under way, as they began."""
        self._lock = threading.Lock()  # for changes of it: there may be several event loops

    async def fetch(
        self, arguments: Any, context: CallContext, *, max_age: int | None = None, store: bool = True
    ) -> Fetched:
        """Return a result; see `servey.cache_control.cached_operation.CachedOperation.fetch`."""
        kept = self._store
        if kept is None:
            kept = self._opened()
        try:
            arguments_key = self._key_of(arguments)
            identity = b""
            if self._is_private:
                identity = NOBODY if context.authorization is None else context.authorization.identity
        except UnkeyableError:
            made = await self._operation.run(arguments, context, self._represent)
            return Fetched(made, 0, "fwd=bypass; detail=unkeyable")
        key = self._scope, arguments_key, identity
        lookup: Any = kept.get(key)
        if self._is_shared:
            lookup = await lookup
        representation: Representation | None = lookup.representation
        if representation is None:
            status = f"fwd=miss; detail={lookup.detail}" if lookup.detail else "fwd=uri-miss"
            return await self._anew(key, arguments, context, lookup, status, max_age == 0, store)
        age = time.time() - representation.made_at
        left = (representation.cache.max_age or 0) - age
        if left <= 0:
            return await self._anew(key, arguments, context, lookup, "fwd=stale", max_age == 0, store)
        if max_age is None or age <= max_age > 0:
            if age < 0:  # the clock was set back
                age, left = 0.0, left + age
            return Fetched(representation, int(age), f"hit; ttl={int(left)}")
        return await self._anew(key, arguments, context, lookup, "fwd=request", max_age == 0, store)

    def invalidate(self, arguments: Any = None) -> None:
        """Forget the results for arguments, whosever they are; all for None; see `ResultStore.invalidate`."""
        store = self._opened() if self._store is None else self._store
        keys = self._meant(arguments)
        if keys is not None:
            _note(store, keys)
            store.invalidate(*keys)

    async def ainvalidate(self, arguments: Any = None) -> bool:
        """Forget results, as `invalidate` does, and return whether it is done."""
        store = self._opened() if self._store is None else self._store
        keys = self._meant(arguments)
        if keys is None:
            return True
        _note(store, keys)
        return await store.ainvalidate(*keys)

    def _meant(self, arguments: Any) -> tuple[str, bytes | None] | None:
        """Return the scope and the key of arguments; None where nothing is ever kept for them."""
        try:
            return self._scope, None if arguments is None else self._key_of(arguments)
        except UnkeyableError:
            return None

    def _opened(self) -> ResultStore:
        store = self._open()
        nested = self._operation.signature.owner is not None
        self._key_of = argument_key(self._operation.arguments, decoded=not nested)
        self._is_shared = store.is_shared
        if store.is_shared:
            self._scope = f"{self._operation.name}:{fingerprint(self._operation)}"
        self._store = store
        return store

    async def _anew(
        self,
        key: ResultKey,
        arguments: Any,
        context: CallContext,
        lookup: Lookup,
        status: str,
        alone: bool,
        store: bool,
    ) -> Fetched:
        """Return the result of a run: one that began already, unless the caller wants its own, or a new one."""
        assert self._store is not None
        if context.request_scope is not None and self._shares_limited:
            return Fetched(await self._operation.run(arguments, context, self._represent))
        runtime = self._operation.runtime
        while True:
            run = self._runs.get(key, _NONE)[-1]
            if (
                run is None
                or alone
                or run.is_given_up
                or run.loop is not runtime.loop
                or run.task.done()
                or not self._store.allows(key, run.lease, lookup)
            ):
                return await self._lead(key, arguments, context, runtime, lookup.lease, status, store)
            run.keep = run.keep or store
            try:
                representation = await run.follow(runtime, self._operation.deadline(context, runtime))
            except (DeadlineError, OverloadedError):
                if run.is_late() and not _is_over(context.deadline, runtime):
                    continue  # the time of whoever began it is over, and not this caller's
                raise
            except InternalError:
                _log.error(
                    "%s: the call failed that another waited for (request %s; it waited for request %s)",
                    self._operation.name,
                    context.request_id,
                    run.request_id,
                    extra={"action": self._operation.name, "request_id": context.request_id},
                )
                raise
            if not may_be_kept(representation, self._operation.action.status):
                # it was made for somebody else alone (RFC 9111 §4); another that joined now would be told the same
                return await self._lead(key, arguments, context, runtime, lookup.lease, status, store)
            return Fetched(representation, 0, f"{status}{'; stored' if run.kept else ''}; collapsed")

    async def _lead(
        self,
        key: ResultKey,
        arguments: Any,
        context: CallContext,
        runtime: Runtime,
        lease: Lease,
        status: str,
        store: bool,
    ) -> Fetched:
        deadline = self._operation.deadline(context, runtime)
        run = _Run(runtime.loop, lease, deadline, store, context.request_id)
        run.task = runtime.loop.create_task(self._run(key, arguments, context, run), name=self._operation.name)
        with self._lock:
            self._runs[key] = *self._runs.get(key, ()), run
        representation = await run.lead()
        return Fetched(representation, 0, f"{status}{'; stored' if run.kept else ''}")

    async def _run(self, key: ResultKey, arguments: Any, context: CallContext, run: _Run) -> Representation:
        if context.request_scope is not None:
            # Outside of the request scope: other requests may wait longer than this one, and the transaction must begin
            # after the lookup in the store.
            context = msgspec.structs.replace(context, request_scope=None)
        try:
            representation = run.representation = await self._operation.run(arguments, context, self._represent)
            if run.keep and not run.is_old and may_be_kept(representation, self._operation.action.status):
                assert self._store is not None
                for other in self._runs.get(key, ()):  # those that began before have nothing newer
                    if other is run:
                        break
                    other.is_old = True
                put: Any = self._store.put(key, representation, run.lease)
                run.kept = await put if self._store.is_shared else put
            return representation
        finally:
            with self._lock:
                rest = tuple(other for other in self._runs.pop(key, ()) if other is not run)
                if rest:
                    self._runs[key] = rest


class _Run:
    """One run of an action, for everybody who waits for it.

    It is a task of its own, in the context of whoever began it, and goes on for as long as anybody waits.
    """

    task: asyncio.Task[Representation]

    def __init__(
        self, loop: asyncio.AbstractEventLoop, lease: Lease, deadline: float | None, keep: bool, request_id: str
    ) -> None:
        self.loop, self.lease, self.deadline = loop, lease, deadline
        self.keep, self.request_id = keep, request_id
        self.kept = False
        self.is_old = False  # a run that began later has been kept
        self.is_given_up = False  # nobody waits for it any more, and nobody may begin to
        self.representation: Representation | None = None
        self._waiting = 0

    def is_late(self) -> bool:
        """Whether the deadline of whoever began it has passed."""
        return self.deadline is not None and self.loop.time() >= self.deadline

    async def lead(self) -> Representation:
        """Wait for the result as the one who began it: the run itself has the deadline."""
        self._waiting += 1
        try:
            await asyncio.wait((self.task,))
        except asyncio.CancelledError:
            if self._waiting == 1:
                # as in a call without a cache: whoever cancels it waits until it has cleaned up
                self._give_up()
                await asyncio.wait((self.task,))
            raise
        finally:
            self._left()
        return self._outcome()

    async def follow(self, runtime: Runtime, deadline: float | None) -> Representation:
        """Wait for the result of somebody else's run, until one's own deadline.

        Raises:
            DeadlineError: It has passed.
        """
        self._waiting += 1
        try:
            await in_time(asyncio.wait((self.task,)), deadline, runtime.deadlines)
        except DeadlineError:
            if self.representation is not None:  # it is there, and being kept
                return self.representation
            raise
        finally:
            self._left()
        return self._outcome()

    def _outcome(self) -> Representation:
        if self.task.cancelled():
            # not by anybody who waits: the event loop ends
            raise OverloadedError("the service is shutting down")
        error = self.task.exception()
        if error is None:
            return self.task.result()
        raise error

    def _left(self) -> None:
        self._waiting -= 1
        if self.task.done():
            if not self.task.cancelled():
                self.task.exception()  # somebody has been told, or nobody wants to know
        elif not self._waiting:
            self._give_up()

    def _give_up(self) -> None:
        self.is_given_up = True
        self.task.cancel()


def may_be_kept(representation: Representation, status: int) -> bool:
    """Return whether a result may be kept: it is fresh for a while, a success, and sets no cookie."""
    cache = representation.cache
    return (
        bool(cache.max_age)
        and not cache.no_store
        and 200 <= (representation.status or status) < 300
        and not (representation.headers and _is_for_this_request(representation.headers))
    )


def _is_for_this_request(headers: Mapping[str, str]) -> bool:
    """Return whether a result is only for requests like this one, by headers that no key has in it."""
    reply = ReplyHeaders(headers)
    vary = {name.strip().lower() for name in (reply.get("vary") or "").split(",")}
    return reply.get("set-cookie") is not None or not vary <= _VARY


def fingerprint(operation: Operation) -> str:
    """Return what an action is, in a few letters: another for one that takes or returns something else.

    Processes that run the same program agree about it, also when they were started another day.
    """
    fn = operation.action.fn
    whole = (
        module_of(fn),
        qualified_name_of(fn),
        operation.name,
        operation.action.status,
        operation.is_private,
        operation.arguments.json_schema(),
        operation.result.json_schema("output"),
    )
    from hashlib import sha256  # for shared stores only

    return sha256(msgspec.json.encode(whole, order="deterministic", enc_hook=repr)).hexdigest()[:16]


def _note(store: ResultStore, keys: tuple[str, bytes | None]) -> None:
    """Have results forgotten once more when the call that runs here has left its resources."""
    call = CURRENT_CALL.get(None)
    if call is not None:
        if call.invalidated is None:
            call.invalidated = PendingInvalidations()
        call.invalidated.add(store, *keys)


def _is_over(deadline: float | None, runtime: Runtime) -> bool:
    return deadline is not None and runtime.loop.time() >= deadline
