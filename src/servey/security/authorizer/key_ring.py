"""The keys that verify tokens; each key is for one algorithm (RFC 8725 §3.1)."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable, Iterable, Sequence

import msgspec

ALSO_CALLED = {"Ed25519": "EdDSA"}
"""The newer names of algorithms (RFC 9864 §2.2), if the keys here use only one algorithm of the older name."""

PUBLIC_KEY_ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""The algorithms that public keys verify with (RFC 7518 §3.1, RFC 8037 §3.1)."""

_URLSAFE = bytes.maketrans(b"+/", b"-_")
_MOST_TRIED = 8
"""The number of keys that are tried on a token without a ``kid``."""


class VerificationKey(msgspec.Struct, frozen=True, eq=False):
    """A key that verifies signatures.

    Args:
        algorithm: The only algorithm that it is used with (``alg``, RFC 7518 §3.1).
        verifies: Returns whether a signature is right, for the signed bytes.
        thumbprint: The thumbprint (RFC 7638); empty for a secret, as it would reveal something of it.
        kid: The key ID that its issuer gave it (RFC 7517 §4.5); None without one.
    """

    algorithm: str
    verifies: Callable[[bytes, bytes], bool]
    thumbprint: str = ""
    kid: str | None = None


class SigningKey(msgspec.Struct, frozen=True, eq=False):
    """A key that signs by an algorithm; `kid` is its name in tokens."""

    algorithm: str
    sign: Callable[[bytes], bytes]
    kid: str | None = None


class KeyRing:
    """The keys at one moment. A ring never changes: new keys make a new ring."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self.keys = tuple(keys)
        self.names = frozenset((key.kid, key.algorithm, key.thumbprint) for key in self.keys)
        self._by_kid: dict[str | None, list[VerificationKey]] = {}
        for key in self.keys:
            self._by_kid.setdefault(key.kid, []).append(key)

    def candidates(self, algorithm: str, kid: str | None) -> Sequence[VerificationKey]:
        """Return the keys that may verify a token, by the claims of its header."""
        algorithm = ALSO_CALLED.get(algorithm, algorithm)
        named: Sequence[VerificationKey] = self.keys
        if kid is not None:
            unnamed = self._by_kid.get(None, [])
            named = self._by_kid.get(kid) or [key for key in unnamed if key.thumbprint == kid] or unnamed
        return [key for key in named if key.algorithm == algorithm][:_MOST_TRIED]


def base64url(data: bytes) -> bytes:
    """Return bytes in base64url without padding (RFC 7515 §2)."""
    return b2a_base64(data, newline=False).rstrip(b"=").translate(_URLSAFE)
