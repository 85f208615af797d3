"""The background calls that a call submits. They go to the queue when the call has succeeded, and not if it fails."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from servey.action.context import CURRENT_CALL
from servey.action.defect import defect
from servey.errors import OverloadedError, SettingsError

if TYPE_CHECKING:
    from servey.action.context import CallContext
    from servey.background_call.call import Call

_log = logging.getLogger("servey.background")

_PATIENCE_SECONDS = 0.5

_LOCK = threading.Lock()


class Outgoing:
    """The calls that a running call has submitted, or its state: one of the constants below."""

    __slots__ = ("calls",)

    def __init__(self, *calls: Call) -> None:
        self.calls = list(calls)


OPEN = Outgoing()
"""The `CallContext.outgoing` of a running call that has submitted nothing."""
SUCCEEDED = Outgoing()
"""The `CallContext.outgoing` of a call that has succeeded."""
FAILED = Outgoing()
"""The `CallContext.outgoing` of a call that has failed."""
NOT_TAKEN = Outgoing()
"""The `CallContext.outgoing` of a call that has failed only because the queue has not taken what it has submitted."""
FORKED = Outgoing()
"""The `CallContext.outgoing` in a process that the call has forked."""


def collect(context: CallContext, call: Call) -> bool:
    """Add a call that goes to the queue when the call of `context` has succeeded; from any thread.

    Returns:
        False if the call of `context` does not run: it has not begun, or it has succeeded.

    Raises:
        RuntimeError: The call of `context` has failed, for example at its deadline, or it runs in another process.
    """
    first = Outgoing(call)
    with _LOCK:
        # As in `Operation.run`, nothing may come between the check and the assignment: Python switches threads only at
        # calls and loops. So the end of the call gets `first`, or this function sees the end.
        if context.outgoing is OPEN:
            context.outgoing = first
            return True
        outgoing: Outgoing | None = context.outgoing
        if outgoing is FORKED:
            raise RuntimeError(f"{context.action} runs in another process: submit {call.action} there")
        if outgoing is FAILED or outgoing is NOT_TAKEN:
            raise RuntimeError(f"{context.action} has failed, so it cannot submit {call.action}")
        if outgoing is None or outgoing is SUCCEEDED:
            return False
        outgoing.calls.append(call)
        return True


async def leave(context: CallContext, *, shares: bool) -> None:
    """Put the submitted calls of a successful call into the queue.

    In a request scope, they go to the queue when the scope has closed its resources.

    Args:
        context: The context of the call.
        shares: Whether the call has used resources that the request shares. If they are rolled back, nothing leaves.

    Raises:
        OverloadedError: The queue does not take them.
    """
    with _LOCK:
        outgoing: Outgoing = context.outgoing
        context.outgoing = SUCCEEDED
    if not outgoing.calls:
        return
    put = partial(_put, context, outgoing.calls)
    scope = context.request_scope
    if scope is None or not scope.then(put, if_kept=shares):
        await put()


async def _put(context: CallContext, calls: Sequence[Call]) -> None:
    try:
        await send(context.service, calls)
    except BaseException:
        context.outgoing = NOT_TAKEN
        raise


def queue_of(service: Any, context: CallContext, action: str) -> Any:
    """Return the queue of a service, for a call of `action` that the call of `context` submits.

    Raises:
        OverloadedError: The settings name no queue, and the call of `context` runs: the caller cannot change that. The
            log has the error.
        SettingsError: The same outside of calls.
    """
    try:
        return service.stores.calls
    except SettingsError as error:
        raise _not_taken(error, action, context.request_id) from error


async def send(service: Any, calls: Sequence[Call]) -> None:
    """Put calls into the queue of a service.

    Raises:
        OverloadedError: The queue does not take them.
    """
    try:
        # a queue keeps its own time limit, but a disk that hangs does not
        async with asyncio.timeout(service.settings.background.queue_timeout + _PATIENCE_SECONDS):
            await service.stores.calls.put(calls)
    except BaseException as error:
        raise _not_taken(error, calls[0].action, calls[0].request_id) from error
    service.stores.submitted += len(calls)


def send_now(service: Any, calls: Sequence[Call]) -> None:
    """Do the same as `send` in a thread without an event loop."""
    try:
        service.stores.calls.put_now(calls)
    except BaseException as error:
        raise _not_taken(error, calls[0].action, calls[0].request_id) from error
    service.stores.submitted += len(calls)


def _after_fork() -> None:
    """Keep a forked process from collecting: what it collects would not leave."""
    _LOCK.release()
    context = CURRENT_CALL.get(None)
    if context is not None and context.outgoing is not None:
        context.outgoing = FORKED


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_after_fork)


def has_changed_data(context: CallContext) -> bool:
    """Return whether a failed call of `context` has made its changes."""
    return context.outgoing is NOT_TAKEN


def _not_taken(error: BaseException, action: str, request_id: str) -> OverloadedError:
    """Return the error of callers; a cancellation is raised, and an unexpected error of the queue is logged."""
    if isinstance(error, OverloadedError):
        return error
    if isinstance(error, SettingsError) and CURRENT_CALL.get(None) is None:
        raise error  # for the developer, not for a caller
    if isinstance(error, TimeoutError):
        return OverloadedError("the queue of background calls does not answer")
    defect(error, "the queue does not take the call", log=_log, request_id=request_id, action=action)
    return OverloadedError("the queue of background calls has failed")
