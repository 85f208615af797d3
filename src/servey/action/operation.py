"""The operation: a compiled action. All transports call actions through it, so their rules are the same."""

from __future__ import annotations

import logging
import math
import typing
from collections.abc import Awaitable, Mapping, Sequence
from functools import cached_property
from typing import Any

from servey.action.action import Action
from servey.action.call_resources import in_thread
from servey.action.callables import AwaitableReturned
from servey.action.checked_example import check_examples
from servey.action.context import CURRENT_CALL, CallContext, Origin
from servey.action.deadlines import in_time
from servey.action.defect import defect
from servey.action.example import Example
from servey.action.execution import Execution, Finish
from servey.action.injection import Injection
from servey.action.nested_arguments import NestedArguments
from servey.action.python_call import bind
from servey.action.reply import Reply
from servey.action.runtime import Runtime, Runtimes
from servey.action.signature import ActionSignature
from servey.background_call.outgoing import FAILED, NOT_TAKEN, OPEN, SUCCEEDED, leave
from servey.codec import ArgumentsCodec, Codec, Engine, ResultError
from servey.errors import (
    CallError,
    DefinitionError,
    ErrorMapping,
    InternalError,
    Problem,
    UnauthorizedError,
)
from servey.ports import ExampleCaller, RateLimiter
from servey.security.access_control import ALLOW_ALL
from servey.security.access_control.check import AccessSummary, check_access
from servey.security.authorization import Authorization

_log = logging.getLogger("servey.operation")

LARGE_BODY = 64 * 1024
"""Larger bodies (in bytes) are decoded in a worker thread, so that other requests do not wait."""


def _same(value: Any) -> Any:
    return value


