"""The tasks that actions make: what such a task raises ends nothing but the task, as everywhere in a call."""

from __future__ import annotations

import asyncio
import inspect
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine
from typing import Any, cast

from servey.action.context import CURRENT_CALL
from servey.action.defect import as_exception, is_stop


def contain_tasks(loop: AbstractEventLoop) -> Callable[[], None]:
    """Have tasks that are made in a call of an action raise nothing but exceptions, from now on.

    asyncio would let `SystemExit` and `KeyboardInterrupt` of them out of the event loop, which ends the server. A loop
    that has a task factory already keeps it.

    Args:
        loop: The event loop.

    Returns:
        What undoes it.
    """
    if loop.get_task_factory() is not None:
        return lambda: None

    def factory(loop: AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        if not inspect.iscoroutine(coroutine) or CURRENT_CALL.get(None) is None:
            return asyncio.Task(coroutine, loop=loop, **options)
        contained = _contained(coroutine)
        cast("Any", contained).__qualname__ = coroutine.__qualname__
        task = asyncio.Task(contained, loop=loop, **options)
        task.add_done_callback(lambda _: coroutine.close())  # it has not begun where the task was cancelled at once
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
