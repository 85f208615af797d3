"""What a function needs opened around its calls: decided at start, and the same for an action and a batch function."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from servey.action.context import CallContext
from servey.action.injection import Injection, ResourceNode, Values
from servey.action.request_scope import CallErrorOf, RequestScope, Turn
from servey.action.runtime import Runtime
from servey.action.signature import Injected

if TYPE_CHECKING:
    from servey.action.places import Place

T = TypeVar("T")


class Opening:
    """The resources around the calls of one function.

    Args:
        injected: The function's parameters that no caller gives.
        injection: What fills them.
        call_error: Returns what an exception means to callers; tells the log of a defect.

    Attributes:
        alone: What is opened around a call that is a request of its own.
        own: What is opened around a call of a request scope: resources of scope ``"call"``.
        shared: What such a call shares with others.
        fits_a_thread: Whether what is opened around a call can be opened in the thread of the call. It is decided by
            `alone` for every call, so that a function does the same in a request scope and outside of one.
    """

    def __init__(self, injected: Iterable[Injected], injection: Injection, call_error: CallErrorOf) -> None:
        needed = injection.needed(injected)
        self.own = tuple(node for node in needed if node.resource.scope == "call")
        self.shared = tuple(node for node in needed if node.resource.scope == "request")
        # What a request keeps is taken first, by a call that comes alone as well: the request that has it may wait for
        # what calls have, and would wait for ever for a call that has that and waits for the request.
        self.alone = (*self.shared, *self.own)
        self.fits_a_thread = not any(node.resource.is_async for node in self.alone)
        self._is_limited = any(node.resource.limit is not None for node in self.alone)
        self._injection, self.call_error = injection, call_error

    @property
    def may_hold(self) -> bool:
        """Whether there are calls that wait for others: `hold` then makes them."""
        return self._is_limited or bool(self.shared)

    def holds(self, context: CallContext) -> bool:
        """Whether a call waits for others."""
        return self._is_limited or (bool(self.shared) and context.request_scope is not None)

    def hold(self, context: CallContext, runtime: Runtime) -> Hold:
        """Return what a call enters that waits for others."""
        return Hold(self, self._injection, context, runtime)

    def around(
        self, nodes: Sequence[ResourceNode], context: CallContext, values: Values, call: Callable[[Values], T]
    ) -> T:
        """Return what `call` returns of the values, with synchronous resources open around it, in this thread."""
        if not nodes:
            return call(values)
        with ExitStack() as stack:
            opened = dict(values)
            for node in nodes:
                manager: Any = self._injection.open(node, context, opened)
                opened[node.type] = stack.enter_context(manager)
            return call(opened)

    async def around_on_loop(
        self,
        nodes: Sequence[ResourceNode],
        context: CallContext,
        runtime: Runtime,
        values: Values,
        call: Callable[[Values], Awaitable[T]],
    ) -> T:
        """Return what `call` resolves to, with resources open around it."""
        async with AsyncExitStack() as stack:
            opened = dict(values)
            for node in nodes:
                manager = runtime.on_loop(self._injection.open(node, context, opened), node.label, context.request_id)
                opened[node.type] = await stack.enter_async_context(manager)
            return await call(opened)


def in_thread(
    call: Callable[[], T], label: str, context: CallContext, runtime: Runtime, hold: Hold | None = None
) -> Awaitable[T]:
    """Return what `call` returns in a worker thread; see `servey.action.workers.Workers.run`.

    Args:
        call: The function, without arguments.
        label: The name of the job, for the log.
        context: The call's surroundings; its deadline holds.
        runtime: The event loop's.
        hold: What the call keeps until the thread ends, where it has such things.
    """
    if hold is not None:
        return hold.in_thread(call, label)
    return runtime.workers.run(call, deadline=context.deadline, label=label, request_id=context.request_id)


class Hold:
    """What one call has that others wait for: its turn with shared resources, and places of limited ones.

    It gives them back when the call has ended, and not before: a function in a thread goes on when its caller has left.

    Args:
        opening: What the call needs.
        injection: What opens it.
        context: The call's surroundings.
        runtime: The event loop's.

    Attributes:
        nodes: What is to be opened around the call.
        values: What is open already.
        turn: The call's turn with shared resources; None where it shares none.
    """

    def __init__(self, opening: Opening, injection: Injection, context: CallContext, runtime: Runtime) -> None:
        self._opening, self._injection = opening, injection
        self._context, self._runtime = context, runtime
        self.values: Values = runtime.values
        shares = context.request_scope is not None
        self.nodes = opening.own if shares else opening.alone
        self._shared = opening.shared if shares else ()
        self.turn: Turn | None = None
        self._places: list[Place] = []
        self._lock = threading.Lock()
        # with the lock held
        self._is_left = self._runs = False

    async def __aenter__(self) -> Hold:
        context, runtime = self._context, self._runtime
        try:
            if self._shared:
                scope: RequestScope = context.request_scope
                call_error = self._opening.call_error
                self.turn = await scope.take(self._shared, self._injection, context, runtime, call_error)
                self.values = self.turn.values
            for node in self.nodes:
                if node.places is not None:
                    self._places.append(await node.places.take(context.deadline, runtime))
        except BaseException:
            self._give_back()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._is_left = True
            runs = self._runs
        meant = error
        if error is not None and self.turn is not None:
            meant = self.turn.fail(error)
        if not runs:
            self._give_back()
        elif self.turn is not None:
            self.turn.outlast()
        if meant is not None and meant is not error:
            raise meant from error

    async def in_thread(self, call: Callable[[], T], label: str) -> T:
        """Return what `call` returns in a worker thread; see `servey.action.workers.Workers.run`."""

        def run() -> Any:
            with self._lock:
                if self._is_left:
                    return None
                self._runs = True
            try:
                return call()
            finally:
                with self._lock:
                    self._runs = False
                    is_late = self._is_left
                if is_late:
                    with suppress(RuntimeError):  # the loop is closed: nobody waits
                        self._runtime.loop.call_soon_threadsafe(self._give_back)

        return await in_thread(run, label, self._context, self._runtime)

    def _give_back(self) -> None:
        if self.turn is not None:
            self.turn.give_back()
        for place in self._places:
            place.leave()
