"""Implementations of `servey.ports.Authenticator`: a user by a name and a password."""

from servey.security.authenticator.debug_authenticator import DebugAuthenticator

__all__ = ["DebugAuthenticator"]
