"""Implementations of `servey.ports.Authorizer`: what verifies tokens, and by which keys."""
