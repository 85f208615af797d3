"""The content of a JSON Web Token before its verification (RFC 7515 §3.1, RFC 7519)."""

from __future__ import annotations

import binascii
import re
from json import JSONDecoder
from typing import Any, NoReturn

import msgspec

from servey.errors import UnauthorizedError

MAX_TOKEN = 16 * 1024
"""The longest token, in characters."""

_MAX_DEPTH = 16
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)\Z")
_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_KEYS_OF_ITS_OWN = ("jku", "jwk", "x5u", "x5c")


class RefusedTokenError(UnauthorizedError):
    """A token is refused.

    Args:
        detail: The reason, for the caller.
        recognition: How much of the token the authorizer recognised: one of the constants below.
    """

    FOREIGN = 0
    """It is a token of another issuer, or no token."""
    KNOWN_KEY = 1
    """Its issuer or its key is known, but the signature is wrong."""
    VERIFIED = 2
    """Its signature is right."""

    def __init__(self, detail: str, recognition: int = FOREIGN) -> None:
        super().__init__(detail, error="invalid_token")
        self.recognition = recognition


class UnverifiedToken(msgspec.Struct, frozen=True):
    """The content of a token before its verification: any client may have written it.

    Args:
        algorithm: The ``alg`` of its header, which the sender chooses.
        kid: The ``kid``, only to look up the key.
        claims: Its claims.
        signed: The signed bytes.
        signature: The signature.
    """

    algorithm: str
    kid: str | None
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    @classmethod
    def read(cls, token: str) -> UnverifiedToken:
        """Return the content of a token.

        Raises:
            RefusedTokenError: It is not a signed token, is too long, or has its own key (RFC 8725 §3.10).
        """
        if len(token) > MAX_TOKEN:
            raise RefusedTokenError(f"the token is longer than {MAX_TOKEN} characters")
        parts = _COMPACT.match(token)
        if parts is None:
            raise RefusedTokenError("the token is not a JSON Web Token: three parts in base64url")
        header = _object(parts[1], "header")
        _check_header(header)
        claims = _object(parts[2], "payload")
        signature = _decoded(parts[3], "signature")
        return cls(header["alg"], header.get("kid"), claims, token[: parts.end(2)].encode("ascii"), signature)


def _check_header(header: dict[str, Any]) -> None:
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm.lower() == "none":
        raise RefusedTokenError("the token is not signed")
    if not isinstance(header.get("kid"), str | None):
        raise RefusedTokenError("the kid of the token is not a text")
    if "crit" in header or header.get("b64", True) is not True:
        raise RefusedTokenError("the token demands an extension that the service does not have")
    if not header.keys().isdisjoint(_KEYS_OF_ITS_OWN):
        raise RefusedTokenError("the token has its own key")
    if str(header.get("typ", "JWT")).lower() not in _TYPES:
        raise RefusedTokenError("the token is of another type than JWT and at+jwt")


def check_texts(value: Any, depth: int = 0) -> None:
    """Raise `ValueError` if a JSON value is nested too deeply, or has a text with a lone surrogate."""
    if isinstance(value, str):
        if not value.isascii():
            value.encode()
    elif isinstance(value, dict | list):
        if depth == _MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        if isinstance(value, dict):
            for name in value:  # pyright: ignore[reportUnknownVariableType]
                check_texts(name, depth)
            value = value.values()  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            check_texts(item, depth + 1)


def _object(part: str, what: str) -> dict[str, Any]:
    try:
        value = _JSON.decode(_decoded(part, what).decode())
    except (ValueError, RecursionError) as error:
        raise RefusedTokenError(f"the {what} of the token is not JSON") from error
    if not isinstance(value, dict):
        raise RefusedTokenError(f"the {what} of the token is not a JSON object")
    return value  # pyright: ignore[reportUnknownVariableType]


def _decoded(part: str, what: str) -> bytes:
    encoded = part.encode("ascii").translate(_STANDARD_ALPHABET)
    padded = encoded + b"=" * (-len(encoded) % 4)
    try:
        decoded = binascii.a2b_base64(padded, strict_mode=True)
    except binascii.Error as error:
        raise RefusedTokenError(f"the {what} of the token is not base64url") from error
    if binascii.b2a_base64(decoded, newline=False) != padded:  # bits are left over
        raise RefusedTokenError(f"the {what} of the token is not base64url")
    return decoded


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_JSON = JSONDecoder(parse_constant=_refuse_constant)
"""Python's decoder keeps integers of any size, so that two callers never become the same."""
