"""The times of a cron expression in a time zone.

`CronTrigger` imports this module when it needs it, because the imports take 20 ms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from servey.errors import DefinitionError, did_you_mean


class CronTimes:
    """The times of a cron expression in a time zone, with the rules of Debian's cron(8) at a change of clocks.

    cronsim finds the local times, and this class converts them to Unix time. cronsim's own conversion is wrong where
    clocks change by half an hour, or not at a full hour. It omits 03:15 of ``15 */3 * * *`` on Lord Howe Island, and
    repeats one hour of ``* 3 * * *`` on the Chatham Islands for ever.

    Args:
        expression: Five fields as in crontab(5).
        zone: The time zone.

    Raises:
        CronSimError: The expression is not valid.
    """

    def __init__(self, expression: str, zone: ZoneInfo) -> None:
        fields = expression.split()
        if len(fields) != 5:  # CronSim accepts a sixth field for seconds; schedulers do not
            raise CronSimError("it does not have five fields")
        self._expression = CronSim(expression, datetime(2000, 1, 1))
        self._zone = zone
        self._is_by_clock = fields[0].startswith("*") or fields[1].startswith("*")

    def next_after(self, moment: float) -> float | None:
        """Return the first time later than `moment`, both in Unix seconds; None if there is none in 50 years."""
        here = datetime.fromtimestamp(math.floor(moment), self._zone)
        local = here.replace(tzinfo=None, fold=0)
        if not self._is_by_clock:
            return _first_later(moment, map(self._once, self._local_times(local)))
        following = _first_later(moment, self._each(self._local_times(local)))
        repeated = _offset(here) - _offset(here.replace(fold=1))
        if following is None or not repeated:
            return following
        # the clock shows the last minutes again
        again = _first_later(moment, self._each(self._local_times(local - repeated)))
        return following if again is None else min(following, again)

    def _local_times(self, start: datetime) -> Iterator[datetime]:
        """Yield the local times after `start` that match the expression."""
        times = CronSim.__new__(CronSim)  # a copy, because parsing takes most of the time
        vars(times).update(vars(self._expression), dt=start)
        return times

    def _once(self, local: datetime) -> float:
        """Return the first moment of a local time; of a skipped one, the moment after the gap."""
        aware = local.replace(tzinfo=self._zone)
        while not self._exists(aware):
            aware += timedelta(minutes=1)
        return aware.timestamp()

    def _each(self, times: Iterable[datetime]) -> Iterator[float]:
        """Yield all moments of local times: one, two for a repeated time, and none for a skipped one."""
        for local in times:
            for fold in (0, 1):
                aware = local.replace(tzinfo=self._zone, fold=fold)
                if self._exists(aware):
                    yield aware.timestamp()

    def _exists(self, aware: datetime) -> bool:
        return datetime.fromtimestamp(aware.timestamp(), self._zone).replace(fold=0) == aware.replace(fold=0)


def _first_later(moment: float, times: Iterable[float]) -> float | None:
    return next((time for time in times if time > moment), None)


def _offset(aware: datetime) -> timedelta:
    return aware.utcoffset() or timedelta()


@lru_cache(maxsize=4096)
def cron_times(expression: str, timezone: str) -> CronTimes:
    """Return the times of an expression in an IANA time zone.

    Raises:
        DefinitionError: The expression or the time zone is not valid.
    """
    try:
        zone = ZoneInfo(timezone)
    except (TypeError, ValueError, OSError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise DefinitionError(
            f"{timezone!r} is not a time zone of this machine{did_you_mean(timezone, available_timezones())}",
            fix="use an IANA name such as 'Europe/Berlin'; if this machine has no time zones, pip install tzdata",
        ) from error
    try:
        return CronTimes(expression, zone)
    except (AttributeError, CronSimError) as error:  # AttributeError: it is not text
        reason = str(error) if isinstance(error, CronSimError) else "it is not text"
        raise DefinitionError(
            f"{expression!r} is not a cron expression: {reason}",
            fix="write five fields, minute (0-59), hour (0-23), day of month (1-31), month (1-12) and day of week "
            "(0-7), as in '0 7 * * MON-FRI'",
        ) from error
