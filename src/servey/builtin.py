"""The composition root: the built-in plugins, in order.

The import of a plugin's module needs no extra. A plugin imports its extra at the first use, and `MissingExtraError`
names the package to install. So the command line can call actions with a web trigger without Starlette.
"""

from __future__ import annotations

from collections.abc import Iterable

from servey.errors import DefinitionError, is_missing
from servey.plugin import Plugin

BUILT_IN = (
    "servey.servey_starlette.plugin:StarlettePlugin",
    "servey.servey_strawberry.plugin:StrawberryPlugin",
    "servey.servey_celery.plugin:CeleryPlugin",
    "servey.servey_redis.plugin:RedisPlugin",
    "servey.servey_thread.plugin:ThreadPlugin",
)

PLUGIN_GROUP = "servey.plugins"
"""The entry point group for plugins of installed packages."""


def built_in_plugins() -> tuple[Plugin, ...]:
    """Return the built-in plugins."""
    return tuple(load_plugin(target) for target in BUILT_IN)


def further_plugins(named: Iterable[str]) -> tuple[str, ...]:
    """Return the targets of other plugins: those of installed packages, then those of the settings.

    Args:
        named: The targets in the settings.
    """
    from importlib.metadata import entry_points

    installed = [f"{entry.module}:{entry.attr}" for entry in entry_points(group=PLUGIN_GROUP)]
    return tuple(dict.fromkeys((*installed, *named)))


def load_plugin(target: str) -> Plugin:
    """Return a new instance of the plugin class at ``module:Name``.

    Raises:
        DefinitionError: There is no such class. An error inside the module is raised unchanged.
    """
    from importlib import import_module

    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise DefinitionError(f"{target!r} does not name a plugin", fix="write 'package.module:ClassName'")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if not is_missing(module_name, error):
            raise  # a module that the plugin's module imports is missing
        raise DefinitionError(
            f"there is no module {module_name!r} for the plugin {target!r}",
            fix="install its package, or correct the name",
        ) from error
    plugin = getattr(module, name, None)
    if not (isinstance(plugin, type) and issubclass(plugin, Plugin)):
        raise DefinitionError(f"{target!r} is not a plugin", fix="name a subclass of servey.plugin.Plugin")
    return plugin()
