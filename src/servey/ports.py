"""Every port of the core on one page: what a plugin or a user may implement, as Protocols.

The engines of the codec (`servey.codec.Engine`) are a port too; it stands with the types it speaks of.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, runtime_checkable

from servey.security.authorization import Authorization


@runtime_checkable
class AccessControl(Protocol):
    """Decide whether a caller may run an action; may be asynchronous."""

    def check(self, authorization: Authorization | None, /) -> Awaitable[None] | None:
        """Return (or resolve) when the caller may go on.

        Args:
            authorization: The verified caller; None when no token was sent.

        Raises:
            UnauthorizedError: There is no caller, and one is needed.
            ForbiddenError: The caller may not.
        """
        ...


class Authorizer(Protocol):
    """Verify a bearer token (RFC 6750)."""

    async def authorize(self, token: str, /) -> Authorization:
        """Return whom `token` speaks for.

        Raises:
            UnauthorizedError: The token is not good; with ``error="invalid_token"``.
        """
        ...
