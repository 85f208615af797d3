"""Nested actions: ``@action`` on a method of a class that an action returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from servey.action.action import Action, get_action
from servey.action.callables import parameters_of, qualified_name_of
from servey.errors import DefinitionError


def nested_actions(classes: Iterable[type]) -> Iterator[tuple[type, Action]]:
    """Yield the nested actions of `classes`, each with the class that defines it.

    Example:
        >>> list(nested_actions([int]))
        []

    Raises:
        DefinitionError: Another decorator stands above ``@action``, or the function has no ``self``.
    """
    for cls in classes:
        taken: set[str] = set()
        for owner in cls.__mro__:
            for name, value in list(vars(owner).items()):  # looking at a model may complete it
                action = get_action(_inner(value))
                if action is not None and name not in taken:
                    _check(action, value)
                    yield owner, action
                taken.add(name)  # an attribute of a subclass hides that of its base


def _inner(value: Any) -> Any:
    """Return the function inside a descriptor, such as ``@classmethod`` or ``@property``."""
    descriptors: Any = (classmethod, staticmethod, property, cached_property)
    for attribute in ("__func__", "fget", "func"):
        if isinstance(value, descriptors) and hasattr(value, attribute):
            return getattr(value, attribute)
    return value


def _check(action: Action, value: Any) -> None:
    if action.fn is not value:
        raise DefinitionError(
            f"another decorator stands above @action on {qualified_name_of(action.fn)}; calls would bypass it",
            where=action.where,
            fix="put @action on top of a plain method",
        )
    first = next(iter(parameters_of(action.fn).values()), None)
    if first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
        raise DefinitionError(
            f"{qualified_name_of(action.fn)} has no self", where=action.where, fix="write it as a method"
        )
