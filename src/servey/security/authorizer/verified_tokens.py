"""The tokens that were verified a moment ago, so that the same one is not verified again for every request."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec

from servey.security.authorization import Authorization
from servey.security.authorizer.key_ring import KeyRing

MOST_TOKENS = 1000


class _Verified(msgspec.Struct, frozen=True, gc=False):
    """What a token was found to be.

    Args:
        authorization: Whom it speaks for.
        is_flat: Whether none of its claims has parts of its own.
        until: When it ends to be valid, in seconds since 1970.
        ring: The keys that it was verified with.
    """

    authorization: Authorization
    is_flat: bool
    until: float
    ring: KeyRing


class VerifiedTokens:
    """Keep what tokens were found to be, those that were used last; only of good ones, and of none its text.

    Args:
        limit: How many.
    """

    def __init__(self, limit: int = MOST_TOKENS) -> None:
        self._limit = limit
        self._kept: OrderedDict[bytes, _Verified] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, token: str, ring: KeyRing) -> Authorization | None:
        """Return whom a token speaks for; None when it has to be verified (again).

        Args:
            token: The token.
            ring: The keys that are good now; what was verified with others counts no more.
        """
        digest = _digest(token)
        found = self._kept.get(digest)
        if found is None:
            return None
        if found.ring is not ring or found.until <= time.time():
            self._kept.pop(digest, None)
            return None
        try:  # noqa: SIM105 - suppress() takes longer than all the rest
            self._kept.move_to_end(digest)
        except KeyError:  # another thread has let go of it
            pass
        known = found.authorization
        claims = dict(known.claims) if found.is_flat else _copied(known.claims)  # an action may change its own
        return Authorization(known.subject, known.scopes, known.issuer, known.not_before, known.expires_at, claims)

    def keep(self, token: str, authorization: Authorization, until: float, ring: KeyRing) -> None:
        """Keep what a token was found to be.

        Args:
            token: The token.
            authorization: Whom it speaks for.
            until: When it ends to be valid, in seconds since 1970.
            ring: The keys that it was verified with.
        """
        is_flat = not any(isinstance(value, dict | list) for value in authorization.claims.values())
        known = msgspec.structs.replace(authorization, claims=_copied(authorization.claims))
        self._kept[_digest(token)] = _Verified(known, is_flat, until, ring)
        while len(self._kept) > self._limit:
            try:
                self._kept.popitem(last=False)
            except KeyError:
                break


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def _copied(value: Any) -> Any:
    """Return a copy of a value of JSON, parts and all."""
    if isinstance(value, Mapping):
        return {name: _copied(item) for name, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [_copied(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value
