"""The authorizers of the settings, in the order in which they are asked."""

from __future__ import annotations

from servey.security.authorizer.fixed_keys import (
    FixedKeys,
    pem_signing_key,
    pem_verification_keys,
    secret_signing_key,
    secret_verification_key,
)
from servey.security.authorizer.jwt_authorizer import JwtAuthorizer, JwtIssuer
from servey.security.authorizer.published_keys import PublishedKeys
from servey.settings import Settings, shown_url


def configured_authorizers(settings: Settings) -> tuple[JwtAuthorizer, ...]:
    """Return the authorizers of the settings: published keys first, then key pairs, then the secret.

    No key is read or fetched yet. One for which no issuer is set takes no token of an issuer that another is for.
    """
    audience, leeway = settings.jwt_audience, settings.jwt_leeway
    found = [
        JwtAuthorizer(
            PublishedKeys(issuer=issuer),
            issuer=issuer,
            audience=audience,
            leeway=leeway,
            origin=f"the keys of {shown_url(issuer)} (SERVEY_OIDC_ISSUER)",
        )
        for issuer in settings.oidc_issuers
    ]
    owned = tuple(filter(None, (*settings.oidc_issuers, *settings.jwks_issuers, settings.jwt_issuer)))
    issuers = settings.jwks_issuers or ("",) * len(settings.jwks_urls)
    for url, issuer in zip(settings.jwks_urls, issuers, strict=True):
        of = f" for {issuer}" if issuer else " for any issuer, SERVEY_JWKS_ISSUER not being set"
        origin = f"the keys at {shown_url(url)} (SERVEY_JWKS_URL){of}"
        found.append(
            JwtAuthorizer(
                PublishedKeys(url), issuer=issuer, audience=audience, leeway=leeway, origin=origin, not_of=owned
            )
        )
    issuer, private, public, secret = (
        settings.jwt_issuer,
        settings.jwt_private_key,
        settings.jwt_public_key,
        settings.jwt_secret_key,
    )
    pairs = FixedKeys(lambda: pem_verification_keys(private, public))
    if private:
        names = "SERVEY_JWT_PRIVATE_KEY" + (" and SERVEY_JWT_PUBLIC_KEY" if public else "")
        found.append(
            JwtIssuer(
                pairs,
                lambda: pem_signing_key(private),
                lifetime=settings.jwt_lifetime,
                issuer=issuer,
                audience=audience,
                leeway=leeway,
                origin=f"the keys of {names}",
                not_of=owned,
            )
        )
    elif public:
        origin = "the keys of SERVEY_JWT_PUBLIC_KEY"
        found.append(JwtAuthorizer(pairs, issuer=issuer, audience=audience, leeway=leeway, origin=origin, not_of=owned))
    if secret:
        is_made_up = "JWT_SECRET_KEY" in settings.made_up
        found.append(
            JwtIssuer(
                FixedKeys(lambda: (secret_verification_key(secret),)),
                lambda: secret_signing_key(secret),
                lifetime=settings.jwt_lifetime,
                issuer=issuer,
                audience=audience,
                leeway=leeway,
                origin="HS256 with a secret made up at this start, JWT_SECRET_KEY not being set"
                if is_made_up
                else "HS256 with JWT_SECRET_KEY",
                not_of=owned,
            )
        )
    return tuple(found)
