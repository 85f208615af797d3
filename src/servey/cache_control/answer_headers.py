"""The headers that tell caches what they may do with an answer (RFC 9110 §8.8, RFC 9111 §5)."""

from __future__ import annotations

from collections.abc import Mapping

from servey.cache_control.http_date import format_http_date
from servey.cache_control.reply_headers import ReplyHeaders
from servey.cache_control.representation import Representation

Headers = list[tuple[str, str]]

PRIVATE: Mapping[bool, Headers] = {
    False: [("cache-control", "private"), ("vary", "Authorization")],
    True: [("cache-control", "private"), ("vary", "Authorization, Cookie")],
}
"""The headers of an answer for its caller alone of which nothing else is known; by whether a cookie may have told who
that is."""

NOT_MODIFIED = frozenset({"cache-control", "content-location", "etag", "expires", "set-cookie", "vary"})
"""What of an answer's headers a 304 has, too (RFC 9110 §15.4.5)."""

_MANAGED = frozenset({"cache-control", "etag", "last-modified", "vary"})


def answer_headers(representation: Representation, *, reads: bool = True, by_cookie: bool = False) -> Headers:
    """Return the headers of an answer with a representation, their names in lower case.

    They are the same for as long as it is kept; ``Age`` and ``Cache-Status`` are not among them.

    Args:
        representation: The result.
        reads: Whether the method is GET or HEAD. In an answer to another, ``ETag`` and ``Last-Modified`` would be taken
            for those of what GET answers from now on (RFC 9110 §8.8, §9.3.4), which only a `Reply` can know.
        by_cookie: Whether somebody in front said who calls, so that a cookie may have told it.
    """
    cache, made_at, private = representation.cache, representation.made_at, representation.private
    reply = ReplyHeaders(representation.headers) if representation.headers else None
    control = reply.cache_control(private=private) if reply else None
    headers: Headers = []
    if reads or (reply and reply.get("etag")):
        headers.append(("etag", representation.entity_tag))
    modified = representation.last_modified
    # not within a second after it changed, when it may change once more at the same date (RFC 9110 §8.8.2.2), and when
    # the server's own clock, that of `Date`, may not have seen it (§8.8.2.1); and no earlier date instead: what is told
    # is what conditions are compared with
    if modified is not None and made_at - modified >= 1 and (reads or (reply and reply.get("last-modified"))):
        headers.append(("last-modified", format_http_date(modified)))
    headers.append(("cache-control", control or cache.directives(private=private)))
    if cache.max_age is not None and not cache.no_store and not (reply and reply.get("expires")):
        headers.append(("expires", format_http_date(made_at + cache.max_age)))
    if reply is None:
        return [*headers, PRIVATE[by_cookie][1]] if private else headers
    headers += _vary(reply, by_cookie) if private else _own_vary(reply)
    return [*headers, *reply.others(_MANAGED)]


def private_headers(reply: Mapping[str, str], *, by_cookie: bool = False) -> Headers:
    """Return the headers of a `Reply` for its caller alone whose action has no cache control.

    Raises:
        ValueError: It shares what is private.
    """
    own = ReplyHeaders(reply)
    control = own.cache_control(private=True) or "private"
    return [("cache-control", control), *_vary(own, by_cookie), *own.others({"cache-control", "vary"})]


def _vary(reply: ReplyHeaders, by_cookie: bool) -> Headers:
    return [("vary", reply.vary(PRIVATE[by_cookie][1][1]))]


def _own_vary(reply: ReplyHeaders) -> Headers:
    own = reply.get("vary")
    return [] if own is None else [("vary", own)]
