"""Invalidate cached results after a change of the data behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from servey.action.current import current_service
from servey.action.python_call import MissingArgumentsError, operation_of


class Cache:
    """The cached results of the current service (`servey.action.current.current_service`).

    There is one instance, `servey.cache`. After an invalidation, no call gets an older result. Servey does not cache
    the result of a call that runs during the invalidation.

    Example:
        >>> from servey import cache
        >>> def rename(user_id: int, name: str) -> None:
        ...     ...
        ...     cache.invalidate("get_user", user_id=user_id)
    """

    # `_cache` is positional only: the first parameter of a nested action is called `self`, too
    def invalidate(_cache, action: Callable[..., Any] | str, /, **arguments: Any) -> None:
        """Invalidate the results of an action for all callers: all results, or those for one set of arguments.

        You can call it anywhere. In an event loop it returns at once: from then on this process does not use these
        results, and it updates a shared store in the background. Elsewhere, for example in a plain ``def`` action, it
        returns when it is done. If the shared store does not answer, this process updates it later.

        Args:
            action: The decorated function, or the action's name.
            arguments: The arguments, as in a call of the function; those with a default may be left out. Without any
                arguments, all results are invalidated.

        Raises:
            NoServiceError: No service is running here.
            LookupError: The service has no such action.
            ValueError: The action has no cache control, or no such arguments.
        """
        results, decoded = _meant(action, arguments)
        if results is not None:
            results.invalidate(decoded)

    async def ainvalidate(_cache, action: Callable[..., Any] | str, /, **arguments: Any) -> bool:
        """Invalidate results as `invalidate` does, and return when the store has confirmed it.

        Returns:
            False if the shared store did not answer: other processes may still use the results.
        """
        results, decoded = _meant(action, arguments)
        return True if results is None else await results.ainvalidate(decoded)


cache = Cache()


def _meant(action: Callable[..., Any] | str, given: dict[str, Any]) -> tuple[Any, Any]:
    """Return the `ResultCache` of an action (None if nothing is cached), and the decoded arguments (None for all)."""
    service = current_service()
    operation = operation_of(service, action)
    cached = service.cached.get(operation.name)
    if cached is None:
        raise ValueError(f"servey caches no results of {operation.name}: it has no cache_control")
    if not given:
        return cached.results, None
    try:
        return cached.results, operation.bind(**given)
    except MissingArgumentsError as error:
        raise ValueError(f"{error}; give no arguments to invalidate all results") from None
