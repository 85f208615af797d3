"""Actions and resources at the top level of the user's modules and their submodules."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib import import_module
from inspect import getattr_static
from types import ModuleType
from typing import Any

import msgspec

from servey.action.action import Action, get_action
from servey.action.callables import name_of
from servey.action.resource import Resource
from servey.errors import DefinitionError, is_missing, located, nearest

_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
"""The directory of servey's own modules."""


class Declarations(msgspec.Struct, frozen=True):
    """The actions and resources of some modules, in the order of their declaration.

    Args:
        actions: The actions; an action in several modules counts once.
        resources: The resources; a resource in several modules counts once.
        nested: The actions on methods of classes; they are served if an action returns the class.
    """

    actions: tuple[Action, ...]
    resources: tuple[Resource, ...]
    nested: tuple[Action, ...] = ()

    @classmethod
    def of(cls, values: Sequence[Any]) -> Declarations:
        """Return the declarations among `values`.

        Raises:
            DefinitionError: Another decorator stands above ``@action`` or ``@resource``: calls would bypass it.
        """
        found: dict[type, dict[int, Any]] = {Action: {}, Resource: {}}
        problems: dict[int, DefinitionError] = {}
        nested: list[Action] = []
        for value in values:
            if isinstance(value, type):
                nested += filter(None, map(get_action, vars(value).values()))
                continue
            # static: a proxy of another framework in the user's module may raise at any attribute
            declared = getattr_static(value, "__servey_action__", getattr_static(value, "__servey_resource__", None))
            if not isinstance(declared, Action | Resource):
                continue
            found[type(declared)][id(value)] = declared
            if declared.fn is not value:
                kind = type(declared).__name__.lower()
                problems[id(value)] = DefinitionError(
                    f"another decorator stands above @{kind} on {name_of(declared.fn)}; calls would bypass it",
                    where=declared.where,
                    fix=f"put @{kind} on top",
                )
        if problems:
            raise DefinitionError.join(list(problems.values()))
        return cls(tuple(found[Action].values()), tuple(found[Resource].values()), tuple(nested))


def find_declarations(path: str) -> Declarations:
    """Import the modules of `path`, with all submodules, and return their declarations.

    Args:
        path: Names of modules or packages, separated by commas.

    Raises:
        DefinitionError: There is no such module. An error inside a module is raised unchanged.
    """
    values: list[Any] = []
    for name in filter(None, (part.strip() for part in path.split(","))):
        if not all(part.isidentifier() for part in name.split(".")) or name.endswith(".py"):
            module = name.removesuffix(".py").strip("./").replace("/", ".")
            raise DefinitionError(
                f"SERVEY_ACTION_PATH has {name!r}, which is not the name of a module", fix=f"write {module!r}"
            )
        for module in _modules(name):
            values.extend(vars(module).values())
    return Declarations.of(values)


def _modules(name: str) -> Iterator[ModuleType]:
    try:
        module = _imported(name)
    except ModuleNotFoundError as error:
        if not is_missing(name, error):
            raise  # an import of the user's module is missing
        raise DefinitionError(f"there is no module {name!r} to find actions in", fix=_fix_for_missing(name)) from error
    yield module
    import pkgutil  # not needed for a service that is built from functions

    for info in pkgutil.walk_packages(getattr(module, "__path__", ()), name + ".", onerror=_raise):
        if info.name.rpartition(".")[2] != "__main__":
            yield _imported(info.name)


def _imported(name: str) -> ModuleType:
    """Import a module; add the user's file and line to a definition error that has none."""
    try:
        return import_module(name)
    except DefinitionError as error:
        trace, place = error.__traceback__, ""
        while trace is not None:
            code = trace.tb_frame.f_code
            if not code.co_filename.startswith((_HOME, "<")):
                place = located(code.co_filename, trace.tb_lineno)
            trace = trace.tb_next
        if any(error.where) or not place:
            raise
        raise DefinitionError(error.message, where=place, fix=error.fix) from error


def _fix_for_missing(name: str) -> str:
    import pkgutil
    from pathlib import Path

    path = Path(*name.split("."))
    if path.with_suffix(".py").exists() or path.exists():
        return (
            "it is in this directory, which is not on sys.path: run `python -m pytest` rather than `pytest`, "
            "or put `pythonpath = ['.']` into pytest's settings"
        )
    near = nearest(name, (info.name for info in pkgutil.iter_modules(["."])))
    if near:
        return f"did you mean {near!r}? Name it in SERVEY_ACTION_PATH, or rename it"
    return f"create {path.with_suffix('.py').as_posix()} here, or name another module in SERVEY_ACTION_PATH"


def _raise(name: str) -> None:
    raise
