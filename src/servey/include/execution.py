"""The calls of one request with ``?include=``.

The includable actions are found when the service is built. The names of a request become a tree. First the action is
called, then, level by level, the nested actions of the objects that the tree selects. Each call has its own access
check, error and deadline; the calls of one level are made together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, cast

import msgspec

from servey.action.batch_loader import BatchLoader
from servey.action.call import make_call
from servey.action.context import CallContext
from servey.action.operation import Operation
from servey.action.reply import Reply
from servey.action.request_scope import RequestScope
from servey.cache_control.cache_header import CacheHeader
from servey.cache_control.cached_operation import CachedOperation
from servey.cache_control.reply_headers import ReplyHeaders
from servey.codec import ResultError
from servey.codec.node import Node
from servey.errors import InvalidError, Problem
from servey.include.paths import Tree
from servey.include.targets import INCLUDE, IncludeTargets

MOST_CALLS = 10_000
"""The largest number of nested calls for one request."""


class CompoundDocument(msgspec.Struct, frozen=True):
    """A result with the included results of nested actions.

    Args:
        content: The JSON.
        cache: How caches may reuse it.
        private: Whether it is only for its caller.
        reply: The `Reply` of the action, without its value; its status and headers are those of the answer.
    """

    content: bytes
    cache: CacheHeader
    private: bool
    reply: Reply[None]


class IncludeExecution:
    """The calls of one request.

    Args:
        targets: The includable actions.
        cached: The operations with a cache control, by name.
        context: The call context.
        max_age: The highest age of cached results; see `CachedOperation.fetch`.
        store: Whether new results may be cached.
    """

    def __init__(
        self,
        targets: IncludeTargets,
        cached: Mapping[str, CachedOperation],
        context: CallContext,
        *,
        max_age: int | None = None,
        store: bool = True,
    ) -> None:
        self._targets, self._cached = targets, cached
        self._context = context
        self._max_age, self._store = max_age, store
        self._parts: list[CacheHeader] = []
        self._private = False
        self._calls = 0
        self._reply: Reply[None] = Reply(None)

    async def run(self, operation: Operation, arguments: Any, tree: Tree) -> CompoundDocument:
        """Call an action, and the nested actions to include in its result.

        Args:
            operation: The action; `Operation.authorize` has accepted the caller.
            arguments: The decoded arguments.
            tree: The tree of `IncludePaths.parse`.

        Raises:
            CallError: A call failed, or the caller may not make it; the other calls are cancelled.
        """
        context = self._context
        context.batch_loader, context.started = BatchLoader(), operation.runtime.loop.time()
        async with RequestScope(all_or_none=True) as context.request_scope:
            wire = await self._result(operation, arguments, context, tree, is_whole=True)
        context.request_scope = None
        return CompoundDocument(
            msgspec.json.encode(wire), CacheHeader.of_parts(self._parts), self._private, self._reply
        )

    async def _result(
        self, operation: Operation, arguments: Any, context: CallContext, tree: Tree, *, is_whole: bool = False
    ) -> Any:
        """Return the JSON value of a result, with the results to include."""
        self._private = self._private or operation.is_private
        found: list[_Nested] = []

        def written(value: Any) -> Any:
            wire = operation.result.encode(value)
            try:
                self._collect(operation.result.root, value, wire, tree, found)
            except ValueError as error:
                what = "has an iterator, which can be read only once; return a list to include nested actions"
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

        cached = self._cached.get(operation.name)
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
        operation, context = item.operation, self._context.part()

        async def execute(arguments: Any) -> None:
            item.wire[item.name] = await self._result(operation, arguments, context, item.tree)

        await make_call(operation, context, lambda: operation.decode_for(item.owner, {}), execute)

    def _collect(self, node: Node, value: Any, wire: Any, tree: Tree, found: list[_Nested]) -> None:
        """Collect the calls of a tree for a value; `wire` is the JSON value of the same value."""
        if not tree or value is None or isinstance(wire, (str, int, float)):
            return
        if node.kind == "union":
            self._collect(self._targets.member_of(node, value), value, wire, tree, found)
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
            nested = self._targets.of_class(node)
            for name, below in tree.items():
                if name in nested:
                    found.append(_Nested(nested[name], name, value, cast("dict[str, Any]", wire), below))
            for field in node.fields:
                if field.wire in tree and field.wire in wire:
                    self._collect(field.node, _member(value, field.name), wire[field.wire], tree[field.wire], found)


class _Nested(msgspec.Struct):
    """One call: its action, its object, and the JSON object for its result."""

    operation: Operation
    name: str
    owner: Any
    wire: dict[str, Any]
    tree: Tree


async def _all_or_none(calls: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Make all calls; if one fails, cancel the others, wait for their end, and raise the first error."""
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


def _member(value: Any, name: str) -> Any:
    return cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else getattr(value, name, None)
