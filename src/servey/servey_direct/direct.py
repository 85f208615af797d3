"""Calling actions in this process: for the command line, for direct invocations of a Lambda, and for tests.

It has no rule of its own: what may be called, what it takes and what it answers is the operation's matter.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Coroutine, Generator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar, overload

from servey.action.context import CallContext, Origin, new_request_id
from servey.action.current import current_context
from servey.service import Service

T = TypeVar("T")
Texts = Sequence[tuple[str, str]]

SIGTERM_EXIT_CODE = 128 + signal.SIGTERM

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
    """Call an action; JSON is answered with JSON, a mapping with what JSON holds (dicts, lists, scalars).

    The service is open during the call; whoever calls often enters `service.running()` around all of it.

    A call from a route of a plugin or from an action has the caller of the current request, who needs the same rights
    as over the network. `as_system` calls without access control. Outside of requests, the system calls.

    Args:
        service: The service.
        name: The action; a nested action's bare function name where that is unique.
        event: The arguments by name: a JSON object, or a mapping of parsed JSON.
        texts: Further arguments as text, as flags give them; not together with a mapping.
        context: The context of the call; by default that of the current request.
        cached: Whether a result that the service keeps will do; by default the action always runs.
        as_system: Whether the call is one of the system, without access control and rate limit; not together with
            `context`.

    Returns:
        The result, without the `Reply` around it.

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
            return await service.call(name, event, context, texts=texts, cached=cached)
        except asyncio.CancelledError:
            _log.info("%s was cancelled; its running code gets %g s", name, service.settings.calls.shutdown_timeout)
            raise


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` in a new event loop until it is done, or until the operating system asks to stop.

    The first Ctrl-C or SIGTERM cancels it, so that it closes what it opened; the second ends it at once.

    Raises:
        KeyboardInterrupt: Ctrl-C.
        SystemExit: SIGTERM; its code is 143.
    """
    received: list[int] = []
    try:
        with asyncio.Runner() as runner:
            return runner.run(_terminable(coroutine, received))
    except asyncio.CancelledError:
        if received:
            raise SystemExit(SIGTERM_EXIT_CODE) from None
        raise


async def _terminable(coroutine: Coroutine[Any, Any, T], received: list[int]) -> T:
    with _cancelled_by_sigterm(received):
        return await coroutine


@contextmanager
def _cancelled_by_sigterm(received: list[int]) -> Generator[None]:
    """Do for SIGTERM what `asyncio.Runner` does for SIGINT, unless somebody handles it already.

    Args:
        received: Is added the signals that came.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def terminate(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1 or task is None:
            raise SystemExit(SIGTERM_EXIT_CODE)
        task.cancel()
        loop.call_soon_threadsafe(lambda: None)  # wakes a loop that sleeps in select()

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
