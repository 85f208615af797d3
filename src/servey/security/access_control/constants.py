"""The access controls that accept all callers or none."""

from __future__ import annotations

from typing import Final

from servey.errors import ForbiddenError, UnauthorizedError
from servey.security.authorization import Authorization


class AllowAll:
    """Accept all callers. The operation skips the check."""

    def check(self, authorization: Authorization | None) -> None:
        """Return."""

    def __repr__(self) -> str:
        return "open"


class AllowNone:
    """Refuse every caller over a network. Schedules, events and the command line still run the action."""

    def check(self, authorization: Authorization | None) -> None:
        """Raise."""
        if authorization is None:
            raise UnauthorizedError
        raise ForbiddenError("this action refuses calls over a network")

    def required_scopes(self) -> tuple[frozenset[str], ...]:
        """Return no alternatives: no scope is enough."""
        return ()

    def __repr__(self) -> str:
        return "nobody"


ALLOW_ALL: Final = AllowAll()
ALLOW_NONE: Final = AllowNone()
