"""Nested actions: ``@action`` on a method of a class that an action returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from servey.action.action import Action, get_action


def nested_actions(classes: Iterable[type]) -> Iterator[tuple[type, Action]]:
    """Yield every nested action of `classes` with its owner, the class that defines it.

    Example:
        >>> list(nested_actions([int]))
        []
    """
    for cls in classes:
        taken: set[str] = set()
        for owner in cls.__mro__:
            for name, value in vars(owner).items():
                action = get_action(value)
                if action is not None and name not in taken:
                    yield owner, action
                taken.add(name)  # a subclass's attribute of the name hides the base's
