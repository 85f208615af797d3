"""The extension points: a plugin is a class whose methods return data.

A plugin overrides only some methods; every method has an empty default. Extension points of one adapter, such as
routes, are in a Protocol of that adapter. The plugins of users come first (the entry point group ``servey.plugins``,
then ``SERVEY_PLUGINS=module:Name,…``), then those of `servey.builtin`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from servey.action.context import CallContext
from servey.errors import DefinitionError, ErrorMapping
from servey.ports import Authenticator, Authorizer
from servey.settings_part import SettingsPart

if TYPE_CHECKING:
    from servey.action.operation import Operation
    from servey.codec import Engine
    from servey.ports import CallQueue, KeyValueStore, RateLimitStorage, ResultStore
    from servey.service import Service
    from servey.settings import Settings

T = TypeVar("T")


class Injector(msgspec.Struct, frozen=True):
    """Fill parameters of a type from the call's context.

    Args:
        type: The type of the parameters.
        provide: Returns the value; it must be fast, without I/O.
    """

    type: type
    provide: Callable[[CallContext], Any]

    def __post_init__(self) -> None:
        if not inspect.isclass(self.type) or not callable(self.provide):
            raise DefinitionError("an Injector takes a class and a function", fix="Injector(Tenant, tenant_of)")


Start = Callable[["Service", Sequence[tuple["Operation", Any]]], AbstractAsyncContextManager[None]]


class TriggerSupport(msgspec.Struct, frozen=True):
    """Serve a type of trigger.

    Args:
        type: The class of the trigger, or a runtime-checkable Protocol of it; subclasses are served, too.
        start: A context manager that begins calls while it is entered. It takes the service, and all such triggers with
            their operations. It begins no more calls after `Service.until_stopping` returns, and waits for its calls
            when it is left. None if another program begins the calls (a route, a scheduler of a cloud).
        check: Raises `DefinitionError` if an operation cannot have the trigger.
    """

    type: type
    start: Start | None = None
    check: Callable[[Operation, Any], None] | None = None

    def __post_init__(self) -> None:
        if not inspect.isclass(self.type):
            raise DefinitionError("a TriggerSupport names a trigger's class", fix="TriggerSupport(WebTrigger)")


class StoreSupport(msgspec.Struct, Generic[T], frozen=True):
    """Open the stores at URLs of some schemes.

    Args:
        schemes: The schemes, such as ``"redis"``.
        open: Takes a URL and the settings, and returns a store. It raises `SettingsError` for a wrong URL, and
            connects only when the store is used.
    """

    schemes: tuple[str, ...]
    open: Callable[[str, Settings], T]

    def __post_init__(self) -> None:
        if isinstance(self.schemes, str) or not callable(self.open):
            raise DefinitionError("a StoreSupport takes schemes and a function", fix="StoreSupport(('redis',), open)")


class Command(msgspec.Struct, frozen=True):
    """A command of the ``servey`` program.

    Args:
        name: The name on the command line.
        target: The place of the `click.Command`, as ``module:name``; loaded at its use.
        summary: One line for ``servey --help``.
    """

    name: str
    target: str
    summary: str

    def __post_init__(self) -> None:
        module, colon, name = self.target.partition(":")
        if not (module and colon and name):
            raise DefinitionError(f"{self.target!r} is not a target", fix="write 'package.module:name'")


AsgiApp = Callable[..., Awaitable[None]]
"""An ASGI application: called with a scope, ``receive`` and ``send``."""


class Plugin:
    """The base class of plugins. Servey calls each method once, when it builds the service."""

    def settings(self) -> Sequence[type[SettingsPart]]:
        """Return the plugin's parts of the settings; `Settings.part` returns their values."""
        return ()

    def engines(self) -> Sequence[Engine]:
        """Return codec engines; they are asked before the built-in ones."""
        return ()

    def injectors(self) -> Sequence[Injector]:
        """Return the injectors, which fill parameters by their type."""
        return ()

    def triggers(self) -> Sequence[TriggerSupport]:
        """Return the trigger types that this plugin serves."""
        return ()

    def lifespans(self) -> Sequence[Callable[[Service], AbstractAsyncContextManager[None]]]:
        """Return context managers; servey enters them when the service starts, and leaves them when it stops."""
        return ()

    def middleware(self) -> Sequence[Callable[[AsgiApp], AsgiApp]]:
        """Return ASGI middleware around all of the HTTP application, the outermost first.

        Each item is called with the application to wrap, once: a middleware class, or
        ``functools.partial(GZipMiddleware, minimum_size=500)``.
        """
        return ()

    def authorizers(self) -> Sequence[Authorizer]:
        """Return the authorizers, which verify tokens. Servey asks them before the built-in ones."""
        return ()

    def authenticators(self) -> Sequence[Authenticator]:
        """Return the authenticators of ``/login``. Servey uses the first one instead of the debug authenticator."""
        return ()

    def errors(self) -> Sequence[ErrorMapping]:
        """Return the error mappings that apply to all actions."""
        return ()

    def result_stores(self) -> Sequence[StoreSupport[ResultStore]]:
        """Return the stores for cached results (``SERVEY_RESULT_CACHE``)."""
        return ()

    def rate_limit_storages(self) -> Sequence[StoreSupport[RateLimitStorage]]:
        """Return the storages for rate limits (``SERVEY_RATE_LIMITS``); one is opened for each event loop."""
        return ()

    def call_queue(self, service: Service) -> CallQueue | None:
        """Return the queue for background calls of a service; None for that of the next plugin."""
        return None

    def key_value_store(self, service: Service) -> KeyValueStore | None:
        """Return the store of small entries that processes share; None for that of the next plugin."""
        return None

    def commands(self) -> Sequence[Command]:
        """Return commands of the ``servey`` program."""
        return ()
