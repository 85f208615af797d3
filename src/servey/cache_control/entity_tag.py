"""Entity tags made from content (RFC 9110 §8.8.3)."""

from __future__ import annotations


def etag_of(content: bytes, rest: bytes = b"") -> str:
    """Return a strong entity tag for content, without quotes: 128 bits of its SHA-256.

    Args:
        content: The content.
        rest: The other parts of the representation.
    """
    from hashlib import sha256  # only actions with a cache control need it

    return sha256(b"\0".join((rest, content)) if rest else content).hexdigest()[:32]
