"""The verified caller, as an action sees it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

_OF_ONE_TOKEN = frozenset({"exp", "iat", "nbf", "jti"})
_FIELDS = frozenset({"sub", "scope", "scp", "iss", "nbf", "exp"})
"""The claims that have a field of their own."""

_MOST_DEPTH = 64
"""Claims that are nested more deeply are taken for endless."""

_LAST_SECOND = 253402300799
"""The end of the year 9999, which a `datetime` can still have."""


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

    @classmethod
    def of_claims(cls, claims: Mapping[str, Any]) -> Authorization:
        """Return what the claims of a verified token say (RFC 7519 §4.1); whether it is valid now is not asked.

        Scopes are those of ``scope`` (RFC 8693 §4.2), which is a text with spaces, and of ``scp``, which some issuers
        write instead; either may be a list.

        Raises:
            ValueError: A claim is of a type that it cannot be of; says which.

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
        """Who this is, in 32 bytes: the same for every token that says the same of the same subject.

        Of everything that was verified, only when the token was made, when it is valid and which one it is are left
        out (``exp``, ``iat``, ``nbf``, ``jti``). What one identity may see is kept from all others. The fields that a
        subclass adds are part of it.

        Raises:
            UnkeyableError: A claim, or a field of a subclass, is an object of which nobody can say whether it equals
                another.
        """
        claims = {name: value for name, value in self.claims.items() if name not in _OF_ONE_TOKEN}
        whole: Any = (self.issuer, self.subject, sorted(self.scopes), claims)
        encoded: bytes | None = None
        if type(self) is Authorization:
            # numbers of over 64 bits, texts that are no Unicode, and objects take the other way, as subclasses do
            with suppress(OverflowError, ValueError, TypeError, RecursionError):
                encoded = msgspec.msgpack.encode(whole, order="deterministic")
        if encoded is None:
            from servey.cache_control.argument_key import faithful  # needed by few

            added = [name for name in self.__struct_fields__ if name not in Authorization.__struct_fields__]
            encoded = faithful((type(self), *whole, {name: getattr(self, name) for name in added}))
        from hashlib import sha256  # two milliseconds that a program without callers need not wait

        return sha256(encoded).digest()

    def has_scope(self, scope: str) -> bool:
        """Return whether the token carries `scope`."""
        return scope in self.scopes


def checked_authorization(value: object, giver: str) -> Authorization:
    """Return an `Authorization` that somebody else's code has given, when it is one.

    Everything that looks at callers relies on it: a scope is looked for in a set, and not in a text; an identity is
    made of what is JSON, so that two callers never have the same.

    Args:
        value: What was given.
        giver: What it was given by, for the log.

    Raises:
        TypeError: It is none, or a field of it is of another type than it is declared to be.
    """
    if not isinstance(value, Authorization):
        raise TypeError(f"{giver} gave a {type(value).__name__}, and no Authorization")
    scopes: Any = value.scopes
    for is_right, what in (
        (isinstance(value.subject, str | None), "the subject is no text"),  # pyright: ignore[reportUnnecessaryIsInstance]
        (isinstance(value.issuer, str | None), "the issuer is no text"),  # pyright: ignore[reportUnnecessaryIsInstance]
        (
            isinstance(scopes, frozenset | set) and all(isinstance(scope, str) for scope in scopes),  # pyright: ignore[reportUnknownVariableType]
            "the scopes are no set of texts",
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
    """Return when a claim says (a NumericDate, RFC 7519 §2), in UTC; None where it is absent.

    Raises:
        ValueError: It is no number of seconds since 1970, or is after the year 9999.
    """
    if name not in claims:
        return None
    value = claims[name]
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{name} is no number of seconds")
    if not 0 <= value <= _LAST_SECOND:  # not a number, either
        raise ValueError(f"{name} is out of range")
    return datetime.fromtimestamp(value, UTC)


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if name in claims and not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    return value


def _scopes(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    value: Any = claims.get(name, "")
    if isinstance(value, str):
        return frozenset(filter(None, value.split(" ")))
    if isinstance(value, list) and all(isinstance(item, str) for item in value):  # pyright: ignore[reportUnknownVariableType]
        return frozenset(value)  # pyright: ignore[reportUnknownArgumentType]
    raise ValueError(f"{name} is neither a text nor a list of texts")
