"""Stores in a Redis or Valkey server, which the processes of a service share."""
