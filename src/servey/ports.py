"""The ports of the core: the Protocols that a plugin or a user may implement.

The port for engines of the codec is `servey.codec.Engine`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from servey.security.authorization import Authorization

if TYPE_CHECKING:
    import asyncio

    from servey.action.context import CallContext
    from servey.background_call.call import Call, FailedCall, OpenCall, Outcome
    from servey.cache_control.cache_header import CacheHeader
    from servey.cache_control.representation import Representation
    from servey.cache_control.result_store import Lease, Lookup, ResultKey


@runtime_checkable
class AccessControl(Protocol):
    """Decide whether a caller may call an action; may be asynchronous."""

    def check(self, authorization: Authorization | None, /) -> Awaitable[None] | None:
        """Return (or resolve) if the caller may call the action; otherwise raise.

        Args:
            authorization: The verified caller; None if the request has no token.

        Raises:
            UnauthorizedError: There is no caller, but the action needs one.
            ForbiddenError: The caller may not call the action.
        """
        ...


@runtime_checkable
class ScopeBased(Protocol):
    """An access control that checks scopes. Documents and errors name them."""

    def required_scopes(self) -> Sequence[frozenset[str]]:
        """Return the alternatives: sets of scopes, each of which is enough."""
        ...


@runtime_checkable
class ExampleCaller(Protocol):
    """An access control that can make a caller for examples without an `Authorization`."""

    def example_authorization(self) -> Authorization:
        """Return a caller that the access control accepts."""
        ...


class Authorizer(Protocol):
    """Verify a bearer token (RFC 6750). An authorizer with a signing key is a `TokenIssuer`, too."""

    async def authorize(self, token: str, /) -> Authorization | None:
        """Return the caller of a token; None for an unknown kind of token, so that servey asks the next authorizer.

        Raises:
            UnauthorizedError: The token is not valid; with ``error="invalid_token"``.
        """
        ...


@runtime_checkable
class TokenIssuer(Protocol):
    """Sign tokens that an authorizer of this service accepts."""

    def issue(self, authorization: Authorization, /) -> str:
        """Return a new token for the caller in `authorization`.

        Args:
            authorization: The token gets its subject, scopes and claims, and its `expires_at` and `not_before` if set.
        """
        ...


@runtime_checkable
class Authenticator(Protocol):
    """Check a user name and a password for ``/login`` (OAuth 2.0, RFC 6749 §4.3)."""

    def authenticate(self, username: str, password: str, /) -> Awaitable[Authorization | None] | Authorization | None:
        """Return (or resolve to) the user's authorization with all of its scopes; None if name or password is wrong.

        A plain function runs in a worker thread. It takes as long for an unknown name as for a wrong password.
        """
        ...


@runtime_checkable
class CacheControl(Protocol):
    """Determine how caches may reuse a result.

    It may also be a `RevalidatingCacheControl`, a `FreshnessCacheControl` or a `PublicCacheControl`.
    """

    def cache_header(self, result: Any, content: bytes, /) -> CacheHeader:
        """Return the caching of a result.

        Args:
            result: The result of the action, without its `Reply`.
            content: The JSON of the result.
        """
        ...


class RateLimiter(Protocol):
    """Count the calls of one action, per caller."""

    async def acquire(self, context: CallContext, /) -> None:
        """Count a call, and set the state of the limit in its context.

        Raises:
            TooManyRequestsError: The limit is used up.
        """
        ...


@runtime_checkable
class RevalidatingCacheControl(Protocol):
    """The cache control of a write, which knows the current entity tag of the written resource."""

    def current_etag(self, arguments: Mapping[str, Any], /) -> Awaitable[str | None] | str | None:
        """Return (or resolve to) the tag without quotes; None if the resource does not exist."""
        ...


@runtime_checkable
class FreshnessCacheControl(Protocol):
    """A cache control with a flag whether results can be fresh."""

    may_be_fresh: bool
    """False if no result ever has a `max_age` above 0, so that the server does not look for cached results."""


@runtime_checkable
class PublicCacheControl(Protocol):
    """A cache control with a flag whether shared caches may store results of requests with a token."""

    public: bool


Window = tuple[str, int, int]
"""A window of calls: its key, how many calls it admits, and its length in seconds."""
WindowState = tuple[bool, float, int]
"""A window after a call: whether it admitted the call, the age of its oldest call in seconds, and its calls."""


class RateLimitStorage(Protocol):
    """Count calls for several processes, in one event loop."""

    errors: tuple[type[Exception], ...]
    """The errors of `acquire_all` if the storage fails, besides `OSError` and `TimeoutError`."""
    turn: asyncio.Semaphore
    """Callers acquire it before `acquire_all`, so that a few connections suffice."""

    async def acquire_all(self, windows: Sequence[Window], /) -> Sequence[WindowState]:
        """Count a call in all windows if all of them admit it, in one step."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class ResultStore(Protocol):
    """Store results of actions while they are fresh; its methods never raise.

    A call gets a lease from `get`, makes its result, and passes both to `put`. `put` does not store a result that was
    invalidated meanwhile.
    """

    is_shared: bool
    """Whether other processes share the store; then `get` and `put` return awaitables."""

    def get(self, key: ResultKey, /) -> Awaitable[Lookup] | Lookup:
        """Return (or resolve to) the result of a key."""
        ...

    def put(self, key: ResultKey, representation: Representation, lease: Lease, /) -> Awaitable[bool] | bool:
        """Store a result while it is fresh, and return (or resolve to) whether it is stored.

        Args:
            key: As for `get`.
            representation: The result; its `max_age` is set.
            lease: The lease of `get` before the run.
        """
        ...

    def allows(self, key: ResultKey, lease: Lease, lookup: Lookup, /) -> bool:
        """Return whether the result of a run that began with `lease` may answer a caller who got `lookup` later."""
        ...

    def invalidate(self, scope: str, arguments: bytes | None, /) -> None:
        """Invalidate results, also of runs in progress; may be called from any thread.

        In an event loop it returns at once, and updates a shared store in the background. Elsewhere it returns when it
        is done.

        Args:
            scope: The first part of the keys.
            arguments: The second part; None for all.
        """
        ...

    async def ainvalidate(self, scope: str, arguments: bytes | None, /) -> bool:
        """Invalidate results, and return whether the store has confirmed it."""
        ...

    async def close(self) -> None:
        """Close the connections of the running event loop."""
        ...


