"""Actions and resources at the top level of the user's modules and their submodules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from inspect import getattr_static
from types import ModuleType
from typing import Any

import msgspec

from servey.action.action import Action
from servey.action.resource import Resource
from servey.errors import DefinitionError


class Declarations(msgspec.Struct, frozen=True):
    """What was found, in the order of the modules and of the declarations in them.

    Args:
        actions: The actions; one that several modules name counts once.
        resources: The resources, likewise.
    """

    actions: tuple[Action, ...]
    resources: tuple[Resource, ...]

    @classmethod
    def of(cls, values: Sequence[Any]) -> Declarations:
        """Return what is declared among `values`.

        Raises:
            DefinitionError: Another decorator stands above ``@action`` or ``@resource``: calls would go past it.
        """
        actions: dict[int, Action] = {}
        resources: dict[int, Resource] = {}
        problems: dict[int, DefinitionError] = {}
        for value in values:
            # static: a proxy of another framework in the user's module may raise whatever it is asked for
            action = getattr_static(value, "__servey_action__", None)
            resource = getattr_static(value, "__servey_resource__", None)
            declared = action if isinstance(action, Action) else resource
            if isinstance(declared, Action | Resource) and declared.fn is not value:
                kind = "action" if declared is action else "resource"
                problems[id(value)] = DefinitionError(
                    f"another decorator stands above @{kind} on {declared.fn.__name__}; calls would go past it",
                    where=declared.where,
                    fix=f"put @{kind} on top",
                )
            elif isinstance(declared, Action):
                actions[id(value)] = declared
            elif isinstance(declared, Resource):
                resources[id(value)] = declared
        if problems:
            raise DefinitionError.join(list(problems.values()))
        return cls(tuple(actions.values()), tuple(resources.values()))


def find_declarations(path: str) -> Declarations:
    """Import the modules named by `path`, with all their submodules, and return what they declare.

    Args:
        path: Names of modules or packages, with commas between them.

    Raises:
        DefinitionError: There is no such module. An error inside a module is raised as it is.
    """
    values: list[Any] = []
    for name in filter(None, (part.strip() for part in path.split(","))):
        for module in _modules(name):
            values.extend(vars(module).values())
    return Declarations.of(values)


def _modules(name: str) -> Iterator[ModuleType]:
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise  # something that the user's module imports is missing
        raise DefinitionError(
            f"there is no module {name!r} to find actions in",
            fix=f"create {name.replace('.', '/')}.py here, or name another module in SERVEY_ACTION_PATH",
        ) from error
    yield module
    import pkgutil  # a service built of functions needs no search

    for info in pkgutil.walk_packages(getattr(module, "__path__", ()), name + ".", onerror=_raise):
        if info.name.rpartition(".")[2] != "__main__":
            yield import_module(info.name)


def _raise(name: str) -> None:
    raise
