"""Keys in the settings: a secret, or key pairs in PEM."""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Callable

from servey.errors import SettingsError
from servey.security.authorizer.key_ring import KeyRing, SigningKey, VerificationKey

MIN_SECRET = 32
"""The least length of a secret, in bytes: that of the hash (RFC 7518 §3.2)."""

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)

_STANDARD_ALPHABET = str.maketrans("-_", "+/")
_OF_A_SEQUENCE = re.compile(r"M[A-P][A-Za-z0-9+/]{40,}")
"""Matches the beginning of every key in DER (X.690 §8.9), written in base64. Hardly any secret begins like this."""


class FixedKeys:
    """Keys that never change; they are read when the first token comes."""

    def __init__(self, read: Callable[[], tuple[VerificationKey, ...]]) -> None:
        self._read = read
        self._ring: KeyRing | None = None

    @property
    def ring(self) -> KeyRing:
        """The keys. Raises `SettingsError` if they cannot be read."""
        if self._ring is None:
            self._ring = KeyRing(self._read())
        return self._ring

    def may_have(self, algorithm: str) -> bool:
        """Return whether a key for an algorithm is among them."""
        return bool(self.ring.candidates(algorithm, None))

    async def current(self) -> KeyRing:
        """Return the keys."""
        return self.ring

    async def renewed(self, ring: KeyRing) -> KeyRing:
        """Return the same keys."""
        return ring


def secret_verification_key(secret: str) -> VerificationKey:
    """Return the key that verifies tokens signed with a secret (HS256), which must not be a key of another kind."""
    algorithm, key = _secret(secret)
    return VerificationKey("HS256", lambda signed, signature: algorithm.verify(signed, key, signature))


def secret_signing_key(secret: str) -> SigningKey:
    """Return the key that signs with a secret (HS256). It has no `kid`, which would reveal something of the secret."""
    algorithm, key = _secret(secret)
    return SigningKey("HS256", lambda signed: algorithm.sign(signed, key))


def pem_verification_keys(private: str, public: str) -> tuple[VerificationKey, ...]:
    """Return the keys that verify tokens: that of a private key, and those of public keys or certificates."""
    from servey.security.authorizer.asymmetric_key import verification_key

    found = {key.thumbprint: key for key in ((_private(private),) if private else ())}
    for kind, pem in _blocks(public, "SERVEY_JWT_PUBLIC_KEY"):
        try:
            key = verification_key(_public_key(kind, pem))
        except ValueError as error:
            raise SettingsError(f"SERVEY_JWT_PUBLIC_KEY has a key that cannot be used: {error}") from error
        found[key.thumbprint] = key
    return tuple(found.values())


def pem_signing_key(private: str) -> SigningKey:
    """Return the key that signs with a private key; its `kid` is the thumbprint (RFC 7638)."""
    from servey.security.authorizer.asymmetric_key import signing_key

    return signing_key(_private_key(private))


def _secret(secret: str):
    from jwt.algorithms import HMACAlgorithm
    from jwt.exceptions import InvalidKeyError

    algorithm = HMACAlgorithm(HMACAlgorithm.SHA256)
    try:
        if not _is_public(secret):
            return algorithm, algorithm.prepare_key(secret)
    except InvalidKeyError:
        pass
    raise SettingsError(
        "JWT_SECRET_KEY is not a secret, but a key of another kind: put a key in PEM into SERVEY_JWT_PRIVATE_KEY or "
        "SERVEY_JWT_PUBLIC_KEY"
    )


def _is_public(secret: str) -> bool:
    """Return whether a secret is a public key or a certificate: PEM without its first and last line."""
    text = "".join(secret.split()).translate(_STANDARD_ALPHABET).rstrip("=")
    if not _OF_A_SEQUENCE.fullmatch(text):
        return False
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key
    from cryptography.x509 import load_der_x509_certificate

    for load in (load_der_public_key, load_der_x509_certificate):
        try:
            load(a2b_base64(text + "=" * (-len(text) % 4)))
        except UnsupportedAlgorithm:  # it is one all the same
            return True
        except ValueError:
            continue
        return True
    return False


def _private(text: str) -> VerificationKey:
    from servey.security.authorizer.asymmetric_key import verification_key

    return verification_key(_private_key(text).public_key())


def _private_key(text: str):
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from servey.security.authorizer.asymmetric_key import check_public_key

    blocks = [block for block in _blocks(text, "SERVEY_JWT_PRIVATE_KEY") if block[0] != "EC PARAMETERS"]
    if len(blocks) != 1:
        raise SettingsError(f"SERVEY_JWT_PRIVATE_KEY has {len(blocks)} keys: one signs")
    try:
        key = load_pem_private_key(blocks[0][1], password=None)
        check_public_key(key.public_key())
    except TypeError as error:
        raise SettingsError("SERVEY_JWT_PRIVATE_KEY is encrypted: decrypt it first") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        # messages of cryptography may quote too much of a key for a log
        why = str(error) if type(error) is ValueError and "bits" in str(error) else "it is not a private key in PEM"
        raise SettingsError(f"SERVEY_JWT_PRIVATE_KEY cannot be used: {why}") from error
    return key


def _public_key(kind: str, pem: bytes):
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from cryptography.x509 import load_pem_x509_certificate

    if "PRIVATE" in kind:
        raise ValueError("it is a private one, which must stay secret")
    try:
        return load_pem_x509_certificate(pem).public_key() if kind == "CERTIFICATE" else load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("it is not a public key in PEM") from error


def _blocks(text: str, variable: str) -> list[tuple[str, bytes]]:
    """Return the blocks of a PEM text, or of the file that has it, each with its label (RFC 7468 §2)."""
    if not text:
        return []
    if "-----BEGIN" not in text:
        try:
            with open(text, encoding="ascii") as file:
                text = file.read()
        except (OSError, ValueError) as error:
            raise SettingsError(f"{variable} is neither PEM (-----BEGIN …) nor a file that can be read") from error
    elif "\n" not in text.strip():
        text = text.replace("\\n", "\n")  # as a file of variables has it
    found = [(block[1], block[0].encode()) for block in _BLOCK.finditer(text)]
    if not found:
        raise SettingsError(f"{variable} has no key in PEM (-----BEGIN … to -----END …)")
    return found