@runtime_checkable
class Timetable(Protocol):
    """A trigger that is a schedule: it knows its times in advance.

    It may also have `params` (the arguments of its calls, by name), `grace` and `jitter` (in seconds) and `overlap`, as
    `servey.trigger.cron_trigger.CronTrigger` describes them. Its `str` is its name, the same in every process.
    """

    def next_after(self, moment: float, /) -> float | None:
        """Return the first time that is later than `moment`, both in Unix seconds; None if there is none."""
        ...


class CallQueue(Protocol):
    """Store background calls until they have ended. A call runs at least once: after a crash, it may run again."""

    is_durable: bool
    """Whether the calls outlive the process."""
    carries_callers: bool
    """Whether the calls can have a caller: not if other programs can change them, and no key signs them."""

    async def put(self, calls: Sequence[Call], /) -> None:
        """Store calls, and return when all are stored. The queue ignores a call with a known id (`Call.is_named`).

        Raises:
            OverloadedError: Not all calls are stored within ``SERVEY_QUEUE_TIMEOUT``. You can put them again: a queue
                stores each id once.
        """
        ...

    def put_now(self, calls: Sequence[Call], /) -> None:
        """Do the same as `put` in a thread without an event loop."""
        ...

    def consuming(self, run: Callable[[Call], Awaitable[Outcome]], /) -> AbstractAsyncContextManager[None]:
        """Return a context manager that claims calls and runs them, ``SERVEY_BACKGROUND_CALLS`` at the same time.

        Its exit claims no more calls, and waits for the running ones. If the exit is cancelled, it cancels these calls,
        and makes them ready again for other processes.

        Args:
            run: Makes a call; it raises nothing but a cancellation.
        """
        ...

    async def failed(self, limit: int, /) -> Sequence[FailedCall]:
        """Return the calls that have failed for good, the latest first."""
        ...

    async def retry(self, id: str, /) -> bool:
        """Make a failed call again from its first attempt, and return whether there is such a call."""
        ...

    async def forget(self, id: str, /) -> bool:
        """Forget a failed or a waiting call; its id stays known. Return whether there is such a call."""
        ...


@runtime_checkable
class OpenCallsQueue(Protocol):
    """A queue that can list its running and waiting calls."""

    async def open_calls(self, limit: int, /) -> Sequence[OpenCall]:
        """Return the running calls and then the waiting ones, in the order of their times."""
        ...


class KeyValueStore(Protocol):
    """Store small entries that processes share, such as leases and idempotency keys. Each entry ends after a time.

    Keys have at most 512 characters, values 256 KiB. All methods raise `OverloadedError` if the store does not answer
    within ``SERVEY_QUEUE_TIMEOUT``.
    """

    async def get(self, key: str, /) -> bytes | None:
        """Return the value of a key; None if there is none."""
        ...

    async def add(self, key: str, value: bytes, seconds: float, /) -> bytes | None:
        """Store a value for a time, unless the key has one. Return the value that is there already; None if added."""
        ...

    async def swap(self, key: str, old: bytes, new: bytes | None, seconds: float, /) -> bool:
        """Replace the value `old` by `new` for a time (None: remove it), and return whether `old` was there."""
        ...
