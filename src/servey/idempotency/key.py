"""The idempotency key of a call."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import msgspec

from servey.errors import MalformedError

SHORTEST = 16
"""The smallest length of the key of a caller without a token, in characters: nobody else may guess it."""
LONGEST = 255
"""The largest length of a key, in characters."""

_HEADER = b"idempotency-key"
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')  # RFC 9651 §3.3.3
_BARE = re.compile(r"[!#-+\--:<-~]*")  # visible ASCII but quotes, commas and semicolons


def key_in(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the ``Idempotency-Key`` in the headers of a request, unread; None if there is none.

    Several lines are joined (RFC 9110 §5.3), which is not a key.
    """
    lines = [value.decode("latin-1") for name, value in headers if name == _HEADER]
    return ", ".join(lines) if lines else None


def read_key(header: str) -> str:
    """Return the key in an ``Idempotency-Key`` header.

    It is a string in quotes (draft-ietf-httpapi-idempotency-key-header-07 §2.1). Many clients leave the quotes out,
    so that is the same key.

    Raises:
        MalformedError: The header is not a key, or the key is empty or too long.

    Example:
        >>> read_key('"8e03978e-40d5"') == read_key("8e03978e-40d5")
        True
    """
    text = header.strip(" \t")
    if found := _STRING.fullmatch(text):
        key = re.sub(r"\\(.)", r"\1", found[1])
    elif _BARE.fullmatch(text):
        key = text
    else:
        raise MalformedError('the Idempotency-Key is not valid: send one string of ASCII in quotes, such as "8e03978e"')
    if not 1 <= len(key) <= LONGEST:
        raise MalformedError(f"an Idempotency-Key has 1 to {LONGEST} characters; this one has {len(key)}")
    return key


def entry_key(*parts: str | None) -> str:
    """Return the key of the entry for an idempotency key, which has `parts`; it does not show them."""
    return f"idempotency:{hashlib.sha256(msgspec.json.encode(parts)).hexdigest()}"
