"""What is shown of an access control: to callers in documents, to whoever starts the server, in lists."""

from __future__ import annotations

from servey.ports import AccessControl

_OWN = "servey.security.access_control."


def described(control: AccessControl) -> str:
    """Return servey's own access controls as they read, and any other by the name of its class.

    The `repr` of a user's class shows what it was made with, such as the URL of a database with its password.

    Example:
        >>> from types import SimpleNamespace
        >>> from servey.security.access_control import AnyOf, ScopeAccessControl
        >>> described(AnyOf(ScopeAccessControl("root"), SimpleNamespace(check=print)))
        'scope root or SimpleNamespace'
    """
    cls = type(control)
    return repr(control) if cls.__module__.startswith(_OWN) else cls.__name__
