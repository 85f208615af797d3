"""The resources that the calls of one request share: opened at the first need, closed once, after the last call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from contextvars import copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from servey.action.context import CURRENT_CALL, CallContext
from servey.action.deadlines import in_time
from servey.action.defect import as_exception, is_stop
from servey.background_call.outgoing import FAILED, OPEN, leave
from servey.errors import CallError, DeadlineError, OverloadedError

if TYPE_CHECKING:
    from servey.action.injection import Injection, ResourceNode
    from servey.action.runtime import Runtime

CLOSE_SECONDS = 1.0
"""The minimum time for closing, in seconds, even if the calls have used up their deadlines."""

CallErrorOf = Callable[[BaseException, CallContext], CallError]
"""Returns the `CallError` that callers get for an exception; logs the exception if it is a defect."""


class RequestScope:
    """A context manager for the resources of scope ``"request"`` that several calls share.

    A transport enters one for a request with many calls, and puts it into the `CallContext` of each. A call without one
    is a separate request. A resource is opened when a call first needs it. Calls that need the same resource run one
    after another, in the order of their arrival; other calls are not affected.

    On exit, one task closes all resources. At the ``yield`` of each resource, it raises the first error of a call that
    used a resource, or else the error (or the cancellation) with which the scope was left. If only the closing fails,
    the scope raises a `CallError`.

    Args:
        all_or_none: Whether the scope also raises the first error of a call that used a resource. The call has reported
            that error already; but an answer must not contain results that were rolled back.
    """

    def __init__(self, *, all_or_none: bool = False) -> None:
        self._all_or_none = all_or_none
        self._is_left = False
        self._keeper: _Keeper | None = None
        self._then: list[tuple[Callable[[], Awaitable[None]], bool]] = []
        self._at_end: list[Callable[[bool], Awaitable[None]]] = []

    def then(self, call: Callable[[], Awaitable[None]], *, if_kept: bool = False) -> bool:
        """Await `call` after everything is closed, if the scope is left without an error.

        Args:
            call: The function.
            if_kept: Whether to call it only if the changes of the shared resources are kept: not if a call that used
                one has failed.

        Returns:
            False if the scope was left already, so that `call` is not awaited.
        """
        if self._is_left:
            return False
        self._then.append((call, if_kept))
        return True

    def at_end(self, call: Callable[[bool], Awaitable[None]], /) -> bool:
        """Await `call` after everything else, with whether the scope was left without an error; `call` raises nothing.

        Returns:
            False if the scope was left already, so that `call` is not awaited.
        """
        if not self._is_left:
            self._at_end.append(call)
        return not self._is_left

    async def take(
        self,
        nodes: Sequence[ResourceNode],
        injection: Injection,
        context: CallContext,
        runtime: Runtime,
        call_error: CallErrorOf,
    ) -> Lease:
        """Wait until no other call uses the resources, open them if needed, and reserve them for this call.

        Args:
            nodes: The resources, each after those that it needs.
            injection: Opens the resources.
            context: The context of the call, with the deadline of the wait.
            runtime: The runtime of the event loop.
            call_error: The function of the action. The scope uses the first one for errors of closing.

        Raises:
            DeadlineError: The deadline passed before the resources were free and open.
            OverloadedError: The limit of a resource was reached until the deadline, or the scope was left already.
            CallError: A resource cannot be opened.
        """
        if self._is_left:
            raise _answered()
        if self._keeper is None:
            self._keeper = _Keeper(injection, context, runtime, call_error)
        return await self._keeper.take(nodes, context)

    async def __aenter__(self) -> RequestScope:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_left = True
        has_succeeded = False
        try:
            await self._close(error)
            has_succeeded = error is None
        finally:
            for call in self._at_end:
                await call(has_succeeded)

    async def _close(self, error: BaseException | None) -> None:
        are_kept = True
        if self._keeper is not None:
            are_kept = await self._keeper.close(error, all_or_none=self._all_or_none)
            self._then.append((self._keeper.leave, True))
        if error is not None:
            return
        failed: BaseException | None = None
        for call, if_kept in self._then:
            try:
                if are_kept or not if_kept:
                    await call()
            except BaseException as raised:  # noqa: BLE001 - the others are still called: the changes are made
                failed = failed or raised
        if failed is not None:
            raise failed


class Lease:
    """The exclusive use of open resources by one call, until it gives them back.

    Args:
        keeper: The task that holds them open.
        nodes: The resources.
        context: The context of the call.
    """

    __slots__ = ("_context", "_keeper", "_nodes", "_outlasts")

    def __init__(self, keeper: _Keeper, nodes: Sequence[ResourceNode], context: CallContext) -> None:
        self._keeper, self._nodes, self._context = keeper, nodes, context
        self._outlasts = False

    @property
    def values(self) -> Mapping[type, Any]:
        """The values of all open resources, by their types."""
        return self._keeper.values

    def fail(self, error: BaseException) -> BaseException:
        """Report the failure of the call, and return the error to raise instead."""
        return self._keeper.fail(error, self._context)

    def outlast(self) -> None:
        """Report that the call still runs in a thread, although its caller has given up."""
        self._outlasts = True
        self._keeper.outlasting += 1

    def give_back(self) -> None:
        """Release the resources for the next call."""
        if self._outlasts:
            self._keeper.outlasting -= 1
        self._keeper.give_back(self._nodes, self._context)


class _Keeper:
    """A task that opens and closes the resources of a scope.

    The task of a call cannot do this, because it may end before the scope is left. But a resource that contains an
    `asyncio.timeout` or a task group must be opened and closed in the same task.
    """

    def __init__(self, injection: Injection, context: CallContext, runtime: Runtime, call_error: CallErrorOf) -> None:
        self.values: dict[type, Any] = dict(runtime.values)
        self.outlasting = 0
        self._injection, self._runtime, self._call_error = injection, runtime, call_error
        self._context = msgspec.structs.replace(
            context, batch_loader=None, limits=None, invalidated=None, request_scope=None, outgoing=OPEN
        )
        self._turns: dict[type, asyncio.Lock] = {}
        self._unopened: dict[type, CallError] = {}
        self._wanted: asyncio.Queue[_Wanted | None] = asyncio.Queue()
        self._opening: asyncio.Future[None] | None = None
        self._using = 0
        self._quiet = asyncio.Event()
        self._is_closing = False
        self._until: float | None = None
        self._failure: BaseException | None = None
        self._answer: CallError | None = None
        self._invalidated: list[Any] = []
        variables = copy_context()
        variables.run(CURRENT_CALL.set, self._context)
        self._task = runtime.loop.create_task(self._keep(), context=variables)
        runtime.keepers.add(self._task)
        self._task.add_done_callback(runtime.keepers.discard)

    async def take(self, nodes: Sequence[ResourceNode], context: CallContext) -> Lease:
        """See `RequestScope.take`."""
        taken: list[ResourceNode] = []
        self._using += 1
        try:
            for node in nodes:
                turn = self._turns.setdefault(node.type, asyncio.Lock())
                await in_time(turn.acquire(), context.deadline, self._runtime.deadlines)
                taken.append(node)
            if self._is_closing:
                raise _answered()
            for node in nodes:
                if node.type not in self.values:
                    await self._open(node, context)
        except BaseException:
            self._release(taken)
            raise
        deadline = context.deadline
        if deadline is not None:
            self._until = deadline if self._until is None else max(self._until, deadline)
        return Lease(self, nodes, context)

    def give_back(self, nodes: Sequence[ResourceNode], context: CallContext) -> None:
        """See `Lease.give_back`."""
        if context.invalidated is not None:
            self._invalidated.append(context.invalidated)
        self._release(nodes)

    def fail(self, error: BaseException, context: CallContext) -> BaseException:
        """See `Lease.fail`."""
        is_meant = isinstance(error, CallError) or is_stop(error)
        meant = error if is_meant else self._call_error(error, context)
        if self._failure is None:
            self._failure = error
            self._answer = meant if isinstance(meant, CallError) else None
        return meant

    async def close(self, error: BaseException | None, *, all_or_none: bool) -> bool:
        """Close everything, and return whether the changes are kept.

        It raises the error that the request gets instead of its result, if any.
        """
        self._is_closing = True
        if self._failure is None:
            self._failure = error
        has_failed, answer = self._failure is not None, self._answer
        self._wanted.put_nowait(None)
        if not self.outlasting:  # otherwise, the resource is closed when the thread ends; the request does not wait
            closing = await self._closed(has_failed=has_failed)
            if closing is not None and not has_failed:
                raise self._meaning(closing) from closing
        if has_failed and all_or_none and error is None:
            raise answer or self._meaning(RuntimeError("a call that used shared resources was cancelled"))
        return not has_failed

    async def leave(self) -> None:
        """Put the calls that the resources have submitted into the queue."""
        await leave(self._context, shares=True)

    async def _closed(self, *, has_failed: bool) -> BaseException | None:
        """Wait until everything is closed, and return the error of the closing; None for success."""
        at = None
        if self._until is not None:
            at = max(self._until, self._runtime.loop.time() + CLOSE_SECONDS)
        try:
            await in_time(asyncio.wait((self._task,)), at, self._runtime.deadlines)
        except (asyncio.CancelledError, DeadlineError) as error:
            if has_failed and isinstance(error, DeadlineError):
                return None  # the rollback continues without the request
            if not self._using:  # otherwise, the task closes the resources when the calls that use them end
                self._task.cancel()
                await asyncio.wait((self._task,))
            raise
        if self._task.cancelled():  # by the end of the event loop
            return OverloadedError("the service is shutting down")
        return self._task.result()

    def _meaning(self, error: BaseException) -> CallError:
        return error if isinstance(error, CallError) else self._call_error(error, self._context)

    def _release(self, nodes: Sequence[ResourceNode]) -> None:
        for node in nodes:
            self._turns[node.type].release()
        self._using -= 1
        if not self._using:
            self._quiet.set()

    async def _open(self, node: ResourceNode, context: CallContext) -> None:
        """Open a resource in the task; if this fails, later calls get the same error without another attempt."""
        if (known := self._unopened.get(node.type)) is not None:
            raise known
        slot = None if node.limiter is None else await node.limiter.acquire(context.deadline, self._runtime)
        opened = self._runtime.loop.create_future()
        opened.add_done_callback(self._opened)
        self._wanted.put_nowait(_Wanted(node, slot, opened))
        try:
            await in_time(opened, context.deadline, self._runtime.deadlines)
        except Exception as error:
            if not isinstance(error, DeadlineError):
                self._unopened[node.type] = self._meaning(error)
                raise self._unopened[node.type] from error
            raise

    def _opened(self, opened: asyncio.Future[None]) -> None:
        if opened.cancelled() and self._opening is opened:  # its call was cancelled
            self._task.cancel()

    async def _keep(self) -> BaseException | None:
        """Open resources on request until the scope is left, and close them; return the error of the closing."""
        try:
            async with AsyncExitStack() as stack:
                while (wanted := await self._wanted.get()) is not None:
                    await self._enter(wanted, stack)
                while self._using:
                    self._quiet.clear()
                    await self._quiet.wait()
                if self._failure is not None:
                    raise self._failure
        except BaseException as error:
            self._context.outgoing = FAILED
            failure, self._failure = self._failure, None
            if error is failure:
                return None
            if is_stop(error):
                raise
            if failure is not None:
                self._meaning(error)  # only for the log: the request has failed already
            return error
        finally:
            for item in filter(None, (self._context.invalidated, *self._invalidated)):
                await item.again()
        return None

    async def _enter(self, wanted: _Wanted, stack: AsyncExitStack) -> None:
        task = self._task
        async with AsyncExitStack() as entering:
            if wanted.slot is not None:
                entering.callback(wanted.slot.leave)
            if wanted.opened.done():
                return
            self._opening = wanted.opened
            try:
                manager = self._injection.open(wanted.node, self._context, self.values)
                value = await entering.enter_async_context(
                    self._runtime.on_loop(manager, wanted.node.label, self._context.request_id)
                )
            except BaseException as error:
                if wanted.opened.done():  # its call was cancelled
                    task.uncancel()
                    return
                if is_stop(error):
                    wanted.opened.cancel()
                    raise
                wanted.opened.set_exception(as_exception(error, wanted.node.label))
                return
            finally:
                self._opening = None
            if wanted.opened.done():
                task.uncancel()
            else:
                wanted.opened.set_result(None)
            self.values[wanted.node.type] = value
            stack.push_async_exit(entering.pop_all())


class _Wanted(msgspec.Struct, frozen=True):
    """A resource that a call waits for; its `slot` is freed when the resource is closed."""

    node: Any
    slot: Any
    opened: asyncio.Future[None]


def _answered() -> CallError:
    return OverloadedError("the request has been answered without this call")
