"""The settings of Celery."""

from __future__ import annotations

from typing import Annotated

from servey.settings_part import SettingsPart, Variable

POOLS = ("prefork", "threads", "solo")
"""The pools of workers that keep the promises of `servey.background`."""


class CelerySettings(SettingsPart, frozen=True, kw_only=True):
    """Where Celery stores the results of background calls."""

    result_backend: Annotated[
        str,
        Variable(
            "CELERY_RESULT_BACKEND",
            "Where Celery workers store the results of calls, for other programs, such as `redis://…`. Unset: nowhere.",
            has_urls=True,
        ),
    ] = ""
