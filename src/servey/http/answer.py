"""Answers that need more than the result: caching headers, conditional requests, invalidation, rate limits.

The endpoint of an action without any of these calls the operation directly.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from servey.action.context import CallContext
from servey.action.operation import Operation
from servey.action.reply import Reply
from servey.background_call.outgoing import has_changed_data
from servey.cache_control.answer_headers import NOT_MODIFIED, PRIVATE, answer_headers, header_lines, private_headers
from servey.cache_control.cached_operation import CachedOperation
from servey.cache_control.invalidation import Invalidate
from servey.cache_control.preconditions import Conditions, Current, Outcome, is_conditional
from servey.cache_control.reply_headers import ReplyHeaders, cache_directives, seconds_in
from servey.cache_control.representation import Fetched, Representation
from servey.errors import PreconditionError
from servey.http.bearer import AUTHORIZATION_KEY
from servey.http.current_representation import FindCurrent, current_of, find_current
from servey.http.request import Scope
from servey.idempotency.claim import Kept
from servey.idempotency.key import key_in
from servey.trigger.web_route import WebRoute
from servey.trigger.web_trigger import WebTriggerMethod

if TYPE_CHECKING:
    from servey.idempotency.idempotent_operation import IdempotentOperation

Lines = Sequence[tuple[bytes, bytes]]
Answer = tuple[bytes, int, Lines]
"""Content, status and headers; the endpoint adds ``Content-Type`` and ``Content-Length``."""
Answering = Callable[[Any, CallContext, Scope, Mapping[bytes, bytes]], Awaitable[Answer]]
"""Takes the arguments, the call context, the ASGI scope and the request headers."""

_RENDERED = {True: ("starlette", "starlette, by cookie"), False: ("starlette, write", "starlette, write, by cookie")}
"""The keys of `Representation.renderings`: first whether the method is GET, then whether middleware set the caller."""
_REPEATED = (b"idempotent-replayed", b"true")
_NOT_MODIFIED = frozenset(name.encode("ascii") for name in NOT_MODIFIED)


class Rendered:
    """The headers of a representation; made once and cached with it.

    Args:
        representation: The result.
        reads: Whether the method is GET or HEAD.
        by_cookie: Whether a middleware verified the caller, perhaps by a cookie.
    """

    __slots__ = ("_answered", "_last", "_not_modified", "_own_age", "entity_tag")

    def __init__(self, representation: Representation, reads: bool, by_cookie: bool) -> None:
        lines = header_lines(answer_headers(representation, reads=reads, by_cookie=by_cookie))
        self._answered = [line for line in lines if line[0] != b"age"]
        self._not_modified = [line for line in self._answered if line[0] in _NOT_MODIFIED]
        self._own_age = ReplyHeaders(representation.headers).age if representation.headers else 0
        self._last: tuple[int, str, Lines, Lines] = 0, "", self._answered, self._not_modified
        self.entity_tag = representation.entity_tag.encode("latin-1")

    def headers(self, age: int, cache_status: str) -> tuple[Lines, Lines]:
        """Return the headers of a full answer and those of a 304, with ``Age`` and ``Cache-Status``."""
        last = self._last
        if last[0] == age and last[1] == cache_status:
            return last[2:]
        source = tuple(self._source_headers(age, cache_status))
        self._last = last = age, cache_status, (*self._answered, *source), (*self._not_modified, *source)
        return last[2:]

    def _source_headers(self, age: int, cache_status: str) -> Iterable[tuple[bytes, bytes]]:
        if age or self._own_age or cache_status.startswith("hit"):
            yield b"age", b"%d" % (age + self._own_age)
        if cache_status:
            yield b"cache-status", f"servey; {cache_status}".encode("ascii")


def privacy_of(operation: Operation) -> tuple[Lines, Lines]:
    """Return the caching headers of an action without a cache control.

    The second item is for requests whose caller a middleware has verified.
    """
    if not operation.is_private:
        return (), ()
    return tuple(header_lines(PRIVATE[False])), tuple(header_lines(PRIVATE[True]))


def answering(
    route: WebRoute,
    cached: Mapping[str, CachedOperation],
    invalidate: Invalidate | None = None,
    once: IdempotentOperation | None = None,
) -> Answering | None:
    """Return the function that answers requests of `route`; None if the operation's result is the whole answer.

    Args:
        route: The route.
        cached: `Service.cached`.
        invalidate: Invalidates cached results after a write; from `Service.invalidations`.
        once: The operation with its idempotency; from `Service.idempotent`.
    """
    operation = route.operation
    if (caching := cached.get(operation.name)) is not None:
        answer = _cached(route, caching)
    elif operation.signature.replies:
        answer = _replied(operation)
    else:
        answer = None
    if (find := find_current(route, cached)) is not None:
        answer = _conditional(answer or _plain(operation), find)
    if route.method != "GET" and invalidate is not None:
        answer = _invalidating(answer or _plain(operation), invalidate)
    if once is not None:
        answer = _once(answer or _plain(operation), once)
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
        return reply.value, reply.status or default, header_lines(own)

    return answer


def _cached(route: WebRoute, cached: CachedOperation) -> Answering:
    fetch, default = cached.fetch, route.operation.action.status
    reads = route.trigger.method is WebTriggerMethod.GET

    async def answer(arguments: Any, context: CallContext, scope: Scope, headers: Mapping[bytes, bytes]) -> Answer:
        if b"cache-control" in headers or b"pragma" in headers:
            max_age, store = asked_of_cache(scope["headers"])
            fetched = await fetch(arguments, context, max_age=max_age, store=store)
        else:
            fetched = await fetch(arguments, context)
        return answer_of(fetched, default, scope, headers, reads=reads)

    return answer


def answer_of(fetched: Fetched, default: int, scope: Scope, headers: Mapping[bytes, bytes], *, reads: bool) -> Answer:
    """Return the answer with a representation, or a 304 if the client already has it.

    Args:
        fetched: The representation and its source.
        default: The action's status.
        scope: The request.
        headers: Its headers.
        reads: Whether its method is GET or HEAD.
    """
    representation, key = fetched.representation, _RENDERED[reads][by_cookie := AUTHORIZATION_KEY in scope]
    rendered: Rendered | None = representation.renderings.get(key)
    if rendered is None:
        rendered = representation.renderings[key] = Rendered(representation, reads, by_cookie)
    full, not_modified = rendered.headers(fetched.age, fetched.cache_status)
    status = representation.status or default
    if reads and is_conditional(headers) and 200 <= status <= 299:
        # fast path: most clients send only the one tag that they received before
        given = headers.get(b"if-none-match")
        is_same = given == rendered.entity_tag and not (b"if-match" in headers or b"if-unmodified-since" in headers)
        if is_same and _has_one_line(scope["headers"], b"if-none-match"):
            return b"", 304, not_modified
        conditions = Conditions.of(scope["headers"], time.time())
        if _outcome(conditions, current_of(representation), reads=True) is Outcome.NOT_MODIFIED:
            return b"", 304, not_modified
    return representation.content, status, full


def _conditional(answer: Answering, find: FindCurrent) -> Answering:
    """Check the conditions of a write before `answer`; raise a 412 if one does not hold."""

    async def under_conditions(
        arguments: Any, context: CallContext, scope: Scope, headers: Mapping[bytes, bytes]
    ) -> Answer:
        if is_conditional(headers):
            conditions = Conditions.of(scope["headers"], time.time())
            if conditions.may_prevent_changes:
                _outcome(conditions, await find(arguments, context, scope), reads=False)
        return await answer(arguments, context, scope, headers)

    return under_conditions


def _invalidating(answer: Answering, invalidate: Invalidate) -> Answering:
    """Invalidate cached results after a successful write, before its answer is sent."""

    async def written(arguments: Any, context: CallContext, scope: Scope, headers: Mapping[bytes, bytes]) -> Answer:
        try:
            content, status, lines = await answer(arguments, context, scope, headers)
        except BaseException:
            if has_changed_data(context):
                await invalidate(arguments)
            raise
        if status < 400:
            await invalidate(arguments)
        return content, status, lines

    return written


def _once(answer: Answering, once: IdempotentOperation) -> Answering:
    """Answer the first call with an idempotency key by `answer`, and a repeat like the first call."""

    def keep(answered: Answer) -> Kept:
        content, status, lines = answered
        return Kept.of(content, status, lines)

    def repeat(kept: Kept) -> Answer:
        return kept.content, kept.status, [*kept.headers, _REPEATED]

    async def idempotent(arguments: Any, context: CallContext, scope: Scope, headers: Mapping[bytes, bytes]) -> Answer:
        if b"idempotency-key" in headers:
            context.idempotency_key = key_in(scope["headers"])
        run = partial(answer, arguments, context, scope, headers)
        return await once.run(arguments, context, run, keep=keep, repeat=repeat)

    return idempotent


def _counted(answer: Answering) -> Answering:
    """Add the rate limit headers to `answer`."""

    async def counted(arguments: Any, context: CallContext, scope: Scope, headers: Mapping[bytes, bytes]) -> Answer:
        return with_limits(await answer(arguments, context, scope, headers), context)

    return counted


def with_limits(answer: Answer, context: CallContext) -> Answer:
    """Return an answer with the rate limit headers, if the call was counted."""
    if context.limits is None:
        return answer
    body, status, lines = answer
    own = {name for name, _ in lines}
    limits = header_lines(list(context.limits.headers.items()))
    return body, status, [*lines, *(line for line in limits if line[0] not in own)]


def asked_of_cache(headers: Sequence[tuple[bytes, bytes]]) -> tuple[int | None, bool]:
    """Return the highest age of a cached result for a request, and whether a new result may be cached.

    The rules are those of RFC 9111 §5.2.1.

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


def _has_one_line(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> bool:
    """Return whether a header of a request has exactly one line; the values of several lines belong together."""
    return [given for given, _ in headers].count(name) == 1


def _outcome(conditions: Conditions, current: Current | None, *, reads: bool) -> Outcome:
    """Evaluate the conditions of a request.

    Raises:
        PreconditionError: A condition does not hold.
    """
    outcome = conditions.evaluate(current, reads=reads, now=time.time())
    if outcome is Outcome.FAILED:
        raise PreconditionError(
            "there is nothing at this path" if current is None else "the resource does not match the condition"
        )
    return outcome
