"""The user of a service in development."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from hmac import compare_digest

from servey.security.access_control.check import scopes_of
from servey.security.authorization import Authorization


class DebugAuthenticator:
    """Log in one user with every scope of the service. For development only. Name and password must not be empty.

    Example:
        >>> import asyncio
        >>> authenticator = DebugAuthenticator("root", "secret", frozenset({"root"}))
        >>> asyncio.run(authenticator.authenticate("root", "secret")).subject
        'root'
    """

    def __init__(self, username: str, password: str, scopes: frozenset[str]) -> None:
        if not username or not password:
            raise ValueError("a login needs a name and a password")
        self.username = username
        self.scopes = scopes
        self._expected = _digest(username), _digest(password)

    async def authenticate(self, username: str, password: str) -> Authorization | None:
        """Return the user if the name and the password are right. Wrong ones take the same time."""
        expected_name, expected_password = self._expected
        is_user = compare_digest(_digest(username), expected_name)
        knows_password = compare_digest(_digest(password), expected_password)
        return Authorization(subject=self.username, scopes=self.scopes) if is_user & knows_password else None


def _digest(text: str) -> bytes:
    """Return a digest to compare: its length does not depend on the text, so neither does the time."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def named_scopes(controls: Iterable[object]) -> frozenset[str]:
    """Return every scope that access controls name."""
    return frozenset(scope for control in controls for alternative in scopes_of(control) for scope in alternative)
