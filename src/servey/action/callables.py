"""Inspect callables: name, source location, parameters with types, docstring, and whether a call must be awaited.

A callable is a function, a decorated function, a `functools.partial` or an object with a ``__call__``. Its parameters
are those of `inspect.signature` (PEP 362), so a decorator can add or remove one. Whether a call must be awaited depends
on the outermost callable, not on the function that it wraps.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Awaitable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, cast

from servey.errors import DefinitionError, located, snake_case


def chain(fn: Any) -> Iterator[Any]:
    """Yield a callable and everything that it wraps, from the outermost to the innermost.

    Example:
        >>> def double(x: int) -> int:
        ...     return x * 2
        >>> [item is double for item in chain(partial(double, 2))]
        [False, True]
    """
    seen: set[int] = set()
    while fn is not None and id(fn) not in seen:
        seen.add(id(fn))
        yield fn
        if (wrapped := getattr(fn, "__wrapped__", None)) is not None:
            fn = wrapped
        elif isinstance(fn, partial):
            fn = cast("Any", fn.func)
        elif inspect.ismethod(fn):
            fn = fn.__func__
        else:
            call = getattr(cast("Any", type(fn)), "__call__", None)  # noqa: B004 - the one of its class
            fn = call if inspect.isfunction(call) else None


def name_of(fn: Any) -> str:
    """Return the name of a callable; for an object without one, the name of its class in snake case."""
    for item in chain(fn):
        if item is not fn and getattr(item, "__name__", "") == "__call__":
            break
        if isinstance(name := getattr(item, "__name__", None), str):
            return name
    return snake_case(cast("Any", type(fn)).__name__)


def qualified_name_of(fn: Any) -> str:
    """Return the qualified name of a callable (``__qualname__``), or else its name."""
    return next((str(item.__qualname__) for item in chain(fn) if hasattr(item, "__qualname__")), name_of(fn))


def module_of(fn: Any) -> str:
    """Return the name of the module of the innermost function; empty if there is none."""
    return str(getattr(source_of(fn), "__module__", ""))


def source_of(fn: Any) -> Any:
    """Return the innermost function of a callable; None if there is none, for example if it is written in C."""
    return next((item for item in reversed([*chain(fn)]) if inspect.isfunction(item)), None)


def where_of(fn: Any) -> str:
    """Return ``file:line`` of the innermost function; empty if there is none."""
    source = source_of(fn)
    return "" if source is None else located(source.__code__.co_filename, source.__code__.co_firstlineno)


def docstring_of(fn: Any) -> str | None:
    """Return the docstring of a callable, or else of the callable that it wraps."""
    for item in chain(fn):
        if inspect.isfunction(item) and item.__name__ != "__call__":  # `__call__` would inherit the one of `object`
            text = inspect.getdoc(item)
        else:  # not the docstring of its class, which may be `functools.partial`
            text = getattr(item, "__dict__", {}).get("__doc__")
        if text:
            return inspect.cleandoc(text)
    return None


def is_async(fn: Any) -> bool:
    """Return whether `fn` is a coroutine function, a partial of one, or an object whose ``__call__`` is one."""
    return any(map(inspect.iscoroutinefunction, _called(fn)))


def is_generator(fn: Any) -> bool:
    """Return whether a call of `fn` returns a generator."""
    return any(inspect.isgeneratorfunction(item) or inspect.isasyncgenfunction(item) for item in _called(fn))


def _called(fn: Any) -> tuple[Any, Any]:
    """Return the callable inside of partial functions, and the ``__call__`` of its class."""
    while isinstance(fn, partial):
        fn = cast("Any", fn.func)
    return fn, getattr(cast("Any", type(fn)), "__call__", None)  # noqa: B004 - the one of its class


def may_return_awaitable(fn: Any) -> bool:
    """Return whether `fn` is a plain function that wraps a coroutine function, and so may return its coroutine."""
    return not is_async(fn) and any(is_async(item) for item in chain(fn))


class AwaitableReturned(Exception):
    """A function in a worker thread returned an awaitable, which the event loop must await.

    Args:
        awaitable: The awaitable.
    """

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        super().__init__()
        self.awaitable = awaitable


def is_awaitable(value: Any) -> bool:
    """Return whether a value can be awaited; faster than `inspect.isawaitable`."""
    return _has_await(cast("Any", type(value)))


@lru_cache(1024)
def _has_await(cls: type) -> bool:
    return hasattr(cls, "__await__")


def settled(value: Any, *, may_wait: bool = True) -> Any:
    """Return the result of a function that ran in a worker thread.

    Args:
        value: The result.
        may_wait: Whether the event loop can await the result: not while resources are open in the thread.

    Raises:
        AwaitableReturned: The result is an awaitable, and the event loop can await it.
        TypeError: The result is an awaitable, and nothing can await it.
    """
    if not is_awaitable(value):
        return value
    if may_wait:
        raise AwaitableReturned(value)
    if inspect.iscoroutine(value):
        value.close()
    raise TypeError(
        "a def returned an awaitable while its resources are open in a worker thread: write async def, or use "
        "functools.wraps in its decorator"
    )


def parameters_of(fn: Any) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a callable by name, from `inspect.signature`.

    Raises:
        DefinitionError: The parameters are unknown, as for some callables that are written in C.
    """
    return _signature_of(fn).parameters


