"""The result cache of an action: simultaneous calls with the same key share one run of the function."""

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
"""The identity of callers without a token, for private actions."""

_VARY = frozenset({"", "authorization", "cookie", "accept-encoding", "origin"})
"""The headers that `Vary` of a cached reply may name: the caller is in the key, actions do not see the others."""


class ResultCache:
    """The cached results of one action.

    Args:
        operation: The action.
        store: Returns the result store, which all actions of a service share.
        represent: Makes the representation of a result; the last step of `Operation.run`.
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
        """The runs in progress, oldest first."""
        self._lock = threading.Lock()  # for changes of `_runs`: there may be several event loops

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
        found: Representation | None = lookup.representation
        if found is None:
            status = f"fwd=miss; detail={lookup.detail}" if lookup.detail else "fwd=uri-miss"
        else:
            age = time.time() - found.made_at
            left = (found.cache.max_age or 0) - age
            if left <= 0:
                status = "fwd=stale"
            elif max_age is None or age <= max_age > 0:
                if age < 0:  # the clock was set back
                    age, left = 0.0, left + age
                return Fetched(found, int(age), f"hit; ttl={int(left)}")
            else:
                status = "fwd=request"
        return await self._made(_Wanted(key, arguments, context, lookup, status, max_age == 0, store))

    def invalidate(self, arguments: Any = None) -> None:
        """Invalidate the results for these arguments, for all callers; None: all results."""
        store = self._opened() if self._store is None else self._store
        keys = self._meant(arguments)
        if keys is not None:
            _note(store, keys)
            store.invalidate(*keys)

    async def ainvalidate(self, arguments: Any = None) -> bool:
        """Do the same as `invalidate`, and return whether the store has confirmed it."""
        store = self._opened() if self._store is None else self._store
        keys = self._meant(arguments)
        if keys is None:
            return True
        _note(store, keys)
        return await store.ainvalidate(*keys)

    def _meant(self, arguments: Any) -> tuple[str, bytes | None] | None:
        """Return the scope and the key of arguments; None if they have no key, so nothing is cached for them."""
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

    async def _made(self, wanted: _Wanted) -> Fetched:
        """Return the result of a run: of one in progress, or of a new one if the caller wants a new result."""
        assert self._store is not None
        context = wanted.context
        if context.request_scope is not None and self._shares_limited:
            return Fetched(await self._operation.run(wanted.arguments, context, self._represent))
        runtime = self._operation.runtime
        while True:
            run = self._runs.get(wanted.key, _NONE)[-1]
            if run is None or not self._may_join(run, wanted, runtime):
                return await self._lead(wanted, runtime)
            run.keep = run.keep or wanted.store
            try:
                representation = await run.follow(runtime, self._operation.deadline(context, runtime))
            except (DeadlineError, OverloadedError):
                if run.is_late() and not _is_over(context.deadline, runtime):
                    continue  # the first caller's time is over, but not this caller's
                raise
            except InternalError:
                _log.error(
                    "%s: request %s waited for the call of request %s, which failed",
                    self._operation.name,
                    context.request_id,
                    run.request_id,
                    extra={"action": self._operation.name, "request_id": context.request_id},
                )
                raise
            if not may_be_cached(representation, self._operation.action.status):
                # it is only for the first caller (RFC 9111 §4), as is that of any other run in progress
                return await self._lead(wanted, runtime)
            return Fetched(representation, 0, f"{wanted.status}{'; stored' if run.kept else ''}; collapsed")

    def _may_join(self, run: _Run, wanted: _Wanted, runtime: Runtime) -> bool:
        assert self._store is not None
        if wanted.is_new or run.is_given_up or run.loop is not runtime.loop or run.task.done():
            return False
        return self._store.allows(wanted.key, run.lease, wanted.lookup)

    async def _lead(self, wanted: _Wanted, runtime: Runtime) -> Fetched:
        deadline = self._operation.deadline(wanted.context, runtime)
        run = _Run(runtime.loop, wanted.lookup.lease, deadline, wanted.store, wanted.context.request_id)
        run.task = runtime.loop.create_task(self._run(wanted, run), name=self._operation.name)
        with self._lock:
            self._runs[wanted.key] = *self._runs.get(wanted.key, ()), run
        representation = await run.lead()
        return Fetched(representation, 0, f"{wanted.status}{'; stored' if run.kept else ''}")

    async def _run(self, wanted: _Wanted, run: _Run) -> Representation:
        key, context = wanted.key, wanted.context
        if context.request_scope is not None:
            # Outside of the request scope: other requests may wait longer than this one, and the transaction must begin
            # after the lookup in the store.
            context = msgspec.structs.replace(context, request_scope=None)
        try:
            representation = await self._operation.run(wanted.arguments, context, self._represent)
            run.representation = representation
            if run.keep and not run.is_old and may_be_cached(representation, self._operation.action.status):
                assert self._store is not None
                for other in self._runs.get(key, ()):  # earlier runs have no newer result
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


class _Wanted(msgspec.Struct, frozen=True, gc=False):
    """A result that the store does not have.

    Args:
        key: The key of the result.
        arguments: The arguments of the call.
        context: The surroundings of the call.
        lookup: The answer of the store.
        status: The beginning of the ``Cache-Status``.
        is_new: Whether the caller wants a new run.
        store: Whether the result may be cached.
    """

    key: ResultKey
    arguments: Any
    context: CallContext
    lookup: Lookup
    status: str
    is_new: bool
    store: bool


class _Run:
    """One run of an action, and all calls that wait for it.

    It is a task with the context of the first caller. It is cancelled when no call waits for it any more.
    """

    task: asyncio.Task[Representation]

    def __init__(
        self, loop: asyncio.AbstractEventLoop, lease: Lease, deadline: float | None, keep: bool, request_id: str
    ) -> None:
        self.loop, self.lease, self.deadline = loop, lease, deadline
        self.keep, self.request_id = keep, request_id
        self.kept = False
        self.is_old = False  # the result of a later run is cached
        self.is_given_up = False  # it was cancelled, and no other call may join
        self.representation: Representation | None = None
        self._waiting = 0

    def is_late(self) -> bool:
        """Whether the deadline of the first caller has passed."""
        return self.deadline is not None and self.loop.time() >= self.deadline

    async def lead(self) -> Representation:
        """Wait for the result as the first caller, whose deadline the run itself has."""
        self._waiting += 1
        try:
            await asyncio.wait((self.task,))
        except asyncio.CancelledError:
            if self._waiting == 1:
                # as in a call without a cache: the caller waits for the clean-up
                self._give_up()
                await asyncio.wait((self.task,))
            raise
        finally:
            self._left()
        return self._outcome()

    async def follow(self, runtime: Runtime, deadline: float | None) -> Representation:
        """Wait for the result of another caller's run, until a deadline.

        Raises:
            DeadlineError: The deadline has passed.
        """
        self._waiting += 1
        try:
            await in_time(asyncio.wait((self.task,)), deadline, runtime.deadlines)
        except DeadlineError:
            if self.representation is not None:  # the result exists, and is being stored
                return self.representation
            raise
        finally:
            self._left()
        return self._outcome()

    def _outcome(self) -> Representation:
        if self.task.cancelled():
            # not cancelled by a waiting call: the event loop ends
            raise OverloadedError("the service is shutting down")
        error = self.task.exception()
        if error is None:
            return self.task.result()
        raise error

    def _left(self) -> None:
        self._waiting -= 1
        if self.task.done():
            if not self.task.cancelled():
                self.task.exception()  # marks the exception as retrieved
        elif not self._waiting:
            self._give_up()

    def _give_up(self) -> None:
        self.is_given_up = True
        self.task.cancel()


def may_be_cached(representation: Representation, status: int) -> bool:
    """Return whether a result may be cached: a success that is fresh for a while and sets no cookie."""
    cache = representation.cache
    return (
        bool(cache.max_age)
        and not cache.no_store
        and 200 <= (representation.status or status) < 300
        and not (representation.headers and _is_for_this_request(representation.headers))
    )


def _is_for_this_request(headers: Mapping[str, str]) -> bool:
    """Return whether a reply depends on headers of the request that are not in the key."""
    reply = ReplyHeaders(headers)
    vary = {name.strip().lower() for name in (reply.get("vary") or "").split(",")}
    return reply.get("set-cookie") is not None or not vary <= _VARY


def fingerprint(operation: Operation) -> str:
    """Return a short hash of an action's code name, status and types.

    All processes that run the same program compute the same hash.
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
    """Repeat an invalidation after the current call has closed its resources."""
    call = CURRENT_CALL.get(None)
    if call is not None:
        if call.invalidated is None:
            call.invalidated = PendingInvalidations()
        call.invalidated.add(store, *keys)


def _is_over(deadline: float | None, runtime: Runtime) -> bool:
    return deadline is not None and runtime.loop.time() >= deadline
