"""Implementations of `servey.ports.AccessControl`."""

from servey.security.access_control.check import described
from servey.security.access_control.combined_access_control import AllOf, AnyOf
from servey.security.access_control.constants import ALLOW_ALL, ALLOW_NONE
from servey.security.access_control.scope_access_control import ScopeAccessControl

__all__ = ["ALLOW_ALL", "ALLOW_NONE", "AllOf", "AnyOf", "ScopeAccessControl", "described"]
