"""The operation: an action compiled. Every transport calls actions through it, so their rules are the same."""

from __future__ import annotations

import inspect
import logging
import math
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from servey.action.action import Action
from servey.action.callables import ToAwait, is_awaitable, may_return_awaitable, settled
from servey.action.context import CURRENT_CALL, CallContext, Origin
from servey.action.deadlines import in_time
from servey.action.defect import defect
from servey.action.example import NOT_GIVEN, Example
from servey.action.injection import Injection, ResourceNode, Values, compile_call
from servey.action.opening import Hold, Opening, in_thread
from servey.action.python_call import bind
from servey.action.reply import Reply
from servey.action.runtime import Runtime, Runtimes
from servey.action.signature import ActionSignature
from servey.codec import ArgumentsCodec, Codec, Engine, ResultError, to_wire
from servey.errors import (
    CallError,
    DefinitionError,
    ErrorMapping,
    InternalError,
    Problem,
    UnauthorizedError,
    summary,
)
from servey.ports import RateLimiter
from servey.security.access_control import ALLOW_ALL, described
from servey.security.authorization import Authorization

if TYPE_CHECKING:
    from servey.action.batch import Batch
    from servey.action.places import Places

_log = logging.getLogger("servey.operation")

LARGE_BODY = 64 * 1024
"""Larger bodies (in bytes) are decoded in a worker thread, so that other requests do not wait."""

Finish = Callable[[Any], Any]
Execute = Callable[[Any, CallContext, Runtime, Finish], Awaitable[Any]]
Way = Callable[..., Awaitable[Any]]
"""An `Execute` with one more optional argument, the `Hold` of the call."""


def _same(value: Any) -> Any:
    return value


class CheckedExample(msgspec.Struct, frozen=True):
    """An example whose values fit the signature.

    Args:
        example: The declaration.
        params: The arguments as JSON values.
        result: The result as JSON values, or `NOT_GIVEN`.
    """

    example: Example
    params: Mapping[str, Any]
    result: Any


