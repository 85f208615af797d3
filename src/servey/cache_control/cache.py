"""Forgetting results that the server keeps, because what they were made of has changed."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, cast

import msgspec

from servey.action.current import current_service
from servey.codec import MISSING, ResultError, to_wire
from servey.errors import InvalidError, nearest


class Cache:
    """The results that the current service keeps (`servey.action.current.current_service`).

    There is one, `servey.cache`. Whoever calls the action after an invalidation gets a result that was made after it;
    one that is being made at the time is not kept.

    Example:
        >>> from servey import cache
        >>> def rename(user_id: int, name: str) -> None:
        ...     ...
        ...     cache.invalidate("get_user", user_id=user_id)
    """

    # the objects themselves are positional only: a nested action's first parameter is called `self`, too
    def invalidate(_cache, action: Callable[..., Any] | str, /, **arguments: Any) -> None:
        """Forget all results of an action, or those for one set of arguments, whosever they are.

        May be called anywhere. In an event loop it returns at once: this process uses none of them from now on, and a
        store that processes share is told in the background. Elsewhere, in a plain ``def`` action for one, it is done
        when it returns. When the shared store does not answer, it is told as soon as it does, by this process.

        Args:
            action: The decorated function, or the action's name.
            arguments: The arguments, as one would call the function; those with a default may be left out. None at
                all for the results of all calls.

        Raises:
            NoServiceError: No service is running here.
            LookupError: The service has no such action.
            ValueError: It has no cache control, or the arguments are not its own.
        """
        results, decoded = _meant(action, arguments)
        if results is not None:
            results.invalidate(decoded)

    async def ainvalidate(_cache, action: Callable[..., Any] | str, /, **arguments: Any) -> bool:
        """Forget results, as `invalidate` does, and return when it is done.

        Returns:
            Whether it is; False when the shared store did not answer, so that other processes may go on using them.
        """
        results, decoded = _meant(action, arguments)
        return True if results is None else await results.ainvalidate(decoded)


cache = Cache()


def _meant(action: Callable[..., Any] | str, given: dict[str, Any]) -> tuple[Any, Any]:
    """Return the `ResultCache` of an action, None when nothing is kept, and the arguments as calls have them."""
    service = current_service()
    operation = _operation(service, action)
    cached = service.cached.get(operation.name)
    if cached is None:
        raise ValueError(f"no results of {operation.name} are kept: it has no cache_control")
    if not given:
        return cached.results, None
    parameters = operation.arguments.parameters
    for name in given:
        if name not in parameters:
            near = nearest(name, parameters)
            raise ValueError(
                f"{operation.name} has no parameter {name!r}" + (f"; did you mean {near!r}?" if near else "")
            )
    missing = [name for name, (item, _) in parameters.items() if item.default is MISSING and name not in given]
    if missing:
        raise ValueError(
            f"to forget the results of {operation.name} for one set of arguments, {', '.join(missing)} must be given, "
            "too; with no arguments, all are forgotten"
        )
    try:
        decoded = operation.decode({name: _wire(value) for name, value in given.items()})
    except InvalidError as error:
        problems = "; ".join(f"{path}: {message}" for path, message in error.errors)
        raise ValueError(f"{operation.name} is never called so: {problems}") from error
    except (TypeError, ValueError, ResultError) as error:
        raise ValueError(f"{operation.name} is never called so: {error}") from error
    return cached.results, decoded


def _wire(value: Any) -> Any:
    """Return the JSON values of an argument; a datetime without a zone stays without one, as a caller sends it."""
    kind = cast(Any, type(value))
    if kind is datetime.datetime:
        return to_wire(value) if value.tzinfo is not None else value.isoformat()
    if kind is list or kind is tuple:
        return [_wire(item) for item in value]
    if kind is dict and all(type(name) is str for name in value):
        return {name: _wire(item) for name, item in value.items()}
    if hasattr(kind, "__dataclass_fields__") and not hasattr(kind, "__marshaller_factory__"):
        from dataclasses import fields  # whoever has one has imported it; `import servey` need not

        members = {field.name: getattr(value, field.name) for field in fields(cast(Any, kind))}
        return {name: _wire(member) for name, member in members.items() if member is not msgspec.UNSET}
    return to_wire(value)


def _operation(service: Any, action: Callable[..., Any] | str) -> Any:
    if isinstance(action, str):
        try:
            return service.operation(action)
        except KeyError:
            near = nearest(action, service.operations)
            hint = f"; did you mean {near!r}?" if near else ""
            raise LookupError(f"the service has no action {action!r}{hint}") from None
    declared = getattr(action, "__servey_action__", None)
    if declared is None:
        raise LookupError(f"{getattr(action, '__qualname__', repr(action))} is no action: put @action above it")
    for operation in service.operations.values():
        if operation.action is declared:
            return operation
    raise LookupError(f"the service that is running does not serve {declared.name}")
