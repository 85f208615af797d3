"""The cron trigger: an action runs at the times of a cron expression, in a time zone."""

from __future__ import annotations

import msgspec

from servey.errors import DefinitionError


class CronTrigger(msgspec.Struct, frozen=True):
    """Run an action without required arguments at the times of a cron expression.

    Args:
        expression: Five fields as in crontab(5): minute, hour, day of month, month, day of week.
        timezone: An IANA time zone. At a change of clocks the rules are those of Debian's cron: a run at a skipped
            time happens right after it, a run at a repeated time happens once.

    Raises:
        DefinitionError: The expression or the time zone is not valid.

    Example:
        >>> str(CronTrigger("0 7 * * MON-FRI", "Europe/Berlin"))
        '0 7 * * MON-FRI Europe/Berlin'
    """

    expression: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        # imported here, because it takes 20 ms
        from datetime import datetime
        from zoneinfo import ZoneInfo

        from cronsim import CronSim, CronSimError

        try:
            zone = ZoneInfo(self.timezone)
        except (TypeError, ValueError, OSError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
            raise DefinitionError(
                f"{self.timezone!r} is not a time zone of this machine", fix="use an IANA name such as 'Europe/Berlin'"
            ) from error
        try:
            if len(self.expression.split()) != 5:  # CronSim accepts a sixth field for seconds; schedulers do not
                raise CronSimError("it does not have five fields")
            CronSim(self.expression, datetime.now(zone))
        except (AttributeError, CronSimError) as error:
            raise DefinitionError(
                f"{self.expression!r} is not a cron expression: {error}",
                fix="write five fields, as in '0 7 * * MON-FRI'",
            ) from error

    def __str__(self) -> str:
        return f"{self.expression} {self.timezone}"
