"""Make background calls: the same rules for every queue."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from servey.action.context import CallContext, Origin
from servey.action.operation import Operation
from servey.background_call.call import Again, Call, Done, Failed, Outcome
from servey.background_call.last_run import record_run
from servey.errors import CallError, NotFoundError
from servey.problem_details import problem_details

TRACEBACK_LIMIT = 16 * 1024
"""The largest length of a kept traceback, in characters; its end is kept."""

POSTPONE_SECONDS = 5.0
"""The delay of a call that cannot begin in this process now."""
MOST_POSTPONED = 12
"""How often a call of an unknown action is postponed: a process with newer code may take it."""

LEASE_SECONDS = 30.0
"""How long a call excludes others with the same `Call.alone` after its process has died."""

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

        The origin of the call is the system, on behalf of the caller who has submitted it: access control and rate
        limit have applied before. Its deadline is the action's `timeout`, or else ``SERVEY_BACKGROUND_TIMEOUT``.
        """
        operation: Operation | None = self._service.operations.get(call.action)
        if operation is None:
            return self._unknown(call)
        if call.expires is not None and time.time() > call.expires:
            return await self._skipped(call, "it could not begin in time", logging.WARNING)
        if not call.alone:
            return await self._run(operation, call)
        try:
            async with self._alone(call) as is_alone:
                if is_alone:
                    return await self._run(operation, call)
            return await self._skipped(call, "the run before it has not ended", logging.INFO)
        except CallError as error:  # from the store
            _log.warning("%s (%s) is postponed: %s", call.action, call.id, error)
            return _postponed(call)

    async def _run(self, operation: Operation, call: Call) -> Outcome:
        began = time.time()
        context = CallContext(
            Origin.SYSTEM,
            "background",
            call.request_id,
            call.caller,
            deadline=operation.runtime.loop.time() + self._seconds(operation),
            call_id=call.id,
            attempt=call.attempt,
            traceparent=call.traceparent,
        )
        outcome: Outcome
        try:
            outcome = Done(await self._service.call(operation.name, bytes(call.arguments), context))
        except CallError as error:
            outcome = self._after(error, operation, call)
        await record_run(self._service, call, outcome, began, time.time() - began)
        return outcome

    def _seconds(self, operation: Operation) -> float:
        timeout = operation.action.timeout
        return min(
            timeout or self._settings.background_timeout, 86400.0 if timeout else self._settings.background_timeout
        )

    def _after(self, error: CallError, operation: Operation, call: Call) -> Outcome:
        """Return the outcome of a failed attempt."""
        retry = operation.action.retry
        extra = {"action": call.action, "request_id": call.request_id}
        cause = error if error.__cause__ is None else error.__cause__
        why = f"{type(cause).__name__}: {cause}"
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
            return Again(msgspec.structs.replace(call, attempt=call.attempt + 1, due=time.time() + delay))
        _log.error("%s (%s) has failed for good: %s; see `servey calls`", call.action, call.id, why, extra=extra)
        return _failed(call, error)

    def _unknown(self, call: Call) -> Outcome:
        if call.postponed < MOST_POSTPONED:
            return _postponed(call)
        _log.error("there is no action %s for the background call %s; see `servey calls`", call.action, call.id)
        return _failed(call, NotFoundError(f"there is no action {call.action!r}"))

    async def _skipped(self, call: Call, why: str, level: int) -> Done:
        _log.log(level, "%s (%s) is skipped: %s", call.action, call.id, why, extra={"action": call.action})
        outcome = Done(skipped=why)
        await record_run(self._service, call, outcome, time.time(), 0.0)
        return outcome

    @asynccontextmanager
    async def _alone(self, call: Call) -> AsyncGenerator[bool]:
        """Exclude other calls with the same `Call.alone`; yield False if one of them runs."""
        store, key, mine = self._service.stores.entries, f"alone:{call.alone}", call.id.encode()
        found = await store.add(key, mine, LEASE_SECONDS)
        if found not in (None, mine):
            yield False
            return
        renewing = asyncio.create_task(_renew(store, key, mine))
        try:
            yield True
        finally:
            renewing.cancel()
            try:
                await store.swap(key, mine, None, 0.0)
            except CallError:
                _log.warning("%s (%s) excludes its next runs for %g s", call.action, call.id, LEASE_SECONDS)


async def _renew(store: Any, key: str, mine: bytes) -> None:
    while True:
        try:
            await store.swap(key, mine, mine, LEASE_SECONDS)
        except CallError as error:
            _log.warning("the lease %s is not renewed: %s", key, error)
        await asyncio.sleep(LEASE_SECONDS / 3)


def _postponed(call: Call) -> Again:
    due = time.time() + POSTPONE_SECONDS
    return Again(msgspec.structs.replace(call, postponed=call.postponed + 1, due=due))


def _failed(call: Call, error: CallError) -> Failed:
    cause = error.__cause__
    trace = "" if cause is None else "".join(traceback.format_exception(cause))[-TRACEBACK_LIMIT:]
    return Failed(msgspec.json.encode(problem_details(error, call.request_id)), trace)
