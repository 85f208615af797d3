"""The two access controls that need no caller: everybody, and nobody."""

from __future__ import annotations

from typing import Final

from servey.errors import ForbiddenError, UnauthorizedError
from servey.security.authorization import Authorization


class AllowAll:
    """Let everybody in. The operation skips the check altogether."""

    def check(self, authorization: Authorization | None) -> None:
        """Return; everybody may."""

    def __repr__(self) -> str:
        return "open"


class AllowNone:
    """Let nobody in over a network; schedules, events and the command line still run the action."""

    def check(self, authorization: Authorization | None) -> None:
        """Raise; nobody may."""
        if authorization is None:
            raise UnauthorizedError
        raise ForbiddenError("nobody may call this over a network")

    def required_scopes(self) -> tuple[frozenset[str], ...]:
        """Return no alternative: no scope will do."""
        return ()

    def __repr__(self) -> str:
        return "nobody"


ALLOW_ALL: Final = AllowAll()
ALLOW_NONE: Final = AllowNone()
