"""The caching headers of an answer (RFC 9110 §8.8, RFC 9111 §5)."""

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
"""The caching headers of a private answer without a cache control.

The key is whether a middleware verified the caller, perhaps by a cookie.
"""

NOT_MODIFIED = frozenset({"cache-control", "content-location", "etag", "expires", "set-cookie", "vary"})
"""The headers that a 304 repeats from the full answer (RFC 9110 §15.4.5)."""

_MANAGED = frozenset({"cache-control", "etag", "last-modified", "vary"})


def answer_headers(representation: Representation, *, reads: bool = True, by_cookie: bool = False) -> Headers:
    """Return the headers of an answer with a representation, with names in lower case.

    They stay the same while the representation is cached. ``Age`` and ``Cache-Status`` are not among them.

    Args:
        representation: The result.
        reads: Whether the method is GET or HEAD. In an answer to another method, clients read ``ETag`` and
            ``Last-Modified`` as those of the next GET (RFC 9110 §8.8, §9.3.4); only a `Reply` can know these.
        by_cookie: Whether a middleware verified the caller, perhaps by a cookie.
    """
    cache, made_at, private = representation.cache, representation.made_at, representation.private
    reply = ReplyHeaders(representation.headers) if representation.headers else None
    control = reply.cache_control(private=private) if reply else None
    headers: Headers = []
    if reads or (reply and reply.get("etag")):
        headers.append(("etag", representation.entity_tag))
    modified = representation.last_modified
    # Within a second after a change, the resource may change again with the same date (RFC 9110 §8.8.2.2), and the date
    # may be later than `Date` (§8.8.2.1). No earlier date is sent instead: conditions are compared with the exact one.
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
    """Return the headers of a private `Reply` of an action without a cache control.

    Raises:
        ValueError: The ``Cache-Control`` of the reply lets shared caches store it.
    """
    own = ReplyHeaders(reply)
    control = own.cache_control(private=True) or "private"
    return [("cache-control", control), *_vary(own, by_cookie), *own.others({"cache-control", "vary"})]


def header_lines(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI header lines: names in lower case, all in bytes."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _vary(reply: ReplyHeaders, by_cookie: bool) -> Headers:
    return [("vary", reply.vary(PRIVATE[by_cookie][1][1]))]


def _own_vary(reply: ReplyHeaders) -> Headers:
    own = reply.get("vary")
    return [] if own is None else [("vary", own)]
