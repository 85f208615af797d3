"""The composition root: the plugins that servey brings, in order.

Each stands with the package it needs and the extra that brings it; one whose package is missing is left out, and
what it would serve says so. A plugin's module is light: it imports what it needs when that is used.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

from servey.errors import DefinitionError
from servey.plugin import Plugin


class BuiltIn(NamedTuple):
    """A plugin of servey's own: where it is, and what has to be installed for it."""

    target: str
    package: str
    extra: str
    triggers: tuple[str, ...] = ()


BUILT_IN = (BuiltIn("servey.servey_starlette.plugin:StarlettePlugin", "starlette", "server", ("WebTrigger",)),)


def built_in_plugins() -> tuple[Plugin, ...]:
    """Return the built-in plugins whose packages are installed."""
    return tuple(load_plugin(entry.target) for entry in BUILT_IN if find_spec(entry.package) is not None)


def extra_serving(trigger: type) -> str | None:
    """Return the extra whose plugin serves a trigger type and is not installed, or None."""
    names = {base.__name__ for base in trigger.__mro__}
    for entry in BUILT_IN:
        if names.intersection(entry.triggers) and find_spec(entry.package) is None:
            return entry.extra
    return None


def load_plugin(target: str) -> Plugin:
    """Return a new instance of the plugin class at ``module:Name``.

    Raises:
        DefinitionError: There is no such class. An error inside the module is raised as it is.
    """
    from importlib import import_module

    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise DefinitionError(f"{target!r} names no plugin", fix="write 'package.module:ClassName'")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            raise  # something that the plugin's module imports is missing
        raise DefinitionError(f"there is no module {module_name!r} for the plugin {target!r}") from error
    plugin = getattr(module, name, None)
    if not (isinstance(plugin, type) and issubclass(plugin, Plugin)):
        raise DefinitionError(f"{target!r} is no plugin", fix="name a subclass of servey.plugin.Plugin")
    return plugin()
