"""The limits of entries, the same in every store (`servey.ports.KeyValueStore`)."""

KEY_LIMIT = 512
"""The largest length of a key, in characters."""
VALUE_LIMIT = 256 * 1024
"""The largest size of a value, in bytes."""


def check_entry(key: str, value: bytes = b"") -> None:
    """Raise `ValueError` if a key or a value is too long."""
    if len(key) > KEY_LIMIT:
        raise ValueError(f"a key has at most {KEY_LIMIT} characters; this one has {len(key)}")
    if len(value) > VALUE_LIMIT:
        raise ValueError(f"a value has at most {VALUE_LIMIT} bytes; this one has {len(value)}")
