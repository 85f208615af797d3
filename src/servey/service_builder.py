"""Compile the actions of a service, and check that a service can have all of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from servey.action.action import Action
from servey.action.callables import where_of
from servey.action.injection import Injection
from servey.action.operation import Operation
from servey.action.runtime import Runtimes
from servey.action.signature import ActionSignature
from servey.errors import DefinitionError, ErrorMapping
from servey.finder import nested_actions
from servey.plugin import TriggerSupport
from servey.ports import RateLimiter
from servey.security.access_control import ALLOW_ALL
from servey.trigger.web_trigger import WebTrigger

if TYPE_CHECKING:
    from servey.cache_control.cached_operation import CachedOperation
    from servey.idempotency.idempotent_operation import IdempotentOperation
    from servey.service import Service


@dataclass(kw_only=True)
class ServiceBuilder:
    """Compiles actions for a service, with the triggers and error mappings of its plugins."""

    service: Service
    injection: Injection
    runtimes: Runtimes
    triggers: Sequence[TriggerSupport]
    errors: Sequence[ErrorMapping]
    cached: dict[str, CachedOperation] = field(default_factory=dict[str, "CachedOperation"])
    """The operations with a cache control, by name."""
    idempotent: dict[str, IdempotentOperation] = field(default_factory=dict[str, "IdempotentOperation"])
    """The operations with an idempotency, by name."""

    def build(self, actions: Sequence[Action]) -> dict[str, Operation]:
        """Compile actions, and the nested actions of their results; raise all problems in one error."""
        operations: dict[str, Operation] = {}
        problems: list[DefinitionError] = []
        waiting: list[tuple[Action, type | None]] = [(item, None) for item in actions]
        seen: set[int] = set()
        while waiting:
            action, owner = waiting.pop(0)
            if id(action) in seen:
                continue
            seen.add(id(action))
            try:
                operation = self._compile(action, owner)
            except DefinitionError as error:
                problems.append(error)
                continue
            if (other := operations.get(operation.name)) is not None:
                problems.append(
                    DefinitionError(
                        f"two actions are called {operation.name!r}",
                        where=[other.action.where, action.where],
                        fix=f"give one of them another name: @action(name='another_{operation.name}')",
                    )
                )
                continue
            operations[operation.name] = operation
            try:
                waiting += [(nested, defines) for defines, nested in nested_actions(operation.result.classes())]
            except DefinitionError as error:
                problems.append(error)
        for operation in operations.values():
            problems.extend(_nested_problems(operation, operations.values()))
        if problems:
            raise DefinitionError.join(problems)
        return operations

    def _compile(self, action: Action, owner: type | None) -> Operation:
        signature = ActionSignature.of(action, self.injection.types, owner)
        operation = Operation(
            signature,
            runtimes=self.runtimes,
            injection=self.injection,
            engines=self.service.engines,
            errors=self.errors,
            timeout=self.service.settings.calls.timeout,
            limiter=self._limiter(signature),
            service=self.service,
        )
        if action.cache_control is not None:
            from servey.cache_control.cached_operation import CachedOperation  # not for actions without one

            store = None if self.service.settings.stores.result_cache == "off" else lambda: self.service.stores.results
            self.cached[operation.name] = CachedOperation(operation, store)
        if action.idempotency is not None:
            from servey.idempotency.idempotent_operation import IdempotentOperation  # the same

            self.idempotent[operation.name] = IdempotentOperation(operation, lambda: self.service.stores.entries)
        for trigger in action.triggers:
            self._check_trigger(operation, trigger)
        return operation

    def _limiter(self, signature: ActionSignature) -> RateLimiter | None:
        action = signature.action
        if action.rate_limit is None:
            return None
        from servey.security.rate_limit.call_counter import ActionRateLimiter, parse_rate_limit

        limits = parse_rate_limit(action.rate_limit, signature.name, action.where)
        return ActionRateLimiter(signature.name, limits, self.service.stores.call_counter)

    def _check_trigger(self, operation: Operation, trigger: Any) -> None:
        kind: type = trigger if isinstance(trigger, type) else type(trigger)
        if kind is trigger:
            raise DefinitionError(
                f"a trigger of {operation.name} is the class {kind.__name__}",
                where=operation.action.where,
                fix=f"make one: {kind.__name__}(…)",
            )
        served = [support for support in self.triggers if isinstance(trigger, support.type)]
        if not served:
            raise DefinitionError(
                f"no loaded plugin serves {kind.__name__}, a trigger of {operation.name}",
                where=operation.action.where,
                fix="write a trigger, such as WEB_GET"
                if kind.__module__ == "builtins"
                else "load the plugin that serves it (SERVEY_PLUGINS=module:Name), or take the trigger away",
            )
        for support in served:
            if support.check is not None:
                support.check(operation, trigger)


def check_declared(functions: Iterable[Any], kind: str) -> None:
    """Raise `DefinitionError` unless all functions are decorated with the decorator of the name `kind`."""
    problems = [
        DefinitionError(
            f"{getattr(function, '__qualname__', repr(function))} is no {kind}"
            + (", but a method that is bound to an object" if inspect.ismethod(function) else ""),
            where=where_of(function),
            fix=f"put @{kind} above "
            + (f"a def around it, or declare {kind}(functools.partial(…))" if inspect.ismethod(function) else "it"),
        )
        for function in functions
        if getattr(getattr(function, f"__servey_{kind}__", None), "fn", None) is not function
    ]
    if problems:
        raise DefinitionError.join(problems)


def _nested_problems(nested: Operation, operations: Iterable[Operation]) -> Iterable[DefinitionError]:
    """Over a network, ``self`` is an object that the client may have invented."""
    owner, action = nested.signature.owner, nested.action
    if owner is None or action.access_control is not ALLOW_ALL or not _on_the_web(nested):
        return
    operations = tuple(operations)
    for operation in _yielding(owner, operations):
        if not _open_to_all(operation, operations, {nested.name}):
            yield DefinitionError(
                f"{nested.name} is open, and any caller can send it a {owner.__name__}; "
                f"{operation.name} returns one to some callers only",
                where=[action.where, operation.action.where],
                fix=f"give {action.function_name} its own access_control, or remove its web trigger",
            )


def _on_the_web(operation: Operation) -> bool:
    return any(isinstance(trigger, WebTrigger) for trigger in operation.action.triggers)


def _yielding(owner: type, operations: Iterable[Operation]) -> Iterable[Operation]:
    """Return the operations that return objects of a class."""
    return [item for item in operations if any(issubclass(cls, owner) for cls in item.result.classes())]


def _open_to_all(operation: Operation, operations: Sequence[Operation], seen: set[str]) -> bool:
    """Return whether all callers may get the results of `operation`; for a nested action, also those of its owner."""
    if not operation.is_open:
        return False
    owner = operation.signature.owner
    if owner is None or _on_the_web(operation) or operation.name in seen:
        return True
    seen = seen | {operation.name}
    return all(_open_to_all(item, operations, seen) for item in _yielding(owner, operations))
