"""The rate limit of one action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from servey.action.context import CallContext
from servey.security.rate_limit.call_counter import CallCounter
from servey.security.rate_limit.caller import caller_of

if TYPE_CHECKING:
    from limits import RateLimitItem


class ActionRateLimiter:
    """Count the calls of an action, for each caller.

    Args:
        action: The action's name.
        limits: Its limits, the shortest window first.
        counter: The counter.
    """

    def __init__(self, action: str, limits: Sequence[RateLimitItem], counter: CallCounter) -> None:
        self._action = action
        self._limits = tuple(limits)
        self._counter = counter

    async def acquire(self, context: CallContext, /) -> None:
        """Count a call, and set the state of the limit in its context.

        Raises:
            TooManyRequestsError: A limit is used up.
        """
        context.limits = await self._counter.count(self._limits, self._action, caller_of(context))
