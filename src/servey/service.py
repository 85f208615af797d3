"""The service: what is served, resolved once, immutable. Every adapter is a function of it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from servey.action.action import Action
from servey.action.call import by_name, make_call
from servey.action.callables import name_of, qualified_name_of, source_of, where_of
from servey.action.context import CallContext
from servey.action.current import RUNNING, set_service_of_process
from servey.action.injection import Injection
from servey.action.operation import Operation
from servey.action.runtime import Runtime, Runtimes
from servey.action.signature import ActionSignature
from servey.builtin import built_in_plugins, load_plugin
from servey.errors import (
    CallError,
    DeadlineError,
    DefinitionError,
    ErrorMapping,
    NotFoundError,
    ResourceError,
    nearest,
    raised_in,
)
from servey.finder import Declarations, find_declarations, nested_actions
from servey.plugin import Plugin, TriggerSupport
from servey.ports import RateLimiter, ResultStore
from servey.security.access_control import ALLOW_ALL
from servey.security.authentication import Authentication
from servey.settings import Settings
from servey.trigger.web_route import WebRoute, web_routes
from servey.trigger.web_trigger import WebTrigger

if TYPE_CHECKING:
    from servey.cache_control.cached_operation import CachedOperation
    from servey.cache_control.invalidation import Invalidate
    from servey.codec import Engine
    from servey.security.rate_limit.call_counter import CallCounter

_log = logging.getLogger("servey.service")

PLUGIN_GROUP = "servey.plugins"
"""The entry point group in which installed packages offer plugins."""


class Service:
    """Actions, plugins and settings, resolved.

    Args:
        actions: The decorated functions.
        resources: The decorated resource functions.
        plugins: The user's plugins; the built-in ones follow.
        settings: The settings; default: their defaults, not the environment's.

    Raises:
        DefinitionError: Something declared cannot be served; all such problems in one error.

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
        _check_declared(actions, "action")
        _check_declared(resources, "resource")
        given = settings or Settings()
        self.settings = given.with_made_up()
        self.has_made_up = self.settings is not given
        """Whether it has made up a secret or a password itself, so that no server can have told of it."""
        self.own_plugins = built_in_plugins()
        """The built-in plugins, which come after the user's."""
        self.plugins: tuple[Plugin, ...] = (*plugins, *self.own_plugins)
        self._triggers: tuple[TriggerSupport, ...] = _flat(plugin.triggers() for plugin in self.plugins)
        self.engines: tuple[Engine, ...] = _flat(plugin.engines() for plugin in self.plugins)
        self._errors: tuple[ErrorMapping, ...] = _flat(plugin.errors() for plugin in self.plugins)
        self._lifespans = _flat(plugin.lifespans() for plugin in self.plugins)
        self._injection = Injection(
            declared.resources,
            {item.type: item.provide for item in reversed(_flat(plugin.injectors() for plugin in self.plugins))},
        )
        self._runtimes = Runtimes(self.settings.threads, self._opened, self._started)
        self._call_counter: CallCounter | None = None
        self._result_store: ResultStore | None = None
        self._has_warned = False
        self._cached: dict[str, CachedOperation] = {}
        self.operations: Mapping[str, Operation] = MappingProxyType(self._build(declared.actions))
        self.cached: Mapping[str, CachedOperation] = MappingProxyType(self._cached)
        """The operations with a cache control, by the names of the operations."""
        self.web_routes: tuple[WebRoute, ...] = web_routes(self.operations.values())
        self.authentication = Authentication(
            self.settings,
            authorizers=_flat(plugin.authorizers() for plugin in self.plugins),
            authenticators=_flat(plugin.authenticators() for plugin in self.plugins),
            operations=self.operations.values(),
            routes=self.web_routes,
            runtimes=self._runtimes,
        )
        self.authenticate = self.authentication.authenticate

    @classmethod
    def from_settings(cls, settings: Settings | None = None) -> Service:
        """Find the actions and plugins that the settings name, and resolve them.

        What is found is the service of this process: see `servey.action.current.current_service`.

        Args:
            settings: Default: the environment's.

        Raises:
            SettingsError: A setting is wrong.
            DefinitionError: A declaration is wrong. An error inside the user's modules is raised as it is.
        """
        from importlib.metadata import entry_points

        settings = settings or Settings.from_environment()
        installed = [f"{entry.module}:{entry.attr}" for entry in entry_points(group=PLUGIN_GROUP)]
        found = find_declarations(settings.action_path)
        service = cls(
            [item.fn for item in found.actions],
            resources=[item.fn for item in found.resources],
            plugins=[load_plugin(target) for target in dict.fromkeys((*installed, *settings.plugins))],
            settings=settings,
        )
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
        if self._has_warned:
            return
        self._has_warned = True
        for operation in self.operations.values():
            for node in operation.execution.opened_per_object:
                _log.warning(
                    "%s (%s) opens %s once for every object in a request: write "
                    '@resource(scope="request") at %s (several threads then use a sync one, one after another), '
                    "or give the action a batch_invoker",
                    operation.name,
                    operation.action.where,
                    node.label,
                    node.resource.where,
                    extra={"action": operation.name},
                )

    @cached_property
    def invalidations(self) -> Mapping[str, Invalidate]:
        """What to call after a successful write, by the name of its operation; see `invalidations`."""
        if not self.cached:
            return MappingProxyType({})
        from servey.cache_control.invalidation import invalidations

        return MappingProxyType(invalidations(self.web_routes, self.cached))

    @cached_property
    def commands(self) -> tuple[Any, ...]:
        """The commands that plugins add to the ``servey`` program."""
        return _flat(plugin.commands() for plugin in self.plugins)

    async def visible_to(
        self, context: CallContext, operations: Iterable[Operation] | None = None
    ) -> Sequence[Operation]:
        """Return the operations that the caller of `context` may call, each once. Nothing is counted.

        Args:
            context: The call of the caller. All the access checks together have the time of one call.
            operations: The operations to check; default: all of the service.

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
        """The threads, deadlines and open resources of the service in the running event loop."""
        return self._runtimes.current()

    @property
    def call_counter(self) -> CallCounter:
        """Where calls are counted, as the settings say: those of actions with a rate limit, and logins.

        Raises:
            SettingsError: They do not say it.
            MissingExtraError: A package that counts is not installed.
        """
        if self._call_counter is None:
            from servey.security.rate_limit.call_counter import CallCounter

            self._call_counter = CallCounter(self.settings.rate_limits, self.settings.store_timeout)
        return self._call_counter

    @property
    def result_store(self) -> ResultStore:
        """Where results of actions with a cache control are kept, as the settings say.

        Raises:
            SettingsError: They do not say it.
            MissingExtraError: A package that keeps them is not installed.
        """
        if self._result_store is None:
            from servey.cache_control.stores import open_store

            self._result_store = open_store(self.settings)
        return self._result_store

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Service]:
        """Open what calls need (resources, lifespans of plugins); close it at the end, when calls under way have ended.

        Every host enters this: the server, the command line, tests. It may be entered again while it is open.

        Raises:
            ResourceError: A resource cannot be opened.
        """
        lifecycle = self.runtime.lifecycle
        await lifecycle.enter()
        with self._as_running():
            try:
                yield self
            finally:
                await lifecycle.leave(self.settings.shutdown_timeout)

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[Service]:
        """Open what calls need, as `running`, and start the triggers that begin calls by themselves.

        Only servers and workers enter this. A command, a test or a Lambda starts no schedule.

        Raises:
            ResourceError: A resource cannot be opened.
        """
        lifecycle = self.runtime.lifecycle
        await lifecycle.enter_serving()
        with self._as_running():
            try:
                yield self
            finally:
                await lifecycle.leave_serving(self.settings.shutdown_timeout)

    @contextmanager
    def _as_running(self) -> Generator[None]:
        """Make this the current service for the code inside, until the service has closed."""
        token = RUNNING.set(self)
        try:
            yield
        finally:
            with suppress(ValueError):  # it is left in another context than it was entered in
                RUNNING.reset(token)

    @property
    def ready(self) -> bool:
        """Whether the service is open in this event loop and not about to stop."""
        return self.runtime.lifecycle.is_ready

    @property
    def stopping(self) -> bool:
        """Whether the service is about to stop in this event loop."""
        return self.runtime.lifecycle.is_stopping

    async def until_stopping(self) -> None:
        """Return when the service begins to stop in this event loop, for code that holds connections open."""
        await self.runtime.lifecycle.until_stopping()

    def stop_within(self, seconds: float) -> None:
        """Begin to stop the service in this event loop; see `servey.action.lifecycle` for the order of a stop.

        A host calls this when it begins to stop. From now on the service is not `ready`, and triggers begin no more
        calls.

        Args:
            seconds: How long the stop may take in all, from now.
        """
        self.runtime.lifecycle.begin_stop(seconds)

    def operation(self, name: str) -> Operation:
        """Return the operation called `name`; a nested action's bare function name will do where it is unique.

        Raises:
            KeyError: There is none; or several nested actions share the bare name.
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
    ) -> Any:
        """Call an action, for every transport whose arguments are one JSON object. The service must be `running`.

        Args:
            name: The action; a nested action's bare function name if that is unique.
            event: The arguments by name: JSON, or a mapping of parsed JSON.
            context: The context of the call, with its verified caller.
            texts: Further arguments as text, such as command line flags; not together with a mapping.
            cached: Whether a cached result may be returned; otherwise the action runs.

        Returns:
            The result without the `Reply` around it: JSON if `event` is, or else the values that JSON can hold.

        Raises:
            CallError: The call failed, or there is no such action.
        """
        operation = self._called(name)
        caching = self.cached.get(operation.name) if cached else None
        parsed = isinstance(event, Mapping)

        def decode() -> Any:
            if isinstance(event, Mapping):
                return operation.decode(event)
            return operation.decode_text(texts) if event is None else operation.decode_json(event, by_name(texts))

        async def execute(arguments: Any) -> Any:
            if caching is not None:
                content = (await caching.fetch(arguments, context)).representation.content
                return msgspec.json.decode(content) if parsed else content
            result = await operation.run(arguments, context, operation.encode if parsed else operation.encode_json)
            return result.value if operation.signature.replies else result

        return await make_call(operation, context, decode, execute)

    def _called(self, name: str) -> Operation:
        try:
            return self.operation(name)
        except KeyError:
            near = nearest(name, self.operations)
            hint = f"; did you mean {near}?" if near else ""
            raise NotFoundError(f"there is no action {name!r}{hint}") from None

    def _build(self, actions: Sequence[Action]) -> dict[str, Operation]:
        """Compile `actions` and the nested actions on what they return, and on what those return."""
        operations: dict[str, Operation] = {}
        problems: list[DefinitionError] = []
        waiting: list[tuple[Action, type | None]] = [(item, None) for item in actions]
        seen: set[int] = set()
        while waiting:
            action, owner = waiting.pop(0)
            if id(action) in seen:
                continue
            seen.add(id(action))
            try:
                operation = self._compile(action, owner)
            except DefinitionError as error:
                problems.append(error)
                continue
            if (other := operations.get(operation.name)) is not None:
                problems.append(
                    DefinitionError(
                        f"two actions are called {operation.name!r}",
                        where=[other.action.where, action.where],
                        fix=f"give one of them another name: @action(name='another_{operation.name}')",
                    )
                )
                continue
            operations[operation.name] = operation
            try:
                waiting += [(nested, defines) for defines, nested in nested_actions(operation.result.classes())]
            except DefinitionError as error:
                problems.append(error)
        for operation in operations.values():
            problems.extend(self._nested_problems(operation, operations.values()))
        if problems:
            raise DefinitionError.join(problems)
        return operations

    def _compile(self, action: Action, owner: type | None) -> Operation:
        signature = ActionSignature.of(action, self._injection.types, owner)
        operation = Operation(
            signature,
            runtimes=self._runtimes,
            injection=self._injection,
            engines=self.engines,
            errors=self._errors,
            timeout=self.settings.timeout,
            limiter=self._limiter(signature),
            service=self,
        )
        if action.cache_control is not None:
            from servey.cache_control.cached_operation import CachedOperation  # not for actions without one

            store = None if self.settings.result_cache == "off" else lambda: self.result_store
            self._cached[operation.name] = CachedOperation(operation, store)
        for trigger in action.triggers:
            self._check_trigger(operation, trigger)
        return operation

    def _limiter(self, signature: ActionSignature) -> RateLimiter | None:
        action = signature.action
        if action.rate_limit is None:
            return None
        from servey.security.rate_limit.rate_limit import parse_rate_limit

        limits = parse_rate_limit(action.rate_limit, signature.name, action.where)
        from servey.security.rate_limit.action_rate_limiter import ActionRateLimiter

        return ActionRateLimiter(signature.name, limits, self.call_counter)

    def _check_trigger(self, operation: Operation, trigger: Any) -> None:
        kind: type = trigger if isinstance(trigger, type) else type(trigger)
        if kind is trigger:
            raise DefinitionError(
                f"a trigger of {operation.name} is the class {kind.__name__}",
                where=operation.action.where,
                fix=f"make one: {kind.__name__}(…)",
            )
        served = [support for support in self._triggers if isinstance(trigger, support.type)]
        if not served:
            raise DefinitionError(
                f"no loaded plugin serves {kind.__name__}, a trigger of {operation.name}",
                where=operation.action.where,
                fix="write a trigger, such as WEB_GET"
                if kind.__module__ == "builtins"
                else "load the plugin that serves it (SERVEY_PLUGINS=module:Name), or take the trigger away",
            )
        for support in served:
            if support.check is not None:
                support.check(operation, trigger)

    def _nested_problems(self, nested: Operation, operations: Iterable[Operation]) -> Iterable[DefinitionError]:
        """Over a network, ``self`` is an object that the client may have invented."""
        owner, action = nested.signature.owner, nested.action
        if owner is None or action.access_control is not ALLOW_ALL or not _on_the_web(nested):
            return
        operations = tuple(operations)
        for operation in _yielding(owner, operations):
            if not _open_to_all(operation, operations, {nested.name}):
                yield DefinitionError(
                    f"{nested.name} is open and takes a {owner.__name__} from its caller, which {operation.name} "
                    "gives only to some",
                    where=[action.where, operation.action.where],
                    fix=f"give {action.function_name} an access_control of its own, or take its web trigger away",
                )

    @asynccontextmanager
    async def _opened(self, runtime: Runtime) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close_call_counter)
            await stack.enter_async_context(self.authentication.running())
            stack.push_async_callback(self._close_result_store)
            for node in self._injection.service_resources:
                try:
                    manager = self._injection.open(node, None, runtime.values)
                    runtime.values[node.type] = await stack.enter_async_context(runtime.kept(manager, node.label))
                except Exception as error:
                    failed = raised_in(error, source_of(node.resource.fn).__code__.co_filename)
                    where = [node.resource.where, failed]
                    raise ResourceError(name_of(node.resource.fn), where, error) from error
            runtime.usable = True
            for lifespan in self._lifespans:
                await stack.enter_async_context(lifespan(self))
            yield

    @asynccontextmanager
    async def _started(self, runtime: Runtime) -> AsyncGenerator[None]:
        """Start the triggers, each with the plugin that supports it."""
        async with AsyncExitStack() as stack:
            for support in self._triggers:
                if support.start is not None:
                    await stack.enter_async_context(support.start(self, self._triggered(support.type)))
            yield

    def _triggered(self, kind: type) -> Sequence[tuple[Operation, Any]]:
        """Return the triggers of a type, each with its operation."""
        return [
            (operation, trigger)
            for operation in self.operations.values()
            for trigger in operation.action.triggers
            if isinstance(trigger, kind)
        ]

    async def _close_call_counter(self) -> None:
        if self._call_counter is not None:
            await self._call_counter.close()

    async def _close_result_store(self) -> None:
        if self._result_store is not None:
            await self._result_store.close()


