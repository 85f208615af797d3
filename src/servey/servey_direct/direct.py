"""Call actions in this process: for the command line, direct invocations of a Lambda, and tests.

All rules are those of the operation.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from types import FrameType
from typing import Any, TypeVar, overload

from servey.action.context import CallContext, Origin, new_request_id
from servey.action.current import current_context
from servey.forced_exit import end_after
from servey.service import Service

T = TypeVar("T")
Texts = Sequence[tuple[str, str]]

SIGTERM_EXIT_CODE = 128 + signal.SIGTERM
_DEFAULTS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}

_log = logging.getLogger("servey.direct")


@overload
async def call(
    service: Service,
    name: str,
    event: Mapping[str, Any],
    *,
    context: CallContext | None = None,
    cached: bool = False,
    as_system: bool = False,
) -> Any: ...
@overload
async def call(
    service: Service,
    name: str,
    event: bytes | None = None,
    *,
    texts: Texts = (),
    context: CallContext | None = None,
    cached: bool = False,
    as_system: bool = False,
) -> bytes: ...
async def call(
    service: Service,
    name: str,
    event: bytes | Mapping[str, Any] | None = None,
    *,
    texts: Texts = (),
    context: CallContext | None = None,
    cached: bool = False,
    as_system: bool = False,
) -> Any:
    """Call an action; the result is JSON if the arguments are JSON, and JSON values (dicts, lists, scalars) otherwise.

    The service is open during the call; if you make many calls, enter `service.running()` around them. A call from an
    action or from a route of a plugin has the caller of the current request, with the same access control as over the
    network. Outside of requests, the caller is the system.

    Args:
        service: The service.
        name: The name of the action; for a nested action, the name of its function if that is unique.
        event: The arguments by name: a JSON object, or a mapping of parsed JSON.
        texts: Further arguments as text, such as flags; not together with a mapping.
        context: The context of the call; default: the context of the current request.
        cached: Whether a cached result is allowed; by default the action always runs.
        as_system: Whether the system makes the call, without access control and rate limit; not together with
            `context`.

    Returns:
        The result, without its `Reply`.

    Raises:
        CallError: The call failed, there is no such action, or the token of the request is not valid.
        ValueError: Both `context` and `as_system` are given.

    Example:
        >>> from servey.action.action import action
        >>> @action
        ... def say_hello(name: str) -> str:
        ...     return f"Hello {name}!"
        >>> asyncio.run(call(Service([say_hello]), "say_hello", b'{"name": "World"}'))
        b'"Hello World!"'
    """
    if as_system and context is not None:
        raise ValueError("give context or as_system, not both: a context has its own caller")
    if context is None:
        context = (
            CallContext(Origin.SYSTEM, "direct", new_request_id()) if as_system else await current_context("direct")
        )
    async with service.running():
        try:
            return await service.call(name, event, context, texts=texts, cached=cached, idempotent=True)
        except asyncio.CancelledError:
            _log.info("%s was cancelled; its running code gets %g s", name, service.settings.calls.shutdown_timeout)
            raise


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` in a new event loop until it is done, or until a signal stops it.

    The first Ctrl-C or SIGTERM cancels it, so that it can clean up; the second one ends the process at once. A signal
    that the program handles itself is left to it.

    Raises:
        KeyboardInterrupt: Ctrl-C.
        SystemExit: SIGTERM; its code is 143.
    """
    received: list[int] = []
    numbers: list[int] = []
    if threading.current_thread() is threading.main_thread():
        numbers = [number for number, default in _DEFAULTS.items() if signal.getsignal(number) is default]
    try:
        with asyncio.Runner() as runner:
            return runner.run(_stoppable(coroutine, numbers, received))
    except asyncio.CancelledError:
        if not received:
            raise
        if received[0] == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(SIGTERM_EXIT_CODE) from None


async def _stoppable(coroutine: Coroutine[Any, Any, T], numbers: Iterable[int], received: list[int]) -> T:
    """Await `coroutine`; a signal of `numbers` cancels it. `received` gets the signals."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None

    def stop(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            end_after(0.0, number)  # an exception here could be raised in the middle of any code
            return
        task.cancel()
        loop.call_soon_threadsafe(lambda: None)  # wakes a loop that sleeps in select()

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        return await coroutine
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
