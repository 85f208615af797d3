"""Authentication: the authorizers that verify tokens, and the authenticator and the issuer of ``/login``."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING

from servey.action.context import CallContext
from servey.action.current import as_current_call
from servey.action.deadlines import in_time
from servey.errors import CallError, SettingsError, UnauthorizedError
from servey.ports import Authenticator, Authorizer, TokenIssuer
from servey.security.access_control import ALLOW_NONE
from servey.security.authorization import Authorization, checked_authorization
from servey.security.settings import HOW_TO_MAKE_A_SECRET, TokenSettings

if TYPE_CHECKING:
    from servey.action.operation import Operation
    from servey.action.runtime import Runtimes
    from servey.security.authorizer.jwt_authorizer import JwtAuthorizer
    from servey.trigger.web_route import WebRoute

_log = logging.getLogger("servey.service")


@dataclass(eq=False)
class Authentication:
    """The authentication of one service.

    The modules that verify tokens are imported with the first token.
    """

    tokens: TokenSettings
    production: bool
    is_generated: bool
    """Whether the secret of tokens is generated."""
    own_authorizers: tuple[Authorizer, ...]
    """The authorizers of plugins."""
    authenticators: tuple[Authenticator, ...]
    """The authenticators of plugins."""
    operations: Mapping[str, Operation]
    routes: Sequence[WebRoute]
    runtimes: Runtimes

    @cached_property
    def authorizers(self) -> tuple[Authorizer, ...]:
        """The authorizers, in the order in which they are asked: those of plugins, then those of the settings."""
        own = self.own_authorizers
        if not self.tokens.has_keys or (own and self.is_generated):
            return own
        from servey.security.authorizer.configured import configured_authorizers

        return (*own, *configured_authorizers(self.tokens, is_generated=self.is_generated))

    @cached_property
    def token_issuer(self) -> TokenIssuer | None:
        """The issuer that signs the tokens of ``/login``: the first authorizer that can; None without one."""
        return next((item for item in self.authorizers if isinstance(item, TokenIssuer)), None)

    @cached_property
    def authenticator(self) -> Authenticator | None:
        """The authenticator of ``/login``: the first one of the plugins, or the debug one; None without a login.

        The debug authenticator exists in development only, and not if an action has the path ``/login``.
        """
        if self.token_issuer is None:
            return None
        if self.authenticators:
            return self.authenticators[0]
        if self.production or self.tokens.debug_authenticator is False:
            return None
        if self.tokens.debug_authenticator is None and any(route.path == "/login" for route in self.routes):
            return None
        from servey.security.authenticator.debug_authenticator import DebugAuthenticator, named_scopes

        controls = (operation.action.access_control for operation in self.operations.values())
        return DebugAuthenticator(
            self.tokens.debug_authenticator_username,
            self.tokens.debug_authenticator_password,
            named_scopes(controls) | {"root"},
        )

    async def authenticate(self, token: str, context: CallContext, deadline: float | None) -> Authorization:
        """Return the caller of a bearer token, from the first authorizer that accepts the token.

        An authorizer that does not accept the token returns None or raises a `CallError`; then servey asks the next
        one. If none accepts the token, the error comes from the authorizer that recognised most of it. First come
        errors about a token with a right signature, then errors that are not about the token (the keys are not fetched
        yet, the caller is blocked), then errors about a known key.

        Args:
            token: The token.
            context: The call that sends it, or the calls of one request. Authorizers run inside of it, so that their
                own calls have its origin and its request id.
            deadline: The deadline, in the event loop's time; None for no limit.

        Raises:
            UnauthorizedError: No authorizer accepts the token.
            OverloadedError: The keys of an authorizer are not fetched yet.
            DeadlineError: The deadline passed first.
            CallError: Another refusal of a plugin's authorizer.
            TypeError: The result of a plugin's authorizer is not an `Authorization`.
        """
        known = self.remembered(token)
        if known is not None:
            return known
        with as_current_call(context):
            return await in_time(self._by_first(token), deadline, self.runtimes.current().deadlines)

    def remembered(self, token: str) -> Authorization | None:
        """Return the caller of a token that was verified a moment ago; None for any other token."""
        for authorizer in self._caching:
            known = authorizer.verified(token)
            if known is not None:
                return known
        return None

    @cached_property
    def _caching(self) -> tuple[JwtAuthorizer, ...]:
        """The first authorizers, if they remember the tokens that they have verified.

        Servey asks an authorizer of a plugin each time: it may refuse a token that it has accepted before.
        """
        from servey.security.authorizer.jwt_authorizer import JwtAuthorizer

        def is_caching(authorizer: Authorizer) -> bool:
            return isinstance(authorizer, JwtAuthorizer) and type(authorizer).authorize is JwtAuthorizer.authorize

        return tuple(takewhile(is_caching, self.authorizers))  # pyright: ignore[reportReturnType]

    async def _by_first(self, token: str) -> Authorization:
        refusals: list[CallError] = []
        for authorizer in self.authorizers:
            try:
                found: object = await authorizer.authorize(token)
            except CallError as error:
                refusals.append(error)
                continue
            if found is not None:
                return checked_authorization(found, type(authorizer).__name__)
        if not refusals:
            raise UnauthorizedError("the service has no key to verify the token", error="invalid_token")
        raise max(refusals, key=_recognition)

    def check_keys(self) -> None:
        """Check that the service has good keys for its tokens. Servers call this; commands need no keys.

        Raises:
            SettingsError: A key cannot be read; a login has no key to sign with; or, in production, the secret is too
                short, or an action needs a caller and no key verifies tokens.
        """
        self._check_secret()
        if self.token_issuer is None and (self.authenticators or self.tokens.debug_authenticator):
            raise SettingsError(
                "there is a login, and nothing signs its tokens: set JWT_SECRET_KEY "
                f"({HOW_TO_MAKE_A_SECRET}) or SERVEY_JWT_PRIVATE_KEY"
            )
        if not self.authorizers and self.production and (name := self._first_with_caller()):
            raise SettingsError(
                f"nothing verifies tokens, and {name} needs it: set JWT_SECRET_KEY ({HOW_TO_MAKE_A_SECRET}), "
                "SERVEY_JWT_PRIVATE_KEY, SERVEY_JWT_PUBLIC_KEY, SERVEY_JWKS_URL or SERVEY_OIDC_ISSUER"
            )
        for authorizer in self.authorizers:
            self._check_authorizer(authorizer)

    def _check_secret(self) -> None:
        from servey.security.authorizer.fixed_keys import MIN_SECRET

        size = len(self.tokens.jwt_secret_key.encode())
        if size == 0 or size >= MIN_SECRET:
            return
        message = (
            f"JWT_SECRET_KEY has {size} bytes, and {MIN_SECRET} are needed (RFC 7518 §3.2): {HOW_TO_MAKE_A_SECRET}"
        )
        if self.production:
            raise SettingsError(message)
        _log.warning("%s; in production the service would not start", message)

    def _first_with_caller(self) -> str:
        """Return the name of the first action on the web that needs a caller; empty without one."""
        for route in self.routes:
            operation = route.operation
            if not operation.is_open and operation.action.access_control is not ALLOW_NONE:
                return operation.name
        return ""

    def _check_authorizer(self, authorizer: Authorizer) -> None:
        from servey.security.authorizer.fixed_keys import FixedKeys
        from servey.security.authorizer.jwt_authorizer import JwtAuthorizer

        if not isinstance(authorizer, JwtAuthorizer):
            return
        if not isinstance(authorizer.keys, FixedKeys):
            if not authorizer.issuer:
                _log.warning("%s: the service accepts every token that they verify", authorizer.origin)
        elif not self.is_generated:  # a generated secret is good; reading it would import jwt
            _ = authorizer.keys.ring

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Keep the published keys of issuers up to date while the context is open."""
        async with AsyncExitStack() as stack:
            if self.tokens.jwks_urls or self.tokens.oidc_issuers:
                from servey.security.authorizer.published_keys import PublishedKeys

                for authorizer in self.authorizers:
                    keys = getattr(authorizer, "keys", None)
                    if isinstance(keys, PublishedKeys):
                        await stack.enter_async_context(keys.running())
            yield


def _recognition(error: CallError) -> float:
    """Return how much of a token its authorizer recognised before the refusal."""
    from servey.security.authorizer.unverified_token import RefusedTokenError

    if isinstance(error, RefusedTokenError):
        return error.recognition
    return RefusedTokenError.FOREIGN if isinstance(error, UnauthorizedError) else RefusedTokenError.KNOWN_KEY + 0.5
