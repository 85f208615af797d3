"""Nested actions whose results a caller asks for together with a result: ``?include=writer,chapters.length``.

What may be included of which action is found when the service is built. For one request, the names become a tree; the
action is called, then the nested actions of all objects that the tree leads to, and then those of what these return.
Each is a call of its own with its own access control, error and deadline; the calls of one level are made together.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import msgspec

from servey.action.batch_loader import BatchLoader
from servey.action.context import CallContext
from servey.action.defect import ErrorBoundary
from servey.action.operation import Operation
from servey.action.reply import Reply
from servey.action.request_scope import RequestScope
from servey.cache_control.cache_header import CacheHeader
from servey.cache_control.cached_operation import CachedOperation
from servey.cache_control.reply_headers import ReplyHeaders
from servey.codec import MISSING, ResultError
from servey.codec.node import Node
from servey.codec.problems import PROBLEM_LIMIT, shown, unknown
from servey.codec.type_adapter import Compiler
from servey.errors import InvalidError, Problem
from servey.finder import nested_actions
from servey.settings import Settings

_log = logging.getLogger("servey.operation")

INCLUDE = "include"
"""The name of the parameter."""

Tree = dict[str, "Tree"]
"""What is to be included: the names of members and nested actions, and below each what is to be included of it."""

MOST_CALLS = 10_000
"""So many nested actions are called for one request at most."""

_CALL_COST, _LIST_FACTOR = 10, 10
"""What ``SERVEY_GRAPHQL_MAX_COST`` counts: a member 1, a call 10, and what is in a list ten times that."""


class Offer(msgspec.Struct):
    """What one name in a path stands for.

    Args:
        nodes: What it leads to: a member's type, or a nested action's result.
        is_nested: Whether it is a nested action, so that a path may end with it.
        is_told: Whether messages may name it: not an action that is left out of documents.
    """

    nodes: list[Node] = msgspec.field(default_factory=list[Node])
    is_nested: bool = False
    is_told: bool = False


class Inclusions:
    """What may be included in the results of a service's actions.

    Args:
        operations: The service's operations.
        settings: The limits, which are those of GraphQL.
        cached: The operations with a cache control, by name; only calls need them.
    """

    def __init__(
        self,
        operations: Iterable[Operation],
        settings: Settings,
        cached: Mapping[str, CachedOperation] = MappingProxyType({}),
    ) -> None:
        self.cached = cached
        self._by_action = {id(operation.action): operation for operation in operations}
        self._settings = settings
        self._of_classes: dict[type, Mapping[str, Operation]] = {}
        # by the nodes' ids: they live as long as their operations
        self._offers: dict[int, Mapping[str, Offer]] = {}
        self._leading: dict[int, bool] = {}
        self._compiler = Compiler()

    def member_of(self, union: Node, value: Any) -> Node:
        """Return the member of a union that a value is written as."""
        return self._compiler.union(union).member_of(value)

    def of_class(self, node: Node) -> Mapping[str, Operation]:
        """Return the nested actions of a node's class that can be included, by their names.

        An action cannot be that takes arguments, for there is no place for them; nor one whose name a member has.
        """
        if node.kind not in ("object", "custom") or not isinstance(node.cls, type):
            return {}
        cls = cast("type[Any]", node.cls)
        if cls not in self._of_classes:
            taken = [field.wire for field in node.fields] + ([node.tag[0]] if node.tag else [])
            found: dict[str, Operation] = {}
            for _, action in nested_actions([cls]):
                operation, name = self._by_action.get(id(action)), action.function_name
                if operation is not None and name not in taken and not _takes_arguments(operation):
                    found[name] = operation
            self._of_classes[cls] = found
        return self._of_classes[cls]

    def are_taken_by(self, operation: Operation) -> bool:
        """Return whether callers of an action may ask for nested ones: there are some, and it has no such parameter."""
        return INCLUDE not in operation.arguments.parameters and bool(self.offered(operation.result.root))

    def offered(self, node: Node) -> Mapping[str, Offer]:
        """Return what a path can name of the objects that a node is made of."""
        if id(node) not in self._offers:
            found: dict[str, Offer] = {}
            for item, _ in objects_in(node):
                for field in item.fields if item.kind == "object" else ():
                    if self._leads_on(field.node):
                        offer = found.setdefault(field.wire, Offer())
                        offer.nodes.append(field.node)
                        offer.is_told = True
                for name, nested in self.of_class(item).items():
                    offer = found.setdefault(name, Offer())
                    offer.nodes.append(nested.result.root)
                    offer.is_nested = True
                    offer.is_told = offer.is_told or nested.action.include_in_schema
            self._offers[id(node)] = found
        return self._offers[id(node)]

    def reachable(self, operation: Operation) -> list[Node]:
        """Return the classes of which something can be included in an action's results, as nodes."""
        found: dict[object, Node] = {}
        waiting = [operation.result.root]
        while waiting:
            for node, _ in objects_in(waiting.pop()):
                if node.identity not in found:
                    found[node.identity] = node
                    waiting += [field.node for field in node.fields]
                    waiting += [nested.result.root for nested in self.of_class(node).values()]
        return [node for node in found.values() if self.of_class(node)]

    def paths(self, operation: Operation, most: int) -> list[str] | None:
        """Return every path that names something to include in an action's results; None for more than `most`."""
        found: dict[str, None] = {}
        waiting: list[tuple[str, Node]] = [("", operation.result.root)]
        while waiting:
            prefix, root = waiting.pop(0)
            for name, offer in sorted(self.offered(root).items()):
                path = f"{prefix}{name}"
                if offer.is_nested:
                    found[path] = None
                if path.count(".") + 1 < self._settings.graphql_max_depth:
                    waiting += [(f"{path}.", node) for node in offer.nodes]
            if max(len(found), len(waiting)) > most:
                return None
        return sorted(found)

    def parse(self, operation: Operation, given: Sequence[str]) -> Tree:
        """Return what is to be included in the result of an action.

        Args:
            operation: The action.
            given: Paths, or several separated by commas; each names a nested action, after the names that lead to it.

        Raises:
            InvalidError: A name is not known, or too much is asked for.
        """
        tree: Tree = {}
        problems: list[Problem] = []
        for path in dict.fromkeys(path for text in given for path in text.split(",")):
            if len(problems) >= PROBLEM_LIMIT:
                break
            if wrong := self._add(operation.result.root, path, tree):
                problems.append(Problem(f"/{INCLUDE}", wrong))
        if not problems:
            fields, cost = self._measured(operation.result.root, tree, 1)
            if fields > self._settings.graphql_max_fields:
                problems.append(
                    Problem(f"/{INCLUDE}", f"{fields} names; the limit is {self._settings.graphql_max_fields}")
                )
            if cost > self._settings.graphql_max_cost:
                problems.append(Problem(f"/{INCLUDE}", f"costs {cost}; the limit is {self._settings.graphql_max_cost}"))
        if problems:
            raise InvalidError(errors=problems)
        return tree

    def _add(self, root: Node, path: str, tree: Tree) -> str:
        """Put a path into the tree, and return what is wrong with it; empty where nothing is."""
        steps = path.split(".")
        if len(steps) > self._settings.graphql_max_depth:
            return f"a path of {len(steps)} names; the limit is {self._settings.graphql_max_depth}"
        nodes, is_nested = [root], False
        for step in steps:
            offers = [offered for node in nodes if (offered := self.offered(node))]
            found = [offered[step] for offered in offers if step in offered]
            if not found:
                names = sorted({name for offered in offers for name, offer in offered.items() if offer.is_told})
                return f"{shown(path)}: {unknown(step, names)}; here can be included: {', '.join(names) or 'nothing'}"
            nodes = [node for offer in found for node in offer.nodes]
            is_nested = any(offer.is_nested for offer in found)
            tree = tree.setdefault(step, {})
        return "" if is_nested else f"{shown(path)}: is there anyway; name what to include of it"

    def _measured(self, root: Node, tree: Tree, factor: int) -> tuple[int, int]:
        """Return how many names a tree has, and what it costs to include them."""
        fields = cost = 0
        for name, below in tree.items():
            inside: list[tuple[int, int]] = [(0, 0)]
            for item, many in objects_in(root):
                times = factor * _LIST_FACTOR if many else factor
                nested = self.of_class(item).get(name)
                nodes = [nested.result.root] if nested else [f.node for f in item.fields if f.wire == name]
                for node in nodes:
                    more, costs = self._measured(node, below, times)
                    inside.append((more, costs + (_CALL_COST if nested else 1) * times))
            fields += 1 + max(item[0] for item in inside)
            cost += max(item[1] for item in inside)
        return fields, cost

    def _leads_on(self, root: Node) -> bool:
        """Whether something can be included of what a node is, or of what is inside of it."""
        if id(root) not in self._leading:
            seen: set[object] = set()
            waiting, found = [root], False
            while waiting and not found:
                for node, _ in objects_in(waiting.pop()):
                    found = found or bool(self.of_class(node))
                    if node.identity not in seen:
                        seen.add(node.identity)
                        waiting += [field.node for field in node.fields]
            self._leading[id(root)] = found
        return self._leading[id(root)]