def hints_of(fn: Any, local: Mapping[str, Any], owner: type | None, where: str) -> dict[str, Any]:
    """Return the resolved annotations of a callable's parameters, and of its result as ``return``.

    Each annotation is resolved in the module in which it is written: a decorator in another module may have added a
    parameter.

    Args:
        fn: The callable.
        local: The local names at its declaration.
        owner: The class that it belongs to; None for a function outside of classes.
        where: Its ``file:line``, for errors.

    Raises:
        DefinitionError: An annotation cannot be resolved, or is not a type.
    """
    namespace = dict(local)
    if owner is not None:
        namespace.setdefault(owner.__name__, owner)
    signature = _signature_of(fn)
    given = {name: item.annotation for name, item in signature.parameters.items()} | {
        "return": signature.return_annotation
    }
    for name, annotation in given.items():
        if annotation is signature.empty:  # a decorator's `__signature__` may lack an annotation of the function
            given[name] = next((own[name] for item in chain(fn) if name in (own := _annotations_of(item))), annotation)
    given = {name: annotation for name, annotation in given.items() if annotation is not signature.empty}
    by_home: dict[int, tuple[Any, dict[str, Any]]] = {}
    for name, annotation in given.items():
        home = _home_of(fn, name, annotation)
        by_home.setdefault(id(home), (home, {}))[1][name] = annotation
    found: dict[str, Any] = {}
    try:
        for home, annotations in by_home.values():
            found |= _resolved(home, annotations, namespace)
        if owner is not None:
            found = {name: _owned(hint, owner) for name, hint in found.items()}
    except NameError as error:
        name = getattr(error, "name", None) or str(error)
        raise DefinitionError(
            f"an annotation of {name_of(fn)} names {name!r}, which is not defined in its module"
            + (" nor, when @action ran, in the function around it" if local else ""),
            where=where,
            fix=f"import or define {name!r} before the action; not under `if TYPE_CHECKING`",
        ) from error
    except (TypeError, AttributeError, SyntaxError) as error:
        raise DefinitionError(
            f"an annotation of {name_of(fn)} is not a type: {error}", where=where, fix="annotate with types"
        ) from error
    return found


def _signature_of(fn: Any) -> inspect.Signature:
    try:
        if sys.version_info >= (3, 14):
            from annotationlib import Format

            return inspect.signature(fn, annotation_format=Format.FORWARDREF)
        return inspect.signature(fn)
    except (ValueError, TypeError) as error:
        raise DefinitionError(
            f"the parameters of {name_of(fn)} are unknown: {error}",
            where=where_of(fn),
            fix="write a def with annotations that calls it",
        ) from error


def _home_of(fn: Any, name: str, annotation: Any) -> Any:
    """Return the callable in which an annotation is written: the innermost one that has it."""
    items = [*chain(fn)]
    for item in reversed(items):
        if _is_same(_annotations_of(item).get(name, _NOTHING), annotation):
            return item
    return next((item for item in items if getattr(item, "__signature__", None) is not None), fn)


_NOTHING = object()


def _annotations_of(item: Any) -> Mapping[str, Any]:
    try:
        return item.__annotations__ if inspect.isfunction(item) else {}
    except NameError:  # from Python 3.14 on, they are evaluated here
        return {}


def _is_same(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, str) and one == other)


def _resolved(home: Any, annotations: Mapping[str, Any], local: Mapping[str, Any]) -> dict[str, Any]:
    def holder() -> None: ...

    holder.__annotations__ = dict(annotations)
    if hasattr(home, "__type_params__"):
        cast("Any", holder).__type_params__ = home.__type_params__
    names = getattr(home, "__globals__", None)
    if names is None:
        names = vars(sys.modules.get(cast("Any", type(home)).__module__, typing))
    return typing.get_type_hints(holder, globalns=names, localns=dict(local), include_extras=True)


def _owned(hint: Any, owner: type) -> Any:
    """Return a type with each `typing.Self` (PEP 673) replaced by `owner`."""
    if hint is typing.Self:  # pyright: ignore[reportUnknownMemberType]
        return owner
    origin: Any = typing.get_origin(hint)
    args = typing.get_args(hint)
    if origin is typing.Annotated:
        return typing.Annotated[_owned(args[0], owner), *hint.__metadata__]
    if origin is None or origin is typing.Literal:
        return hint
    owned: Any = tuple(_owned(item, owner) for item in args)
    if owned == args:
        return hint
    if origin is types.UnionType:
        origin = typing.Union
    return origin[owned]


def defining_namespace(frame: Any) -> dict[str, Any]:
    """Return the local names of the functions and classes around `frame`; empty at module level.

    Annotations are resolved when the service is built; these frames do not exist any more then.
    """
    names: dict[str, Any] = {}
    while frame is not None and frame.f_locals is not frame.f_globals:
        names = {**frame.f_locals, **names}
        if frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # a function: the frame of its caller is not a scope
            break
        frame = frame.f_back
    return names