class Operation:
    """One action, ready to be called. A transport calls, in this order:

    `authorize`, then one of `decode_json`, `decode_text`, `decode` and `decode_for`, then `run`, with `encode_json`,
    `encode` or `check` as its last step. Each raises a `CallError` and nothing else.

    Args:
        signature: The resolved signature.
        runtimes: Where the service keeps threads, deadlines and resources.
        injection: What fills the injected parameters.
        engines: The codec engines of plugins.
        errors: How exceptions are mapped for every action.
        timeout: Seconds a call over a network may take by default.
        limiter: Counts the calls over a network, where the action has a rate limit.
        service: The service that the action belongs to, for `servey.action.current.current_service`.

    Raises:
        DefinitionError: A type cannot be served, or an example does not match the signature.
    """

    def __init__(
        self,
        signature: ActionSignature,
        *,
        runtimes: Runtimes,
        injection: Injection,
        engines: Sequence[Engine] = (),
        errors: Sequence[ErrorMapping] = (),
        timeout: float = 15.0,
        limiter: RateLimiter | None = None,
        service: Any = None,
    ) -> None:
        action = signature.action
        self.signature = signature
        self.action: Action = action
        self.name = signature.name
        refused: list[DefinitionError] = []
        try:
            self.arguments = ArgumentsCodec(
                signature.parameters, where=action.where, label=f"the arguments of {self.name}", engines=engines
            )
            self._refuse_invented_callers()
        except DefinitionError as error:
            refused.append(error)
        try:
            self.result: Codec[Any] = Codec(
                signature.result, where=action.where, label=f"the result of {self.name}", engines=engines
            )
        except DefinitionError as error:
            refused.append(error)
        if refused:
            raise DefinitionError.join(refused)
        self.decode_json = self.arguments.decode_json
        self.decode_text = self.arguments.decode_text
        self.decode = self.arguments.decode
        self.encode_json: Finish = self._encoder(self.result.encode_json)
        self.encode: Finish = self._encoder(self.result.encode)
        self.check: Finish = self._checker()
        self.errors = (*action.errors, *errors)
        self._places: Places | None = None
        if action.max_running is not None:
            from servey.action.places import Places  # few actions have a limit

            self._places = Places(action.max_running)
        self._batch: Batch | None = None
        if action.batch_invoker is not None:
            from servey.action.batch import Batch  # which most actions have not

            self._batch = Batch(signature, injection, self._call_error, self._places)
        injected = (*signature.injected, *(() if self._batch is None else self._batch.injected))
        asked_of_call = injection.asked_of_calls(injected)
        callers = [item for item in asked_of_call if item.type is Authorization]
        self.takes_caller = bool(callers)
        """Whether the function, its batch function or one of their resources gets the caller."""
        self.needs_caller = not all(item.optional for item in callers)
        """Whether one of them requires a caller."""
        self.is_open = action.access_control is ALLOW_ALL and not self.needs_caller
        """Whether `authorize` lets everybody in who has not used up a rate limit."""
        self.is_unguarded = self.is_open and limiter is None
        """Whether `authorize` need not be called."""
        self.is_private = not self.is_open or bool(asked_of_call)
        """Whether results may differ between callers, so that none is ever given to another."""
        self.depends_on_caller_alone = all(item.type is Authorization for item in asked_of_call)
        """Whether the caller is all that the call itself injects: no `CallContext`, and nothing of a plugin."""
        self.limiter = limiter
        self._engines = engines
        self.service = service
        self._network_timeout = _seconds(timeout if action.timeout is None else action.timeout)
        self._system_timeout = _seconds(action.timeout)
        self._current_runtime = runtimes.current
        self._resources = injection.needed(injected)
        self._opening = Opening(signature.injected, injection, self._call_error)
        self._call = compile_call(
            action.fn, signature.order, {item.name: item for item in signature.injected}, injection
        )
        if self._places is not None and action.run_in == "thread":
            self._call = self._places.holding(self._call)
        self._execute = self._compile_execute()
        self.examples = self._check_examples(action.examples)

    async def decode_in_thread(self, data: bytes, extra: Mapping[str, str], context: CallContext) -> Any:
        """Decode a large JSON object in a worker thread, as `decode_json` does on the event loop.

        Args:
            data: The JSON text in bytes.
            extra: Further arguments as text, such as those of the path.
            context: The context of the call. Its deadline includes the decoding.

        Raises:
            DeadlineError: The deadline passed first.
            OverloadedError: No worker thread was free before the deadline.
            CallError: As for `decode_json`.
        """
        runtime = self._current_runtime()
        self.deadline(context, runtime)
        return await in_thread(lambda: self.decode_json(data, extra), self.name, context, runtime)

    @property
    def shares_limited(self) -> bool:
        """Whether the action needs a limited resource of scope ``"request"``.

        A request that has the resource must not wait for a call of another request, which may wait for the resource.
        """
        return any(node.resource.scope == "request" and node.resource.limit is not None for node in self._resources)

    @property
    def opened_for_each(self) -> Sequence[ResourceNode]:
        """The resources that a request opens once per object: those of a nested action without a batch invoker."""
        nested = self.signature.owner is not None and self._batch is None
        return self._opening.own if nested else ()

    def decode_for(self, owner: Any, builtins: Any) -> Any:
        """Return the arguments of a nested action whose ``self`` is here already, and is not decoded.

        Args:
            owner: The object whose method is called.
            builtins: The other arguments as parsed JSON, read as `decode` reads them.

        Raises:
            MalformedError: They are nested too deeply.
            InvalidError: Some argument is wrong, missing or unknown; has every problem.
        """
        codec = self._other_arguments
        given = {self.signature.parameters[0].name: self._object_of(owner) if isinstance(owner, dict) else owner}
        if builtins or codec.parameters:
            others = codec.decode(builtins)
            for name in codec.parameters:
                given[name] = getattr(others, name)
        return self.arguments.struct(**given)

    def bind(_operation, /, *args: Any, **kwargs: Any) -> Any:
        """Return the decoded arguments of a call as Python writes it, without injected ones.

        Args:
            *args: The arguments by position; of a nested action, ``self`` first.
            **kwargs: The arguments by name.

        Raises:
            ValueError: An argument is missing, unknown or not of its type.
        """
        codec = _operation.arguments
        by_position = [name for name, by_name in _operation.signature.order if not by_name and name in codec.parameters]
        return bind(_operation.name, codec, by_position, args, kwargs)

    def _object_of(self, row: Any) -> Any:
        """Return the object that a dict stands for, which was returned in its place, and has no methods."""
        try:
            return self._owner.decode(self._owner.encode(row))
        except (CallError, ResultError) as error:
            _log.error("%s: no object can be made of a dict: %s", self.name, error, extra={"action": self.name})
            raise InternalError from error

    @cached_property
    def _owner(self) -> Codec[Any]:
        """Reads and writes the objects that a nested action is of; made when first needed."""
        label, (_, node) = next(iter(self.arguments.parameters.items()))
        return Codec(node.type, where=self.action.where, label=label, engines=self._engines)

    @cached_property
    def _other_arguments(self) -> ArgumentsCodec:
        """Reads the arguments of a nested action without ``self``; made when first needed."""
        return ArgumentsCodec(
            self.signature.parameters[1:],
            where=self.action.where,
            label=f"the arguments of {self.name}",
            engines=self._engines,
        )

    def _refuse_invented_callers(self) -> None:
        """Refuse an `Authorization` or a `CallContext` as a part of what a caller sends."""
        for cls in self.arguments.classes():
            if issubclass(cls, (Authorization, CallContext)):
                raise DefinitionError(
                    f"{self.name} takes a {cls.__name__} as a part of its arguments, where a caller could invent it",
                    where=self.action.where,
                    fix="ask for it by a parameter of its own, annotated with Authorization, Authorization | None "
                    "or CallContext",
                )

    async def authorize(self, context: CallContext) -> None:
        """Return when the caller of `context` may run the action.

        Raises:
            UnauthorizedError: Nobody calls, and somebody has to.
            ForbiddenError: The caller may not.
            DeadlineError: An asynchronous access control took longer than the whole call may.
            TooManyRequestsError: The caller has used up the action's rate limit.
            InternalError: The access control itself failed; nobody is let in by a defect.
        """
        if context.origin is not Origin.SYSTEM:
            await self.check_access(context)
            if self.limiter is not None:
                await self.limiter.admit(context)
        elif self.needs_caller and context.authorization is None:
            raise UnauthorizedError

    async def check_access(self, context: CallContext) -> None:
        """Return when the access control lets the caller of `context` in, whatever its origin; counts nothing.

        Raises:
            CallError: As for `authorize`.
        """
        if self.needs_caller and context.authorization is None:
            raise UnauthorizedError
        context.service, context.action = self.service, self.name
        token = CURRENT_CALL.set(context)
        try:
            outcome: Any = self.action.access_control.check(context.authorization)
            if outcome is not None and inspect.isawaitable(outcome):
                runtime = self._current_runtime()
                at = self.deadline(context, runtime)
                outcome = await in_time(outcome, at, runtime.deadlines)
        except CallError:
            raise
        except BaseException as error:
            raise self._defect(error, context, "the access control failed") from error
        finally:
            CURRENT_CALL.reset(token)
        if outcome is not None:
            # somebody who returns False means to refuse, and somebody who returns True has not read the port
            raise self._defect(None, context, f"the access control returned {outcome!r}; it must raise or return None")

    async def run(self, arguments: Any, context: CallContext, finish: Finish = _same) -> Any:
        """Call the function, within its deadline, off the event loop when it is a `def`.

        Args:
            arguments: What one of the decoders returned.
            context: The call's surroundings; its `deadline` is set unless it has one.
            finish: The last step, `encode_json`, `encode` or `check`; default: none. It runs while the call's
                resources are open, so that a result that cannot be encoded undoes what they can undo.

        Returns:
            What the function returned, or what `finish` made of it.

        Raises:
            CallError: The action's own, or `DeadlineError`, `OverloadedError`, `InternalError`.
        """
        runtime = self._current_runtime()
        at = self.deadline(context, runtime)
        context.service, context.action = self.service, self.name
        token = CURRENT_CALL.set(context)
        runtime.calls += 1
        try:
            if self._resources and not runtime.usable:
                await runtime.lifecycle.open_for_a_call()
            if self._execute is not None:
                try:
                    return await self._execute(arguments, context, runtime, finish)
                except ToAwait as returned:
                    return finish(await in_time(returned.awaitable, context.deadline, runtime.deadlines))
            called = self._call(arguments, context, runtime.values)
            return finish(await (called if at is None else runtime.deadlines.run(called, at)))
        except CallError:
            raise
        except BaseException as error:
            raise self._call_error(error, context) from error
        finally:
            CURRENT_CALL.reset(token)
            runtime.calls -= 1
            if runtime.idle is not None and not runtime.calls:
                runtime.idle.set()
            if context.invalidated is not None:
                await context.invalidated.again()

    @property
    def runtime(self) -> Runtime:
        """The threads and deadlines of the service in the running event loop."""
        return self._current_runtime()

    def deadline(self, context: CallContext, runtime: Runtime) -> float | None:
        """Return when a call is given up, in the event loop's time; sets it in its context the first time."""
        if context.deadline is None:
            seconds = self._network_timeout if context.origin is Origin.NETWORK else self._system_timeout
            if seconds is not None:
                context.deadline = (runtime.loop.time() if context.started is None else context.started) + seconds
        return context.deadline

    def example_authorization(self, example: Example) -> Authorization | None:
        """Return as whom an example calls: as it says, or as somebody whom the access control lets in."""
        if example.authorization is not None or example.error in ("unauthorized", "forbidden"):
            return example.authorization
        make = getattr(self.action.access_control, "example_authorization", None)
        if make is not None:
            return make()
        return None if self.is_open else Authorization(subject="example")

    @property
    def access(self) -> str:
        """Who may call the action, as text for the banner, lists and schemas: ``any token``, for example."""
        if self.needs_caller and self.action.access_control is ALLOW_ALL:
            return "any token"
        return described(self.action.access_control)

    # --- how a call is executed, decided once -----------------------------------------------------------------

    def _compile_execute(self) -> Execute | None:
        """Return how a call is executed; None for an async function without resources, which `run` awaits itself."""
        in_thread = self.action.run_in == "thread" and self._opening.fits_a_thread
        if self._opening.alone and may_return_awaitable(self.action.fn):
            in_thread = False  # the event loop must await the result while the resources are open
        self._way: Way = self._in_thread if in_thread else self._with_resources
        alone = self._compile_alone()
        if self._places is not None:
            # A call takes its place last, so that a call with a place never waits. A request keeps its shared resources
            # until its last call ends: a call that waited for them with a place could block the others.
            if self._opening.may_hold:
                self._way = self._places.limited(self._way)
            else:
                alone = self._places.limited(alone or self._awaited)
        return alone if self._batch is None else self._compile_batched(self._batch, alone or self._awaited)

    def _compile_batched(self, batch: Batch, alone: Execute) -> Execute:
        def execute(arguments: Any, context: CallContext, runtime: Runtime, finish: Finish) -> Awaitable[Any]:
            if context.group is None:
                return alone(arguments, context, runtime, finish)
            return context.group.call_batched(batch, batch.item(arguments), context, runtime, finish)

        return execute

    def _compile_alone(self) -> Execute | None:
        in_thread = self.action.run_in == "thread"
        if self._opening.may_hold:
            return self._holding
        if self._opening.alone:
            return self._way
        if in_thread:
            return self._in_thread
        return None if self.action.is_async else self._at_once

    def _holding(self, arguments: Any, context: CallContext, runtime: Runtime, finish: Finish) -> Awaitable[Any]:
        """Call the function, after waiting for shared and limited resources if the call needs any."""
        if self._opening.holds(context):
            return self._held(arguments, context, runtime, finish)
        return self._way(arguments, context, runtime, finish)

    async def _held(self, arguments: Any, context: CallContext, runtime: Runtime, finish: Finish) -> Any:
        async with self._opening.hold(context, runtime) as hold:
            try:
                return await self._way(arguments, context, runtime, finish, hold)
            except ToAwait as returned:
                return finish(await in_time(returned.awaitable, context.deadline, runtime.deadlines))

    async def _awaited(self, arguments: Any, context: CallContext, runtime: Runtime, finish: Finish) -> Any:
        """Do what `run` does itself for other actions."""
        called = self._call(arguments, context, runtime.values)
        return finish(await in_time(called, context.deadline, runtime.deadlines))

    async def _at_once(self, arguments: Any, context: CallContext, runtime: Runtime, finish: Finish) -> Any:
        """Call a `def` that never blocks, on the loop."""
        value = self._call(arguments, context, runtime.values)
        return finish(await in_time(value, context.deadline, runtime.deadlines) if is_awaitable(value) else value)

    def _in_thread(
        self, arguments: Any, context: CallContext, runtime: Runtime, finish: Finish, hold: Hold | None = None
    ) -> Awaitable[Any]:
        nodes, values = (self._opening.alone, runtime.values) if hold is None else (hold.nodes, hold.values)

        def made(opened: Values) -> Any:
            return finish(settled(self._call(arguments, context, opened), may_wait=not self._opening.alone))

        def call() -> Any:
            try:
                return self._opening.around(nodes, context, values, made)
            finally:
                # here, because `run` does not wait after the deadline; for a shared resource, `_Keeper` does it
                if context.invalidated is not None and (hold is None or hold.turn is None):
                    context.invalidated.again_here()

        if hold is None and context.group is not None:
            return context.group.call_in_thread(call, context, runtime, self.name)
        return in_thread(call, self.name, context, runtime, hold)

    def _with_resources(
        self, arguments: Any, context: CallContext, runtime: Runtime, finish: Finish, hold: Hold | None = None
    ) -> Awaitable[Any]:
        async def call(values: Values) -> Any:
            if self.action.run_in == "loop":
                value = self._call(arguments, context, values)
            else:
                value = await in_thread(
                    lambda: self._call(arguments, context, values), self.name, context, runtime, hold
                )
            return finish(await value if is_awaitable(value) else value)

        nodes, values = (self._opening.alone, runtime.values) if hold is None else (hold.nodes, hold.values)
        called = self._opening.around_on_loop(nodes, context, runtime, values, call)
        return in_time(called, context.deadline, runtime.deadlines)

    # --- results, errors, examples ----------------------------------------------------------------------------

    def _encoder(self, encode: Finish) -> Finish:
        if not self.signature.replies:
            return encode

        def encode_reply(result: Any) -> Reply[Any]:
            reply = self._reply(result)
            return Reply(encode(reply.value), reply.status, reply.headers)

        return encode_reply

    def _checker(self) -> Finish:
        check = self.result.check
        return (lambda result: check(self._reply(result).value)) if self.signature.replies else check

    def _reply(self, result: Any) -> Reply[Any]:
        if isinstance(result, Reply):
            return typing.cast("Reply[Any]", result)
        raise ResultError(f"the result of {self.name}", [Problem("", f"expected a Reply, got {type(result).__name__}")])

    def _call_error(self, error: BaseException, context: CallContext) -> CallError:
        own = [mapping for mapping in self.action.errors if isinstance(error, mapping.type)]
        declared = own or [mapping for mapping in self.errors if isinstance(error, mapping.type)]
        if declared:
            classes = type(error).__mro__
            nearest = min(declared, key=lambda item: classes.index(item.type) if item.type in classes else len(classes))
            try:
                return nearest.call_error(typing.cast("Exception", error))
            except BaseException as broken:  # noqa: BLE001 - the exception's own __str__
                return self._defect(broken, context, f"the message of a {type(error).__name__} cannot be made")
        if isinstance(error, ResultError):
            return self._defect(None, context, str(error))
        return self._defect(error, context, "the action failed")

    def _defect(self, error: BaseException | None, context: CallContext, message: str) -> InternalError:
        return defect(error, message, log=_log, request_id=context.request_id, action=self.name)

    def _check_examples(self, examples: Sequence[Example]) -> tuple[CheckedExample, ...]:
        checked: list[CheckedExample] = []
        problems: list[DefinitionError] = []
        for example in examples:
            try:
                checked.append(self._check_example(example))
            except DefinitionError as error:
                problems.append(error)
        if problems:
            raise DefinitionError.join(problems)
        return tuple(checked)

    def _check_example(self, example: Example) -> CheckedExample:
        def wrong(what: str) -> DefinitionError:
            return DefinitionError(
                f"the example {example.name!r} of {self.name} {what}",
                where=self.action.where,
                fix="correct the example, or the signature",
            )

        if example.error is not None and example.result is not NOT_GIVEN:
            raise wrong("has a result and an error; a call has one of them")
        try:
            params = {name: to_wire(value) for name, value in example.params.items()}
            result = NOT_GIVEN if example.result is NOT_GIVEN else to_wire(example.result)
        except (TypeError, ValueError, ResultError) as error:
            raise wrong(f"has a value that JSON cannot hold: {error}") from error
        if example.error != "invalid":
            try:
                self.decode(params)
            except CallError as error:
                raise wrong(f"does not match the parameters: {summary(error)}") from error
        if result is not NOT_GIVEN:
            try:
                self.result.decode(result)
            except CallError as error:
                raise wrong(f"does not match the result: {summary(error)}") from error
        return CheckedExample(example, params, result)


def _seconds(timeout: float | None) -> float | None:
    return None if timeout is None or math.isinf(timeout) else timeout