class Operation:
    """One compiled action. A transport calls its methods in this order:

    `authorize`, then one of `decode_json`, `decode_text`, `decode` and `decode_for`, then `run`, with `encode_json`,
    `encode` or `check` as its last step. Each raises only `CallError`.

    Args:
        signature: The resolved signature.
        runtimes: The threads, deadlines and resources of the service.
        injection: Provides the injected parameters.
        engines: The codec engines of plugins.
        errors: The error mappings for all actions.
        timeout: The default time limit of a network call, in seconds.
        limiter: Counts network calls, if the action has a rate limit.
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
        self.execution = Execution(signature, injection, self._call_error)
        asked_of_call = injection.asked_of_calls(self.execution.injected)
        callers = [item for item in asked_of_call if item.type is Authorization]
        self.takes_caller = bool(callers)
        """Whether the function, its batch function or one of their resources has a parameter for the caller."""
        self.needs_caller = not all(item.optional for item in callers)
        """Whether one of these parameters does not accept None."""
        self.is_open = action.access_control is ALLOW_ALL and not self.needs_caller
        """Whether all callers may call the action, within its rate limit."""
        self.is_unguarded = self.is_open and limiter is None
        """Whether `authorize` need not be called."""
        self.is_private = not self.is_open or bool(asked_of_call)
        """Whether results may differ between callers, so that callers never share a result."""
        self.depends_on_caller_alone = all(item.type is Authorization for item in asked_of_call)
        """Whether a call injects only its caller: no `CallContext`, and no value of a plugin."""
        self.limiter = limiter
        self.service = service
        self._network_timeout = _seconds(timeout if action.timeout is None else action.timeout)
        self._system_timeout = _seconds(action.timeout)
        self._current_runtime = runtimes.current
        self._needs_resources = bool(self.execution.resources)
        self._shares_resources = any(node.resource.scope == "request" for node in self.execution.resources)
        self._call, self._execute = self.execution.call, self.execution.execute
        self._nested = NestedArguments(signature, self.arguments, engines)
        self.examples = check_examples(self)

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

    def decode_for(self, owner: Any, builtins: Any) -> Any:
        """Return the arguments of a nested action whose ``self`` exists already and is not decoded.

        Args:
            owner: The object of the method.
            builtins: The other arguments as parsed JSON, as for `decode`.

        Raises:
            MalformedError: The arguments are nested too deeply.
            InvalidError: An argument is wrong, missing or unknown; the error has all problems.
        """
        return self._nested.decode(owner, builtins)

    def bind(_operation, /, *args: Any, **kwargs: Any) -> Any:
        """Return the decoded arguments of a Python call, without the injected ones.

        Args:
            *args: The arguments by position; for a nested action, ``self`` first.
            **kwargs: The arguments by name.

        Raises:
            ValueError: An argument is missing, unknown or not of its type.
        """
        codec = _operation.arguments
        by_position = [name for name, by_name in _operation.signature.order if not by_name and name in codec.parameters]
        return bind(_operation.name, codec, by_position, args, kwargs)

    def _refuse_invented_callers(self) -> None:
        """Refuse an `Authorization` or a `CallContext` inside of an argument."""
        for cls in self.arguments.classes():
            if issubclass(cls, (Authorization, CallContext)):
                raise DefinitionError(
                    f"{self.name} takes a {cls.__name__} inside of an argument, where a caller could invent it",
                    where=self.action.where,
                    fix="use a separate parameter, annotated with Authorization, Authorization | None or CallContext",
                )

    async def authorize(self, context: CallContext) -> None:
        """Check that the caller of `context` may call the action, and count the call.

        Raises:
            UnauthorizedError: The action needs a caller, and the call has none.
            ForbiddenError: The caller may not call the action.
            DeadlineError: An asynchronous access control took longer than the deadline of the call.
            TooManyRequestsError: The caller has used up the action's rate limit.
            InternalError: The access control failed; a defect never allows a call.
        """
        if context.origin is not Origin.SYSTEM:
            await self.check_access(context)
            if self.limiter is not None:
                await self.limiter.acquire(context)
        elif self.needs_caller and context.authorization is None:
            raise UnauthorizedError

    def check_access(self, context: CallContext) -> Awaitable[None]:
        """Return an awaitable that checks the access of the caller, for any origin; the call is not counted.

        Raises:
            CallError: As for `authorize`.
        """
        if self.needs_caller and context.authorization is None:
            raise UnauthorizedError
        context.service, context.action = self.service, self.name
        return check_access(self.action.access_control, context, self._within_deadline)

    def _within_deadline(self, awaitable: Awaitable[Any], context: CallContext) -> Awaitable[Any]:
        runtime = self._current_runtime()
        return in_time(awaitable, self.deadline(context, runtime), runtime.deadlines)

    async def run(self, arguments: Any, context: CallContext, finish: Finish = _same) -> Any:
        """Call the function within its deadline; a `def` runs in a worker thread.

        Args:
            arguments: The decoded arguments.
            context: The call context; its `deadline` is set unless it has one.
            finish: The last step, `encode_json`, `encode` or `check`; default: none. It runs while the call's resources
                are open, so that transactions are rolled back if the result cannot be encoded.

        Returns:
            The result of `finish`.

        Raises:
            CallError: An error of the action, or `DeadlineError`, `OverloadedError`, `InternalError`.
        """
        runtime = self._current_runtime()
        at = self.deadline(context, runtime)
        context.service, context.action = self.service, self.name
        context.outgoing = OPEN
        token = CURRENT_CALL.set(context)
        runtime.calls += 1
        try:
            if self._needs_resources and not runtime.usable:
                await runtime.lifecycle.open_for_a_call()
            if self._execute is not None:
                try:
                    result = await self._execute(arguments, context, runtime, finish)
                except AwaitableReturned as returned:
                    result = finish(await in_time(returned.awaitable, context.deadline, runtime.deadlines))
            else:
                called = self._call(arguments, context, runtime.values)
                result = finish(await (called if at is None else runtime.deadlines.run(called, at)))
            if context.outgoing is OPEN:  # see `servey.background_call.outgoing.collect`
                context.outgoing = SUCCEEDED
            else:
                await leave(context, shares=self._shares_resources)
            return result
        except BaseException as error:
            if context.outgoing is not NOT_TAKEN:
                context.outgoing = FAILED
            if isinstance(error, CallError):
                raise
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
        """The runtime of the service in the running event loop."""
        return self._current_runtime()

    def deadline(self, context: CallContext, runtime: Runtime) -> float | None:
        """Return the deadline of a call in the event loop's time; the first time, set it in the context."""
        if context.deadline is None:
            seconds = self._network_timeout if context.origin is Origin.NETWORK else self._system_timeout
            if seconds is not None:
                context.deadline = (runtime.loop.time() if context.started is None else context.started) + seconds
        return context.deadline

    def example_authorization(self, example: Example) -> Authorization | None:
        """Return the caller of an example: its own, or one that the access control allows."""
        if example.authorization is not None or example.error in ("unauthorized", "forbidden"):
            return example.authorization
        if isinstance(self.action.access_control, ExampleCaller):
            return self.action.access_control.example_authorization()
        return None if self.is_open else Authorization(subject="example")

    @cached_property
    def access_summary(self) -> AccessSummary:
        """The access rules of the action, in words and as scopes."""
        return AccessSummary.of(self.action.access_control, needs_caller=self.needs_caller)

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


def _seconds(timeout: float | None) -> float | None:
    return None if timeout is None or math.isinf(timeout) else timeout
