"""Bearer tokens that are JSON Web Tokens (RFC 7519), verified by the rules of RFC 8725 and RFC 9068 §4."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

from servey.security.authorization import Authorization, is_scope, moment_of
from servey.security.authorizer.fixed_keys import FixedKeys
from servey.security.authorizer.key_ring import KeyRing, SigningKey, base64url
from servey.security.authorizer.published_keys import PublishedKeys
from servey.security.authorizer.unverified_token import MAX_TOKEN, RefusedTokenError, UnverifiedToken, check_texts
from servey.security.authorizer.verified_tokens import VerifiedTokens

RESERVED_CLAIMS = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "scp"})
"""The claims that the issuer sets."""

KeySource = FixedKeys | PublishedKeys


class JwtAuthorizer:
    """Verify JSON Web Tokens with the keys of one source.

    Args:
        keys: The source of the keys.
        issuer: The ``iss`` of the tokens; empty for any issuer.
        audience: The names of this service, one of which must be in ``aud``. Empty: tokens with an ``aud`` are refused.
        leeway: Seconds by which the clock of the issuer may differ.
        origin: The name of the keys and of their setting, for the log.
        not_of: Issuers that have their own authorizer. The keys of this authorizer never verify tokens of those
            issuers.
    """

    def __init__(
        self,
        keys: KeySource,
        *,
        issuer: str = "",
        audience: Sequence[str] = (),
        leeway: float = 30.0,
        origin: str = "",
        not_of: Sequence[str] = (),
    ) -> None:
        self.keys = keys
        self.issuer = issuer
        self.not_of = tuple(not_of)
        self.audience = tuple(audience)
        self.origin = origin
        self._leeway = leeway
        self._verified = VerifiedTokens()

    def verified(self, token: str) -> Authorization | None:
        """Return the caller of a token that was verified with the current keys before; None for other tokens."""
        ring = self.keys.ring
        return None if ring is None else self._verified.get(token, ring)

    async def authorize(self, token: str) -> Authorization:
        """Return the caller of `token`.

        Raises:
            UnauthorizedError: The token is not valid: a `RefusedTokenError`.
            OverloadedError: The keys are not fetched yet.
        """
        if (known := self.verified(token)) is not None:
            return known
        read = UnverifiedToken.read(token)
        # the issuer is not verified yet, but a token of an unknown issuer needs no look for its key
        issuer = read.claims.get("iss")
        if issuer != self.issuer if self.issuer else issuer in self.not_of:
            raise RefusedTokenError("the issuer of the token is not trusted")
        ring = await self._verifying_keys(read)
        try:
            authorization = self._checked(read.claims)
        except ValueError as error:
            why = "a text in it is no Unicode" if isinstance(error, UnicodeError) else error
            raise RefusedTokenError(f"the token is not valid: {why}", RefusedTokenError.VERIFIED) from error
        assert authorization.expires_at is not None
        self._verified.keep(token, authorization, authorization.expires_at.timestamp() + self._leeway, ring)
        return authorization

    async def _verifying_keys(self, token: UnverifiedToken) -> KeyRing:
        """Return the keys, one of which verifies the token, or raise `RefusedTokenError`."""
        if not self.keys.may_have(token.algorithm):
            raise self._no_key()
        ring = await self.keys.current()
        is_right = _verifies(ring, token)
        if is_right is None or (token.kid is None and not is_right):
            newer = await self.keys.renewed(ring)
            if newer is not ring:
                ring, is_right = newer, _verifies(newer, token)
        if is_right is None:
            raise self._no_key()
        if not is_right:
            raise RefusedTokenError("the signature of the token is wrong", RefusedTokenError.KNOWN_KEY)
        return ring

    def _no_key(self) -> RefusedTokenError:
        recognition = RefusedTokenError.KNOWN_KEY if self.issuer else RefusedTokenError.FOREIGN
        return RefusedTokenError("no key for the token is known", recognition)

    def _checked(self, claims: dict[str, Any]) -> Authorization:
        """Return the authorization of verified claims; raise `ValueError` if not valid now or not for this service."""
        check_texts(claims)
        authorization, now = Authorization.of_claims(claims), time.time()
        moment_of(claims, "iat")
        if authorization.expires_at is None:
            raise ValueError("it has no exp")
        if now >= authorization.expires_at.timestamp() + self._leeway:
            raise ValueError("it has expired")
        if authorization.not_before is not None and now < authorization.not_before.timestamp() - self._leeway:
            raise ValueError("it is not valid yet")
        self._check_audience(claims)
        return authorization

    def _check_audience(self, claims: dict[str, Any]) -> None:
        if "aud" not in claims:
            if self.audience:
                raise ValueError("it has no aud, which must name this service")
            return
        audience: Any = claims["aud"]
        named: Any = [audience] if isinstance(audience, str) else audience
        if not isinstance(named, list) or not all(isinstance(item, str) for item in named):  # pyright: ignore[reportUnknownVariableType]
            raise ValueError("aud is neither a text nor a list of texts")
        if not set(self.audience).intersection(named):  # pyright: ignore[reportUnknownArgumentType]
            raise ValueError("it is for another service (aud)")


class JwtIssuer(JwtAuthorizer):
    """Verify JSON Web Tokens, and sign them.

    Args:
        keys: The keys to verify with; that of `sign_with` among them.
        sign_with: Returns the key to sign with; called when the first token is issued.
        lifetime: Seconds for which a token is valid, unless the authorization has an `expires_at`.
        issuer: As for `JwtAuthorizer`; also the ``iss`` of issued tokens.
        audience: As for `JwtAuthorizer`; the first is the ``aud`` of issued tokens.
        further: The other arguments of `JwtAuthorizer`.
    """

    def __init__(
        self,
        keys: KeySource,
        sign_with: Callable[[], SigningKey],
        *,
        lifetime: int = 3600,
        issuer: str = "",
        audience: Sequence[str] = (),
        **further: Any,
    ) -> None:
        super().__init__(keys, issuer=issuer, audience=audience, **further)
        self._sign_with = sign_with
        self._lifetime = lifetime

    @cached_property
    def _signing_key(self) -> SigningKey:
        return self._sign_with()

    def issue(self, authorization: Authorization) -> str:
        """Return a new token for the caller in `authorization`.

        Args:
            authorization: The token gets its subject, scopes and claims, and its `expires_at` and `not_before` if set.
                The issuer and the audience are those of this service.

        Raises:
            ValueError: A scope is not valid (RFC 6749 §3.3), a claim is not JSON, or the token is too long.
        """
        now = int(time.time())
        expires_at, not_before = authorization.expires_at, authorization.not_before
        claims = {name: value for name, value in authorization.claims.items() if name not in RESERVED_CLAIMS}
        claims |= _given(
            iat=now,
            exp=now + self._lifetime if expires_at is None else int(expires_at.timestamp()),
            jti=os.urandom(16).hex(),
            iss=self.issuer or None,
            aud=next(iter(self.audience), None),
            sub=authorization.subject,
            scope=_scope_text(authorization.scopes) or None,
            nbf=None if not_before is None else int(not_before.timestamp()),
        )
        try:
            check_texts(claims)
            payload = json.dumps(claims, allow_nan=False, separators=(",", ":"))
        except (TypeError, RecursionError) as error:
            raise ValueError(f"the claims are not JSON: {error}") from error
        key = self._signing_key
        header = _given(alg=key.algorithm, typ="JWT", kid=key.kid)
        signed = base64url(json.dumps(header, separators=(",", ":")).encode()) + b"." + base64url(payload.encode())
        token = (signed + b"." + base64url(key.sign(signed))).decode()
        if len(token) > MAX_TOKEN:
            raise ValueError(f"the token would be longer than {MAX_TOKEN} characters")
        return token


def _verifies(ring: KeyRing, token: UnverifiedToken) -> bool | None:
    """Return whether a key verifies the token; None if no key can."""
    candidates = ring.candidates(token.algorithm, token.kid)
    return None if not candidates else any(key.verifies(token.signed, token.signature) for key in candidates)


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _scope_text(scopes: Iterable[str]) -> str:
    for scope in scopes:
        if not is_scope(scope):
            raise ValueError(f"{scope!r} is not a scope")
    return " ".join(sorted(scopes))
