"""A compiled batch invoker: it makes many calls of one nested action by one call of the batch function."""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections import abc
from collections.abc import Callable, Sequence
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from servey.action.call_resources import CallLocks, CallResources, in_thread
from servey.action.callables import (
    AwaitableReturned,
    hints_of,
    is_async,
    is_awaitable,
    may_return_awaitable,
    name_of,
    parameters_of,
    settled,
    where_of,
)
from servey.action.capacity_limiter import CURRENT_SLOT, CapacityLimiter
from servey.action.context import CURRENT_CALL, CallContext
from servey.action.deadlines import in_time
from servey.action.defect import is_stop
from servey.action.injection import Injection, Values, compile_call
from servey.action.runtime import Runtime
from servey.action.signature import ActionSignature, Injected, asked_for
from servey.background_call.outgoing import FAILED, OPEN, leave
from servey.codec import ResultError
from servey.codec.type_facts import shown_type
from servey.errors import CallError, DefinitionError, Problem


class BatchedCall:
    """One of the calls that are made together.

    Args:
        item: The item of the call in the list for the batch function.
        context: The call context.
        finish: The last step of the call; see `Operation.run`.
        loop: The event loop in which the caller waits for `future`.

    Attributes:
        future: Done when `value` or `error` is set; cancelled when the caller does not wait any more.
    """

    __slots__ = ("context", "error", "finish", "future", "item", "value", "variables")

    def __init__(
        self, item: Any, context: CallContext, finish: Callable[[Any], Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.item = item
        self.context = context
        self.finish = finish
        self.future: asyncio.Future[None] = loop.create_future()
        self.variables = copy_context()
        self.value: Any = None
        self.error: BaseException | None = None

    def take(self, value: Any) -> None:
        """Set the value or the error from the function's result for the item."""
        if isinstance(value, BaseException):
            self.error = value
            return
        try:
            self.value = self.variables.run(self.finish, value)
        except BaseException as error:
            if is_stop(error):
                raise
            self.error = error  # raised again in its own call


class Batch:
    """The batch function of a nested action, compiled at start.

    Args:
        signature: The action's signature.
        injection: Provides the injected parameters of the batch function.
        call_error: Returns the `CallError` that callers get for an exception; logs the exception if it is a defect.
        limiter: The limiter of an action with a `max_running`; one call of the batch function takes one slot.

    Raises:
        DefinitionError: The action is not a nested action, or nothing provides a parameter of the function.
    """

    def __init__(
        self,
        signature: ActionSignature,
        injection: Injection,
        call_error: Callable[[BaseException, CallContext], CallError],
        limiter: CapacityLimiter | None = None,
    ) -> None:
        action = signature.action
        assert action.batch_invoker is not None
        self._name = signature.name
        self._fn = action.batch_invoker.fn
        self.max_size = action.batch_invoker.max_batch_size
        self._call_error = call_error
        if signature.owner is None:
            raise DefinitionError(
                f"{self._name} has a batch_invoker, but is not a nested action",
                where=action.where,
                fix="remove it, or make the action a method of a class that an action returns",
            )
        others = [parameter.name for parameter in signature.parameters[1:]]
        if action.batch_invoker.arg_extractor is not None:
            _check_extractor(action.batch_invoker.arg_extractor, others, self._name)
        elif others:
            raise DefinitionError(
                f"{self._name} has a batch_invoker and takes {', '.join(others)} besides its object",
                where=action.where,
                fix="give the BatchInvoker an arg_extractor that makes one item from all of them",
            )
        self.item = _extractor(signature.parameters[0].name, others, action.batch_invoker.arg_extractor)
        self._first, *rest = parameters_of(self._fn).values()
        self.injected = self._injected(signature, rest, injection)
        order = [(item.name, item.kind is item.KEYWORD_ONLY) for item in (self._first, *rest)]
        self._call = compile_call(self._fn, order, self.injected, injection)
        self._limiter = limiter
        if limiter is not None:
            self._call = limiter.holding(self._call)
        self._call_resources = CallResources(self.injected, injection, call_error)
        self._is_async = is_async(self._fn)
        self._in_thread = (
            not self._is_async and not may_return_awaitable(self._fn) and self._call_resources.fits_a_thread
        )

    def _injected(
        self, signature: ActionSignature, parameters: Sequence[inspect.Parameter], injection: Injection
    ) -> tuple[Injected, ...]:
        invoker = signature.action.batch_invoker
        assert invoker is not None
        hints = hints_of(self._fn, signature.action.namespace, signature.owner, invoker.where)
        for name, what in ((self._first.name, "takes"), ("return", "returns")):
            if name in hints and not _is_list(hints[name]):
                raise DefinitionError(
                    f"the batch function {name_of(self._fn)} of {self._name} {what} {shown_type(hints[name])}, "
                    f"not a list",
                    where=invoker.where,
                    fix="let it take a list of items, and return a list with one result per item: list[…]",
                )
        injected: list[Injected] = []
        for parameter in parameters:
            asked, optional = asked_for(hints.get(parameter.name))
            if not isinstance(asked, type) or asked not in injection.types:
                raise DefinitionError(
                    f"the batch function {name_of(self._fn)} of {self._name} asks for {parameter.name!r}, "
                    "which nothing provides",
                    where=invoker.where,
                    fix="annotate it with Authorization, CallContext or the type of a resource; arguments of callers "
                    "are in the items",
                )
            injected.append(Injected(parameter.name, asked, optional))
        return tuple(injected)

    async def run(self, calls: Sequence[BatchedCall], runtime: Runtime) -> None:
        """Make `calls` by one call of the function, and set the value or the error of each.

        It runs as a separate task, with the context variables of the first call and the earliest deadline of all.
        """
        context = _context_of_all(calls)
        CURRENT_CALL.set(context)
        try:
            if self._call_resources.must_lock(context):
                async with self._call_resources.locks(context, runtime) as locks:
                    await self._call_in_place(calls, context, runtime, locks)
                    self._report_failures(calls, locks)
            else:
                await self._call_in_place(calls, context, runtime)
            await leave(context, shares=bool(self._call_resources.per_request))
        except BaseException as error:  # noqa: BLE001 - raised again in each of the calls
            context.outgoing = FAILED
            self._fail(calls, error, context)
        finally:
            if context.invalidated is not None:
                await context.invalidated.again()

    def _fail(self, calls: Sequence[BatchedCall], error: BaseException, context: CallContext) -> None:
        """Fail all calls with one error; a defect is logged once."""
        call_error = error if isinstance(error, CallError) else self._call_error(error, context)
        for call in calls:
            call.error = call_error

    def _report_failures(self, calls: Sequence[BatchedCall], locks: CallLocks) -> None:
        """Report to shared resources the errors of single calls, although the batch function returned."""
        for call in calls:
            if call.error is not None and locks.lease is not None:
                call.error = cast("Exception", locks.lease.fail(call.error))

    async def _call_in_place(
        self, calls: Sequence[BatchedCall], context: CallContext, runtime: Runtime, locks: CallLocks | None = None
    ) -> None:
        """Make the calls with one slot of the action's limiter; the slot is taken last, as in `Execution`."""
        if self._limiter is None:
            return await self._call_all(calls, context, runtime, locks)
        slot = await self._limiter.acquire(context.deadline, runtime)
        token = CURRENT_SLOT.set(slot)
        try:
            await self._call_all(calls, context, runtime, locks)
        finally:
            CURRENT_SLOT.reset(token)
            slot.leave()

    async def _call_all(
        self, calls: Sequence[BatchedCall], context: CallContext, runtime: Runtime, locks: CallLocks | None
    ) -> None:
        """Call the batch function while its resources are open."""
        nodes, values = (self._call_resources.nodes, runtime.values) if locks is None else (locks.nodes, locks.values)
        items = SimpleNamespace(**{self._first.name: [call.item for call in calls]})

        def around(opened: Values) -> None:
            self._take(calls, settled(self._call(items, context, opened), may_wait=not self._call_resources.nodes))

        def here() -> None:
            try:
                self._call_resources.around(nodes, context, values, around)
            finally:
                # here, because `run` does not wait after the deadline; for a shared resource, `_Keeper` does it
                if context.invalidated is not None and (locks is None or locks.lease is None):
                    context.invalidated.again_here()

        async def on_loop(opened: Values) -> None:
            if self._is_async:
                results = self._call(items, context, opened)
            else:
                results = await in_thread(
                    lambda: self._call(items, context, opened), self._name, context, runtime, locks
                )
            self._take(calls, await results if is_awaitable(results) else results)

        if not self._in_thread:
            called = self._call_resources.around_on_loop(nodes, context, runtime, values, on_loop)
            await in_time(called, context.deadline, runtime.deadlines)
            return
        try:
            await in_thread(here, self._name, context, runtime, locks)
        except AwaitableReturned as returned:
            self._take(calls, await in_time(returned.awaitable, context.deadline, runtime.deadlines))

    def _take(self, calls: Sequence[BatchedCall], results: Any) -> None:
        if not isinstance(results, Sequence) or isinstance(results, str | bytes):
            got = f"a {type(results).__name__}"
        elif len(cast("Sequence[Any]", results)) != len(calls):
            got = f"{len(cast('Sequence[Any]', results))} results"
        else:
            for call, result in zip(calls, cast("Sequence[Any]", results), strict=True):
                call.take(result)
            return
        raise ResultError(
            f"the result of the batch function {name_of(self._fn)}",
            [Problem("", f"expected a sequence of {len(calls)} results, got {got}")],
        )


_LISTS = (list, tuple, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable)


def _is_list(hint: Any) -> bool:
    """Return whether a list may have the type `hint`."""
    while typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    kind = typing.get_origin(hint) or hint
    return kind in _LISTS or not isinstance(kind, type) or kind is object  # an alias may be anything


def _check_extractor(extract: Callable[..., Any], others: Sequence[str], name: str) -> None:
    try:
        inspect.signature(extract).bind(None, **dict.fromkeys(others))
    except TypeError as error:
        raise DefinitionError(
            f"the arg_extractor of {name} cannot be called with its object and its arguments: {error}",
            where=where_of(extract),
            fix=f"let it take ({', '.join(['item', *others])})",
        ) from None


def _extractor(owner: str, others: Sequence[str], extract: Callable[..., Any] | None) -> Callable[[Any], Any]:
    """Return the function that makes the item of a call from its decoded arguments."""
    if extract is None:
        return lambda arguments: getattr(arguments, owner)
    return lambda arguments: extract(getattr(arguments, owner), **{name: getattr(arguments, name) for name in others})


def _context_of_all(calls: Sequence[BatchedCall]) -> CallContext:
    deadlines = [call.context.deadline for call in calls if call.context.deadline is not None]
    return msgspec.structs.replace(
        calls[0].context, deadline=min(deadlines, default=None), invalidated=None, batch_loader=None, outgoing=OPEN
    )
