"""Open the resources that a call of an action, or of a batch function, needs. The order is decided at start."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from servey.action.context import CallContext
from servey.action.injection import Injection, ResourceNode, Values
from servey.action.request_scope import CallErrorOf, Lease, RequestScope
from servey.action.runtime import Runtime
from servey.action.signature import Injected

if TYPE_CHECKING:
    from servey.action.capacity_limiter import Slot

T = TypeVar("T")


class CallResources:
    """The resources that are opened around the calls of one function.

    Args:
        injected: The injected parameters of the function.
        injection: Opens the resources.
        call_error: Returns the `CallError` that callers get for an exception; logs the exception if it is a defect.

    Attributes:
        nodes: The resources of a call outside of a request scope, in the order in which they are opened.
        per_call: The resources of a call in a request scope: those of scope ``"call"``.
        per_request: The resources of scope ``"request"``, which the calls of a request scope share.
        fits_a_thread: Whether all resources are sync, so that they can be opened in the thread of the call. `nodes`
            decides, so that a function runs in the same way inside and outside of a request scope.
    """

    def __init__(self, injected: Iterable[Injected], injection: Injection, call_error: CallErrorOf) -> None:
        needed = injection.needed(injected)
        self.per_call = tuple(node for node in needed if node.resource.scope == "call")
        self.per_request = tuple(node for node in needed if node.resource.scope == "request")
        # Always the same order, to avoid deadlocks: resources of requests first, also outside of a request scope. A
        # request keeps them while its calls wait for resources of scope "call", so no call may wait the other way.
        self.nodes = (*self.per_request, *self.per_call)
        self.fits_a_thread = not any(node.resource.is_async for node in self.nodes)
        self._is_limited = any(node.resource.limit is not None for node in self.nodes)
        self._injection, self.call_error = injection, call_error

    @property
    def may_lock(self) -> bool:
        """Whether some calls must wait for others; such a call enters `locks`."""
        return self._is_limited or bool(self.per_request)

    def must_lock(self, context: CallContext) -> bool:
        """Whether a call must wait for others: for a shared resource, or for a limited one."""
        return self._is_limited or (bool(self.per_request) and context.request_scope is not None)

    def locks(self, context: CallContext, runtime: Runtime) -> CallLocks:
        """Return the context manager that waits for shared and limited resources."""
        return CallLocks(self, self._injection, context, runtime)

    def around(
        self, nodes: Sequence[ResourceNode], context: CallContext, values: Values, call: Callable[[Values], T]
    ) -> T:
        """Open sync resources in this thread, and return the result of `call` with their values."""
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
        """Open resources on the event loop, and return the awaited result of `call` with their values."""
        async with AsyncExitStack() as stack:
            opened = dict(values)
            for node in nodes:
                manager = runtime.on_loop(self._injection.open(node, context, opened), node.label, context.request_id)
                opened[node.type] = await stack.enter_async_context(manager)
            return await call(opened)


def in_thread(
    call: Callable[[], T], label: str, context: CallContext, runtime: Runtime, locks: CallLocks | None = None
) -> Awaitable[T]:
    """Run `call` in a worker thread, and return its result; see `servey.action.workers.WorkerThreads.run`.

    Args:
        call: The function, without arguments.
        label: The name of the job, for the log.
        context: The context of the call, with the deadline.
        runtime: The runtime of the event loop.
        locks: The `CallLocks` of the call, which it keeps until the thread ends; None for a call without one.
    """
    if locks is not None:
        return locks.in_thread(call, label)
    return runtime.workers.run(call, deadline=context.deadline, label=label, request_id=context.request_id)


class CallLocks:
    """The locks of one call: its exclusive use of shared resources, and its slots of limited resources.

    It releases them when the call ends. A function in a thread may end later than its caller waits; then the thread
    releases them.

    Args:
        resources: The resources of the function.
        injection: Opens the resources.
        context: The context of the call.
        runtime: The runtime of the event loop.

    Attributes:
        nodes: The resources that must still be opened around the call.
        values: The values of the resources that are open already.
        lease: The call's use of shared resources; None if it shares none.
    """

    def __init__(self, resources: CallResources, injection: Injection, context: CallContext, runtime: Runtime) -> None:
        self._resources, self._injection = resources, injection
        self._context, self._runtime = context, runtime
        self.values: Values = runtime.values
        shares = context.request_scope is not None
        self.nodes = resources.per_call if shares else resources.nodes
        self._shared = resources.per_request if shares else ()
        self.lease: Lease | None = None
        self._slots: list[Slot] = []
        self._lock = threading.Lock()
        # with the lock held
        self._is_left = self._runs = False

    async def __aenter__(self) -> CallLocks:
        context, runtime = self._context, self._runtime
        try:
            if self._shared:
                scope: RequestScope = context.request_scope
                call_error = self._resources.call_error
                self.lease = await scope.take(self._shared, self._injection, context, runtime, call_error)
                self.values = self.lease.values
            for node in self.nodes:
                if node.limiter is not None:
                    self._slots.append(await node.limiter.acquire(context.deadline, runtime))
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
        if error is not None and self.lease is not None:
            meant = self.lease.fail(error)
        if not runs:
            self._give_back()
        elif self.lease is not None:
            self.lease.outlast()
        if meant is not None and meant is not error:
            raise meant from error

    async def in_thread(self, call: Callable[[], T], label: str) -> T:
        """Run `call` in a worker thread, and return its result; see `servey.action.workers.WorkerThreads.run`."""

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
                    with suppress(RuntimeError):  # the event loop is closed, and no call waits
                        self._runtime.loop.call_soon_threadsafe(self._give_back)

        return await in_thread(run, label, self._context, self._runtime)

    def _give_back(self) -> None:
        if self.lease is not None:
            self.lease.give_back()
        for slot in self._slots:
            slot.leave()
