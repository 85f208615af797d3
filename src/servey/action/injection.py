"""Fill the injected parameters of actions: the graph of injectors and resources, resolved at start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any

import msgspec

from servey.action.callables import name_of, parameters_of
from servey.action.context import CallContext, with_call_id
from servey.action.resource import Resource, Scope
from servey.action.signature import Injected, asked_for
from servey.errors import DefinitionError
from servey.security.authorization import Authorization

if TYPE_CHECKING:
    from servey.action.capacity_limiter import CapacityLimiter

Values = Mapping[type, Any]
"""The values of the resources that are open, by their types."""
Provide = Callable[[CallContext], Any]


class ResourceNode(msgspec.Struct, frozen=True):
    """A resource with resolved parameters.

    Args:
        resource: The declaration.
        type: The type of the yielded value.
        injected: The parameters of the resource.
        limiter: The `CapacityLimiter` of a resource with a `limit`; None for no limit.
    """

    resource: Resource
    type: type
    injected: tuple[Injected, ...]
    limiter: CapacityLimiter | None = None

    @property
    def label(self) -> str:
        """The name in the log."""
        return f"the resource {name_of(self.resource.fn)}"


class Injection:
    """The injectable types of a service.

    Args:
        resources: The declared resources.
        injectors: The functions of plugins, by type.

    Raises:
        DefinitionError: A type has two providers, a parameter of a resource has no provider, resources need each other,
            or a resource needs one with a shorter life.
    """

    def __init__(self, resources: Iterable[Resource], injectors: Mapping[type, Provide]) -> None:
        for own in (Authorization, CallContext):
            if own in injectors:
                raise DefinitionError(
                    f"a plugin has an Injector of {own.__name__}, which servey injects itself",
                    fix="inject your own class instead; an authorizer determines the caller",
                )
        self.providers: dict[type, Provide] = {
            Authorization: lambda context: context.authorization,
            CallContext: with_call_id,
            **injectors,
        }
        self._nodes: dict[type, ResourceNode] = {}
        declared: dict[type, Resource] = {}
        for resource in resources:
            provided = resource.provides()
            if provided in declared or provided in self.providers:
                others = [declared[provided].where] if provided in declared else []
                raise DefinitionError(
                    f"two things provide {provided.__name__}, and servey cannot choose",
                    where=[*others, resource.where],
                    fix="yield a different class from each",
                )
            declared[provided] = resource
        for provided, resource in declared.items():
            parameters = tuple(self._parameters(resource, declared))
            self._nodes[provided] = ResourceNode(resource, provided, parameters, _limiter_of(resource))
        self.ordered = self._ordered(self._nodes)

    @property
    def types(self) -> frozenset[type]:
        """The injectable types."""
        return frozenset(self.providers) | frozenset(self._nodes)

    @property
    def service_resources(self) -> tuple[ResourceNode, ...]:
        """The resources of scope ``"service"``, each after those that it needs."""
        return tuple(node for node in self.ordered if node.resource.scope == "service")

    def needed(self, injected: Iterable[Injected]) -> tuple[ResourceNode, ...]:
        """Return the resources, direct and indirect, that parameters need, each after those that it needs itself."""
        wanted = {item.type for item in injected}
        for node in reversed(self.ordered):
            if node.type in wanted:
                wanted.update(item.type for item in node.injected)
        return tuple(node for node in self.ordered if node.type in wanted)

    def asked_of_calls(self, injected: Iterable[Injected]) -> tuple[Injected, ...]:
        """Return the parameters that the call itself fills, such as `Authorization`, also those of resources."""
        injected = tuple(injected)
        asked = (item for node in self.needed(injected) for item in node.injected)
        return tuple(item for item in (*injected, *asked) if item.type in self.providers)

    def open(
        self, node: ResourceNode, context: CallContext | None, values: Values
    ) -> AbstractContextManager[Any] | AbstractAsyncContextManager[Any]:
        """Return the context manager of a resource, with parameters from `context` and `values`."""
        arguments: dict[str, Any] = {}
        for item in node.injected:
            if item.type in self._nodes:
                arguments[item.name] = values[item.type]
            elif context is not None:
                arguments[item.name] = self.providers[item.type](context)
        return node.resource.manager()(**arguments)

    def _parameters(self, resource: Resource, declared: Mapping[type, Resource]) -> Iterable[Injected]:
        hints = resource.hints()
        for name in parameters_of(resource.fn):
            asked, optional = asked_for(hints.get(name))
            known = isinstance(asked, type) and (asked in self.providers or asked in declared)
            if not known:
                raise DefinitionError(
                    f"the resource {name_of(resource.fn)} asks for {name!r}, which nothing provides",
                    where=resource.where,
                    fix="annotate it with Authorization, CallContext or the type of another resource",
                )
            lives: Scope = "request" if asked in self.providers else declared[asked].scope
            if resource.outlives(lives):
                raise DefinitionError(
                    f'the resource {name_of(resource.fn)} has the scope "{resource.scope}" '
                    f"and asks for {asked.__name__}, which lives only for one {lives}",
                    where=resource.where,
                    fix=f'give it the scope "{lives}"',
                )
            yield Injected(name, asked, optional)

    def _ordered(self, nodes: Mapping[type, ResourceNode]) -> tuple[ResourceNode, ...]:
        done: dict[type, ResourceNode] = {}

        def visit(node: ResourceNode, path: tuple[ResourceNode, ...]) -> None:
            if node in path:
                circle = path[path.index(node) :]
                names = " -> ".join(name_of(item.resource.fn) for item in (*circle, node))
                raise DefinitionError(
                    f"resources ask for each other: {names}",
                    where=[item.resource.where for item in circle],
                    fix="remove one of these parameters",
                )
            if node.type in done:
                return
            for item in node.injected:
                if item.type in nodes:
                    visit(nodes[item.type], (*path, node))
            done[node.type] = node

        for node in nodes.values():
            visit(node, ())
        return tuple(done.values())


def _limiter_of(resource: Resource) -> CapacityLimiter | None:
    if resource.limit is None:
        return None
    from servey.action.capacity_limiter import CapacityLimiter  # few resources have a limit

    return CapacityLimiter(resource.limit, "a resource that the call needs was in use")


def compile_call(
    fn: Callable[..., Any],
    order: Sequence[tuple[str, bool]],
    injected: Sequence[Injected],
    injection: Injection,
) -> Callable[[Any, CallContext, Values], Any]:
    """Return ``call(arguments, context, values)``, which calls `fn` with all of its parameters.

    The code of this function is generated for each action, as in `collections.namedtuple`, because unpacking arguments
    at run time costs as much as the rest of a small call.

    Args:
        fn: The action's function.
        order: The names of the parameters in the order of the function, with whether each is keyword-only.
        injected: The injected parameters.
        injection: Provides the injected values.
    """
    by_name = {item.name: item for item in injected}
    namespace: dict[str, Any] = {"fn": fn}
    parts: list[str] = []
    for index, (name, keyword_only) in enumerate(order):
        item = by_name.get(name)
        if item is None:
            value = f"a.{name}"
        elif item.type is Authorization:
            value = "c.authorization"
        elif item.type in injection.providers:
            namespace[f"provide_{index}"] = injection.providers[item.type]
            value = f"provide_{index}(c)"
        else:
            namespace[f"type_{index}"] = item.type
            value = f"v[type_{index}]"
        parts.append(f"{name}={value}" if keyword_only else value)
    exec(f"def call(a, c, v): return fn({', '.join(parts)})", namespace)
    return namespace["call"]
