"""The options that all schedules have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, cast

import msgspec

from servey.errors import DefinitionError

LONGEST_GRACE = 12 * 60 * 60
"""The largest grace of a schedule, in seconds."""


class ScheduleOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a schedule: the base class of `CronTrigger` and `FixedRateTrigger`.

    Args:
        params: The arguments of the calls, by name.
        grace: How late a missed call may begin when a server starts, in seconds, 0 to 43,200.
        jitter: The largest delay of a call in seconds. Each call has its own delay, the same in all processes.
        overlap: ``"skip"``: a call is skipped while the last one is running. ``"allow"``: it is not.

    Raises:
        DefinitionError: An option is not valid.
    """

    params: Mapping[str, Any] | None = None
    grace: float = 60.0
    jitter: float = 0.0
    overlap: Literal["skip", "allow"] = "skip"

    def __post_init__(self) -> None:
        if self.params is not None:
            if not _is_params(self.params):
                raise DefinitionError(
                    f"params={self.params!r} are not arguments by name", fix="write params={'language': 'de'}"
                )
            msgspec.structs.force_setattr(self, "params", MappingProxyType(dict(self.params)))
        if not (_is_seconds(self.grace) and self.grace <= LONGEST_GRACE):
            raise DefinitionError(
                f"grace={self.grace!r} is not a number of seconds from 0 to {LONGEST_GRACE:,}", fix="write grace=60"
            )
        if not _is_seconds(self.jitter):
            raise DefinitionError(
                f"jitter={self.jitter!r} is not a number of seconds, 0 or more", fix="write jitter=30"
            )
        if self.overlap not in ("skip", "allow"):
            raise DefinitionError(
                f"overlap={self.overlap!r} is not 'skip' or 'allow'", fix="write overlap='skip' or overlap='allow'"
            )

    def __hash__(self) -> int:
        return hash(str(self))  # params have no hash


def _is_params(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in cast("Mapping[object, object]", value))


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
