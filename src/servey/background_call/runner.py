"""Make background calls, with the same rules for every queue."""

from __future__ import annotations

import logging
import math
import os
import time
import traceback
from typing import Any

import msgspec

from servey.action.context import CallContext, Origin, new_request_id
from servey.action.defect import defect
from servey.action.operation import Operation
from servey.background_call.call import Again, Call, Done, Failed, Outcome
from servey.background_call.last_run import record_run
from servey.background_call.lease import Lease, line_of
from servey.errors import CallError, ConflictError, InProgressError, NotFoundError, OverloadedError
from servey.problem_details import encodable_text, problem_details

TRACEBACK_LIMIT = 16 * 1024
"""The largest length of a stored traceback, in characters; of a longer one, servey stores the end."""
PROBLEM_LIMIT = 64 * 1024
"""The largest size of stored problem details, in bytes; larger ones lose extension members and a part of the detail."""

LONGEST_SECONDS = 86400.0
"""The time limit of a background call whose action has no limit (`math.inf`)."""

POSTPONE_SECONDS = 5.0
"""The delay of a call that cannot begin in this process now."""
MOST_POSTPONED = 12
"""How often a call of an unknown action is postponed, so that a process with newer code may claim it."""

_STANDARD = ("type", "title", "status", "code", "request_id")

_HOME = os.path.dirname(os.path.dirname(__file__)) + os.sep

_log = logging.getLogger("servey.background")


class Runner:
    """Makes the background calls of a service; it must be `running`.

    Args:
        service: The `servey.service.Service`.
    """

    def __init__(self, service: Any) -> None:
        self._service = service
        self._settings = service.settings.background

    async def run(self, call: Call) -> Outcome:
        """Make a call, and return its outcome. It raises only a cancellation.

        The origin of the call is the system, on behalf of the caller of the submitting call: access control and rate
        limit have applied to that call. Its deadline is the action's `timeout`, or else ``SERVEY_BACKGROUND_TIMEOUT``.
        """
        try:
            return await self._outcome(call)
        except BaseException as error:  # noqa: BLE001 - raised again if it is a cancellation
            message = "the background call cannot be made"
            failure = defect(error, message, log=_log, request_id=call.request_id, action=call.action)
            return failed_outcome(failure, call.request_id, error)

    async def _outcome(self, call: Call) -> Outcome:
        if call.expires is not None and time.time() > call.expires:
            return await self._skipped(call, "it could not begin in time", logging.WARNING)
        operation: Operation | None = self._service.operations.get(call.action)
        if operation is None:
            return self._unknown(call)
        if not call.alone:
            return await self._run(operation, call)
        mine = f"{call.id} ".encode()  # a lost run of the same call has a value that begins with it, too
        value = mine + new_request_id().encode()
        lease = Lease(self._service.stores.entries, f"alone:{call.alone}", value, f"{call.action} ({call.id})")
        try:
            found = await lease.take()
            is_alone = found is None or (found.startswith(mine) and await lease.take_over(found))
        except CallError as error:
            return _postponed(call, str(error))
        if not is_alone:
            return await self._skipped(call, "the run before it has not ended", logging.INFO)
        lease.begin()
        try:
            return await self._run(operation, call)
        finally:
            await lease.end()

    async def _run(self, operation: Operation, call: Call) -> Outcome:
        began, loop = time.time(), operation.runtime.loop
        started = loop.time()
        context = CallContext(
            Origin.SYSTEM,
            "background",
            call.request_id,
            call.caller,
            deadline=started + seconds_of(operation),
            call_id=call.id,
            attempt=call.attempt,
            traceparent=call.traceparent,
        )
        outcome: Outcome
        try:
            outcome = Done(await self._service.call(operation.name, bytes(call.arguments), context, idempotent=True))
        except CallError as error:
            if context.outgoing is None and isinstance(error, (InProgressError, OverloadedError)):
                return _postponed(call, str(error))  # it has not begun
            if context.outgoing is None and isinstance(error, ConflictError):
                return await self._skipped(call, str(error), logging.INFO)
            outcome = self._after(error, operation, call, loop.time() - started)
        seconds = loop.time() - started
        if isinstance(outcome, Done):
            extra = {**call.log_fields, "seconds": round(seconds, 3)}
            _log.info("%s (%s) took %.3f s", call.action, call.id, seconds, extra=extra)
        await record_run(self._service, call, outcome, began, seconds)
        return outcome

    def _after(self, error: CallError, operation: Operation, call: Call, seconds: float) -> Outcome:
        """Return the outcome of a failed attempt."""
        retry = operation.action.retry
        extra = {**call.log_fields, "seconds": round(seconds, 3)}
        why = line_of(error if error.__cause__ is None else error.__cause__)
        if retry is not None and call.attempt <= retry.times and retry.covers(error):
            delay = min(retry.delay(call.attempt), self._settings.max_delay)
            _log.warning(
                "%s (%s) failed after %.3f s: %s; attempt %d of %d follows in %.1f s",
                call.action,
                call.id,
                seconds,
                why,
                call.attempt + 1,
                retry.times + 1,
                delay,
                extra=extra,
            )
            # the first attempt has begun in time, so a retry has no expiry
            return Again(call.later(delay, attempt=call.attempt + 1, expires=None))
        _log.error(
            "%s (%s) has failed for good after %.3f s: %s; see `servey calls`",
            call.action,
            call.id,
            seconds,
            why,
            extra=extra,
        )
        return failed_outcome(error, call.request_id, error.__cause__)

    def _unknown(self, call: Call) -> Outcome:
        if call.postponed < MOST_POSTPONED:
            return Again(call.later(POSTPONE_SECONDS, postponed=call.postponed + 1))
        _log.error(
            "there is no action %s for the background call %s; see `servey calls`",
            call.action,
            call.id,
            extra=call.log_fields,
        )
        return failed_outcome(NotFoundError(f"there is no action {call.action!r}"), call.request_id)

    async def _skipped(self, call: Call, why: str, level: int) -> Done:
        _log.log(level, "%s (%s) is skipped: %s", call.action, call.id, why, extra=call.log_fields)
        outcome = Done(skipped=why)
        await record_run(self._service, call, outcome, time.time(), 0.0)
        return outcome


