"""The idempotency key of a call."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import msgspec

from servey.errors import MalformedError

SHORTEST = 16
"""The smallest length of a key that callers without a token may use, in characters: nobody else may guess it."""
LONGEST = 255
"""The largest length of a key, in characters."""
PATTERN = r'^(?:[!#-+\--:<-~]+|"(?:[ !#-\[\]-~]|\\["\\])+")$'
"""A key (ECMA-262): visible ASCII but quotes, commas and semicolons; or a string in quotes (RFC 9651 §3.3.3)."""

_HEADER = b"idempotency-key"
_is_key = re.compile(PATTERN).match


def key_in(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the ``Idempotency-Key`` in the headers of a request, unread; None if there is none.

    Several lines are joined (RFC 9110 §5.3), which is not a key.
    """
    lines = [value.decode("latin-1") for name, value in headers if name == _HEADER]
    return ", ".join(lines) if lines else None


def read_key(header: str, shortest: int = 1) -> str:
    """Return the key in an ``Idempotency-Key`` header.

    It is a string in quotes (draft-ietf-httpapi-idempotency-key-header-07 §2.1). Many clients leave the quotes out,
    so that is the same key.

    Args:
        header: The text of the header.
        shortest: The smallest length of the text, in characters.

    Raises:
        MalformedError: The header is not a key, or the key is too short or too long.

    Example:
        >>> read_key('"8e03978e-40d5"') == read_key("8e03978e-40d5")
        True
    """
    text = header.strip(" \t")
    if not shortest <= len(text) <= LONGEST:
        raise MalformedError(
            f"the Idempotency-Key has {shortest} to {LONGEST} characters here, and this one has {len(text)}: "
            "send a new UUID for each call, and the same one for its repeats"
        )
    if not _is_key(text):
        raise MalformedError('the Idempotency-Key is not valid: send one string of ASCII in quotes, such as "8e03978e"')
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[0] == '"' else text


def entry_key(*parts: str | None) -> str:
    """Return the key of the entry for an idempotency key, which has `parts`; it does not show them."""
    return f"idempotency:{hashlib.sha256(msgspec.json.encode(parts)).hexdigest()}"
