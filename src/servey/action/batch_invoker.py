"""The declaration of a batch function: one call of it serves a nested action for many objects."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import msgspec

from servey.action.callables import is_async, is_generator, name_of, parameters_of, source_of, where_of
from servey.errors import DefinitionError


class BatchInvoker(msgspec.Struct, frozen=True):
    """Call one function for many objects, instead of a nested action for each of them.

    If a request asks for a nested action of a hundred objects, servey calls `fn` once, with a list of a hundred items.
    A call for a single object (the command line, REST with a ``self``) calls the method.

    Args:
        fn: A `def`, which runs in a worker thread, or an `async def`. Its first parameter takes the list of items; its
            other parameters are injected by type, as in actions. It returns a sequence with one result per item, in
            the same order. An exception in the sequence fails only the call of its item. An exception that `fn` raises
            fails all calls.
        max_batch_size: The largest number of items; `fn` is called again for more. None: no limit.
        arg_extractor: Takes the object and, by name, the other arguments of one call; returns the item. It must not
            block. Default: the item is the object, for an action without other arguments.

    Raises:
        DefinitionError: An argument is not valid.

    Example:
        >>> def add_all(pairs: list[tuple[int, int]]) -> list[int]:
        ...     return [a + b for a, b in pairs]
        >>> BatchInvoker(add_all, arg_extractor=lambda number, other: (number.value, other)).max_batch_size
        100
    """

    fn: Callable[..., Any]
    max_batch_size: int | None = 100
    arg_extractor: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        _check_function("fn", self.fn)
        most: Any = self.max_batch_size
        if most is not None and (type(most) is not int or most < 1):
            raise DefinitionError(f"the max_batch_size of a BatchInvoker is {most!r}", fix="give 1 or more, or None")
        if self.arg_extractor is not None:
            _check_function("arg_extractor", self.arg_extractor)
            if is_async(self.arg_extractor):
                raise DefinitionError(
                    f"the arg_extractor {name_of(self.arg_extractor)} is async",
                    where=where_of(self.arg_extractor),
                    fix="write a plain def, and await in fn instead",
                )

    @property
    def where(self) -> str:
        """The function's ``file:line``."""
        return where_of(self.fn)


def _check_function(argument: str, given: Any) -> None:
    if not callable(given) or inspect.isclass(given) or source_of(given) is None:
        raise DefinitionError(
            f"the {argument} of a BatchInvoker is {given!r}, not a function", fix="give a def or an async def"
        )
    if is_generator(given):
        raise DefinitionError(
            f"the {argument} {name_of(given)} is a generator function",
            where=where_of(given),
            fix="return a list instead",
        )
    first = next(iter(parameters_of(given).values()), None)
    if first is None or first.kind is first.KEYWORD_ONLY:
        takes = "the list of items" if argument == "fn" else "the object"
        raise DefinitionError(
            f"the {argument} {name_of(given)} has no parameter for {takes}",
            where=where_of(given),
            fix="add it as the first parameter",
        )
