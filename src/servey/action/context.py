"""What is known about one call besides its arguments: who calls, from where, until when."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from enum import Enum
from itertools import count
from typing import Any

import msgspec

from servey.security.authorization import Authorization


class Origin(Enum):
    """The origin of a call; it decides whether access control applies.

    NETWORK: a stranger, through REST, GraphQL, a websocket, …: always authorized, with a deadline by default.
    SYSTEM: the operating system or a broker (schedule, event, command line, direct invocation): skips access
    control, has no `Authorization` of its own and no deadline unless the action sets one.
    """

    NETWORK = "network"
    SYSTEM = "system"


class RateLimitState(msgspec.Struct, frozen=True, gc=False):
    """What a caller has left of a rate limit.

    Args:
        limit: How many calls there may be in a window.
        window: The window, in seconds.
        remaining: How many are left in this one.
        reset: Whole seconds until there are more.
    """

    limit: int
    window: int
    remaining: int
    reset: int

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a counted call (draft-ietf-httpapi-ratelimit-headers-10); a policy needs a name (§3)."""
        return {
            "RateLimit-Policy": f'"default";q={self.limit};w={self.window}',
            "RateLimit": f'"default";r={self.remaining};t={self.reset}',
        }


class CallContext(msgspec.Struct, gc=False):
    """One call's surroundings; an action that has a parameter of this type gets it injected.

    Attributes:
        origin: The origin of the call: a network or the system.
        transport: The transport of the call: ``"rest"``, ``"cli"``, ``"direct"``, ….
        request_id: The id of the request, for the caller and in the log.
        authorization: The verified caller, or None.
        deadline: The deadline of the call, in the event loop's time (seconds), or None.
        client: The address of the client; empty if unknown. Rate limits count anonymous callers by it.
        limits: What is left of the rate limit of the action, where it has one; set when the call was counted.
        service: The `servey.service.Service` whose action is called; set when it runs.
        invalidated: The `servey.cache_control.pending_invalidations.PendingInvalidations` of the call, once it has
            invalidated results.
        batch_loader: The `servey.action.batch_loader.BatchLoader` of the request, which makes calls together; None for
            a single call.
        action: The name of the action; set when its access is checked or it runs. Empty before.
        request_scope: The `servey.action.request_scope.RequestScope` that the calls of the request share; None for a
            request of one call.
        started: When the request came that the call is a part of, in the event loop's time (seconds): the deadline
            counts from it. None: it counts from when the call is made.
    """

    origin: Origin
    transport: str
    request_id: str
    authorization: Authorization | None = None
    deadline: float | None = None
    client: str = ""
    limits: RateLimitState | None = None
    service: Any = None
    invalidated: Any = None
    batch_loader: Any = None
    request_scope: Any = None
    started: float | None = None
    action: str = ""

    def part(self) -> CallContext:
        """Return the context of a further call of the same request, which shares what the calls of a request share."""
        return CallContext(
            self.origin,
            self.transport,
            self.request_id,
            self.authorization,
            client=self.client,
            batch_loader=self.batch_loader,
            request_scope=self.request_scope,
            started=self.started,
        )

    def further(self, transport: str, deadline: float | None = None) -> CallContext:
        """Return the context of a call of its own, by the same caller in the same request.

        Args:
            transport: The name of the transport, such as ``"direct"``.
            deadline: When the call is given up, in the event loop's time (seconds); None for its own deadline.
        """
        return CallContext(self.origin, transport, self.request_id, self.authorization, deadline, self.client)


CURRENT_CALL: ContextVar[CallContext] = ContextVar("servey_current_call")
"""The call that runs here; the operation sets it around each."""


def _request_ids() -> Callable[[], str]:
    """Return a source of ids that no other process makes: a random prefix and a counter.

    A uuid4 costs 4 µs a request, this one 0.2; it names a call and guards nothing.
    """
    prefix = ""
    numbers = count(1).__next__

    def renew() -> None:
        nonlocal prefix
        prefix = os.urandom(8).hex()

    def new_request_id() -> str:
        return f"{prefix}-{numbers():x}"

    renew()
    if hasattr(os, "register_at_fork"):  # a forked worker must not repeat its parent's ids
        os.register_at_fork(after_in_child=renew)
    return new_request_id


new_request_id = _request_ids()
