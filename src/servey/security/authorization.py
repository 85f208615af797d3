"""The verified caller, as an action sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

_OF_ONE_TOKEN = frozenset({"exp", "iat", "nbf", "jti"})


class Authorization(msgspec.Struct, frozen=True):
    """Who calls, and what they may do. Injected from the call's context, never read from its input.

    Args:
        subject: Who the token speaks for (``sub``, RFC 7519 §4.1.2).
        scopes: What it allows (``scope``, RFC 8693 §4.2).
        issuer: Who issued it (``iss``).
        not_before: When it begins to be valid, with a zone.
        expires_at: When it ends to be valid, with a zone.
        claims: Further verified claims.

    Example:
        >>> Authorization(subject="me", scopes=frozenset({"root"})).has_scope("root")
        True
    """

    subject: str | None = None
    scopes: frozenset[str] = frozenset()
    issuer: str | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None
    claims: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])

    @property
    def identity(self) -> bytes:
        """Who this is, in 32 bytes: the same for every token that says the same of the same subject.

        Of everything that was verified, only when the token was made, when it is valid and which one it is are left
        out (``exp``, ``iat``, ``nbf``, ``jti``). What one identity may see is kept from all others.
        """
        claims = {name: value for name, value in self.claims.items() if name not in _OF_ONE_TOKEN}
        whole = (self.issuer, self.subject, sorted(self.scopes), claims)
        return hashlib.sha256(msgspec.msgpack.encode(whole, order="deterministic")).digest()

    def has_scope(self, scope: str) -> bool:
        """Return whether the token carries `scope`."""
        return scope in self.scopes
