"""The keys that tokens are verified with; each is for one algorithm only (RFC 8725 §3.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec

ALSO_CALLED = {"Ed25519": "EdDSA"}
"""The newer name of an algorithm (RFC 9864 §2.2), where the keys here are for no other of the older name."""

PUBLIC_KEY_ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""The algorithms that public keys verify with (RFC 7518 §3.1, RFC 8037 §3.1)."""

_MOST_TRIED = 8
"""So many keys are tried on a token that does not say which it is."""


class VerificationKey(msgspec.Struct, frozen=True, eq=False):
    """A key that verifies signatures.

    Args:
        algorithm: The only algorithm that it is used with (``alg``, RFC 7518 §3.1).
        verifies: Returns whether, of what was signed, a signature is right.
        thumbprint: What tells it from other keys (RFC 7638); empty for a secret, of which nothing is told.
        kid: What its issuer calls it; None where that is not known.
    """

    algorithm: str
    verifies: Callable[[bytes, bytes], bool]
    thumbprint: str = ""
    kid: str | None = None


class SigningKey(msgspec.Struct, frozen=True, eq=False):
    """A key that signs.

    Args:
        algorithm: The algorithm.
        sign: Returns the signature of what it is given.
        kid: What it is called in tokens; None: nothing.
    """

    algorithm: str
    sign: Callable[[bytes], bytes]
    kid: str | None = None


class KeyRing:
    """The keys that are good at one moment. It never changes: another takes its place.

    Args:
        keys: The keys.
    """

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self.keys = tuple(keys)
        self.names = frozenset((key.kid, key.algorithm, key.thumbprint) for key in self.keys)
        self._by_kid: dict[str, list[VerificationKey]] = {}
        for key in self.keys:
            if key.kid is not None:
                self._by_kid.setdefault(key.kid, []).append(key)

    def candidates(self, algorithm: str, kid: str | None) -> Sequence[VerificationKey]:
        """Return the keys that a token may be signed with, going by what its header claims."""
        algorithm = ALSO_CALLED.get(algorithm, algorithm)
        named: Sequence[VerificationKey] = self.keys
        if kid is not None:
            unnamed = [key for key in self.keys if key.kid is None]
            named = self._by_kid.get(kid) or [key for key in unnamed if key.thumbprint == kid] or unnamed
        return [key for key in named if key.algorithm == algorithm][:_MOST_TRIED]


class KeySource(Protocol):
    """Where the keys come from."""

    @property
    def ring(self) -> KeyRing | None:
        """The keys to verify with now; None when they have to be asked for by `current`."""
        ...

    def may_have(self, algorithm: str) -> bool:
        """Return whether a key for an algorithm can be among them; where not, they need not be there to say so."""
        ...

    async def current(self) -> KeyRing:
        """Return the keys.

        Raises:
            OverloadedError: They are not there yet.
        """
        ...

    async def renewed(self, ring: KeyRing) -> KeyRing:
        """Return the keys that have come after those of `ring`, which do not verify a token; itself if none have."""
        ...
