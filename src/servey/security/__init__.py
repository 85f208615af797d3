"""Security: the verified caller (`authorization`), access control and rate limits."""
