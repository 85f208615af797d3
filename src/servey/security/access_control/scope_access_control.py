"""Access by the scopes of the caller's token."""

from __future__ import annotations

import msgspec

from servey.errors import DefinitionError, ForbiddenError, UnauthorizedError
from servey.security.authorization import Authorization


class ScopeAccessControl(msgspec.Struct, frozen=True):
    """Let those in whose token carries a scope.

    Args:
        execute_scope: The scope that running the action needs; one token of RFC 6749 §3.3.

    Raises:
        DefinitionError: The scope is empty or has characters that no scope can have.

    Example:
        >>> ScopeAccessControl(execute_scope="root").check(Authorization("me", frozenset({"root"})))
    """

    execute_scope: str

    def __post_init__(self) -> None:
        scope = self.execute_scope
        if not scope or any(not "\x21" <= char <= "\x7e" or char in '"\\' for char in scope):
            raise DefinitionError(
                f"{scope!r} is no scope", fix="use printable ASCII without spaces, quotes and backslashes"
            )

    def check(self, authorization: Authorization | None) -> None:
        """Raise unless the caller has the scope."""
        if authorization is None:
            raise UnauthorizedError
        if not authorization.has_scope(self.execute_scope):
            raise ForbiddenError(f"this needs the scope {self.execute_scope!r}", scope=self.execute_scope)

    def required_scopes(self) -> tuple[frozenset[str], ...]:
        """Return what is enough, as alternatives: the one scope."""
        return (frozenset({self.execute_scope}),)

    def example_authorization(self) -> Authorization:
        """Return somebody who is let in: as whom an example calls unless it says otherwise."""
        return Authorization(subject="example", scopes=frozenset({self.execute_scope}))

    def __repr__(self) -> str:
        return f"scope {self.execute_scope}"
