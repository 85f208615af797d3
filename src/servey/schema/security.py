"""Security in a document: security schemes, and the requirements of each operation."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from servey.action.operation import Operation
from servey.schema.examples import distinct
from servey.service import Service

LOGIN, BEARER, OPEN_ID = "login", "bearer", "openid"
"""The names of the schemes; the second issuer of OpenID Connect is ``openid_2``."""
_MOST_NAMED = 5
"""The largest number of actions in the description of a scope."""

Requirements = list[dict[str, list[str]]]


def takes_caller(operation: Operation) -> bool:
    """Return whether the action requires a token, or gets the caller if there is a token."""
    return not operation.is_open or operation.takes_caller


class SecurityWriter:
    """Writes the security of one service's operations.

    Args:
        service: The service.
        operations: The operations of the whole document. If none of them takes a caller, there are no schemes.
        visible: The names of the operations to show; the scopes of other operations are left out.
        names_roles: Whether every scheme may name scopes; in OpenAPI 3.0 only OAuth 2.0 may.
    """

    def __init__(
        self,
        service: Service,
        operations: Iterable[Operation],
        *,
        visible: Container[str],
        names_roles: bool,
    ) -> None:
        self._names_roles = names_roles
        self.schemes: Mapping[str, Any] = {}
        taking = {operation.name: operation for operation in operations if takes_caller(operation)}
        if taking:
            shown = [operation for name, operation in taking.items() if name in visible]
            self.schemes = _schemes(service, shown)

    def requirements(self, operation: Operation, included: Iterable[Operation] = ()) -> Requirements:
        """Return the security requirements of an operation (OpenAPI 3.1 §4.8.30): any of them is enough.

        ``{}`` means that no token is needed.

        Args:
            operation: The operation.
            included: The nested actions that its callers may include, which may need a token.
        """
        if not takes_caller(operation) and not any(map(takes_caller, included)):
            return []
        alternatives = sorted(map(sorted, operation.access_summary.scopes)) or [[]]
        found: Requirements = [{}] if operation.is_open else []
        found += [
            {name: scopes if self._names_roles or scheme["type"] != "http" else []}
            for scopes in alternatives
            for name, scheme in self.schemes.items()
        ]
        return distinct(found)


def _schemes(service: Service, operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the security schemes (OpenAPI 3.1 §4.8.27)."""
    found: dict[str, Any] = {}
    if service.authentication.authenticator is not None:
        # relative to the document
        flow = {"tokenUrl": "login", "scopes": _scopes(operations)}
        found[LOGIN] = {
            "type": "oauth2",
            "description": "Log in with a name and a password.",
            "flows": {"password": flow},
        }
    else:
        found[BEARER] = {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A token that the service trusts.",
        }
    for number, issuer in enumerate(service.settings.tokens.oidc_issuers, 1):
        found[OPEN_ID if number == 1 else f"{OPEN_ID}_{number}"] = {
            "type": "openIdConnect",
            "description": f"A token by {issuer}.",
            "openIdConnectUrl": f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        }
    return found


def _scopes(operations: Sequence[Operation]) -> dict[str, str]:
    """Return every scope that an operation needs, with its purpose."""
    users: dict[str, list[str]] = {}
    for operation in operations:
        for scope in sorted({scope for scopes in operation.access_summary.scopes for scope in scopes}):
            users.setdefault(scope, []).append(operation.name)
    return {scope: f"Needed by {_listed(names)}." for scope, names in sorted(users.items())}


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
