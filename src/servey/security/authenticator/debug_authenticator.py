"""The one user that there is while a service is developed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from hmac import compare_digest

from servey.security.access_control.check import scopes_of
from servey.security.authorization import Authorization


class DebugAuthenticator:
    """Let one user in, with every scope that there is. For development only.

    Args:
        username: Who logs in.
        password: The password; not empty.
        scopes: What the user may do.

    Raises:
        ValueError: The name or the password is empty.

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
        """Return the user when the name and the password are right; takes the same time when they are not."""
        expected_name, expected_password = self._expected
        is_user = compare_digest(_digest(username), expected_name)
        knows_password = compare_digest(_digest(password), expected_password)
        return Authorization(subject=self.username, scopes=self.scopes) if is_user & knows_password else None


def _digest(text: str) -> bytes:
    """Return what is compared: of the same length whatever the text, so that the time tells nothing of that either."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def named_scopes(controls: Iterable[object]) -> frozenset[str]:
    """Return every scope that access controls name by their `required_scopes`."""
    return frozenset(scope for control in controls for alternative in scopes_of(control) for scope in alternative)
