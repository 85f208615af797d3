"""The lines about schedules that a server and a worker log when they start."""

from __future__ import annotations

import time
from collections.abc import Sequence

from servey.schedule.schedule import Schedule
from servey.schedule.upcoming import upcoming


def schedule_lines(schedules: Sequence[Schedule]) -> list[str]:
    """Return a line for each schedule: its times, its action and its next run."""
    now = time.time()
    lines: list[str] = []
    for schedule in schedules:
        following = next(upcoming([schedule], now), None)
        when = "no run follows" if following is None else f"next {following.local:%a %Y-%m-%d %H:%M:%S %Z}"
        lines.append(f"  {schedule.trigger}  {schedule.action}  ({when})")
    return lines
