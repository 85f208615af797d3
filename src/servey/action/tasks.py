"""Contain the tasks that actions create: a `SystemExit` in such a task must not end the server."""

from __future__ import annotations

import asyncio
import inspect
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine
from typing import Any, cast

from servey.action.context import CURRENT_CALL
from servey.action.defect import as_exception, is_stop


def contain_tasks(loop: AbstractEventLoop) -> Callable[[], None]:
    """Install a task factory: a task that is created in a call raises a `RuntimeError` instead of a `SystemExit`.

    asyncio would pass a `SystemExit` or `KeyboardInterrupt` out of the event loop, which ends the server. If the loop
    has a task factory already, nothing changes.

    Args:
        loop: The event loop.

    Returns:
        A function that removes the factory.
    """
    if loop.get_task_factory() is not None:
        return lambda: None

    def factory(loop: AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        if not inspect.iscoroutine(coroutine) or CURRENT_CALL.get(None) is None:
            return asyncio.Task(coroutine, loop=loop, **options)
        contained = _contained(coroutine)
        cast("Any", contained).__qualname__ = coroutine.__qualname__
        task = asyncio.Task(contained, loop=loop, **options)
        task.add_done_callback(lambda _: coroutine.close())  # if the task was cancelled before it began
        return task

    def undo() -> None:
        if loop.get_task_factory() is factory:
            loop.set_task_factory(None)

    loop.set_task_factory(cast("Any", factory))
    return undo


async def _contained(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await coroutine
    except BaseException as error:
        if isinstance(error, Exception) or is_stop(error):
            raise
        raise as_exception(error, "a task of an action") from error
