"""Submit background calls: `servey.background`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec

from servey.action.context import CURRENT_CALL, CallContext, Origin, new_request_id
from servey.action.current import CURRENT_REQUEST, current_context, current_service
from servey.action.python_call import operation_of
from servey.background_call.call import ARGUMENTS_LIMIT, Call, arguments_json
from servey.errors import UnauthorizedError
from servey.security.authorization import Authorization

ID_LIMIT = 200
"""The largest length of an id for `Background.once`, in characters."""


class Background:
    """Submit calls of actions that a server or a worker makes later.

    There is one instance, `servey.background`. A background call has the caller of the call that submits it; access
    control and rate limit apply only to the call that submits. If a process dies while it runs a background call, the
    call runs again.

    Example:
        >>> from servey import background
        >>> def order(book_id: int) -> None:
        ...     ...
        ...     background.submit("send_receipt", book_id=book_id)
        ...     background.after(60).once(f"survey-{book_id}").submit("send_survey", book_id=book_id)
    """

    def __init__(self, *, delay: float = 0.0, once: str = "") -> None:
        self._delay, self._once = delay, once

    def after(self, seconds: float | timedelta) -> Background:
        """Return an object whose calls begin after a delay.

        Args:
            seconds: The delay, in seconds or as a `timedelta`; at most ``SERVEY_MAX_DELAY``. For a longer one, store
                the work in a database, and let a schedule look for it.
        """
        delay: Any = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        if type(delay) not in (int, float) or not 0 <= delay < math.inf:
            raise ValueError(f"{seconds!r} is not a delay: give 0 seconds or more, or a timedelta")
        return Background(delay=float(delay), once=self._once)

    def once(self, id: str) -> Background:
        """Return an object that submits a call of an action only if no call of that action has had the same id.

        The queue knows the ids of the last 24 hours.

        Args:
            id: The id, for example of the order that the call is about; at most 200 characters.
        """
        if not isinstance(id, str) or not id or len(id) > ID_LIMIT or not id.isprintable():  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"{id!r} is not an id: give a text of 1 to {ID_LIMIT} printable characters")
        return Background(delay=self._delay, once=id)

    # `_background` is positional only: a parameter of an action may be called `self`
    def submit(_background, action: Callable[..., Any] | str, /, **arguments: Any) -> str:
        """Submit a call.

        Inside a call of an action, the background call goes to the queue when the action's call has succeeded and its
        resources are closed. If the action's call fails, nothing is submitted. If the queue does not take the
        background call, the action's call fails with 503. Outside of calls, `submit` returns when the queue has the
        call; on an event loop, await `asubmit` there.

        Args:
            action: The decorated function, or the action's name.
            arguments: The arguments, as in a call of the function; at most 256 KiB of JSON.

        Returns:
            The id of the call.

        Raises:
            NoServiceError: No service is running here.
            LookupError: The service has no such action.
            ValueError: The action has no such arguments, or the delay is too long.
            TypeError: The caller cannot be sent: it has claims that are not JSON, or is of a subclass.
            UnauthorizedError: The action needs a caller, and there is none.
            OverloadedError: The queue does not take the call (outside of calls).
            RuntimeError: The current call has failed, this is an event loop outside of calls, or the call has a caller
                and no key signs it for the broker.
        """
        from servey.background_call.outgoing import collect, send_now  # takes asyncio, which `import servey` does not

        service = current_service()
        context = CURRENT_CALL.get(None)
        if context is None:
            _check_outside()
            context = CallContext(Origin.SYSTEM, "background", "")
        call = _background._call(service, context, action, arguments)
        if not collect(context, call):
            _check_may_block()
            send_now(service, [call])
        return call.id

    async def asubmit(_background, action: Callable[..., Any] | str, /, **arguments: Any) -> str:
        """Submit a call at once, even if the current call fails later. Return its id when the queue has it.

        Raises:
            CallError: The queue does not take the call, or the token of the current request is not valid.
            Exception: As for `submit`.
        """
        from servey.background_call.outgoing import send

        service = current_service()
        call = _background._call(service, await current_context("background"), action, arguments)
        await send(service, [call])
        return call.id

    def _call(
        self, service: Any, context: CallContext, action: Callable[..., Any] | str, arguments: dict[str, Any]
    ) -> Call:
        from servey.background_call.outgoing import queue_of

        operation = operation_of(service, action)
        queue = queue_of(service, context, operation.name)  # without one, the call fails now, before it changes data
        if context.authorization is not None and not queue.carries_callers:
            raise RuntimeError(
                f"{operation.name} cannot be submitted on behalf of a caller, because no key signs the message: set "
                "SERVEY_MESSAGE_KEY or JWT_SECRET_KEY, the same in all servers and workers"
            )
        longest = service.settings.background.max_delay
        if self._delay > longest:
            raise ValueError(f"a delay of {self._delay:g} s is too long; the limit is {longest:g} s (SERVEY_MAX_DELAY)")
        data = arguments_json(operation, arguments)
        if len(data) > ARGUMENTS_LIMIT:
            raise ValueError(
                f"the arguments of {operation.name} have {len(data)} bytes; the limit is {ARGUMENTS_LIMIT}: "
                "store them, and submit their id"
            )
        if operation.needs_caller and context.authorization is None:
            raise UnauthorizedError(f"{operation.name} needs a caller, and the call that submits it has none")
        return Call(
            id=f"{operation.name}#{self._once}" if self._once else new_request_id(),
            action=operation.name,
            arguments=msgspec.Raw(data),
            due=time.time() + self._delay,
            request_id=context.request_id or new_request_id(),
            caller=_sendable(context.authorization),
            traceparent=context.traceparent,
        )


background = Background()


def _sendable(caller: Authorization | None) -> Authorization | None:
    """Return the caller; raise `TypeError` if it would change on the way to the queue."""
    if caller is None:
        return None
    if type(caller) is not Authorization:
        raise TypeError(f"a {type(caller).__name__} cannot be sent: put its further fields into claims")
    try:
        is_same = _CALLERS.decode(msgspec.json.encode(caller)) == caller
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        is_same = False
    if not is_same:
        raise TypeError("this Authorization cannot be sent: let its claims have JSON values only")
    return caller


_CALLERS = msgspec.json.Decoder(Authorization)


def _check_outside() -> None:
    """Check that `submit` may block here, outside of calls, and loses no caller."""
    _check_may_block()
    if CURRENT_REQUEST.get() is not None:
        raise RuntimeError("submit cannot verify the caller of this request: write `await background.asubmit(…)`")


def _check_may_block() -> None:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("outside of a call, submit would block the event loop: write `await background.asubmit(…)`")
