"""How the answer of an action is made that is more than its result: with headers of caching, under conditions, counted.

A plain action, open and without any of it, needs nothing of this: its endpoint calls the operation itself.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from servey.action.context import CallContext
from servey.action.operation import Operation
from servey.action.reply import Reply
from servey.cache_control.answer_headers import NOT_MODIFIED, PRIVATE, answer_headers, private_headers
from servey.cache_control.preconditions import CONDITION_HEADERS, Conditions, Current, Outcome
from servey.cache_control.reply_headers import cache_directives, seconds_in
from servey.cache_control.representation import Fetched, Representation
from servey.errors import PreconditionError
from servey.security.rate_limit.rate_limit_headers import rate_limit_headers
from servey.servey_starlette.current import FindCurrent, current_of, find_current
from servey.servey_starlette.request import AUTHORIZATION_KEY, Scope
from servey.service import Service
from servey.trigger.web_route import WebRoute
from servey.trigger.web_trigger import WebTriggerMethod

Lines = Sequence[tuple[bytes, bytes]]
Answer = tuple[bytes, int, Lines]
"""Content, status and headers; the content's own headers are the endpoint's to send."""
Answering = Callable[[Any, CallContext, Scope, Mapping[bytes, bytes]], Awaitable[Answer]]
"""Takes the arguments, the call's surroundings, the scope and its headers."""

_RENDERED = ("starlette", "starlette, by cookie")


class _Rendered(NamedTuple):
    """The headers of a representation, made once for as long as it is kept."""

    answered: Lines
    not_modified: Lines
    has_age: bool


