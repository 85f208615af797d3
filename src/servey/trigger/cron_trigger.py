"""The cron trigger: an action runs at the times of a cron expression, in a time zone."""

from __future__ import annotations

import msgspec

from servey.errors import DefinitionError


class CronTrigger(msgspec.Struct, frozen=True):
    """Run an action without required arguments at the times of a cron expression.

    Args:
        expression: Five fields as in crontab(5): minute, hour, day of month, month, day of week.
        timezone: An IANA time zone. Around a change of clocks Debian's cron decides: a run at a skipped
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
        # 20 ms that only schedules should cost
        from datetime import datetime
        from zoneinfo import ZoneInfo

        from cronsim import CronSim, CronSimError

        try:
            zone = ZoneInfo(self.timezone)
        except (TypeError, ValueError, OSError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
            raise DefinitionError(
                f"{self.timezone!r} is no time zone of this machine", fix="use an IANA name such as 'Europe/Berlin'"
            ) from error
        try:
            if len(self.expression.split()) != 5:  # CronSim takes a sixth for seconds, which no scheduler here keeps
                raise CronSimError("it has not five fields")
            CronSim(self.expression, datetime.now(zone))
        except (AttributeError, CronSimError) as error:
            raise DefinitionError(
                f"{self.expression!r} is no cron expression: {error}",
                fix="write five fields, as in '0 7 * * MON-FRI'",
            ) from error

    def __str__(self) -> str:
        return f"{self.expression} {self.timezone}"
