"""The middleware that plugins add to the application."""

from __future__ import annotations

from typing import Any, cast

from starlette.middleware import Middleware

from servey.errors import DefinitionError
from servey.service import Service


def plugin_middleware(service: Service) -> list[Middleware]:
    """Return the middleware of all plugins, the outermost first.

    Raises:
        DefinitionError: A plugin returns an object that is not a class or a function.
    """
    found: list[Middleware] = []
    for plugin in service.plugins:
        for item in plugin.middleware():
            if not callable(item):
                raise DefinitionError(
                    f"{type(plugin).__name__}.middleware returns {item!r}, which cannot wrap an application",
                    fix="return classes or functions: functools.partial(GZipMiddleware, minimum_size=500)",
                )
            found.append(Middleware(cast("Any", item)))
    return found
