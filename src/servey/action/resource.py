"""Resources: values that actions need, such as a database session; servey opens and closes them around calls."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any, Literal, TypeVar, overload

import msgspec

from servey.action.callables import chain, defining_namespace, hints_of, name_of, where_of
from servey.errors import DefinitionError

F = TypeVar("F", bound=Callable[..., Any])
Scope = Literal["service", "request", "call"]
_SCOPES = ("service", "request", "call")
"""From the longest life to the shortest."""


class Resource(msgspec.Struct, frozen=True):
    """A generator function that yields one value; actions get the value by its type.

    Args:
        fn: The generator function (async or sync).
        scope: ``"service"``: opened when the service starts, closed when it stops; ``"request"``: around all calls of a
            request; ``"call"``: around each call.
        namespace: The local names at the declaration, for its annotations.
        limit: The largest number of open instances at a time; None for no limit.
    """

    fn: Callable[..., Any]
    scope: Scope
    namespace: dict[str, Any]
    limit: int | None = None

    @property
    def where(self) -> str:
        """The declaration's ``file:line``."""
        return where_of(self.fn)

    def outlives(self, scope: Scope) -> bool:
        """Whether it lives longer than resources of `scope`, so that it cannot use them."""
        return _SCOPES.index(self.scope) < _SCOPES.index(scope)

    @property
    def is_async(self) -> bool:
        """Whether the resource is opened on the event loop (else in a worker thread)."""
        return _generator(self.fn) == "async"

    def hints(self) -> dict[str, Any]:
        """Return the resolved annotations of the function."""
        return hints_of(self.fn, self.namespace, None, self.where)

    def provides(self) -> type:
        """Return the type of the value, from the return annotation.

        Raises:
            DefinitionError: The annotation is missing, or is not an iterator of a class.
        """
        from servey.action.signature import asked_for  # here, because that module imports this one

        hint, _ = asked_for(self.hints().get("return"))
        if typing.get_origin(hint) in (Iterator, Generator, AsyncIterator, AsyncGenerator):
            provided, optional = asked_for(typing.get_args(hint)[0])
            if isinstance(provided, type) and not optional:
                return provided
        kind = "AsyncIterator" if self.is_async else "Iterator"
        raise DefinitionError(
            f"the resource {name_of(self.fn)} does not declare the type that it yields",
            where=self.where,
            fix=f"annotate it: def {name_of(self.fn)}(…) -> {kind}[TheType]",
        )

    def manager(self) -> Callable[..., AbstractContextManager[Any] | AbstractAsyncContextManager[Any]]:
        """Return a function that makes context managers, which never suppress an error."""
        if self.is_async:
            open_async = asynccontextmanager(self.fn)
            return lambda *args, **kwargs: _AsyncOpen(open_async(*args, **kwargs))
        open_sync = contextmanager(self.fn)
        return lambda *args, **kwargs: _Open(lambda: open_sync(*args, **kwargs))


class _Open(AbstractContextManager[Any]):
    """An open resource. An error is raised even if the resource suppresses it: a rollback is still a failure."""

    __slots__ = ("_make", "_manager")

    def __init__(self, make: Callable[[], AbstractContextManager[Any]]) -> None:
        self._make = make  # called on entering, because it runs the code of decorators

    def __enter__(self) -> Any:
        self._manager = self._make()
        return self._manager.__enter__()

    def __exit__(self, *raised: Any) -> None:
        self._manager.__exit__(*raised)


class _AsyncOpen(AbstractAsyncContextManager[Any]):
    """The same for an asynchronous resource."""

    __slots__ = ("_manager",)

    def __init__(self, manager: AbstractAsyncContextManager[Any]) -> None:
        self._manager = manager

    async def __aenter__(self) -> Any:
        return await self._manager.__aenter__()

    async def __aexit__(self, *raised: Any) -> None:
        await self._manager.__aexit__(*raised)


@overload
def resource(fn: F, /) -> F: ...
@overload
def resource(*, scope: Scope = "call", limit: int | None = None) -> Callable[[F], F]: ...
def resource(fn: Any = None, /, *, scope: Scope = "call", limit: int | None = None) -> Any:
    """Declare a generator function as a resource. It stays a plain function.

    An action with a parameter of the yielded type gets the value. A resource may use other resources, and, unless its
    scope is ``"service"``, the `Authorization` and the `CallContext`. If the call fails, its error is raised at the
    ``yield``, so that the resource can roll back a transaction. A result that cannot be encoded is a failure, too. The
    caller gets the error even if the resource suppresses it.

    Args:
        fn: The generator function. A sync one runs in a worker thread: in the thread of the action, if the action is
            sync and the call does not share the resource.
        scope: ``"service"`` (a connection pool), ``"request"`` (a session that all calls of a request share, one after
            another) or ``"call"`` (a session for each call).
        limit: The largest number of open instances in the process; further calls wait until their deadlines.

    Raises:
        DefinitionError: `fn` is not a generator function; `scope` is not valid; `limit` is not an int of at least 1, or
            the scope is ``"service"``.

    Example:
        >>> from collections.abc import Iterator
        >>> class Session: ...
        >>> @resource
        ... def session() -> Iterator[Session]:
        ...     yield Session()
    """
    namespace = defining_namespace(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]

    def declare(function: F) -> F:
        if not _generator(function):
            raise DefinitionError(
                f"the resource {getattr(function, '__name__', function)!r} is not a generator function",
                where=where_of(function),
                fix="open the value, yield it once, close it",
            )
        declared = Resource(function, scope, namespace, limit)
        if scope not in _SCOPES:
            raise DefinitionError(
                f"the scope of the resource {name_of(function)} is {scope!r}",
                where=declared.where,
                fix='use "service", "request" or "call"',
            )
        if limit is not None and (type(limit) is not int or limit < 1):
            raise DefinitionError(
                f"the limit of the resource {name_of(function)} is {limit!r}",
                where=declared.where,
                fix="give 1 or more, or remove it",
            )
        if limit is not None and scope == "service":
            raise DefinitionError(
                f'the resource {name_of(function)} has a limit, but a service opens only one of scope "service"',
                where=declared.where,
                fix="remove the limit, or put it on the resource of a request or call that uses this one",
            )
        function.__servey_resource__ = declared  # type: ignore[attr-defined]
        return function

    return declare if fn is None else declare(fn)


def _generator(fn: Any) -> str:
    """Return the kind of generator function that `fn` is or wraps: ``"async"``, ``"sync"``, or empty for none."""
    for item in chain(fn):
        if inspect.isasyncgenfunction(item):
            return "async"
        if inspect.isgeneratorfunction(item):
            return "sync"
    return ""
