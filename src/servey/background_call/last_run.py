"""The last run of each schedule, as an entry of the store that processes share."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from servey.background_call.call import Again, Call, Done, Failed, Outcome

KEPT_SECONDS = 400 * 86400.0

_log = logging.getLogger("servey.background")


class LastRun(msgspec.Struct, frozen=True):
    """The last run of a schedule.

    Args:
        due: When it was due, in Unix seconds.
        began: When it began, in Unix seconds.
        seconds: How long it took.
        outcome: ``"done"``, ``"failed"``, ``"again"`` (another attempt follows), or why it was skipped.
    """

    due: float
    began: float
    seconds: float
    outcome: str


_DECODER = msgspec.json.Decoder(LastRun)


def schedule_of(call: Call) -> str:
    """Return the name of the schedule of a call; empty for a call without a schedule.

    Example:
        >>> schedule_of(Call(id="tick:every 0:01:00@…", action="tick", arguments=msgspec.Raw(), due=0, request_id=""))
        'tick:every 0:01:00'
    """
    return call.id.rpartition("@")[0] if call.id.startswith(f"{call.action}:") else ""


async def record_run(service: Any, call: Call, outcome: Outcome, began: float, seconds: float) -> None:
    """Record the run of a schedule's call; other calls are ignored. If the store fails, servey only logs it."""
    schedule = schedule_of(call)
    if not schedule:
        return
    store, key = service.stores.entries, f"run:{schedule}"
    run = msgspec.json.encode(LastRun(call.due, began, seconds, _word(outcome)))
    try:
        old = await store.add(key, run, KEPT_SECONDS)
        if old is not None:
            await store.swap(key, old, run, KEPT_SECONDS)  # False if another process has recorded a run meanwhile
    except Exception as error:  # noqa: BLE001 - the call has run
        _log.warning("the run of %s is not recorded: %s", schedule, error)


async def last_run(service: Any, schedule: str) -> LastRun | None:
    """Return the last run of a schedule; None if there is none.

    Raises:
        OverloadedError: The store does not answer.
    """
    data = await service.stores.entries.get(f"run:{schedule}")
    return None if data is None else _DECODER.decode(data)


def _word(outcome: Outcome) -> str:
    match outcome:
        case Done():
            return outcome.skipped or "done"
        case Again():
            return "again"
        case Failed():
            return "failed"
