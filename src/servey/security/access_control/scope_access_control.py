"""Access by the scopes of the caller's token."""

from __future__ import annotations

import msgspec

from servey.errors import DefinitionError, ForbiddenError, UnauthorizedError
from servey.security.authorization import Authorization, is_scope


class ScopeAccessControl(msgspec.Struct, frozen=True):
    """Accept callers whose token has a scope.

    Args:
        execute_scope: The scope; one scope token of RFC 6749 §3.3.

    Raises:
        DefinitionError: The scope is empty or has characters that RFC 6749 does not allow.

    Example:
        >>> ScopeAccessControl(execute_scope="root").check(Authorization("me", frozenset({"root"})))
    """

    execute_scope: str

    def __post_init__(self) -> None:
        scope = self.execute_scope
        if not is_scope(scope):
            raise DefinitionError(
                f"{scope!r} is not a scope", fix="use printable ASCII without spaces, quotes and backslashes"
            )

    def check(self, authorization: Authorization | None) -> None:
        """Raise unless the caller has the scope."""
        if authorization is None:
            raise UnauthorizedError
        if not authorization.has_scope(self.execute_scope):
            raise ForbiddenError(f"this needs the scope {self.execute_scope!r}", scope=self.execute_scope)

    def required_scopes(self) -> tuple[frozenset[str], ...]:
        """Return the scope as the only alternative."""
        return (frozenset({self.execute_scope}),)

    def example_authorization(self) -> Authorization:
        """Return a caller with the scope."""
        return Authorization(subject="example", scopes=frozenset({self.execute_scope}))

    def __repr__(self) -> str:
        return f"scope {self.execute_scope}"
