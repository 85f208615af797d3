"""Call actions in this process: for the command line, direct invocations of a Lambda, and tests.

All rules are those of the operation.
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
            return await service.call(name, event, context, texts=texts, cached=cached)
        except asyncio.CancelledError:
            _log.info("%s was cancelled; its running code gets %g s", name, service.settings.calls.shutdown_timeout)
            raise


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` in a new event loop until it is done, or until a signal stops it.

    The first Ctrl-C or SIGTERM cancels it, so that it can clean up; the second one ends it at once.

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
    """Handle SIGTERM as `asyncio.Runner` handles SIGINT, unless there is a handler already.

    Args:
        received: The list to which received signals are added.
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
