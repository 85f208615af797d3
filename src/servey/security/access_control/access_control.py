"""The port that decides who may run an action, and its two constants."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, Protocol

from servey.errors import ForbiddenError, UnauthorizedError
from servey.security.authorization import Authorization


class AccessControl(Protocol):
    """Decide whether a caller may run an action; may be asynchronous."""

    def check(self, authorization: Authorization | None) -> Awaitable[None] | None:
        """Return (or resolve) when the caller may go on.

        Args:
            authorization: The verified caller; None when no token was sent.

        Raises:
            UnauthorizedError: There is no caller, and one is needed.
            ForbiddenError: The caller may not.
        """
        ...


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

    def __repr__(self) -> str:
        return "nobody"


ALLOW_ALL: Final = AllowAll()
ALLOW_NONE: Final = AllowNone()
