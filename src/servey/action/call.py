"""One call, from the access check to the result. The order is the same for every transport.

Two places unroll this sequence to save function calls: `servey.http.endpoint`, and
`servey.servey_strawberry.calls`, where one query makes hundreds of calls.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from servey.action.context import CallContext
from servey.action.defect import ErrorBoundary
from servey.action.operation import Operation

T = TypeVar("T")

_log = logging.getLogger("servey.operation")


async def make_call(
    operation: Operation,
    context: CallContext,
    decode: Callable[[], Any],
    execute: Callable[[Any], Awaitable[T]],
) -> T:
    """Authorize the caller, decode the arguments, and execute the call.

    Args:
        operation: The action.
        context: The context of the call, with its verified caller.
        decode: Returns the arguments; called after the access check.
        execute: Executes the call with these arguments: `Operation.run`, or a fetch of a cached result.

    Raises:
        CallError: The call failed. Every other exception is logged and becomes an `InternalError`.
    """
    with ErrorBoundary("the call failed", log=_log, request_id=context.request_id, action=operation.name):
        if not operation.is_unguarded:
            await operation.authorize(context)
        return await execute(decode())


def by_name(texts: Sequence[tuple[str, str]]) -> Mapping[str, Sequence[str]]:
    """Group the text values of arguments by name."""
    collected: dict[str, list[str]] = {}
    for name, text in texts:
        collected.setdefault(name, []).append(text)
    return collected
