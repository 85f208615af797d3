"""A cache of verified tokens, so that a token is not verified again with each request."""

from __future__ import annotations

import time
from collections import OrderedDict
from hashlib import sha256

import msgspec

from servey.security.authorization import Authorization
from servey.security.authorizer.key_ring import KeyRing

MOST_TOKENS = 1000


class _Verified(msgspec.Struct, frozen=True, gc=False):
    """A verified token: its caller, the end of its validity (in seconds since 1970), and the keys that verified it."""

    authorization: Authorization
    is_flat: bool  # no claim is a list or an object
    until: float
    ring: KeyRing


class VerifiedTokens:
    """Keep the callers of the verified tokens that were used last; of the tokens, only a digest."""

    def __init__(self, limit: int = MOST_TOKENS) -> None:
        self._limit = limit
        self._kept: OrderedDict[bytes, _Verified] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, token: str, ring: KeyRing) -> Authorization | None:
        """Return the caller of a token that the current keys have verified; None if the token has to be verified."""
        digest = _digest(token)
        found = self._kept.get(digest)
        if found is None:
            return None
        if found.ring is not ring or found.until <= time.time():
            self._kept.pop(digest, None)
            return None
        try:  # noqa: SIM105 - suppress() takes longer than all the rest
            self._kept.move_to_end(digest)
        except KeyError:  # another thread has removed it
            pass
        known = found.authorization
        # an action may change its own
        claims = dict(known.claims) if found.is_flat else msgspec.to_builtins(known.claims)
        return Authorization(known.subject, known.scopes, known.issuer, known.not_before, known.expires_at, claims)

    def keep(self, token: str, authorization: Authorization, until: float, ring: KeyRing) -> None:
        """Keep the caller of a token, the end of its validity (in seconds since 1970) and the keys that verified it."""
        is_flat = not any(isinstance(value, dict | list) for value in authorization.claims.values())
        known = msgspec.structs.replace(authorization, claims=msgspec.to_builtins(authorization.claims))
        self._kept[_digest(token)] = _Verified(known, is_flat, until, ring)
        while len(self._kept) > self._limit:
            try:
                self._kept.popitem(last=False)
            except KeyError:
                break


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
