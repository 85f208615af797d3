"""The text of an access control in documents, lists and the banner."""

from __future__ import annotations

from servey.ports import AccessControl

_OWN = "servey.security.access_control."


def described(control: AccessControl) -> str:
    """Return the `repr` of servey's own access controls, and the class name of others.

    The `repr` of a user's class may show secrets, such as the URL of a database with its password.

    Example:
        >>> from types import SimpleNamespace
        >>> from servey.security.access_control import AnyOf, ScopeAccessControl
        >>> described(AnyOf(ScopeAccessControl("root"), SimpleNamespace(check=print)))
        'scope root or SimpleNamespace'
    """
    cls = type(control)
    return repr(control) if cls.__module__.startswith(_OWN) else cls.__name__
