"""Public and private keys of RSA, of elliptic curves and of Ed25519, by PyJWT and cryptography.

The import is slow, so servey imports this module only with the first token or such a key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from servey.security.authorizer.key_ring import ALSO_CALLED, SigningKey, VerificationKey, base64url

_ALGORITHMS = get_default_algorithms()
_OF_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_OF_CURVE = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_OF_TYPE = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}
_REQUIRED = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}
"""The members in a thumbprint (RFC 7638 §3.2, RFC 8037 §2)."""

_LEAST_BITS, _MOST_BITS = 2048, 16384


def check_public_key(key: Any) -> str:
    """Return the usual algorithm of a key; raise `ValueError` for another kind, or a weak key (RFC 7518 §3.3)."""
    if isinstance(key, rsa.RSAPublicKey):
        if not _LEAST_BITS <= key.key_size <= _MOST_BITS:
            raise ValueError(f"an RSA key has {_LEAST_BITS} bits or more, and this one {key.key_size} bits")
        return "RS256"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _OF_CURVE:
        return _OF_CURVE[key.curve.name]
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "EdDSA"
    raise ValueError("it is of another kind than RSA (2048 bits or more), P-256, P-384, P-521 and Ed25519")


def verification_key(key: Any, algorithm: str = "") -> VerificationKey:
    """Return the verification key of a public key, for an algorithm or its usual one; may raise `ValueError`."""
    usual = check_public_key(key)
    algorithm = ALSO_CALLED.get(algorithm, algorithm)
    if algorithm and algorithm != usual and not (usual == "RS256" and algorithm in _OF_RSA):
        raise ValueError(f"it is of another kind than {algorithm!r} needs")
    implementation = _ALGORITHMS[algorithm or usual]
    thumbprint = _thumbprint(implementation.to_jwk(key, as_dict=True))
    return VerificationKey(
        algorithm or usual,
        lambda signed, signature: implementation.verify(signed, key, signature),
        thumbprint,
    )


def signing_key(key: Any) -> SigningKey:
    """Return the key that signs with a private key, or raise `ValueError`."""
    algorithm = check_public_key(key.public_key())
    implementation = _ALGORITHMS[algorithm]
    thumbprint = _thumbprint(implementation.to_jwk(key.public_key(), as_dict=True))
    return SigningKey(algorithm, lambda signed: implementation.sign(signed, key), thumbprint)


def jwk_verification_key(jwk: Mapping[str, Any]) -> VerificationKey:
    """Return the key that verifies with a JSON Web Key (RFC 7517 §4, RFC 7518 §6), or raise `ValueError`."""
    kind, operations = jwk.get("kty"), jwk.get("key_ops", ["verify"])
    algorithm, kid = jwk.get("alg", ""), jwk.get("kid")
    if kind not in [*_OF_TYPE]:  # which may be unhashable
        raise ValueError("its kty is none of RSA, EC and OKP")
    if "d" in jwk:
        raise ValueError("it is a private key")
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("it is not for signatures")
    if not isinstance(algorithm, str) or not isinstance(kid, str | None):
        raise ValueError("its alg or its kid is not a text")
    try:
        key = _ALGORITHMS[_OF_TYPE[kind]].from_jwk(dict(jwk))
    except Exception as error:  # PyJWT raises several types for missing members and members that are not texts
        raise ValueError("its members are not those of such a key") from error
    return msgspec.structs.replace(verification_key(key, algorithm), kid=kid)


def _thumbprint(jwk: Mapping[str, Any]) -> str:
    """Return the thumbprint of a key (RFC 7638 §3)."""
    members = {name: jwk[name] for name in _REQUIRED[jwk["kty"]]}
    digest = hashlib.sha256(msgspec.json.encode(members)).digest()
    return base64url(digest).decode()
