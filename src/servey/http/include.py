"""``?include=``: the answer of a GET contains results of nested actions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from servey.action.context import CallContext
from servey.action.operation import Operation
from servey.cache_control.answer_headers import header_lines, private_headers
from servey.cache_control.cached_operation import CachedOperation
from servey.cache_control.reply_headers import ReplyHeaders
from servey.cache_control.representation import Fetched, Representation
from servey.errors import InvalidError
from servey.http.answer import Answer, answer_of, asked_of_cache, with_limits
from servey.http.bearer import AUTHORIZATION_KEY
from servey.http.request import Scope, client_of
from servey.include.execution import CompoundDocument, IncludeExecution
from servey.include.paths import IncludePaths, Tree
from servey.include.targets import INCLUDE
from servey.trigger.web_route import WebRoute

Pairs = Sequence[tuple[str, str]]
AnswerIncluding = Callable[[Pairs, CallContext, Scope, Mapping[bytes, bytes]], Awaitable[Answer]]
"""Takes the names and values of the query, the call context, the ASGI scope and the request headers."""

_OF_THE_RESULT_ALONE = frozenset({"age", "cache-control", "etag", "expires", "last-modified", "pragma"})
"""The headers of a `Reply` that hold for its own value, but not for the whole answer."""


def answer_including(
    route: WebRoute, paths: IncludePaths, cached: Mapping[str, CachedOperation], *, ignore_unknown: bool
) -> AnswerIncluding | None:
    """Return the function that answers requests with ``?include=``; None if `route` has no nested actions to include.

    Args:
        route: The route.
        paths: Parses the include paths.
        cached: The operations with a cache control, by name.
        ignore_unknown: Whether the server ignores unknown parameters.
    """
    operation = route.operation
    if route.method != "GET" or not paths.targets.are_taken_by(operation):
        return None
    in_path = route.trigger.path_parameters

    def read(pairs: Pairs, scope: Scope) -> tuple[Any, Tree]:
        wanted = [value for name, value in pairs if name == INCLUDE]
        rest = [pair for pair in pairs if pair[0] != INCLUDE]
        try:
            tree, wrong = paths.parse(operation, wanted), None
        except InvalidError as error:
            tree, wrong = Tree(), error
        try:
            arguments = operation.decode_text(rest, scope["path_params"] if in_path else {}, ignore_unknown)
        except InvalidError as error:
            if wrong is None:
                raise
            raise InvalidError(error.detail, errors=[*error.errors, *wrong.errors]) from None
        if wrong is not None:
            raise wrong
        return arguments, tree

    async def answer(pairs: Pairs, context: CallContext, scope: Scope, headers: Mapping[bytes, bytes]) -> Answer:
        arguments, tree = read(pairs, scope)
        context.client = client_of(scope)  # nested actions may have rate limits even if this action has none
        max_age, store = asked_of_cache(scope["headers"])
        execution = IncludeExecution(paths.targets, cached, context, max_age=max_age, store=store)
        document = await execution.run(operation, arguments, tree)
        return with_limits(_answered(operation, document, scope, headers), context)

    return answer


def _answered(operation: Operation, document: CompoundDocument, scope: Scope, headers: Mapping[bytes, bytes]) -> Answer:
    status, reply = operation.action.status, document.reply
    own = ReplyHeaders(reply.headers)
    rest = {name: value for name, value in reply.headers.items() if name.lower() not in _OF_THE_RESULT_ALONE}
    if operation.action.cache_control is not None or own.get("cache-control") or own.get("expires"):
        representation = Representation.of(
            document.content, document.cache, private=document.private, status=reply.status, headers=rest
        )
        return answer_of(Fetched(representation), status, scope, headers, reads=True)
    by_cookie = AUTHORIZATION_KEY in scope
    lines = private_headers(rest, by_cookie=by_cookie) if document.private else list(rest.items())
    return document.content, reply.status or status, header_lines(lines)
