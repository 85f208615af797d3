"""The actions that one GraphQL request calls: as whom, until when, together with which others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from graphql import GraphQLResolveInfo

from servey.action.batch_loader import BatchLoader
from servey.action.context import CallContext, Origin, new_request_id
from servey.action.defect import ErrorBoundary
from servey.action.operation import Operation
from servey.action.request_scope import RequestScope
from servey.cache_control.cache_header import CacheHeader
from servey.cache_control.cached_operation import CachedOperation
from servey.cache_control.invalidation import Invalidate
from servey.errors import InvalidError, Problem
from servey.schema.graphql.model import InputField, InputType, OutputField
from servey.security.authorization import Authorization

_log = logging.getLogger("servey.graphql")


class Calls:
    """The calls of one request, in one event loop. It is the context value of the execution.

    Args:
        authorization: The verified caller.
        request_id: What the caller and the log know the request by.
        client: The address that it comes from.
        reads: Whether it is a query, so that results which are kept may be used.
        max_age: How old such a result may be, in seconds; 0 for a new one, None for one that is fresh.
        store: Whether a new one may be kept.
    """

    def __init__(
        self,
        *,
        authorization: Authorization | None = None,
        request_id: str = "",
        client: str = "",
        reads: bool = True,
        max_age: int | None = None,
        store: bool = True,
    ) -> None:
        self.authorization = authorization
        self.request_id = request_id or new_request_id()
        self.client = client
        self.reads = reads
        self.max_age, self.store = max_age, store
        self.batch_loader = BatchLoader()
        self.request_scope: RequestScope | None = None
        """The scope of the current calls: those of a query, or of one root field of a mutation."""
        self.started = asyncio.get_running_loop().time()
        self.parts: list[CacheHeader] = []
        """How the results may be used again of which the answer is made."""
        self.private = authorization is not None
        """Whether the answer is for its caller alone: whoever sends a token may get another one without."""

    def _context(self) -> CallContext:
        return CallContext(
            Origin.NETWORK,
            "graphql",
            self.request_id,
            self.authorization,
            client=self.client,
            batch_loader=self.batch_loader,
            request_scope=self.request_scope,
            started=self.started,
        )

    @asynccontextmanager
    async def sharing(self, *, all_or_none: bool) -> AsyncGenerator[None]:
        """Let the calls inside share resources of scope ``"request"``; see `RequestScope`."""
        async with RequestScope(all_or_none=all_or_none) as self.request_scope:
            try:
                yield
            finally:
                self.request_scope = None

    async def let_in(self, field: OutputField) -> None:
        """Return when the caller may call the action of a field.

        Raises:
            CallError: It may not, as for `servey.action.operation.Operation.authorize`.
        """
        assert field.operation is not None
        if not field.operation.is_unguarded:
            await field.operation.authorize(self._context())

    async def call(
        self,
        field: OutputField,
        source: Any,
        wire: dict[str, Any],
        invalidate: Invalidate | None = None,
        cached: CachedOperation | None = None,
    ) -> Any:
        """Return what the action of a field returns, checked against its type.

        Args:
            field: The field.
            source: The object that a nested action is of.
            wire: The arguments as JSON values.
            invalidate: What the action invalidates; from `Service.invalidations`.
            cached: The operation in `Service.cached`.

        Raises:
            CallError: The caller may not, the arguments are wrong, or the action failed.
        """
        operation = field.operation
        assert operation is not None
        context = self._context()
        with ErrorBoundary("the call failed", log=_log, request_id=self.request_id, action=operation.name):
            if not operation.is_unguarded:
                await operation.authorize(context)
            arguments = self._decoded(field, operation, source, wire)
            if self.reads and cached is not None:
                value = await self._fetch(cached, arguments, context)
            else:
                value = await operation.run(arguments, context, operation.check)
                self._made_of(CacheHeader(), private=operation.is_private)
                if invalidate is not None and not self.reads:
                    if self.request_scope is None:
                        await invalidate(arguments)
                    else:
                        self.request_scope.then(partial(invalidate, arguments))
            return value if field.read is None or value is None else field.read(value)

    @staticmethod
    def _decoded(field: OutputField, operation: Operation, source: Any, wire: dict[str, Any]) -> Any:
        try:
            return operation.decode_for(source, wire) if field.nested else operation.decode(wire)
        except InvalidError as error:
            raise InvalidError(
                error.detail, errors=[_renamed(item, field.arguments) for item in error.errors]
            ) from None

    async def _fetch(self, cached: CachedOperation, arguments: Any, context: CallContext) -> Any:
        value, fetched = await cached.fetch_object(arguments, context, max_age=self.max_age, store=self.store)
        self._made_of(fetched.cache, private=fetched.representation.private)
        return value

    def _made_of(self, cache: CacheHeader, *, private: bool) -> None:
        self.parts.append(cache)
        self.private = self.private or private

    @property
    def cache(self) -> CacheHeader:
        """How the whole answer may be used again: as long as all of its parts, and by others if all of them may be."""
        whole = CacheHeader.of_parts(self.parts)
        if self.private and whole.public:
            return CacheHeader(max_age=whole.max_age, last_modified=whole.last_modified, no_store=whole.no_store)
        return whole


def calls_of(info: GraphQLResolveInfo[Any]) -> Calls:
    """Return the calls of the request that is executed; those of nobody where somebody else executes it.

    Where it is executed without a context, each field has calls of its own.
    """
    if isinstance(info.context, Calls):
        return info.context
    return Calls(reads=info.operation.operation.value == "query")


def _renamed(problem: Problem, arguments: tuple[InputField, ...]) -> Problem:
    """Return a problem with the path that it has for a caller of GraphQL."""
    fields: list[InputField] | tuple[InputField, ...] = arguments
    names: list[str] = []
    for part in problem.path.split("/")[1:]:
        field = next((item for item in fields if item.wire == part), None)
        if field is None:
            names.append(part)
            continue
        names.append(field.name)
        named = field.ref.named
        fields = named.fields if isinstance(named, InputType) else ()
    return Problem("".join(f"/{name}" for name in names), problem.message)
