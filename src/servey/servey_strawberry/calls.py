"""The resolvers of fields that call an action."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from operator import itemgetter
from typing import Any

from graphql import GraphQLResolveInfo

from servey.action.context import CallContext
from servey.action.defect import ErrorBoundary
from servey.cache_control.cache_header import CacheHeader
from servey.errors import InvalidError
from servey.idempotency.claim import Kept
from servey.schema.graphql.coercion import problem_in_graphql
from servey.schema.graphql.model import OutputField
from servey.servey_strawberry.graphql_context import GraphQLContext, context_of
from servey.service import Service

_log = logging.getLogger("servey.operation")


def action_resolver(
    field: OutputField, service: Service, remove_marks: Callable[[dict[str, Any]], None] | None
) -> Callable[..., Any]:
    """Return the resolver of a field that calls an action.

    Args:
        field: The field.
        service: The service of the action.
        remove_marks: Removes the arguments that the caller has not given.
    """
    operation, is_nested, convert = field.operation, field.nested, field.read
    assert operation is not None
    cached = service.cached.get(operation.name)
    once = service.idempotent.get(operation.name)
    invalidate = service.invalidations.get(operation.name)

    def decode(source: Any, json: dict[str, Any]) -> Any:
        try:
            return operation.decode_for(source, json) if is_nested else operation.decode(json)
        except InvalidError as error:
            problems = [problem_in_graphql(item, field.arguments) for item in error.errors]
            raise InvalidError(error.detail, errors=problems) from None

    async def fetch(graphql: GraphQLContext, context: CallContext, arguments: Any) -> Any:
        assert cached is not None
        value, fetched = await cached.fetch_object(arguments, context, max_age=graphql.max_age, store=graphql.store)
        graphql.add_part(fetched.cache, private=fetched.representation.private)
        return value

    async def changed(graphql: GraphQLContext, arguments: Any) -> None:
        if invalidate is not None and not graphql.reads:
            await _after_success(partial(invalidate, arguments), graphql)

    async def run_once(
        graphql: GraphQLContext, context: CallContext, arguments: Any, info: GraphQLResolveInfo[Any]
    ) -> Any:
        assert once is not None
        finish = once.checked

        async def run() -> tuple[Any, Kept]:
            checked = await operation.run(arguments, context, finish)
            await changed(graphql, arguments)
            return checked

        place = graphql.place + ".".join(map(str, info.path.as_list()))
        kept = itemgetter(1)
        return (await once.run(arguments, context, run, keep=kept, repeat=once.restored, place=place))[0]

    async def call(graphql: GraphQLContext, source: Any, json: dict[str, Any], info: GraphQLResolveInfo[Any]) -> Any:
        context = graphql.call_context()
        # the order of `make_call`, unrolled: a query makes hundreds of nested calls
        with ErrorBoundary("the call failed", log=_log, request_id=context.request_id, action=operation.name):
            if not operation.is_unguarded:
                await operation.authorize(context)
            arguments = decode(source, json)
            if cached is not None and graphql.reads:
                value = await fetch(graphql, context, arguments)
            else:
                if once is not None:
                    value = await run_once(graphql, context, arguments, info)
                else:
                    value = await operation.run(arguments, context, operation.check)
                    if invalidate is not None:
                        await changed(graphql, arguments)
                graphql.add_part(CacheHeader(), private=operation.is_private)
            return value if convert is None or value is None else convert(value)

    # positional only, because an argument may be called `source` or `info`
    def resolve(source: Any, info: GraphQLResolveInfo[Any], /, **arguments: Any) -> Any:
        if remove_marks is not None:
            remove_marks(arguments)
        return call(context_of(info), source, arguments, info)

    return resolve


async def _after_success(change: Callable[[], Awaitable[None]], graphql: GraphQLContext) -> None:
    """Run `change` after the current request scope is committed."""
    if graphql.request_scope is None or not graphql.request_scope.then(change):
        await change()
