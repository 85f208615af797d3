"""The cron trigger: an action runs at the times of a cron expression, in a time zone."""

from __future__ import annotations

from servey.trigger.schedule_options import ScheduleOptions


class CronTrigger(ScheduleOptions, frozen=True):
    """Run an action at the times of a cron expression.

    Args:
        expression: Five fields as in crontab(5): minute, hour, day of month, month, day of week.
        timezone: An IANA time zone. At a change of clocks the rules are those of Debian's cron: a run at a skipped
            time happens right after it, a run at a repeated time happens once. If the minute or the hour begins with a
            star, the action runs whenever the clock shows a time of the expression.
        params: The arguments of the calls, by name.
        grace: How late a missed call may begin when a server starts, in seconds, 0 to 43,200.
        jitter: The largest delay of a call in seconds. Each call has its own delay, which all processes agree on.
        overlap: ``"skip"``: a call is skipped while the last one is running. ``"allow"``: it is not.

    Raises:
        DefinitionError: The expression, the time zone or an option is not valid.

    Example:
        >>> str(CronTrigger("0 7 * * MON-FRI", "Europe/Berlin"))
        '0 7 * * MON-FRI Europe/Berlin'
    """

    expression: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        from servey.trigger.cron_times import cron_times

        cron_times(self.expression, self.timezone)
        super().__post_init__()

    def __str__(self) -> str:
        return f"{self.expression} {self.timezone}"

    def next_after(self, moment: float) -> float | None:
        """Return the first time that is later than `moment`, both in Unix seconds.

        Returns:
            None if there is no such time in the next 50 years.
        """
        from servey.trigger.cron_times import cron_times

        return cron_times(self.expression, self.timezone).next_after(moment)
