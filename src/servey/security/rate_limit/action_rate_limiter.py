"""The rate limit of one action, as the operation asks it."""

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
        limits: Its limits, that of the shortest time first.
        counter: Where they are counted.
    """

    def __init__(self, action: str, limits: Sequence[RateLimitItem], counter: CallCounter) -> None:
        self._action = action
        self._limits = tuple(limits)
        self._counter = counter

    async def admit(self, context: CallContext, /) -> None:
        """Count a call, and leave in its context what is left.

        Raises:
            TooManyRequestsError: Nothing is left.
        """
        context.limits = await self._counter.count(self._limits, self._action, caller_of(context))
