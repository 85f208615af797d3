"""The cron trigger: an action runs at the times of a cron expression, in a time zone."""

from __future__ import annotations

from servey.trigger.schedule_options import ScheduleOptions


class CronTrigger(ScheduleOptions, frozen=True):
    """Run an action at the times of a cron expression.

    Args:
        expression: Five fields as in crontab(5): minute, hour, day of month, month, day of week.
        timezone: An IANA time zone. When clocks change, the rules of Debian's cron apply. If the clock skips a time,
            the action runs right after the gap. If the clock shows a time twice, the action runs once. An expression
            whose minute or hour begins with a star runs whenever the clock shows one of its times.
        params: The arguments of the calls, by name.
        grace: How late a missed call may begin when a server starts, in seconds, 0 to 43,200.
        jitter: The largest delay of a call in seconds. Each call has its own delay, the same in all processes.
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
