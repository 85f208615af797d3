"""The resources that the calls of one request share: opened when first needed, closed once, after all of them."""

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
from servey.errors import CallError, DeadlineError, OverloadedError

if TYPE_CHECKING:
    from servey.action.injection import Injection, ResourceNode
    from servey.action.runtime import Runtime

CLOSE_SECONDS = 1.0
"""How long the closing may take at least, when the calls before it have used up their time."""

CallErrorOf = Callable[[BaseException, CallContext], CallError]
"""Returns what an exception means to callers; tells the log of a defect."""


class RequestScope:
    """The resources of scope ``"request"`` that some calls share.

    A transport enters one for a request that is many calls, and puts it into the `CallContext` of each; a call without
    one is a request of its own. Nothing is opened before a call needs it. Calls that need the same resource run one
    after another, in the order in which they came; all others run as if there were no scope.

    When it is left, everything is closed, in the task that opened it. The first error of a call that used a resource
    is raised at the ``yield`` of each, or else the error that the scope is left with; so is a cancellation. When they
    cannot be closed, the scope raises the `CallError` that says so.

    Args:
        all_or_none: Whether the scope raises the first error of a call that used a resource, although that call has
            its error already: for answers that must not say that something was done which was undone.
    """

    def __init__(self, *, all_or_none: bool = False) -> None:
        self._all_or_none = all_or_none
        self._is_left = False
        self._keeper: _Keeper | None = None
        self._then: list[Callable[[], Awaitable[None]]] = []

    def then(self, call: Callable[[], Awaitable[None]]) -> None:
        """Have `call` awaited when everything is closed, and nothing has failed."""
        self._then.append(call)

    async def take(
        self,
        nodes: Sequence[ResourceNode],
        injection: Injection,
        context: CallContext,
        runtime: Runtime,
        call_error: CallErrorOf,
    ) -> Turn:
        """Wait until no other call uses any of some resources, and return them open.

        Args:
            nodes: The resources, each after those it asks for.
            injection: What opens them.
            context: The call's surroundings; the wait ends at its deadline.
            runtime: The event loop's.
            call_error: The action's; the first one that comes says what an error of the closing means.

        Raises:
            CallError: The deadline passed; a resource cannot be opened, or no more of it may be; or the request has
                been answered without this call.
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
        if self._keeper is not None:
            await self._keeper.close(error, all_or_none=self._all_or_none)
        if error is None:
            for call in self._then:
                await call()


class Turn:
    """The open resources of a call, which are its alone until it gives them back.

    Args:
        keeper: What keeps them open.
        nodes: The resources.
        context: The call's surroundings.
    """

    __slots__ = ("_context", "_keeper", "_nodes", "_outlasts")

    def __init__(self, keeper: _Keeper, nodes: Sequence[ResourceNode], context: CallContext) -> None:
        self._keeper, self._nodes, self._context = keeper, nodes, context
        self._outlasts = False

    @property
    def values(self) -> Mapping[type, Any]:
        """The values of everything that is open, by their types."""
        return self._keeper.values

    def fail(self, error: BaseException) -> BaseException:
        """Say that the call has failed, and return what to raise: what the error means to callers."""
        return self._keeper.fail(error, self._context)

    def outlast(self) -> None:
        """Say that the call goes on in a thread, though nobody waits for it any more."""
        self._outlasts = True
        self._keeper.outlasting += 1

    def give_back(self) -> None:
        """Let the next call have its turn."""
        if self._outlasts:
            self._keeper.outlasting -= 1
        self._keeper.give_back(self._nodes, self._context)


class _Keeper:
    """The task that opens and closes the resources of a scope.

    A task of its own, because what is opened in one task may have to be closed in the same (a timeout, a task group),
    and calls are tasks that end, or are cancelled.
    """

    def __init__(self, injection: Injection, context: CallContext, runtime: Runtime, call_error: CallErrorOf) -> None:
        self.values: dict[type, Any] = dict(runtime.values)
        self.outlasting = 0
        self._injection, self._runtime, self._call_error = injection, runtime, call_error
        self._context = msgspec.structs.replace(context, group=None, limits=None, invalidated=None, request_scope=None)
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

    async def take(self, nodes: Sequence[ResourceNode], context: CallContext) -> Turn:
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
        return Turn(self, nodes, context)

    def give_back(self, nodes: Sequence[ResourceNode], context: CallContext) -> None:
        """See `Turn.give_back`."""
        if context.invalidated is not None:
            self._invalidated.append(context.invalidated)
        self._release(nodes)

    def fail(self, error: BaseException, context: CallContext) -> BaseException:
        """See `Turn.fail`."""
        is_meant = isinstance(error, CallError) or is_stop(error)
        meant = error if is_meant else self._call_error(error, context)
        if self._failure is None:
            self._failure = error
            self._answer = meant if isinstance(meant, CallError) else None
        return meant

    async def close(self, error: BaseException | None, *, all_or_none: bool) -> None:
        """Close everything, and raise what the request comes to in place of its result."""
        self._is_closing = True
        if error is not None and self._failure is None:
            self._failure = error
        has_failed, answer = self._failure is not None, self._answer
        self._wanted.put_nowait(None)
        if not self.outlasting:  # else it is closed when the thread ends, for which nobody can wait
            closing = await self._closed(has_failed=has_failed)
            if closing is not None and not has_failed:
                raise self._meaning(closing) from closing
        if has_failed and all_or_none and error is None:
            raise answer or self._meaning(RuntimeError("a call that shared resources was given up"))

    async def _closed(self, *, has_failed: bool) -> BaseException | None:
        """Wait until all is closed, and return the error of it that is no call's."""
        at = None
        if self._until is not None:
            at = max(self._until, self._runtime.loop.time() + CLOSE_SECONDS)
        try:
            await in_time(asyncio.wait((self._task,)), at, self._runtime.deadlines)
        except (asyncio.CancelledError, DeadlineError) as error:
            if has_failed and isinstance(error, DeadlineError):
                return None  # what takes so long to undo is undone all the same
            if not self._using:  # else it goes on, and closes what a call uses when that has ended
                self._task.cancel()
                await asyncio.wait((self._task,))
            raise
        if self._task.cancelled():  # not by anybody who waits: the event loop ends
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
        """Have a resource opened; what cannot be is not tried again for every call."""
        if (known := self._unopened.get(node.type)) is not None:
            raise known
        place = None if node.places is None else await node.places.take(context.deadline, self._runtime)
        opened = self._runtime.loop.create_future()
        opened.add_done_callback(self._opened)
        self._wanted.put_nowait(_Wanted(node, place, opened))
        try:
            await in_time(opened, context.deadline, self._runtime.deadlines)
        except Exception as error:
            if not isinstance(error, DeadlineError):
                self._unopened[node.type] = self._meaning(error)
                raise self._unopened[node.type] from error
            raise

    def _opened(self, opened: asyncio.Future[None]) -> None:
        if opened.cancelled() and self._opening is opened:  # nobody waits for it any more
            self._task.cancel()

    async def _keep(self) -> BaseException | None:
        """Open what is wanted until the scope is left, and close it; return an error of the closing."""
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
            failure, self._failure = self._failure, None
            if error is failure:
                return None
            if is_stop(error):
                raise
            if failure is not None:
                self._meaning(error)  # tells the log; the request has failed anyway
            return error
        finally:
            for item in (self._context.invalidated, *self._invalidated):
                if item is not None:
                    await item.again()
        return None

    async def _enter(self, wanted: _Wanted, stack: AsyncExitStack) -> None:
        task = self._task
        async with AsyncExitStack() as entering:
            if wanted.place is not None:
                entering.callback(wanted.place.leave)
            if wanted.opened.done():
                return
            self._opening = wanted.opened
            try:
                manager = self._injection.open(wanted.node, self._context, self.values)
                value = await entering.enter_async_context(
                    self._runtime.on_loop(manager, wanted.node.label, self._context.request_id)
                )
            except BaseException as error:
                if wanted.opened.done():  # it was given up
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
    """A resource that a call waits for; `place` is given back when it is closed."""

    node: Any
    place: Any
    opened: asyncio.Future[None]


def _answered() -> CallError:
    return OverloadedError("the request has been answered without this call")
