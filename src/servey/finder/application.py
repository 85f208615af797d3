"""Find the application that the user names."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from servey.errors import DefinitionError, is_missing


def find_application(target: str) -> Any:
    """Return the ASGI application at ``module:name``.

    Raises:
        DefinitionError: There is no such application. An error inside the module is raised unchanged.
    """
    module_name, _, path = target.partition(":")
    if not module_name or not path:
        raise DefinitionError(f"{target!r} does not name an application", fix="write 'package.module:name'")
    try:
        found: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        if not is_missing(module_name, error):
            raise  # a module that the application's module imports is missing
        raise DefinitionError(f"there is no module {module_name!r}", fix="correct the name in --app") from error
    for name in path.split("."):
        found = getattr(found, name, None)
    if not callable(found):
        raise DefinitionError(f"there is no application at {target!r}", fix="name an ASGI application")
    return found
