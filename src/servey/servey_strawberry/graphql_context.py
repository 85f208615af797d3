"""The context of one GraphQL request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from graphql import GraphQLResolveInfo

from servey.action.batch_loader import BatchLoader
from servey.action.context import CallContext, Origin, new_request_id
from servey.action.operation import Operation
from servey.action.request_scope import RequestScope
from servey.cache_control.cache_header import CacheHeader
from servey.security.authorization import Authorization


class GraphQLContext:
    """The context value of an execution: the caller, and the state that the calls of the request share.

    Args:
        authorization: The verified caller.
        request_id: The id of the request for the caller and the log.
        client: The address of the caller.
        traceparent: The trace of the request; see `CallContext`.
        reads: Whether the operation is a query, so that calls may use cached results.
        max_age: The maximum age of a cached result in seconds; 0 for a new result, None for any fresh result.
        store: Whether new results may be cached.
        idempotency_key: The ``Idempotency-Key`` of the request; see `CallContext`.
        place: The place of the operation in a batch of requests; empty without one.
    """

    def __init__(
        self,
        *,
        authorization: Authorization | None = None,
        request_id: str = "",
        client: str = "",
        traceparent: str = "",
        reads: bool = True,
        max_age: int | None = None,
        store: bool = True,
        idempotency_key: str | None = None,
        place: str = "",
    ) -> None:
        self.authorization = authorization
        self.request_id = request_id or new_request_id()
        self.client, self.traceparent = client, traceparent
        self.reads = reads
        self.max_age, self.store = max_age, store
        self.idempotency_key, self.place = idempotency_key, place
        self.batch_loader = BatchLoader()
        self.request_scope: RequestScope | None = None
        """The scope of the current calls: of a query, or of one root field of a mutation."""
        self.started = asyncio.get_running_loop().time()
        self.private = authorization is not None
        """Whether the answer is only for this caller: with another token, it could differ."""
        self._parts: list[CacheHeader] = []

    def call_context(self) -> CallContext:
        """Return the context of a new call."""
        return CallContext(
            Origin.NETWORK,
            "graphql",
            self.request_id,
            self.authorization,
            client=self.client,
            batch_loader=self.batch_loader,
            request_scope=self.request_scope,
            started=self.started,
            traceparent=self.traceparent,
            idempotency_key=self.idempotency_key,
        )

    async def authorize(self, operation: Operation) -> None:
        """Check that the caller may call an action.

        Raises:
            CallError: As for `servey.action.operation.Operation.authorize`.
        """
        if not operation.is_unguarded:
            await operation.authorize(self.call_context())

    @asynccontextmanager
    async def sharing(self, *, all_or_none: bool) -> AsyncGenerator[None]:
        """Share resources of scope ``"request"`` between the calls inside; see `RequestScope`."""
        async with RequestScope(all_or_none=all_or_none) as self.request_scope:
            try:
                yield
            finally:
                self.request_scope = None

    def add_part(self, cache: CacheHeader, *, private: bool) -> None:
        """Add the `CacheHeader` of a result that the answer contains."""
        self._parts.append(cache)
        self.private = self.private or private

    @property
    def cache(self) -> CacheHeader:
        """The `CacheHeader` of the whole answer: the shortest age of all parts, and public if all are."""
        whole = CacheHeader.of_parts(self._parts)
        if self.private and whole.public:
            return CacheHeader(max_age=whole.max_age, last_modified=whole.last_modified, no_store=whole.no_store)
        return whole


def context_of(info: GraphQLResolveInfo[Any]) -> GraphQLContext:
    """Return the context of an execution; without one, each field has its own, without a caller."""
    if isinstance(info.context, GraphQLContext):
        return info.context
    return GraphQLContext(reads=info.operation.operation.value == "query")
