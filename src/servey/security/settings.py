"""The settings of tokens and of the login for development."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from servey.security.urls import is_trusted_url, shown_url
from servey.settings_part import SettingsPart, Variable

HOW_TO_MAKE_A_SECRET = "`openssl rand -base64 32` makes one"


class TokenSettings(SettingsPart, frozen=True, kw_only=True):
    """The keys and the claims of tokens, and the login for development."""

    jwt_secret_key: Annotated[
        str,
        Variable(
            "JWT_SECRET_KEY",
            "The secret that signs and verifies tokens (HS256): 32 bytes or more. Unset: in development, each start "
            "generates one.",
            ("SERVEY_JWT_SECRET_KEY",),
            secret=True,
        ),
    ] = ""
    jwt_private_key: Annotated[
        str,
        Variable(
            "SERVEY_JWT_PRIVATE_KEY",
            "The private key that signs tokens, and verifies them: PEM, or the name of a PEM file.",
            secret=True,
        ),
    ] = ""
    jwt_public_key: Annotated[
        str,
        Variable(
            "SERVEY_JWT_PUBLIC_KEY",
            "The public keys that verify tokens: PEM, one after another, or the name of a PEM file.",
        ),
    ] = ""
    jwt_issuer: Annotated[
        str,
        Variable(
            "SERVEY_JWT_ISSUER",
            "The `iss` of the tokens that the keys above sign: servey writes it into new tokens and requires it.",
        ),
    ] = ""
    jwt_audience: Annotated[
        tuple[str, ...],
        Variable(
            "SERVEY_JWT_AUDIENCE",
            "The names of this service in the `aud` of tokens; a token needs one of them. Unset: servey refuses "
            "tokens with an `aud`.",
        ),
    ] = ()
    jwt_leeway: Annotated[
        Annotated[float, msgspec.Meta(ge=0, le=600)],
        Variable("SERVEY_JWT_LEEWAY", "The allowed difference between the clocks of issuers and this one, in seconds."),
    ] = 30.0
    jwt_lifetime: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=30 * 86400)],
        Variable("SERVEY_JWT_LIFETIME", "The lifetime of issued tokens in seconds."),
    ] = 3600
    jwks_urls: Annotated[
        tuple[str, ...],
        Variable(
            "SERVEY_JWKS_URL",
            "The URLs of the JSON Web Key Sets (RFC 7517 §5) in which issuers publish their keys.",
            has_urls=True,
        ),
    ] = ()
    jwks_issuers: Annotated[
        tuple[str, ...],
        Variable(
            "SERVEY_JWKS_ISSUER",
            "The `iss` of the tokens of each key set, in the same order; required if there are other keys, too.",
        ),
    ] = ()
    oidc_issuers: Annotated[
        tuple[str, ...],
        Variable(
            "SERVEY_OIDC_ISSUER",
            "The OpenID Connect issuers whose tokens servey accepts; it discovers where their keys are.",
            has_urls=True,
        ),
    ] = ()
    debug_authenticator: Annotated[
        bool | None,
        Variable(
            "SERVEY_DEBUG_AUTHENTICATOR",
            "Whether the server has a login for development at `/login`; never in production. Unset: in development, "
            "unless a plugin has an authenticator.",
        ),
    ] = None
    debug_authenticator_username: Annotated[
        str,
        Variable(
            "SERVEY_DEBUG_AUTHENTICATOR_USERNAME",
            "The user name of the login for development.",
            ("DEBUG_AUTHENTICATOR_USERNAME",),
        ),
    ] = "root"
    debug_authenticator_password: Annotated[
        str,
        Variable(
            "SERVEY_DEBUG_AUTHENTICATOR_PASSWORD",
            "The password of the login for development. Unset: each start generates and prints one.",
            secret=True,
        ),
    ] = ""

    @property
    def has_keys(self) -> bool:
        """Whether any key is set that can verify tokens."""
        return self._has_other_keys or bool(self.jwks_urls)

    @property
    def _has_other_keys(self) -> bool:
        return bool(self.jwt_secret_key or self.jwt_private_key or self.jwt_public_key or self.oidc_issuers)

    def problems(self, *, production: bool) -> Iterator[str]:
        """Yield wrong key files and URLs, key sets without an issuer, and the login for development in production."""
        yield from _file_problem("SERVEY_JWT_PRIVATE_KEY", self.jwt_private_key)
        yield from _file_problem("SERVEY_JWT_PUBLIC_KEY", self.jwt_public_key)
        if self.jwks_issuers and len(self.jwks_issuers) != len(self.jwks_urls):
            yield (
                f"SERVEY_JWKS_ISSUER has {len(self.jwks_issuers)} and SERVEY_JWKS_URL {len(self.jwks_urls)}: write one "
                "issuer for each URL, in the same order"
            )
        is_ambiguous = self._has_other_keys or len(set(self.jwks_urls)) > 1
        if self.jwks_urls and not self.jwks_issuers and is_ambiguous:
            yield (
                "SERVEY_JWKS_ISSUER is not set, and there are several sources of keys: one issuer could sign tokens "
                "for the callers of another. Write the issuer of each URL"
            )
        yield from _url_problems("SERVEY_JWKS_URL", self.jwks_urls)
        yield from _url_problems("SERVEY_OIDC_ISSUER", self.oidc_issuers)
        if self.debug_authenticator and production:
            yield (
                "SERVEY_DEBUG_AUTHENTICATOR is on, and this is production, where there is no login for development: "
                "take it away, or set SERVEY_ENV=development"
            )


def _file_problem(name: str, value: str) -> Iterator[str]:
    if not value or "-----BEGIN" in value:
        return
    try:
        with open(value, "rb"):
            pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "that is not the name of a file"
        yield f"{name} is neither PEM (-----BEGIN …) nor a file that can be read: {why}"


def _url_problems(name: str, urls: tuple[str, ...]) -> Iterator[str]:
    for url in urls:
        if not is_trusted_url(url):
            yield f"{name} has {shown_url(url)!r}, from which keys cannot be trusted: write an https:// URL"
    for url in sorted({url for url in urls if urls.count(url) > 1}):
        yield f"{name} has {shown_url(url)!r} more than once"
