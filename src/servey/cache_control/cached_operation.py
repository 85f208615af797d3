"""An operation with a cache control: its result comes from the result cache, or from a new call."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from servey.action.call_resources import in_thread
from servey.action.callables import is_async
from servey.action.context import CURRENT_CALL, CallContext
from servey.action.current import as_current_call
from servey.action.deadlines import in_time
from servey.action.defect import defect
from servey.action.execution import Finish
from servey.action.operation import Operation
from servey.action.reply import Reply
from servey.cache_control.cache_header import CacheHeader
from servey.cache_control.representation import Fetched, Representation
from servey.cache_control.result_cache import ResultCache
from servey.errors import CallError, DefinitionError, InternalError, summary
from servey.ports import FreshnessCacheControl, PublicCacheControl, ResultStore, RevalidatingCacheControl

_log = logging.getLogger("servey.operation")


def _same(value: Any) -> Any:
    return value


class CachedOperation:
    """An operation and its cached results. A transport calls `fetch` where it would call `Operation.run`.

    The operation does not know about it.

    Args:
        operation: An operation whose action has a cache control.
        store: Returns the result store of the service; None if the service has none.

    Attributes:
        operation: The operation.
        results: The result cache; None if results of the action are never cached.

    Raises:
        DefinitionError: The cache control is public, but results may differ between callers.
    """

    results: ResultCache | None = None

    def __init__(self, operation: Operation, store: Callable[[], ResultStore] | None = None) -> None:
        self.operation = operation
        self._control: Any = operation.action.cache_control
        is_public = isinstance(self._control, PublicCacheControl) and self._control.public is True
        if operation.is_private and is_public:
            raise DefinitionError(
                f"the results of {operation.name} can differ between callers, but its cache control is public",
                where=operation.action.where,
                fix="remove public=True; the caller's own cache may still store the result",
            )
        if store is not None and self._may_cache_results():
            self.results = ResultCache(operation, store, self.represent)
            self.fetch = self.results.fetch  # saves a call in each request

    def _may_cache_results(self) -> bool:
        """Return whether the result of one call may answer another one.

        It may not if no result is ever fresh, or if the call changes something: a cache control with a `current_etag`
        says so.
        """
        control = self._control
        is_never_fresh = isinstance(control, FreshnessCacheControl) and not control.may_be_fresh
        is_write = isinstance(control, RevalidatingCacheControl)
        return not is_never_fresh and not is_write and self.operation.depends_on_caller_alone

    def fetch(
        self, arguments: Any, context: CallContext, *, max_age: int | None = None, store: bool = True
    ) -> Coroutine[Any, Any, Fetched]:
        """Return a cached result, or else a new one. Call `Operation.authorize` first.

        Args:
            arguments: The decoded arguments.
            context: The call context, as for `Operation.run`.
            max_age: The highest age of a cached result, in seconds (RFC 9111 §5.2.1.1); 0 (``no-cache``) for a new
                result.
            store: Whether a new result may be cached (RFC 9111 §5.2.1.5).

        Raises:
            CallError: As for `Operation.run`.
        """
        return self._fetch_uncached(arguments, context)

    async def _fetch_uncached(self, arguments: Any, context: CallContext) -> Fetched:
        return Fetched(await self.operation.run(arguments, context, self.represent))

    def represent(self, result: Any) -> Representation:
        """Encode a result and add its `CacheHeader`; the last step of `Operation.run`."""
        operation = self.operation
        encoded = operation.encode_json(result)
        reply: Reply[bytes] = encoded if operation.signature.replies else Reply(encoded)
        value = result.value if operation.signature.replies else result
        try:
            cache: Any = self._control.cache_header(value, reply.value)
            if not isinstance(cache, CacheHeader):
                raise TypeError(f"cache_header returned {cache!r}; it must return a CacheHeader")
            return Representation.of(
                reply.value, cache, private=operation.is_private, status=reply.status, headers=reply.headers
            )
        except BaseException as error:
            # here, because the error mappings of the action are for its own exceptions
            raise self._defect(error, CURRENT_CALL.get(), "the cache control failed") from error

    async def fetch_object(
        self,
        arguments: Any,
        context: CallContext,
        finish: Finish = _same,
        *,
        max_age: int | None = None,
        store: bool = True,
    ) -> tuple[Any, Fetched]:
        """Return the result as a checked object, for transports that need more than its JSON.

        Args:
            arguments: As for `fetch`.
            context: As for `fetch`.
            finish: The last step, called with the object; it runs while the resources of a new call are open.
            max_age: As for `fetch`.
            store: As for `fetch`.

        Returns:
            The result of `finish`, and the representation of the result.

        Raises:
            CallError: As for `fetch`.
        """
        operation = self.operation

        def represented(result: Any) -> tuple[Any, Fetched]:
            value = operation.check(result)
            checked = Reply(value, result.status, result.headers) if operation.signature.replies else value
            representation = self.represent(checked)
            return finish(value), Fetched(representation)

        if not operation.result.is_reversible:
            return await operation.run(arguments, context, represented)
        fetched = await self.fetch(arguments, context, max_age=max_age, store=store)
        try:
            value = self._restored(fetched.representation)
        except InternalError:  # the class refuses the JSON of its object
            return await operation.run(arguments, context, lambda result: finish(operation.check(result))), fetched
        return finish(value), fetched

    def _restored(self, representation: Representation) -> Any:
        """Return the result object, decoded from its JSON.

        Raises:
            InternalError: The class refuses the JSON of its object.
        """
        try:
            return self.operation.result.decode_json(representation.content)
        except CallError as error:
            name = self.operation.name
            _log.error("%s: a cached result cannot be read: %s", name, summary(error), extra={"action": name})
            raise InternalError from error

    async def current_etag(self, arguments: Any, context: CallContext) -> str | None:
        """Return the current entity tag of the resource that a call changes, by the method of the cache control.

        Args:
            arguments: The decoded arguments.
            context: The call context.

        Returns:
            The tag without quotes; None if the resource does not exist.

        Raises:
            CallError: From the method `current_etag`; any other exception becomes an `InternalError`.
        """
        operation, ask = self.operation, self._control.current_etag
        given = {name: getattr(arguments, name) for name in operation.arguments.parameters}
        runtime = operation.runtime
        deadline = operation.deadline(context, runtime)
        context.service, context.action = operation.service, operation.name
        with as_current_call(context):
            try:
                if is_async(ask):
                    etag: Any = ask(given)
                else:
                    etag = await in_thread(lambda: ask(given), operation.name, context, runtime)
                if inspect.isawaitable(etag):
                    etag = await in_time(etag, deadline, runtime.deadlines)
                return CacheHeader(etag=etag).etag
            except CallError:
                raise
            except BaseException as error:
                raise self._defect(error, context, "the current_etag of the cache control failed") from error

    def _defect(self, error: BaseException, context: CallContext, message: str) -> InternalError:
        return defect(error, message, log=_log, request_id=context.request_id, action=self.operation.name)
