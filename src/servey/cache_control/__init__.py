"""HTTP caching (RFC 9110, RFC 9111), and the result cache of the server."""

from servey.cache_control.cache_header import CacheHeader
from servey.cache_control.combined_cache_control import CombinedCacheControl
from servey.cache_control.secure_hash_cache_control import SecureHashCacheControl
from servey.cache_control.timestamp_cache_control import TimestampCacheControl
from servey.cache_control.ttl_cache_control import TtlCacheControl

__all__ = [
    "CacheHeader",
    "CombinedCacheControl",
    "SecureHashCacheControl",
    "TimestampCacheControl",
    "TtlCacheControl",
]
