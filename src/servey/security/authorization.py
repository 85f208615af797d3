"""The verified caller of an action."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

_SCOPE = re.compile(r"[!#-\[\]-~]+")
_OF_ONE_TOKEN = frozenset({"exp", "iat", "nbf", "jti"})
_FIELDS = frozenset({"sub", "scope", "scp", "iss", "nbf", "exp"})
"""The claims with their own field."""

_MOST_DEPTH = 64
"""Claims that are nested more deeply are refused."""

_LAST_SECOND = 253402300799
"""The end of the year 9999, which a `datetime` can still have."""


class Authorization(msgspec.Struct, frozen=True):
    """A verified caller and its scopes. Injected from the call's context, never read from its input.

    Args:
        subject: The name of the caller (``sub``, RFC 7519 §4.1.2).
        scopes: The scopes of the token (``scope``, RFC 8693 §4.2).
        issuer: The issuer of the token (``iss``).
        not_before: The start of its validity, with a zone.
        expires_at: The end of its validity, with a zone.
        claims: The other verified claims.

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

    @classmethod
    def of_claims(cls, claims: Mapping[str, Any]) -> Authorization:
        """Return the authorization of a verified token's claims (RFC 7519 §4.1), without a check of its times.

        The scopes are those of ``scope`` (RFC 8693 §4.2), a text with spaces, and of ``scp``, as some issuers name it.
        Both may be lists.

        Raises:
            ValueError: A claim has the wrong type; names the claim.

        Example:
            >>> sorted(Authorization.of_claims({"sub": "me", "scope": "read write"}).scopes)
            ['read', 'write']
        """
        return cls(
            subject=_text(claims, "sub"),
            scopes=_scopes(claims, "scope") | _scopes(claims, "scp"),
            issuer=_text(claims, "iss"),
            not_before=moment_of(claims, "nbf"),
            expires_at=moment_of(claims, "exp"),
            claims={name: value for name, value in claims.items() if name not in _FIELDS},
        )

    @property
    def identity(self) -> bytes:
        """The identity of the caller, in 32 bytes: the hash of all verified claims except those of a single token.

        These are ``exp``, ``iat``, ``nbf`` and ``jti``. Private results are cached by identity. The fields of a
        subclass are part of it.

        Raises:
            UnkeyableError: A claim, or a field of a subclass, is an object without a notion of equality.
        """
        claims = {name: value for name, value in self.claims.items() if name not in _OF_ONE_TOKEN}
        whole: Any = (self.issuer, self.subject, sorted(self.scopes), claims)
        encoded: bytes | None = None
        if type(self) is Authorization:
            # integers over 64 bits, lone surrogates and objects take the slower way of subclasses
            with suppress(OverflowError, ValueError, TypeError, RecursionError):
                encoded = msgspec.msgpack.encode(whole, order="deterministic")
        if encoded is None:
            from servey.cache_control.argument_key import faithful  # rarely needed

            added = [name for name in self.__struct_fields__ if name not in Authorization.__struct_fields__]
            encoded = faithful((type(self), *whole, {name: getattr(self, name) for name in added}))
        from hashlib import sha256  # takes 2 ms, and only callers need it

        return sha256(encoded).digest()

    def has_scope(self, scope: str) -> bool:
        """Return whether the token carries `scope`."""
        return scope in self.scopes


def is_scope(text: str) -> bool:
    """Return whether a text is a scope token of RFC 6749 §3.3: printable ASCII without spaces, quotes, backslashes."""
    return _SCOPE.fullmatch(text) is not None


def checked_authorization(value: object, giver: str) -> Authorization:
    """Return the `Authorization` that a plugin or a middleware gave, after a check of its types.

    All access checks rely on these types. If the scopes were a text, ``in`` would also find parts of a scope. Claims
    that are JSON give different callers different identities.

    Args:
        value: The value.
        giver: The name of the plugin or the middleware, for the log.

    Raises:
        TypeError: The value is not an `Authorization`, or a field has the wrong type.
    """
    if not isinstance(value, Authorization):
        raise TypeError(f"{giver} gave a {type(value).__name__}, and no Authorization")
    scopes: Any = value.scopes
    for is_right, what in (
        (isinstance(value.subject, str | None), "the subject is not a text"),  # pyright: ignore[reportUnnecessaryIsInstance]
        (isinstance(value.issuer, str | None), "the issuer is not a text"),  # pyright: ignore[reportUnnecessaryIsInstance]
        (
            isinstance(scopes, frozenset | set) and all(isinstance(scope, str) for scope in scopes),  # pyright: ignore[reportUnknownVariableType]
            "the scopes are not a set of texts",
        ),
        (isinstance(value.claims, Mapping) and _is_json(value.claims), "a claim is no JSON"),  # pyright: ignore[reportUnnecessaryIsInstance]
    ):
        if not is_right:
            raise TypeError(f"{giver} gave an Authorization that is none: {what}")
    return value


def _is_json(value: Any, depth: int = 0) -> bool:
    if depth > _MOST_DEPTH:
        return False
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_json(item, depth + 1) for name, item in value.items())  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return all(_is_json(item, depth + 1) for item in value)  # pyright: ignore[reportUnknownVariableType]
    return isinstance(value, str | int | float | None)


def moment_of(claims: Mapping[str, Any], name: str) -> datetime | None:
    """Return the time of a claim (a NumericDate, RFC 7519 §2) in UTC; None without the claim.

    Raises:
        ValueError: The claim is not a number of seconds since 1970, or is after the year 9999.
    """
    if name not in claims:
        return None
    value = claims[name]
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{name} is not a number of seconds")
    if not 0 <= value <= _LAST_SECOND:  # not a number, either
        raise ValueError(f"{name} is out of range")
    return datetime.fromtimestamp(value, UTC)


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if name in claims and not isinstance(value, str):
        raise ValueError(f"{name} is not a text")
    return value


def _scopes(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    value: Any = claims.get(name, "")
    if isinstance(value, str):
        return frozenset(filter(None, value.split(" ")))
    if isinstance(value, list) and all(isinstance(item, str) for item in value):  # pyright: ignore[reportUnknownVariableType]
        return frozenset(value)  # pyright: ignore[reportUnknownArgumentType]
    raise ValueError(f"{name} is neither a text nor a list of texts")
