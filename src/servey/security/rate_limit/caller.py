"""The callers of rate limits: calls of one caller are counted together."""

from __future__ import annotations

import hashlib
import logging
from functools import cache, lru_cache

import msgspec

from servey.action.context import CallContext

_log = logging.getLogger("servey.rate_limit")

_LONGEST = 64
_MAPPED_BY_TRANSLATORS = 0x64FF9B << 96  # 64:ff9b::/96 (RFC 6052 §2.1)


def caller_of(context: CallContext) -> str:
    """Return the key of a caller: the verified caller, or else its network.

    A verified caller is counted by issuer and subject: a new login, or a token with fewer scopes, starts no new count.
    """
    authorization = context.authorization
    if authorization is None:
        if not context.client:
            warn_of_no_address()
        return network_of(context.client)
    if authorization.subject is None:
        from servey.cache_control.argument_key import UnkeyableError

        try:
            return f"token:{authorization.identity.hex()}"
        except UnkeyableError:  # such callers are indistinguishable, so they share a limit
            return f"token:{type(authorization).__qualname__}"
    whole = msgspec.msgpack.encode((authorization.issuer, authorization.subject))
    return f"subject:{hashlib.sha256(whole).hexdigest()}"


@cache
def warn_of_no_address() -> None:
    """Log, once in a process, that the address of callers is unknown, so that all of them count as one."""
    _log.warning(
        "the address of a caller is unknown: all such callers without a token count as one. If the server listens on "
        "a Unix socket behind a proxy, set FORWARDED_ALLOW_IPS=*, so that the proxy's X-Forwarded-For counts"
    )


@lru_cache(4096)
def network_of(client: str, bits: int = 64) -> str:
    """Return the network of an address: an IPv4 address itself; the /64 of an IPv6 address, which is one customer's.

    Args:
        client: The address; empty if it is unknown. All unknown addresses are one network.
        bits: The length of the prefix of an IPv6 address.

    Example:
        >>> network_of("192.0.2.7"), network_of("::ffff:192.0.2.7"), network_of("2001:db8::7")
        ('192.0.2.7', '192.0.2.7', '2001:db8::/64')
    """
    import ipaddress

    if not client:
        return "nobody"
    try:
        address = ipaddress.ip_address(client)
    except ValueError:  # the name of a host, or of a socket
        return f"name:{client[:_LONGEST]}"
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if int(address) >> 32 == _MAPPED_BY_TRANSLATORS >> 32:
        return str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    rest = 128 - bits
    return f"{ipaddress.IPv6Address(int(address) >> rest << rest)}/{bits}"
