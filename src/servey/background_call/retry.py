"""The rules for retries of failed background calls."""

from __future__ import annotations

import random
from typing import Any, cast

import msgspec

from servey.errors import CallError, DefinitionError

SPREAD = 0.1
"""The largest deviation of a delay, as a part of it, so that calls which failed together do not run together again."""


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """Make a failed background call again, after growing delays: ``@action(retry=Retry())``.

    A call is made again if its failure is not the caller's fault: an error with a status of 500 or more, or 429
    (``"too_many_requests"``), or an exception in `on`. If a call runs again because its process has died, this is not a
    retry, and does not count.

    Args:
        times: The largest number of further attempts, 1 to 100.
        first: The delay before the second attempt, in seconds.
        factor: Each delay is the last one, multiplied by this factor; at least 1.
        most: The longest delay, in seconds. ``SERVEY_MAX_DELAY`` also limits it.
        on: Further exceptions after which the call is made again, whatever their status.

    Raises:
        DefinitionError: A value is not valid.

    Example:
        >>> [round(Retry(first=2).delay(attempt, spread=0)) for attempt in (1, 2, 3)]
        [2, 4, 8]
    """

    times: int = 5
    first: float = 1.0
    factor: float = 2.0
    most: float = 600.0
    on: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {getattr(self, name)!r}: {rule}"
            for name, rule, is_right in (
                ("times", "give a whole number from 1 to 100", type(self.times) is int and 1 <= self.times <= 100),
                ("first", "give seconds above 0", _is_at_least(self.first, 0.001)),
                ("factor", "give a number of at least 1", _is_at_least(self.factor, 1)),
                ("most", "give seconds that are not less than first", _is_at_least(self.most, self.first)),
                ("on", "list exception classes in a tuple: (TimeoutError,)", _are_exceptions(self.on)),
            )
            if not is_right
        ]
        if wrong:
            raise DefinitionError(f"a Retry is not valid: {'; '.join(wrong)}", fix="write Retry(times=5, first=1.0)")

    def covers(self, error: CallError) -> bool:
        """Return whether a call that failed with `error` is made again."""
        if error.status >= 500 or error.status == 429:
            return True
        return isinstance(error, self.on) or isinstance(error.__cause__, self.on)

    def delay(self, attempt: int, *, spread: float = SPREAD) -> float:
        """Return the delay after an attempt, in seconds.

        Args:
            attempt: The number of the failed attempt, from 1.
            spread: The largest deviation, as a part of the delay.
        """
        try:
            delay = min(self.first * float(self.factor) ** (attempt - 1), self.most)
        except OverflowError:
            delay = self.most
        return delay * random.uniform(1 - spread, 1 + spread)


def _is_at_least(value: Any, least: Any) -> bool:
    return type(value) in (int, float) and type(least) in (int, float) and least <= value < 1e9


def _are_exceptions(value: Any) -> bool:
    return isinstance(value, tuple) and all(_is_exception(item) for item in cast("tuple[Any, ...]", value))


def _is_exception(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)