def encoded(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI has them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def privacy_of(operation: Operation) -> tuple[Lines, Lines]:
    """Return what is said of every answer of an action without a cache control; the second where somebody in front
    said who calls.
    """
    if not operation.is_private:
        return (), ()
    return tuple(encoded(PRIVATE[False])), tuple(encoded(PRIVATE[True]))


def answering(route: WebRoute, service: Service) -> Answering | None:
    """Return how the answers of `route` are made; None where the operation's result is all of it."""
    operation = route.operation
    if operation.action.cache_control is not None:
        answer = _cached(route)
    elif operation.signature.replies:
        answer = _replied(operation)
    else:
        answer = None
    if (find := find_current(route, service)) is not None:
        answer = _conditional(answer or _plain(operation), find)
    if operation.limiter is not None:
        answer = _counted(answer or _plain(operation))
    return answer


def _plain(operation: Operation) -> Answering:
    run, encode, status, privacy = operation.run, operation.encode_json, operation.action.status, privacy_of(operation)

    async def answer(arguments: Any, context: CallContext, scope: Scope, headers: Mapping[bytes, bytes]) -> Answer:
        return await run(arguments, context, encode), status, privacy[AUTHORIZATION_KEY in scope]

    return answer


def _replied(operation: Operation) -> Answering:
    run, encode, private, default = (
        operation.run,
        operation.encode_json,
        operation.is_private,
        operation.action.status,
    )

    async def answer(arguments: Any, context: CallContext, scope: Scope, headers: Mapping[bytes, bytes]) -> Answer:
        reply: Reply[bytes] = await run(arguments, context, encode)
        own = (
            private_headers(reply.headers, by_cookie=AUTHORIZATION_KEY in scope)
            if private
            else list(reply.headers.items())
        )
        return reply.value, reply.status or default, encoded(own)

    return answer


def _cached(route: WebRoute) -> Answering:
    fetch, default = route.operation.fetch, route.operation.action.status
    reads = route.trigger.method is WebTriggerMethod.GET
    is_write = hasattr(route.operation.action.cache_control, "current_etag")

    async def answer(arguments: Any, context: CallContext, scope: Scope, headers: Mapping[bytes, bytes]) -> Answer:
        if is_write:
            fetched = await fetch(arguments, context, max_age=0, store=False)
        elif b"cache-control" in headers or b"pragma" in headers:
            max_age, store = asked_of_cache(scope["headers"])
            fetched = await fetch(arguments, context, max_age=max_age, store=store)
        else:
            fetched = await fetch(arguments, context)
        representation, by_cookie = fetched.representation, AUTHORIZATION_KEY in scope
        rendered = representation.renderings.get(_RENDERED[by_cookie]) or _render(representation, by_cookie)
        body, status, lines = representation.content, representation.status or default, rendered.answered
        is_conditional = reads and 200 <= status <= 299 and not CONDITION_HEADERS.isdisjoint(headers)
        if is_conditional and _outcome(scope, current_of(representation), reads=True) is Outcome.NOT_MODIFIED:
            body, status, lines = b"", 304, rendered.not_modified
        if fetched.cache_status or fetched.age:
            lines = [*lines, *_where_from(fetched, rendered)]
        return body, status, lines

    return answer


def _conditional(answer: Answering, find: FindCurrent) -> Answering:
    """Return `answer` where the conditions of a request that changes something hold; a 412 where they do not."""

    async def under_conditions(
        arguments: Any, context: CallContext, scope: Scope, headers: Mapping[bytes, bytes]
    ) -> Answer:
        if not CONDITION_HEADERS.isdisjoint(headers):
            _outcome(scope, await find(arguments, context, scope), reads=False)
        return await answer(arguments, context, scope, headers)

    return under_conditions


def _counted(answer: Answering) -> Answering:
    """Return `answer` with what is left of the rate limit."""

    async def counted(arguments: Any, context: CallContext, scope: Scope, headers: Mapping[bytes, bytes]) -> Answer:
        body, status, lines = await answer(arguments, context, scope, headers)
        if context.limits is not None:
            own = {name for name, _ in lines}
            told = encoded(list(rate_limit_headers(context.limits).items()))
            lines = [*lines, *(line for line in told if line[0] not in own)]
        return body, status, lines

    return counted


def asked_of_cache(headers: Sequence[tuple[bytes, bytes]]) -> tuple[int | None, bool]:
    """Return how old a kept result may be for a request, and whether a new one may be kept (RFC 9111 §5.2.1).

    Args:
        headers: The header lines of the request.
    """
    lines = [value.decode("latin-1") for name, value in headers if name == b"cache-control"]
    if not lines:  # for caches older than HTTP/1.1 (§5.4)
        stale = any(name == b"pragma" and b"no-cache" in value.lower() for name, value in headers)
        return 0 if stale else None, True
    directives = cache_directives(",".join(lines))
    if "no-cache" in directives or "no-store" in directives:
        return 0, "no-store" not in directives
    return seconds_in(directives.get("max-age")), True


def _outcome(scope: Scope, current: Current | None, *, reads: bool) -> Outcome:
    """Return what the conditions of a request come to.

    Raises:
        PreconditionError: One does not hold.
    """
    now = time.time()
    outcome = Conditions.of(scope["headers"], now).evaluate(current, reads=reads, now=now)
    if outcome is Outcome.FAILED:
        raise PreconditionError(
            "there is nothing at this path" if current is None else "it is not what the condition says any more"
        )
    return outcome


def _render(representation: Representation, by_cookie: bool) -> _Rendered:
    headers = encoded(answer_headers(representation, by_cookie=by_cookie))
    kept = tuple(line for line in headers if line[0].decode("latin-1") in NOT_MODIFIED)
    rendered = _Rendered(tuple(headers), kept, any(name == b"age" for name, _ in headers))
    representation.renderings[_RENDERED[by_cookie]] = rendered
    return rendered


def _where_from(fetched: Fetched, rendered: _Rendered) -> Lines:
    status = fetched.cache_status
    lines: list[tuple[bytes, bytes]] = []
    if (fetched.age or status.startswith("hit")) and not rendered.has_age:
        lines.append((b"age", b"%d" % fetched.age))
    if status:
        lines.append((b"cache-status", f"servey; {status}".encode("ascii")))
    return lines
