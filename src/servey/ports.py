"""Every port of the core on one page: what a plugin or a user may implement, as Protocols.

The engines of the codec (`servey.codec.Engine`) are a port too; it stands with the types it speaks of.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from servey.security.authorization import Authorization

if TYPE_CHECKING:
    import asyncio

    from servey.action.context import CallContext
    from servey.cache_control.cache_header import CacheHeader
    from servey.cache_control.representation import Representation
    from servey.cache_control.result_store import Lease, Lookup, ResultKey


@runtime_checkable
class AccessControl(Protocol):
    """Decide whether a caller may run an action; may be asynchronous."""

    def check(self, authorization: Authorization | None, /) -> Awaitable[None] | None:
        """Return (or resolve) when the caller may go on.

        Args:
            authorization: The verified caller; None when no token was sent.

        Raises:
            UnauthorizedError: There is no caller, and one is needed.
            ForbiddenError: The caller may not.
        """
        ...


@runtime_checkable
class ScopeBased(Protocol):
    """An access control whose rule is a matter of scopes. Documents and errors name them."""

    def required_scopes(self) -> Sequence[frozenset[str]]:
        """Return the alternatives: sets of scopes, each of which is enough."""
        ...


@runtime_checkable
class ExampleCaller(Protocol):
    """An access control that knows a caller whom it accepts: examples without an `Authorization` call as this one."""

    def example_authorization(self) -> Authorization:
        """Return such a caller."""
        ...


class Authorizer(Protocol):
    """Verify a bearer token (RFC 6750).

    One that holds what tokens are signed with is a `TokenIssuer` as well.
    """

    async def authorize(self, token: str, /) -> Authorization | None:
        """Return the caller of a token; None for an unknown kind of token, so that servey asks the next authorizer.

        Raises:
            UnauthorizedError: The token is not good; with ``error="invalid_token"``.
        """
        ...


@runtime_checkable
class TokenIssuer(Protocol):
    """Sign tokens that an authorizer of this service takes."""

    def issue(self, authorization: Authorization, /) -> str:
        """Return a new token for the caller in `authorization`.

        Args:
            authorization: Its subject, scopes and further claims go into the token; its `expires_at` and
                `not_before`, too, where they are set.
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
    """Say for how long, and by what, a result may be used again.

    It may also be a `RevalidatingCacheControl`, a `FreshnessCacheControl` or a `PublicCacheControl`.
    """

    def cache_header(self, result: Any, content: bytes, /) -> CacheHeader:
        """Return what is known of a result.

        Args:
            result: What the action returned, without a `Reply` around it.
            content: The same as JSON.
        """
        ...


class RateLimiter(Protocol):
    """Count the calls of one action, per caller."""

    async def acquire(self, context: CallContext, /) -> None:
        """Count a call, and leave in its context what is left.

        Raises:
            TooManyRequestsError: Nothing is left.
        """
        ...


@runtime_checkable
class RevalidatingCacheControl(Protocol):
    """The cache control of a write, which knows the current entity tag of what the write changes."""

    def current_etag(self, arguments: Mapping[str, Any], /) -> Awaitable[str | None] | str | None:
        """Return (or resolve to) the tag without quotes; None if nothing exists yet."""
        ...


@runtime_checkable
class FreshnessCacheControl(Protocol):
    """A cache control that says in advance whether results can be fresh."""

    may_be_fresh: bool
    """False if no result ever has a `max_age` above 0, so that the server does not look for cached results."""


@runtime_checkable
class PublicCacheControl(Protocol):
    """A cache control that says in advance whether shared caches may keep results of requests with a token."""

    public: bool


Window = tuple[str, int, int]
"""A window of calls: its key, how many calls it admits, and its length in seconds."""
WindowState = tuple[bool, float, int]
"""A window after a call: whether it admitted the call, the age of its oldest call in seconds, and its calls."""


class RateLimitStorage(Protocol):
    """Count calls for several processes, in one event loop."""

    errors: tuple[type[Exception], ...]
    """What `acquire_all` raises if the storage fails, besides `OSError` and `TimeoutError`."""
    turn: asyncio.Semaphore
    """Callers acquire it before `acquire_all`, so that a few connections suffice."""

    async def acquire_all(self, windows: Sequence[Window], /) -> Sequence[WindowState]:
        """Count a call in all windows if all of them admit it, in one step."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class ResultStore(Protocol):
    """Keep results of actions for as long as they are fresh; none of its methods raises.

    A call gets a lease from `get`, makes its result, and passes both to `put`, which does not keep the result if it was
    invalidated in between.
    """

    is_shared: bool
    """Whether other processes use what is kept; then the other methods may resolve later."""

    def get(self, key: ResultKey, /) -> Awaitable[Lookup] | Lookup:
        """Return (or resolve to) what is kept under a key."""
        ...

    def put(self, key: ResultKey, representation: Representation, lease: Lease, /) -> Awaitable[bool] | bool:
        """Keep a result for as long as it is fresh, and return (or resolve to) whether it is kept.

        Args:
            key: As for `get`.
            representation: The result; its `max_age` is set.
            lease: What `get` gave before the result was made.
        """
        ...

    def allows(self, key: ResultKey, lease: Lease, lookup: Lookup, /) -> bool:
        """Return whether the result of a run that began with `lease` may answer a caller who got `lookup` later."""
        ...

    def invalidate(self, scope: str, arguments: bytes | None, /) -> None:
        """Forget results, those of runs under way included; may be called from any thread.

        In an event loop it returns at once, and what is shared may be forgotten a moment later; elsewhere it is done
        when it returns.

        Args:
            scope: The first part of their keys.
            arguments: The second; None for all there are.
        """
        ...

    async def ainvalidate(self, scope: str, arguments: bytes | None, /) -> bool:
        """Forget results, as `invalidate` does, and return whether it is done."""
        ...

    async def close(self) -> None:
        """Close what was opened in the running event loop."""
        ...
