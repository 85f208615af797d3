"""Execute documents with graphql-core. Another function of type `Execute` can replace it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import CoroutineType
from typing import Any, cast

import msgspec
from graphql import ExecutionResult, Executor, GraphQLError, GraphQLResolveInfo, GraphQLSchema, OperationType

from servey.action.defect import defect
from servey.errors import CallError, InternalError
from servey.servey_strawberry.documents import Document
from servey.servey_strawberry.graphql_context import GraphQLContext, context_of

_log = logging.getLogger("servey.graphql")


class Executed(msgspec.Struct, frozen=True):
    """The result of an execution.

    Args:
        data: The data; None if a non-null root field has failed.
        errors: The errors of fields, or of the whole query.
        refused: The errors that prevented the execution: an unknown operation, or wrong variables.
    """

    data: dict[str, Any] | None = None
    errors: tuple[GraphQLError, ...] = ()
    refused: tuple[GraphQLError, ...] = ()


Execute = Callable[[Document, "str | None", Mapping[str, Any], GraphQLContext], Awaitable[Executed]]
"""Takes a document, the name of an operation, the variables as JSON, and the context of the request."""


def core_execution(schema: GraphQLSchema, *, hide_suggestions: bool) -> Execute:
    """Return the function that executes documents of a schema with graphql-core.

    With one-line resolvers, this `is_awaitable` and the executor without incremental delivery, 100 objects of nine
    members take 0.78 of the time of `graphql.execute`.

    Args:
        schema: The schema, bound by `servey_strawberry.binding`.
        hide_suggestions: Whether error messages suggest no names.
    """

    build = cast("Any", _Executor).build

    async def execute(
        document: Document, operation_name: str | None, variables: Mapping[str, Any], context: GraphQLContext
    ) -> Executed:
        executor: Any = build(
            schema,
            document.ast,
            context_value=context,
            raw_variable_values=dict(variables),
            operation_name=operation_name,
            is_awaitable=is_awaitable,
            hide_suggestions=hide_suggestions,
        )
        if isinstance(executor, list):
            return Executed(refused=tuple(cast("list[GraphQLError]", executor)))
        if executor.operation.operation is OperationType.QUERY:
            try:
                async with context.sharing(all_or_none=False):
                    result = await _executed(executor)
            except CallError as error:  # a shared resource failed, so all changes are rolled back
                return Executed(errors=(GraphQLError(str(error), original_error=error),))
        else:
            result = await _executed(executor)
        return Executed(result.data, tuple(result.errors or ()))

    return execute


async def _executed(executor: Any) -> ExecutionResult:
    result: Any = executor.execute_operation()
    if inspect.isawaitable(result):
        result = await result
    assert isinstance(result, ExecutionResult)
    return result


class _Executor(Executor[Any]):
    """graphql-core's executor with two rules of servey.

    Each root field of a mutation, with all fields below it, has its own request scope. Any exception while reading
    members of objects is an error of the field, because graphql-core reads them in tasks.
    """

    def execute_field(
        self, parent_type: Any, source: Any, field_details_list: Any, path: Any, position_context: Any
    ) -> Any:
        """Return the value of a field, or an awaitable of it."""
        made: Any = super().execute_field(parent_type, source, field_details_list, path, position_context)
        if path.prev is not None or self.operation.operation is OperationType.QUERY or not is_awaitable(made):
            return made
        return self._shared(made, parent_type, field_details_list, path)

    async def _shared(self, made: Awaitable[Any], parent_type: Any, field_details_list: Any, path: Any) -> Any:
        context: GraphQLContext = self.context_value
        try:
            async with context.sharing(all_or_none=True):
                value = await made
                if self.collected_errors.has_nulled_position(path):
                    raise InternalError  # only to roll back: the answer has the error already
                return value
        except GraphQLError:
            raise
        except CallError as error:  # a shared resource failed, so the changes of the field are rolled back
            failed = error
        except BaseException as error:  # noqa: BLE001 - from work after the calls: logged, and the field's error
            failed = defect(error, "the call failed", log=_log, request_id=context.request_id)
        executor: Any = self  # its types are partly unknown
        return_type = executor.schema.get_field(parent_type, field_details_list[0].node.name.value).type
        executor.handle_field_error(failed, return_type, field_details_list, path)
        return None

    async def complete_awaitable_value(
        self,
        return_type: Any,
        field_details_list: Any,
        info: GraphQLResolveInfo[Any],
        path: Any,
        result: Any,
        position_context: Any,
    ) -> Any:
        """Return the completed value of an action's field."""
        executor: Any = super()
        try:
            return await executor.complete_awaitable_value(
                return_type, field_details_list, info, path, result, position_context
            )
        except Exception:
            raise
        except BaseException as error:  # noqa: BLE001 - logged, and the field's error
            request_id = context_of(info).request_id
            failed = defect(error, "the result cannot be encoded", log=_log, request_id=request_id)
            executor.handle_field_error(failed, return_type, field_details_list, path)
            return None


_NEVER = frozenset({str, int, float, bool, type(None), dict, list, tuple})


def is_awaitable(value: Any) -> bool:
    """Whether a value can be awaited; fast for the types of leaves."""
    cls = cast("type[Any]", type(value))
    return cls not in _NEVER and (cls is CoroutineType or hasattr(cls, "__await__"))