def _postponed(call: Call, why: str) -> Again:
    _log.warning("%s (%s) is postponed: %s", call.action, call.id, why, extra=call.log_fields)
    return Again(call.later(POSTPONE_SECONDS))


def seconds_of(operation: Operation) -> float:
    """Return the time limit of a background call of an action, in seconds."""
    timeout = operation.action.timeout
    if timeout is None:
        return operation.service.settings.background.background_timeout
    return LONGEST_SECONDS if math.isinf(timeout) else timeout


def failed_outcome(error: CallError, request_id: str, cause: BaseException | None = None) -> Failed:
    """Return the outcome of a call that has failed for good.

    Args:
        error: The error of the call.
        request_id: The id of its request.
        cause: The exception of the action, whose traceback is stored.
    """
    details = problem_details(error, request_id)
    problem = msgspec.json.encode(details)
    if len(problem) > PROBLEM_LIMIT:
        standard = {name: details[name] for name in _STANDARD if name in details}
        problem = msgspec.json.encode({**standard, "detail": str(details.get("detail", ""))[:1000]})
    return Failed(problem, "" if cause is None else encodable_text(_traceback_of(cause)[-TRACEBACK_LIMIT:]))


def _traceback_of(error: BaseException) -> str:
    """Return the traceback without the frames of servey."""
    shown = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None = shown
    while part is not None:
        outside = [frame for frame in part.stack if not frame.filename.startswith((_HOME, "<string>"))]
        if outside or part.__cause__ is not None:  # otherwise it is a defect of servey
            part.stack = traceback.StackSummary.from_list(outside)
        part = part.__cause__ or part.__context__
    return "".join(shown.format())
