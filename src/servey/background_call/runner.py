"""Make background calls, with the same rules for every queue."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from servey.action.context import CallContext, Origin
from servey.action.defect import defect
from servey.action.operation import Operation
from servey.background_call.call import Again, Call, Done, Failed, Outcome
from servey.background_call.last_run import record_run
from servey.errors import CallError, NotFoundError
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

LEASE_SECONDS = 30.0
"""How long a call excludes others with the same `Call.alone` after its process has died."""

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
        lease = Lease(self._service.stores.entries, call)
        try:
            is_alone = await lease.take()
        except CallError as error:
            _log.warning("%s (%s) is postponed: %s", call.action, call.id, error)
            return Again(call.later(POSTPONE_SECONDS))
        if not is_alone:
            return await self._skipped(call, "the run before it has not ended", logging.INFO)
        async with lease.held():
            return await self._run(operation, call)

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
            outcome = Done(await self._service.call(operation.name, bytes(call.arguments), context))
        except CallError as error:
            outcome = self._after(error, operation, call)
        seconds = loop.time() - started
        if isinstance(outcome, Done):
            extra = {"action": call.action, "request_id": call.request_id}
            _log.info("%s (%s) took %.3f s", call.action, call.id, seconds, extra=extra)
        await record_run(self._service, call, outcome, began, seconds)
        return outcome

    def _after(self, error: CallError, operation: Operation, call: Call) -> Outcome:
        """Return the outcome of a failed attempt."""
        retry = operation.action.retry
        extra = {"action": call.action, "request_id": call.request_id}
        why = _line_of(error if error.__cause__ is None else error.__cause__)
        if retry is not None and call.attempt <= retry.times and retry.covers(error):
            delay = min(retry.delay(call.attempt), self._settings.max_delay)
            _log.warning(
                "%s (%s) failed: %s; attempt %d of %d follows in %.1f s",
                call.action,
                call.id,
                why,
                call.attempt + 1,
                retry.times + 1,
                delay,
                extra=extra,
            )
            # the first attempt has begun in time, so a retry has no expiry
            return Again(call.later(delay, attempt=call.attempt + 1, expires=None))
        _log.error("%s (%s) has failed for good: %s; see `servey calls`", call.action, call.id, why, extra=extra)
        return failed_outcome(error, call.request_id, error.__cause__)

    def _unknown(self, call: Call) -> Outcome:
        if call.postponed < MOST_POSTPONED:
            return Again(call.later(POSTPONE_SECONDS, postponed=call.postponed + 1))
        _log.error("there is no action %s for the background call %s; see `servey calls`", call.action, call.id)
        return failed_outcome(NotFoundError(f"there is no action {call.action!r}"), call.request_id)

    async def _skipped(self, call: Call, why: str, level: int) -> Done:
        _log.log(level, "%s (%s) is skipped: %s", call.action, call.id, why, extra={"action": call.action})
        outcome = Done(skipped=why)
        await record_run(self._service, call, outcome, time.time(), 0.0)
        return outcome


class Lease:
    """The right of a call to run alone: an entry in the store, which ends `LEASE_SECONDS` after its process has died.

    Args:
        store: The `servey.ports.KeyValueStore`.
        call: The call.
    """

    def __init__(self, store: Any, call: Call) -> None:
        self._store, self._call = store, call
        self._key = f"alone:{call.alone}"
        self._id = f"{call.id} ".encode()
        # a queue may give the call to another process, which then needs the same lease
        self._mine = self._id + os.urandom(8).hex().encode()

    async def take(self) -> bool:
        """Take the lease, even from a lost run of the same call. Return False if another call has it.

        Raises:
            CallError: The store does not answer.
        """
        found: bytes | None = await self._store.add(self._key, self._mine, LEASE_SECONDS)
        if found is None:
            return True
        return found.startswith(self._id) and await self._store.swap(self._key, found, self._mine, LEASE_SECONDS)

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        """Renew the lease in this context, and release it at the exit. If the store fails, servey only logs it."""
        renewing = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            renewing.cancel()
            try:
                await self._store.swap(self._key, self._mine, None, 0.0)
            except Exception as error:  # noqa: BLE001 - the call has run
                _log.warning(
                    "%s (%s) excludes its next runs for %g s: %s",
                    self._call.action,
                    self._call.id,
                    LEASE_SECONDS,
                    _line_of(error),
                )

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                is_mine = await self._store.swap(self._key, self._mine, self._mine, LEASE_SECONDS) or await self.take()
            except Exception as error:  # noqa: BLE001 - it is tried again
                _log.warning("the lease of %s is not renewed: %s", self._call.id, _line_of(error))
                continue
            if not is_mine:
                _log.warning("%s (%s) does not run alone: its lease has ended", self._call.action, self._call.id)
                return


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


def _line_of(error: BaseException) -> str:
    """Return the class and the message of an exception, whose own `__str__` may fail."""
    return encodable_text("".join(traceback.format_exception_only(error)).strip()[:1000])