class Whole(msgspec.Struct, frozen=True):
    """A result with what is included in it.

    Args:
        content: The JSON.
        cache: How it may be used again.
        private: Whether it is for its caller alone.
        reply: The `Reply` of the action, without its value; its status and headers are those of the answer.
    """

    content: bytes
    cache: CacheHeader
    private: bool
    reply: Reply[None]


class Including:
    """The calls of one request.

    Args:
        inclusions: What may be included.
        context: The call's surroundings.
        max_age: How old kept results may be; see `CachedOperation.fetch`.
        store: Whether new ones may be kept.
    """

    def __init__(
        self, inclusions: Inclusions, context: CallContext, *, max_age: int | None = None, store: bool = True
    ) -> None:
        self._inclusions = inclusions
        self._context = context
        self._max_age, self._store = max_age, store
        self._parts: list[CacheHeader] = []
        self._private = False
        self._calls = 0
        self._reply: Reply[None] = Reply(None)

    async def run(self, operation: Operation, arguments: Any, tree: Tree) -> Whole:
        """Call an action, and everything that is to be included in its result.

        Args:
            operation: The action; its caller has been let in.
            arguments: Its arguments, decoded.
            tree: What `Inclusions.parse` returned.

        Raises:
            CallError: One of the calls failed, or its caller may not make it; none of the others goes on.
        """
        context = self._context
        context.batch_loader, context.started = BatchLoader(), operation.runtime.loop.time()
        async with RequestScope(all_or_none=True) as context.request_scope:
            wire = await self._result(operation, arguments, context, tree, is_whole=True)
        context.request_scope = None
        return Whole(msgspec.json.encode(wire), CacheHeader.of_parts(self._parts), self._private, self._reply)

    async def _result(
        self, operation: Operation, arguments: Any, context: CallContext, tree: Tree, *, is_whole: bool = False
    ) -> Any:
        """Return the JSON values of a result, with what is to be included in it."""
        self._private = self._private or operation.is_private
        found: list[_Nested] = []

        def written(value: Any) -> Any:
            wire = operation.result.encode(value)
            try:
                self._collect(operation.result.root, value, wire, tree, found)
            except ValueError as error:
                what = "has something in it that can be read only once; make it a list to have something included"
                raise ResultError(operation.result.label, [Problem("", what)]) from error
            return wire

        def finish(result: Any) -> Any:
            if isinstance(result, Reply):
                reply = cast("Reply[Any]", result)
                self._parts.append(
                    ReplyHeaders(reply.headers).applied(
                        CacheHeader(), made_at=time.time(), private=operation.is_private
                    )
                )
                if is_whole:
                    self._reply = Reply(None, reply.status, reply.headers)
            else:
                self._parts.append(CacheHeader())
            if tree:
                return written(operation.check(result))
            encoded = operation.encode_json(result)
            return msgspec.Raw(encoded.value if operation.signature.replies else encoded)

        cached = self._inclusions.cached.get(operation.name)
        if cached is None:
            wire = await operation.run(arguments, context, finish)
        else:
            if tree:
                wire, fetched = await cached.fetch_object(
                    arguments, context, written, max_age=self._max_age, store=self._store
                )
            else:
                fetched = await cached.fetch(arguments, context, max_age=self._max_age, store=self._store)
                wire = msgspec.Raw(fetched.representation.content)
            self._parts.append(fetched.cache)
            if is_whole:
                self._reply = Reply(None, fetched.representation.status, fetched.representation.headers)
        self._calls += len(found)
        if self._calls > MOST_CALLS:
            raise InvalidError(
                errors=[Problem(f"/{INCLUDE}", f"takes more than {MOST_CALLS} calls; ask for fewer objects at once")]
            )
        await _all_or_none([self._call(item) for item in found])
        return wire

    async def _call(self, item: _Nested) -> None:
        operation, outer = item.operation, self._context
        context = CallContext(
            outer.origin,
            outer.transport,
            outer.request_id,
            outer.authorization,
            client=outer.client,
            batch_loader=outer.batch_loader,
            request_scope=outer.request_scope,
            started=outer.started,
        )
        with ErrorBoundary("the call failed", log=_log, request_id=context.request_id, action=operation.name):
            if not operation.is_unguarded:
                await operation.authorize(context)
            arguments = operation.decode_for(item.owner, {})
            item.wire[item.name] = await self._result(operation, arguments, context, item.tree)

    def _collect(self, node: Node, value: Any, wire: Any, tree: Tree, found: list[_Nested]) -> None:
        """Collect the calls that a tree asks for of a value, whose JSON values are here, too."""
        if not tree or value is None or isinstance(wire, (str, int, float)):
            return
        if node.kind == "union":
            self._collect(self._inclusions.member_of(node, value), value, wire, tree, found)
        elif node.kind == "list":
            for item, inner in zip(value, wire, strict=True):
                self._collect(node.items[0], item, inner, tree, found)
        elif node.kind == "dict":
            for item, inner in zip(value.values(), wire.values(), strict=True):
                self._collect(node.items[1], item, inner, tree, found)
        elif node.kind == "tuple":
            for item_node, item, inner in zip(node.items, value, wire, strict=True):
                self._collect(item_node, item, inner, tree, found)
        elif isinstance(wire, dict):
            nested = self._inclusions.of_class(node)
            for name, below in tree.items():
                if name in nested:
                    found.append(_Nested(nested[name], name, value, cast("dict[str, Any]", wire), below))
            for field in node.fields:
                if field.wire in tree and field.wire in wire:
                    self._collect(field.node, _member(value, field.name), wire[field.wire], tree[field.wire], found)


class _Nested(msgspec.Struct):
    """One call: of which action, of which object, and where its result goes."""

    operation: Operation
    name: str
    owner: Any
    wire: dict[str, Any]
    tree: Tree


async def _all_or_none(calls: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Return when all calls are made; raise what the first of them raised that failed, when the rest has ended."""
    if len(calls) < 2:
        for call in calls:
            await call
        return
    tasks = [asyncio.get_running_loop().create_task(call) for call in calls]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        failed = [task for task in tasks if task.done() and not task.cancelled() and task.exception() is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in failed:
        task.result()


def objects_in(node: Node, many: bool = False) -> Iterator[tuple[Node, bool]]:
    """Yield the classes that a node is made of, and whether there are many objects of each."""
    if node.kind in ("object", "custom"):
        yield node, many
    elif node.kind == "list":
        yield from objects_in(node.items[0], True)
    elif node.kind == "dict":
        yield from objects_in(node.items[1], True)
    elif node.kind in ("tuple", "union"):
        for item in node.items:
            yield from objects_in(item, many)


def _member(value: Any, name: str) -> Any:
    return cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _takes_arguments(operation: Operation) -> bool:
    return any(parameter.default is MISSING for parameter in operation.signature.parameters[1:])
