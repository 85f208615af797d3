"""A schedule: an operation, the times of its calls, and their arguments."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from servey.background_call.call import ARGUMENTS_LIMIT, Call, arguments_json
from servey.codec import MISSING
from servey.errors import DefinitionError
from servey.ports import Timetable
from servey.problem_details import encodable_text
from servey.trigger.schedule_options import ScheduleOptions

if TYPE_CHECKING:
    from servey.action.operation import Operation

LATENESS = 5.0
"""How late a call may always begin, in seconds, so that a busy loop or queue loses no call."""

_LONGEST_NAME = 200  # characters
_YEAR_10000 = 253_402_300_800
_DEFAULTS = ScheduleOptions()


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule of a service.

    Args:
        name: The action's name and the text of the trigger, unique in the service; at most 200 characters.
        action: The action's name.
        trigger: The times.
        arguments: The arguments of the calls as a JSON object.
        grace: How late a missed call may begin, in seconds.
        jitter: The largest delay of a call, in seconds.
        alone: `Call.alone` of the calls: the schedule's name, or empty if calls may overlap.
    """

    name: str
    action: str
    trigger: Timetable
    arguments: msgspec.Raw
    grace: float = _DEFAULTS.grace
    jitter: float = _DEFAULTS.jitter
    alone: str = ""

    def next_after(self, moment: float) -> float | None:
        """Return the first time that is later than `moment`, both in Unix seconds; None if there is none.

        Raises:
            ValueError: The trigger returns another value.
            Exception: Any error of the trigger.
        """
        found = self.trigger.next_after(moment)
        if found is None:
            return None
        if not isinstance(found, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance] - it may be a user's
            raise ValueError(f"next_after({moment!r}) returned {found!r}, which is not a number of seconds")
        if not moment < found < _YEAR_10000:
            raise ValueError(f"next_after({moment!r}) returned {found!r}, which is not a later time in Unix seconds")
        return found

    def occurrences(self, moment: float) -> Iterator[tuple[float, float | None]]:
        """Yield each time after `moment`, with the time that follows it; None after the last one."""
        occurrence = self.next_after(moment)
        while occurrence is not None:
            following = self.next_after(occurrence)
            yield occurrence, following
            occurrence = following

    def id_of(self, occurrence: float) -> str:
        """Return the id of a call. It is the same in all processes, because it names the occurrence."""
        return f"{self.name}@{_utc(occurrence)}"

    def due(self, occurrence: float, following: float | None) -> float:
        """Return the time of a call: the occurrence and a delay, which is a hash of the id.

        The delay is less than `jitter`, and ends before the following occurrence.
        """
        if not self.jitter:
            return occurrence
        most = self.jitter if following is None else min(self.jitter, following - occurrence)
        return occurrence + most * zlib.crc32(self.id_of(occurrence).encode()) / 2**32

    def call(self, occurrence: float, following: float | None) -> Call:
        """Return the call of an occurrence. It expires after its grace, but not before the following occurrence."""
        id = self.id_of(occurrence)
        due = self.due(occurrence, following)
        pause = LATENESS if following is None else following - occurrence
        return Call(
            id=id,
            action=self.action,
            arguments=self.arguments,
            due=due,
            request_id=id,
            expires=due + max(self.grace, pause, LATENESS),
            alone=self.alone,
        )


def check_schedule(operation: Operation, trigger: Timetable) -> None:
    """Check that an action can have a schedule.

    Raises:
        DefinitionError: It cannot: it is nested or needs a caller, or the options of the trigger are not valid for it.
    """
    _checked(operation, trigger)


def schedules_of(triggered: Iterable[tuple[Operation, Timetable]]) -> tuple[Schedule, ...]:
    """Return the schedules of a service.

    Two schedules of an action with the same text get numbers in their order.

    Args:
        triggered: The operations with their triggers, in the order of the service.

    Raises:
        DefinitionError: As for `check_schedule`.
    """
    schedules: dict[str, Schedule] = {}
    numbers: dict[str, int] = {}
    for operation, trigger in triggered:
        options, arguments = _checked(operation, trigger)
        text = f"{operation.name}:{_text(trigger)}"
        name = _shortened(text)
        while name in schedules:
            numbers[text] = numbers.get(text, 1) + 1
            name = _shortened(f"{text} #{numbers[text]}")
        schedules[name] = Schedule(
            name=name,
            action=operation.name,
            trigger=trigger,
            arguments=msgspec.Raw(arguments),
            grace=options.grace,
            jitter=options.jitter,
            alone=name if options.overlap == "skip" else "",
        )
    return tuple(schedules.values())


def _options(trigger: Timetable) -> ScheduleOptions:
    """Return the options of a trigger. A user's class may have only some of them."""
    if isinstance(trigger, ScheduleOptions):
        return trigger
    names = ScheduleOptions.__struct_fields__
    return ScheduleOptions(**{name: getattr(trigger, name, getattr(_DEFAULTS, name)) for name in names})


def _checked(operation: Operation, trigger: Timetable) -> tuple[ScheduleOptions, bytes]:
    """Return the options and the arguments of a schedule; raise a `DefinitionError` if the action cannot have it."""
    name, where = operation.name, operation.action.where
    if operation.signature.owner is not None:
        raise DefinitionError(
            f"{name} is a nested action, which cannot have a schedule: a schedule has no object to call it on",
            where=where,
            fix="schedule an action outside of the class",
        )
    if operation.needs_caller:
        raise DefinitionError(
            f"{name} has a schedule, but needs a caller, and a schedule has none",
            where=where,
            fix="annotate the parameter with Authorization | None, or schedule another action",
        )
    try:
        options = _options(trigger)
        _text(trigger)
    except DefinitionError as error:
        raise DefinitionError(f"a trigger of {name}: {error.message}", where=where, fix=error.fix) from error
    try:
        data = arguments_json(operation, options.params or {})
    except ValueError as error:
        codec = operation.arguments
        required = [key for key, (item, _) in codec.parameters.items() if item.default is MISSING]
        example = ", ".join(f"{key!r}: …" for key in required or codec.parameters)
        raise DefinitionError(
            f"the params of a schedule do not fit {name}: {error}",
            where=where,
            fix=f"write params={{{example}}}" if example else f"leave out params: {name} takes no arguments",
        ) from error
    if len(data) > ARGUMENTS_LIMIT:
        raise DefinitionError(
            f"the params of a schedule of {name} are {len(data):,} bytes of JSON, more than {ARGUMENTS_LIMIT:,}",
            where=where,
            fix="let the action read large data itself",
        )
    return options, data


def _text(trigger: Timetable) -> str:
    """Return the text of a trigger in one line, without memory addresses, so it is the same in all processes."""
    try:
        text = encodable_text(" ".join(str(trigger).split()))
    except Exception as error:
        raise DefinitionError(
            f"str() of {type(trigger).__name__} fails: {type(error).__name__}: {error}", fix="correct its __str__"
        ) from error
    return type(trigger).__name__ if re.search(" at 0x[0-9A-Fa-f]", text) else text


def _shortened(name: str) -> str:
    if len(name) <= _LONGEST_NAME:
        return name
    import hashlib  # few names need it

    end = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{name[: _LONGEST_NAME - len(end) - 1]}…{end}"


@lru_cache(maxsize=64)
def _utc(moment: float) -> str:
    """Return a time as in RFC 3339 (UTC), with at most 6 digits after the second."""
    second, part = divmod(round(moment * 1_000_000), 1_000_000)
    fraction = f".{part:06}".rstrip("0") if part else ""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}{fraction}Z"
