"""Who may run an action: a port (`AccessControl`) and the implementations that servey brings."""

from servey.security.access_control.access_control import ALLOW_ALL, ALLOW_NONE, AccessControl
from servey.security.access_control.scope_access_control import ScopeAccessControl

__all__ = ["ALLOW_ALL", "ALLOW_NONE", "AccessControl", "ScopeAccessControl"]
