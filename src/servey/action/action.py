"""The declaration of an action: a plain typed function and its options."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import ModuleType
from typing import Any, Literal, NoReturn, TypeVar, overload

import msgspec

from servey.action.batch_invoker import BatchInvoker
from servey.action.callables import defining_namespace, is_async, is_generator, name_of, where_of
from servey.action.example import Example
from servey.background_call.retry import Retry
from servey.errors import DefinitionError, ErrorMapping, located
from servey.idempotency.idempotency import Idempotency
from servey.ports import AccessControl, CacheControl
from servey.security.access_control import ALLOW_ALL

F = TypeVar("F", bound=Callable[..., Any])
RunIn = Literal["thread", "loop"]


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """The declaration that `action` attaches to a function; `action` describes the fields."""

    fn: Callable[..., Any]
    name: str
    description: str | None = None
    triggers: tuple[Any, ...] = ()
    access_control: AccessControl = ALLOW_ALL
    examples: tuple[Example, ...] = ()
    timeout: float | None = None
    errors: tuple[ErrorMapping, ...] = ()
    tags: tuple[str, ...] = ()
    deprecated: bool = False
    include_in_schema: bool = True
    status: int = 200
    run_in: RunIn = "loop"
    cache_control: CacheControl | None = None
    rate_limit: str | None = None
    batch_invoker: BatchInvoker | None = None
    max_running: int | None = None
    retry: Retry | None = None
    idempotency: Idempotency | None = None
    named: bool = False
    namespace: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])

    def __repr__(self) -> str:
        return f"Action({self.name!r}, {self.where!r})"

    @property
    def where(self) -> str:
        """The function's ``file:line``."""
        return where_of(self.fn)

    @property
    def function_name(self) -> str:
        """The name of the function."""
        return name_of(self.fn)

    @property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function."""
        return is_async(self.fn)


@overload
def action(fn: F, /) -> F: ...
@overload
def action(
    *,
    name: str | None = None,
    description: str | None = None,
    triggers: tuple[Any, ...] = (),
    access_control: AccessControl = ALLOW_ALL,
    examples: tuple[Example, ...] = (),
    timeout: float | timedelta | None = None,
    errors: tuple[type[Exception] | ErrorMapping, ...] = (),
    tags: tuple[str, ...] = (),
    deprecated: bool = False,
    include_in_schema: bool = True,
    status: int = 200,
    run_in: RunIn | None = None,
    cache_control: CacheControl | None = None,
    rate_limit: str | None = None,
    batch_invoker: BatchInvoker | None = None,
    max_running: int | None = None,
    retry: Retry | None = None,
    idempotency: Idempotency | None = None,
) -> Callable[[F], F]: ...
def action(
    fn: Any = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    triggers: tuple[Any, ...] = (),
    access_control: AccessControl = ALLOW_ALL,
    examples: tuple[Example, ...] = (),
    timeout: float | timedelta | None = None,
    errors: tuple[type[Exception] | ErrorMapping, ...] = (),
    tags: tuple[str, ...] = (),
    deprecated: bool = False,
    include_in_schema: bool = True,
    status: int = 200,
    run_in: RunIn | None = None,
    cache_control: CacheControl | None = None,
    rate_limit: str | None = None,
    batch_invoker: BatchInvoker | None = None,
    max_running: int | None = None,
    retry: Retry | None = None,
    idempotency: Idempotency | None = None,
) -> Any:
    """Declare a function as an action: ``@action``, or with arguments, ``@action(triggers=(WEB_GET,))``.

    The function stays a plain function with its static type; it gets the attribute ``__servey_action__``. On a method
    of a class that an action returns, the decorator declares a nested action.

    Args:
        fn: The function: `def` or `async def`, with annotations for every parameter and the result.
        name: The action's name, unique in a service. Default: the name of the function; for a nested action, the names
            of the class and the function in snake case, ``number_stats_factorial``.
        description: The description; default: the docstring.
        triggers: What calls the action: `WEB_GET`, `FixedRateTrigger(60)`, ….
        access_control: Which callers may call the action over a network.
        examples: Calls and their results, for the documentation and as tests.
        timeout: The time limit of a call in seconds; `math.inf` for no limit. Default: ``SERVEY_TIMEOUT`` over a
            network, no limit elsewhere.
        errors: Your exceptions that callers may see, as classes (with the optional attributes `code` and `status`) or
            as `ErrorMapping`.
        tags: Groups for the documentation.
        deprecated: Whether clients should stop using the action.
        include_in_schema: Whether the documentation shows the action.
        status: The HTTP status of success, 200 to 299.
        run_in: Where a `def` runs: ``"thread"`` (default), or ``"loop"`` if it never blocks.
        cache_control: How caches may reuse results: `TtlCacheControl(30)`, ….
        rate_limit: How often each caller may call the action over a network: ``"10/minute"``.
        batch_invoker: The function that serves a nested action for many objects: ``BatchInvoker(all_of_them)``.
        max_running: The largest number of calls that run at a time in a process; further calls wait until their
            deadline. Default: no limit.
        retry: When a failed background call or run of a schedule is made again: ``Retry(times=5)``. Default: never.
        idempotency: How repeats of a call get its answer, and do not run again: ``Idempotency()``.

    Returns:
        The same function (or a decorator that returns it).

    Raises:
        DefinitionError: An argument or the decorated object is not valid.

    Example:
        >>> @action
        ... def say_hello(name: str) -> str:
        ...     return f"Hello {name}!"
        >>> say_hello("World"), say_hello.__servey_action__.name
        ('Hello World!', 'say_hello')
    """
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    namespace = defining_namespace(frame)
    file, line = frame.f_code.co_filename, frame.f_lineno
    del frame
    given_tuples: dict[str, Any] = {"triggers": triggers, "examples": examples, "errors": errors, "tags": tags}

    def where(function: Any) -> str:
        return where_of(function) or located(file, line)

    def declare(function: F) -> F:
        try:
            _check_function(function)
            for argument, given in given_tuples.items():
                if not isinstance(given, tuple | list):
                    raise DefinitionError(
                        f"{argument} of {name_of(function)} must be a tuple, not {type(given).__name__}",
                        fix=f"write a tuple, for one item with a comma: {argument}=(…,)",
                    )
            declared = Action(
                fn=function,
                name=name_of(function) if name is None else name,
                description=description,
                triggers=tuple(triggers),
                access_control=access_control,
                examples=tuple(examples),
                timeout=timeout.total_seconds() if isinstance(timeout, timedelta) else timeout,
                errors=tuple(ErrorMapping.of(error) for error in errors),
                tags=tuple(tags),
                deprecated=deprecated,
                include_in_schema=include_in_schema,
                status=status,
                run_in=run_in or ("loop" if is_async(function) else "thread"),
                cache_control=cache_control,
                rate_limit=rate_limit,
                batch_invoker=batch_invoker,
                max_running=max_running,
                retry=retry,
                idempotency=idempotency,
                named=name is not None,
                namespace=namespace,
            )
            _check_action(declared)
        except DefinitionError as error:
            raise DefinitionError(error.message, where=error.where or where(function), fix=error.fix) from None
        except TypeError as error:  # a timeout or a status that is not a number
            raise DefinitionError(f"an argument of @action is wrong: {error}", where=where(function)) from None
        try:
            function.__servey_action__ = declared  # type: ignore[attr-defined]
        except AttributeError:
            raise DefinitionError(
                f"{name_of(function)} cannot be declared as an action: its attributes cannot be set",
                where=where(function),
                fix="wrap it in a def or in functools.partial(…)",
            ) from None
        return function

    return declare if fn is None else declare(fn)


def get_action(fn: Any) -> Action | None:
    """Return the declaration of the action `fn`; None if it is not an action."""
    declared = getattr(fn, "__servey_action__", None)
    return declared if isinstance(declared, Action) else None


def _check_function(function: Any) -> None:
    if isinstance(function, staticmethod | classmethod | property):
        raise DefinitionError(
            f"@action cannot stand above @{type(function).__name__}",  # pyright: ignore[reportUnknownArgumentType]
            fix="declare a plain function or a plain method",
        )
    if not callable(function) or inspect.isclass(function):
        fix = "put @action on a def or an async def"
        if not callable(function):
            fix = "name the argument, as in @action(triggers=(WEB_GET,))"
        raise DefinitionError(f"{function!r} is not a function", fix=fix)
    if is_generator(function):
        raise DefinitionError(
            f"{name_of(function)} is a generator function",
            fix="return a list instead",
        )
    if get_action(function) is not None:
        raise DefinitionError(f"{name_of(function)} is declared as an action twice", fix="remove one @action")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


_CHECKS: Sequence[tuple[str, Callable[[Any], bool], str]] = (
    (
        "access_control",
        lambda value: isinstance(value, AccessControl) and not isinstance(value, type),
        "give an object with a method check(authorization), such as ALLOW_ALL or ScopeAccessControl('root')",
    ),
    (
        "cache_control",
        lambda value: value is None or (isinstance(value, CacheControl) and not isinstance(value, type)),
        "give an object with a method cache_header(result, content), such as TtlCacheControl(30)",
    ),
    (
        "batch_invoker",
        lambda value: value is None or isinstance(value, BatchInvoker),
        "give BatchInvoker(the_function)",
    ),
    ("timeout", lambda value: value is None or (_is_number(value) and value > 0), "give seconds above 0, or math.inf"),
    (
        "max_running",
        lambda value: value is None or (type(value) is int and value >= 1),
        "give 1 or more, or leave it out",
    ),
    ("retry", lambda value: value is None or isinstance(value, Retry), "give a Retry: Retry(times=5)"),
    (
        "idempotency",
        lambda value: value is None or isinstance(value, Idempotency),
        "give an Idempotency: Idempotency()",
    ),
    ("status", lambda value: isinstance(value, int) and 200 <= value <= 299, "use 200 to 299"),
    ("run_in", lambda value: value in ("thread", "loop"), 'use "thread" or "loop"'),
    (
        "examples",
        lambda value: all(isinstance(item, Example) for item in value),
        "list every example in a tuple: (Example(…),)",
    ),
    ("tags", lambda value: all(isinstance(item, str) for item in value), "list every tag in a tuple: ('one',)"),
)
"""The checked arguments of `@action`: name, condition and fix."""


def _check_action(declared: Action) -> None:
    if not _is_name(declared.name):
        raise DefinitionError(
            f"{declared.name!r} is not a valid name of an action",
            fix="use letters, digits and underscores, and begin with a letter",
        )
    for argument, is_right, fix in _CHECKS:
        value = getattr(declared, argument)
        if not is_right(value):
            raise DefinitionError(f"the {argument} of {declared.name} is {value!r}", fix=fix)
    if declared.is_async and declared.run_in == "thread":
        raise DefinitionError(
            f"{declared.name} is async and cannot run in a thread", fix="leave run_in out, or write a plain def"
        )
    names = [example.name for example in declared.examples]
    for example_name in names:
        if names.count(example_name) > 1:
            raise DefinitionError(
                f"{declared.name} has two examples called {example_name!r}", fix="give each its own name"
            )


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and name.isascii() and name.isidentifier() and not name.startswith("_")


class _Module(ModuleType):
    """Explains the mistake of using the module as the decorator, after ``from servey.action import action``."""

    def __call__(self, *arguments: Any, **named: Any) -> NoReturn:
        raise TypeError("this is a module; the decorator is: from servey.action.action import action")


sys.modules[__name__].__class__ = _Module
