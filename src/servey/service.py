"""The service: actions, plugins and settings, resolved once and immutable. All adapters are built from it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cached_property, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from servey.action.call import by_name, make_call
from servey.action.callables import qualified_name_of
from servey.action.context import CallContext
from servey.action.current import RUNNING, set_service_of_process
from servey.action.injection import Injection
from servey.action.operation import Operation
from servey.action.runtime import Runtime, Runtimes
from servey.background_call.outgoing import has_changed_data
from servey.builtin import built_in_plugins, further_plugins, load_plugin
from servey.errors import (
    CallError,
    DeadlineError,
    ErrorMapping,
    NotFoundError,
    did_you_mean,
)
from servey.finder import Declarations, find_declarations
from servey.plugin import Plugin, TriggerSupport
from servey.ports import Timetable
from servey.security.authentication import Authentication
from servey.service_builder import ServiceBuilder, check_declared
from servey.service_life import open_service, start_sources, triggered, warn_of_resources
from servey.settings import Settings
from servey.stores import Stores
from servey.trigger.web_route import WebRoute, web_routes

if TYPE_CHECKING:
    from servey.cache_control.cached_operation import CachedOperation
    from servey.cache_control.invalidation import Invalidate
    from servey.codec import Engine
    from servey.idempotency.idempotent_operation import IdempotentOperation
    from servey.schedule.schedule import Schedule
    from servey.security.authorization import Authorization

_log = logging.getLogger("servey.service")


class Service:
    """Actions, plugins and settings, resolved.

    Args:
        actions: The decorated functions.
        resources: The decorated resource functions.
        plugins: The user's plugins; the built-in ones follow.
        settings: The settings; default: their defaults, not the environment's.

    Raises:
        DefinitionError: A declaration is wrong; the error has all such problems.

    Example:
        >>> from servey.action.action import action
        >>> @action
        ... def say_hello(name: str) -> str:
        ...     return f"Hello {name}!"
        >>> list(Service(actions=[say_hello]).operations)
        ['say_hello']
    """

    def __init__(
        self,
        actions: Iterable[Callable[..., Any]] = (),
        *,
        resources: Iterable[Callable[..., Any]] = (),
        plugins: Iterable[Plugin] = (),
        settings: Settings | None = None,
    ) -> None:
        actions, resources = list(actions), list(resources)
        declared = Declarations.of([*actions, *resources])
        check_declared(actions, "action")
        check_declared(resources, "resource")
        self.own_plugins = built_in_plugins()
        """The built-in plugins, which come after the user's."""
        self.plugins: tuple[Plugin, ...] = (*plugins, *self.own_plugins)
        given = (settings or Settings()).with_plugins(self.plugins)
        self.settings = given.with_generated_secrets()
        self.has_generated_secrets = self.settings is not given
        """Whether secrets were generated here, so nothing has shown them to the user yet."""
        self._triggers: tuple[TriggerSupport, ...] = _flat(plugin.triggers() for plugin in self.plugins)
        self.engines: tuple[Engine, ...] = _flat(plugin.engines() for plugin in self.plugins)
        errors: tuple[ErrorMapping, ...] = _flat(plugin.errors() for plugin in self.plugins)
        self._lifespans = _flat(plugin.lifespans() for plugin in self.plugins)
        self._injection = Injection(
            declared.resources,
            {item.type: item.provide for item in reversed(_flat(plugin.injectors() for plugin in self.plugins))},
        )
        self._runtimes = Runtimes(
            self.settings.calls.threads,
            lambda runtime: open_service(self, runtime, self._injection, self._lifespans),
            lambda runtime: start_sources(self, self._triggers),
        )
        self.stores = Stores(self)
        self._has_warned = False
        builder = ServiceBuilder(
            service=self, injection=self._injection, runtimes=self._runtimes, triggers=self._triggers, errors=errors
        )
        self.operations: Mapping[str, Operation] = MappingProxyType(builder.build(declared.actions))
        self.cached: Mapping[str, CachedOperation] = MappingProxyType(builder.cached)
        """The operations with a cache control, by name."""
        self.idempotent: Mapping[str, IdempotentOperation] = MappingProxyType(builder.idempotent)
        """The operations with an idempotency, by name."""
        self.web_routes: tuple[WebRoute, ...] = web_routes(self.operations.values())
        self.authentication = Authentication(
            self.settings.tokens,
            production=self.settings.production,
            is_generated="JWT_SECRET_KEY" in self.settings.generated,
            own_authorizers=_flat(plugin.authorizers() for plugin in self.plugins),
            authenticators=_flat(plugin.authenticators() for plugin in self.plugins),
            operations=self.operations,
            routes=self.web_routes,
            runtimes=self._runtimes,
        )

    @classmethod
    def from_settings(cls, settings: Settings | None = None) -> Service:
        """Find and resolve the actions and plugins of the settings.

        It becomes the service of this process: see `servey.action.current.current_service`.

        Args:
            settings: Default: the environment's.

        Raises:
            SettingsError: A setting is wrong.
            DefinitionError: A declaration is wrong. An error inside the user's modules is raised unchanged.
        """
        settings = settings or Settings.from_environment()
        targets = further_plugins(settings.process.plugins)
        found = find_declarations(settings.process.action_path)
        service = cls(
            [item.fn for item in found.actions],
            resources=[item.fn for item in found.resources],
            plugins=[load_plugin(target) for target in targets],
            settings=settings,
        )
        if targets:  # without them, the reader of the environment has warned
            service.settings.warn_of_unknown()
        set_service_of_process(service)
        served = {id(operation.action) for operation in service.operations.values()}
        for unreached in found.nested:
            if id(unreached) not in served:
                _log.warning(
                    "%s (%s) is not served: no action returns its class; return it from one, or take @action away",
                    qualified_name_of(unreached.fn),
                    unreached.where,
                )
        return service

    def warn_of_resources(self) -> None:
        """Log a warning, once, for each resource that a request may open once per object. Servers call this."""
        if not self._has_warned:
            warn_of_resources(self.operations.values())
        self._has_warned = True

    @cached_property
    def invalidations(self) -> Mapping[str, Invalidate]:
        """The functions to call after a successful write, by the name of its operation; see `invalidations`."""
        if not self.cached:
            return MappingProxyType({})
        from servey.cache_control.invalidation import invalidations

        return MappingProxyType(invalidations(self.web_routes, self.cached))

    @cached_property
    def schedules(self) -> tuple[Schedule, ...]:
        """The schedules: the triggers that have a timetable."""
        from servey.schedule.schedule import schedules_of

        return schedules_of(triggered(self, Timetable))

    @cached_property
    def commands(self) -> tuple[Any, ...]:
        """The commands that plugins add to the ``servey`` program."""
        return _flat(plugin.commands() for plugin in self.plugins)

    async def visible_to(
        self, context: CallContext, operations: Iterable[Operation] | None = None
    ) -> Sequence[Operation]:
        """Return the operations that the caller of `context` may call, each once, within the time of one call.

        Raises:
            DeadlineError: The access controls take too long.
        """
        visible: list[Operation] = []
        for operation in dict.fromkeys(self.operations.values() if operations is None else operations):
            try:
                if not operation.is_open:
                    await operation.check_access(context)
            except DeadlineError:
                raise
            except CallError:
                continue
            visible.append(operation)
        return visible

    @property
    def runtime(self) -> Runtime:
        """The runtime of the service in the running event loop: threads, deadlines and open resources."""
        return self._runtimes.current()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Service]:
        """Open the resources and the lifespans of plugins; at the end, wait for running calls and close them.

        The server, the command line and tests enter this. It may be entered again while it is open.

        Raises:
            ResourceError: A resource cannot be opened.
        """
        lifecycle = self.runtime.lifecycle
        await lifecycle.enter()
        with self.as_current():
            try:
                yield self
            finally:
                await lifecycle.leave(self.settings.calls.shutdown_timeout)

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[Service]:
        """Open the service like `running`, and start the triggers that begin calls themselves, such as schedules.

        Only servers and workers enter this, not commands, tests or Lambda functions.

        Raises:
            ResourceError: A resource cannot be opened.
        """
        lifecycle = self.runtime.lifecycle
        await lifecycle.enter_serving()
        with self.as_current():
            try:
                yield self
            finally:
                await lifecycle.leave_serving(self.settings.calls.shutdown_timeout)

    @contextmanager
    def as_current(self) -> Generator[None]:
        """Make this the current service for the code inside, until the service has closed."""
        token = RUNNING.set(self)
        try:
            yield
        finally:
            with suppress(ValueError):  # it is left in another context than it was entered in
                RUNNING.reset(token)

    @property
    def ready(self) -> bool:
        """Whether the service is open in this event loop, and no stop has begun."""
        return self.runtime.lifecycle.is_ready

    @property
    def stopping(self) -> bool:
        """Whether a stop of the service has begun in this event loop."""
        return self.runtime.lifecycle.is_stopping

    async def until_stopping(self) -> None:
        """Wait until the service begins to stop in this event loop, for code with open connections."""
        await self.runtime.lifecycle.until_stopping()

    def stop_within(self, seconds: float) -> None:
        """Begin to stop the service in this event loop; see `servey.action.lifecycle` for the order of a stop.

        A host calls this when it begins to stop. From now on the service is not `ready`, and triggers begin no more
        calls.

        Args:
            seconds: The time limit of the whole stop, from now.
        """
        self.runtime.lifecycle.begin_stop(seconds)

    async def authenticate(self, token: str, context: CallContext, deadline: float | None) -> Authorization:
        """Return the caller of a bearer token; see `servey.security.authentication.Authentication.authenticate`."""
        context.service = self  # for code of authorizers that needs the current service
        return await self.authentication.authenticate(token, context, deadline)

    def operation(self, name: str) -> Operation:
        """Return the operation of a name, or of the function name of a nested action if that is unique.

        Raises:
            KeyError: There is no such operation, or several nested actions have this function name.
        """
        if name in self.operations:
            return self.operations[name]
        nested = [item for item in self.operations.values() if item.signature.owner and item.action.name == name]
        if len(nested) == 1:
            return nested[0]
        raise KeyError(name)

    async def call(
        self,
        name: str,
        event: bytes | Mapping[str, Any] | None,
        context: CallContext,
        *,
        texts: Sequence[tuple[str, str]] = (),
        cached: bool = False,
        idempotent: bool = False,
    ) -> Any:
        """Call an action, for every transport whose arguments are one JSON object. The service must be `running`.

        A write invalidates the cached results of its path, as over HTTP.

        Args:
            name: The action; a nested action's bare function name if that is unique.
            event: The arguments by name: JSON, or a mapping of parsed JSON.
            context: The context of the call, with its verified caller.
            texts: Further arguments as text, such as command line flags; not together with a mapping.
            cached: Whether a cached result may be returned; otherwise the action runs.
            idempotent: Whether the call may be a repeat, which gets the answer of the first one (`Idempotency`).

        Returns:
            The result without its `Reply`: JSON if `event` is JSON, otherwise JSON values.

        Raises:
            CallError: The call failed, or there is no such action.
        """
        operation = self._called(name)
        if context.outgoing is not None:  # it has had a call, which may still run
            context = msgspec.structs.replace(context, outgoing=None, invalidated=None, claim=None)
        caching = self.cached.get(operation.name) if cached else None
        once = self.idempotent.get(operation.name) if idempotent else None
        parsed = isinstance(event, Mapping)
        finish = operation.encode if parsed and once is None else operation.encode_json

        def decode() -> Any:
            if isinstance(event, Mapping):
                return operation.decode(event)
            return operation.decode_text(texts) if event is None else operation.decode_json(event, by_name(texts))

        async def execute(arguments: Any) -> Any:
            if caching is not None:
                content = (await caching.fetch(arguments, context)).representation.content
                return msgspec.json.decode(content) if parsed else content
            if once is not None:
                content = await once.content(arguments, context, partial(run, arguments))
                return msgspec.json.decode(content) if parsed else content
            result = await run(arguments)
            return result.value if operation.signature.replies else result

        async def run(arguments: Any) -> Any:
            invalidate = self.invalidations.get(operation.name)
            try:
                result = await operation.run(arguments, context, finish)
            except BaseException:
                if invalidate is not None and has_changed_data(context):
                    await invalidate(arguments)
                raise
            if invalidate is not None:
                await invalidate(arguments)
            return result

        return await make_call(operation, context, decode, execute)

    def _called(self, name: str) -> Operation:
        try:
            return self.operation(name)
        except KeyError:
            raise NotFoundError(f"there is no action {name!r}{did_you_mean(name, self.operations)}") from None


def _flat(items: Iterable[Sequence[Any]]) -> tuple[Any, ...]:
    return tuple(item for group in items for item in group)
