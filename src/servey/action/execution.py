"""Execute the function of an action: on the event loop or in a thread, with its resources and locks.

All decisions that do not depend on a single call are made once, when the service is built.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from servey.action.call_resources import CallLocks, CallResources, in_thread
from servey.action.callables import AwaitableReturned, is_awaitable, may_return_awaitable, settled
from servey.action.context import CallContext
from servey.action.deadlines import in_time
from servey.action.injection import Injection, ResourceNode, Values, compile_call
from servey.action.request_scope import CallErrorOf
from servey.action.runtime import Runtime
from servey.action.signature import ActionSignature, Injected

if TYPE_CHECKING:
    from servey.action.batch import Batch
    from servey.action.capacity_limiter import CapacityLimiter

Finish = Callable[[Any], Any]
"""The last step of a call, such as the encoding of its result."""

Execute = Callable[[Any, CallContext, Runtime, Finish], Awaitable[Any]]
"""Takes the arguments, the context, the runtime and the last step of a call."""

Executor = Callable[..., Awaitable[Any]]
"""An `Execute` with one more optional argument, the `CallLocks` of the call."""


class Execution:
    """The function of an action, compiled for its calls.

    Args:
        signature: The signature of the action.
        injection: Provides the injected parameters and opens the resources.
        call_error: Returns the `CallError` that callers get for an exception; logs the exception if it is a defect.

    Attributes:
        call: Calls the function with the arguments, the context and the values of resources.
        execute: Executes a call. None for an `async def` without resources: `call` is awaited directly.
        injected: The injected parameters of the function and of its batch function.
    """

    def __init__(self, signature: ActionSignature, injection: Injection, call_error: CallErrorOf) -> None:
        action = signature.action
        self._action, self._name, self._is_nested = action, signature.name, signature.owner is not None
        self._limiter: CapacityLimiter | None = None
        if action.max_running is not None:
            from servey.action.capacity_limiter import CapacityLimiter  # few actions have a limit

            self._limiter = CapacityLimiter(action.max_running)
        self._batch: Batch | None = None
        if action.batch_invoker is not None:
            from servey.action.batch import Batch  # few actions have one

            self._batch = Batch(signature, injection, call_error, self._limiter)
        self.injected: Sequence[Injected] = (
            *signature.injected,
            *(() if self._batch is None else self._batch.injected),
        )
        self.resources = injection.needed(self.injected)
        self._call_resources = CallResources(signature.injected, injection, call_error)
        self.call = compile_call(action.fn, signature.order, signature.injected, injection)
        if self._limiter is not None and action.run_in == "thread":
            self.call = self._limiter.holding(self.call)
        self.execute = self._compile()

    @property
    def shares_limited(self) -> bool:
        """Whether the action needs a limited resource of scope ``"request"``.

        A request that has the resource must not wait for a call of another request, which may wait for the resource.
        """
        return any(node.resource.scope == "request" and node.resource.limit is not None for node in self.resources)

    @property
    def opened_per_object(self) -> Sequence[ResourceNode]:
        """The resources that a request opens once per object: those of a nested action without a batch invoker."""
        return self._call_resources.per_call if self._is_nested and self._batch is None else ()

    def _compile(self) -> Execute | None:
        """Return the function that executes a call; None for an async function without resources."""
        in_thread = self._action.run_in == "thread" and self._call_resources.fits_a_thread
        if self._call_resources.nodes and may_return_awaitable(self._action.fn):
            in_thread = False  # the event loop must await the result while the resources are open
        self._executor: Executor = self._in_thread if in_thread else self._with_resources
        alone = self._compile_alone()
        if self._limiter is not None:
            # A call takes its slot last, so that a call with a slot never waits. A request keeps its shared resources
            # until its last call ends: a call that waited for them with a slot could block the others.
            if self._call_resources.may_lock:
                self._executor = self._limiter.limited(self._executor)
            else:
                alone = self._limiter.limited(alone or self._awaited)
        return alone if self._batch is None else self._compile_batched(self._batch, alone or self._awaited)

    def _compile_batched(self, batch: Batch, alone: Execute) -> Execute:
        def execute(arguments: Any, context: CallContext, runtime: Runtime, finish: Finish) -> Awaitable[Any]:
            if context.batch_loader is None:
                return alone(arguments, context, runtime, finish)
            return context.batch_loader.call_batched(batch, batch.item(arguments), context, runtime, finish)

        return execute

    def _compile_alone(self) -> Execute | None:
        in_thread = self._action.run_in == "thread"
        if self._call_resources.may_lock:
            return self._maybe_locked
        if self._call_resources.nodes:
            return self._executor
        if in_thread:
            return self._in_thread
        return None if self._action.is_async else self._at_once

    def _maybe_locked(self, arguments: Any, context: CallContext, runtime: Runtime, finish: Finish) -> Awaitable[Any]:
        """Call the function, after waiting for shared and limited resources if the call needs any."""
        if self._call_resources.must_lock(context):
            return self._locked(arguments, context, runtime, finish)
        return self._executor(arguments, context, runtime, finish)

    async def _locked(self, arguments: Any, context: CallContext, runtime: Runtime, finish: Finish) -> Any:
        async with self._call_resources.locks(context, runtime) as locks:
            try:
                return await self._executor(arguments, context, runtime, finish, locks)
            except AwaitableReturned as returned:
                return finish(await in_time(returned.awaitable, context.deadline, runtime.deadlines))

    async def _awaited(self, arguments: Any, context: CallContext, runtime: Runtime, finish: Finish) -> Any:
        """Call an async function without resources."""
        called = self.call(arguments, context, runtime.values)
        return finish(await in_time(called, context.deadline, runtime.deadlines))

    async def _at_once(self, arguments: Any, context: CallContext, runtime: Runtime, finish: Finish) -> Any:
        """Call a `def` that never blocks, on the loop."""
        value = self.call(arguments, context, runtime.values)
        return finish(await in_time(value, context.deadline, runtime.deadlines) if is_awaitable(value) else value)

    def _in_thread(
        self, arguments: Any, context: CallContext, runtime: Runtime, finish: Finish, locks: CallLocks | None = None
    ) -> Awaitable[Any]:
        nodes, values = (self._call_resources.nodes, runtime.values) if locks is None else (locks.nodes, locks.values)

        def made(opened: Values) -> Any:
            return finish(settled(self.call(arguments, context, opened), may_wait=not self._call_resources.nodes))

        def call() -> Any:
            try:
                return self._call_resources.around(nodes, context, values, made)
            finally:
                # here, because `run` does not wait after the deadline; for a shared resource, `_Keeper` does it
                if context.invalidated is not None and (locks is None or locks.lease is None):
                    context.invalidated.again_here()

        job = call if context.claim is None else context.claim.in_thread(call)
        if locks is None and context.batch_loader is not None:
            return context.batch_loader.call_in_thread(job, context, runtime, self._name)
        return in_thread(job, self._name, context, runtime, locks)

    def _with_resources(
        self, arguments: Any, context: CallContext, runtime: Runtime, finish: Finish, locks: CallLocks | None = None
    ) -> Awaitable[Any]:
        async def call(values: Values) -> Any:
            if self._action.run_in == "loop":
                value = self.call(arguments, context, values)
            else:
                job = partial(self.call, arguments, context, values)
                if context.claim is not None:
                    job = context.claim.in_thread(job)
                value = await in_thread(job, self._name, context, runtime, locks)
            return finish(await value if is_awaitable(value) else value)

        nodes, values = (self._call_resources.nodes, runtime.values) if locks is None else (locks.nodes, locks.values)
        called = self._call_resources.around_on_loop(nodes, context, runtime, values, call)
        return in_time(called, context.deadline, runtime.deadlines)
