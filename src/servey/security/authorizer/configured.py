"""The authorizers of the settings, in the order in which they are asked."""

from __future__ import annotations

from functools import partial
from itertools import zip_longest

from servey.security.authorizer.fixed_keys import (
    FixedKeys,
    pem_signing_key,
    pem_verification_keys,
    secret_signing_key,
    secret_verification_key,
)
from servey.security.authorizer.jwt_authorizer import JwtAuthorizer, JwtIssuer
from servey.security.authorizer.published_keys import PublishedKeys
from servey.security.settings import TokenSettings
from servey.security.urls import shown_url


def configured_authorizers(tokens: TokenSettings, *, is_generated: bool = False) -> tuple[JwtAuthorizer, ...]:
    """Return the authorizers of the settings: published keys first, then key pairs, then the secret.

    No key is read or fetched yet. A key without an issuer accepts no token of an issuer that has its own key.
    """
    private, public, secret = tokens.jwt_private_key, tokens.jwt_public_key, tokens.jwt_secret_key
    authorizer = partial(JwtAuthorizer, audience=tokens.jwt_audience, leeway=tokens.jwt_leeway)
    found = [
        authorizer(
            PublishedKeys(issuer=issuer),
            issuer=issuer,
            origin=f"the keys of {shown_url(issuer)} (SERVEY_OIDC_ISSUER)",
        )
        for issuer in tokens.oidc_issuers
    ]
    owned = tuple(filter(None, (*tokens.oidc_issuers, *tokens.jwks_issuers, tokens.jwt_issuer)))
    for url, issuer in zip_longest(tokens.jwks_urls, tokens.jwks_issuers, fillvalue=""):
        of = f" for {issuer}" if issuer else " for any issuer, because SERVEY_JWKS_ISSUER is not set"
        origin = f"the keys at {shown_url(url)} (SERVEY_JWKS_URL){of}"
        found.append(authorizer(PublishedKeys(url), issuer=issuer, origin=origin, not_of=owned))
    own = partial(authorizer, issuer=tokens.jwt_issuer, not_of=owned)
    issuing = partial(JwtIssuer, lifetime=tokens.jwt_lifetime, **own.keywords)
    pairs = FixedKeys(lambda: pem_verification_keys(private, public))
    if private:
        names = "SERVEY_JWT_PRIVATE_KEY" + (" and SERVEY_JWT_PUBLIC_KEY" if public else "")
        found.append(issuing(pairs, lambda: pem_signing_key(private), origin=f"the keys of {names}"))
    elif public:
        found.append(own(pairs, origin="the keys of SERVEY_JWT_PUBLIC_KEY"))
    if secret:
        origin = "HS256 with JWT_SECRET_KEY"
        if is_generated:
            origin = "HS256 with a generated secret, because JWT_SECRET_KEY is not set"
        keys = FixedKeys(lambda: (secret_verification_key(secret),))
        found.append(issuing(keys, lambda: secret_signing_key(secret), origin=origin))
    return tuple(found)
