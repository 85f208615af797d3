"""Idempotency: a call that is repeated with the same key gets the answer of the first one, and does not run again."""