def _on_the_web(operation: Operation) -> bool:
    return any(isinstance(trigger, WebTrigger) for trigger in operation.action.triggers)


def _yielding(owner: type, operations: Iterable[Operation]) -> Iterable[Operation]:
    """Return the operations that give their callers objects of a class."""
    return [item for item in operations if any(issubclass(cls, owner) for cls in item.result.classes())]


def _open_to_all(operation: Operation, operations: Sequence[Operation], seen: set[str]) -> bool:
    """Return whether everybody may get what `operation` yields; a nested one is reached through its owner."""
    if not operation.is_open:
        return False
    owner = operation.signature.owner
    if owner is None or _on_the_web(operation) or operation.name in seen:
        return True
    seen = seen | {operation.name}
    return all(_open_to_all(item, operations, seen) for item in _yielding(owner, operations))


def _check_declared(functions: Iterable[Any], kind: str) -> None:
    problems = [
        DefinitionError(
            f"{getattr(function, '__qualname__', repr(function))} is no {kind}"
            + (", but a method that is bound to an object" if inspect.ismethod(function) else ""),
            where=where_of(function),
            fix=f"put @{kind} above "
            + (f"a def around it, or declare {kind}(functools.partial(…))" if inspect.ismethod(function) else "it"),
        )
        for function in functions
        if getattr(getattr(function, f"__servey_{kind}__", None), "fn", None) is not function
    ]
    if problems:
        raise DefinitionError.join(problems)


def _flat(items: Iterable[Sequence[Any]]) -> tuple[Any, ...]:
    return tuple(item for group in items for item in group)
