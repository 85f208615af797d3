"""The background calls that a call submits. They leave when it has succeeded, and a call that fails submits none."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from servey.action.context import CallContext
    from servey.background_call.call import Call

_LOCK = threading.Lock()


class Outgoing:
    """The calls that one call has submitted, or its end: `SUCCEEDED` or `FAILED`.

    Attributes:
        has_ended: Whether the call has ended, so that no more calls leave with it.
    """

    __slots__ = ("_calls", "has_ended")

    def __init__(self, *, has_ended: bool = False) -> None:
        self._calls: list[Call] = []
        self.has_ended = has_ended

    def take_all(self) -> Sequence[Call]:
        """End, and return the calls."""
        with _LOCK:
            self.has_ended = True
            return self._calls


SUCCEEDED = Outgoing(has_ended=True)
"""The `CallContext.outgoing` of a call that has succeeded."""
FAILED = Outgoing(has_ended=True)
"""The `CallContext.outgoing` of a call that has failed."""
NOT_TAKEN = Outgoing(has_ended=True)
"""The `CallContext.outgoing` of a call that has failed only because the queue does not take what it has submitted."""


def collect(context: CallContext, call: Call) -> bool:
    """Add a call to those that leave when the call of `context` has succeeded; from any thread.

    Returns:
        False if the call of `context` has succeeded already, so that `call` can leave at once.

    Raises:
        RuntimeError: The call of `context` has failed, for example at its deadline.
    """
    with _LOCK:
        outgoing: Outgoing | None = context.outgoing
        if outgoing is FAILED:
            raise RuntimeError(f"{context.action} has failed, so it cannot submit {call.action}")
        if outgoing is None:
            outgoing = context.outgoing = Outgoing()
        if outgoing.has_ended:
            return False
        outgoing._calls.append(call)  # pyright: ignore[reportPrivateUsage]
        return True


async def leave(context: CallContext, *, shares: bool) -> None:
    """Put the calls that the call of `context` has submitted into the queue, because it has succeeded.

    In a request scope, they leave when the scope has closed its resources.

    Args:
        context: The context of the call.
        shares: Whether the call has used resources that the request shares. If they are rolled back, nothing leaves.

    Raises:
        OverloadedError: The queue does not take them.
    """
    outgoing: Outgoing | None = context.outgoing
    context.outgoing = SUCCEEDED
    calls = () if outgoing is None else outgoing.take_all()
    if not calls:
        return
    put = partial(send, context.service, calls)
    if context.request_scope is not None:
        context.request_scope.then(put, if_kept=shares)
        return
    try:
        await put()
    except BaseException:
        context.outgoing = NOT_TAKEN
        raise


async def send(service: Any, calls: Sequence[Call]) -> None:
    """Put calls into the queue of a service.

    Raises:
        OverloadedError: The queue does not take them.
    """
    await service.stores.calls.put(calls)
    service.stores.submitted += len(calls)


def send_now(service: Any, calls: Sequence[Call]) -> None:
    """Do the same as `send` in a thread without an event loop."""
    service.stores.calls.put_now(calls)
    service.stores.submitted += len(calls)


def has_changed_data(context: CallContext) -> bool:
    """Return whether a failed call of `context` has made its changes."""
    return context.outgoing is NOT_TAKEN
