"""Implementations of `servey.ports.Authorizer`: the verification of tokens, and the sources of keys."""
