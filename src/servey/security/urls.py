"""URLs and hosts in settings: which ones are safe to trust and to show."""

from __future__ import annotations

import re


def shown_url(url: str) -> str:
    """Return a URL without credentials and without its query, which may contain a key.

    Example:
        >>> shown_url("https://me:secret@issuer.example/keys?api_key=secret")
        'https://…@issuer.example/keys?…'
    """
    scheme, slashes, rest = url.partition("://")
    if not slashes:
        scheme, rest = "", url
    if "@" in rest:
        rest = "…" + rest[rest.rindex("@") :]
    shown, *more = re.split(r"[?#]", rest, maxsplit=1)
    return f"{scheme}{slashes}{shown}{'?…' if more else ''}"


def host_of(url: str) -> str | None:
    """Return the host of a URL; None if it has none, or is not a URL."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        _ = parts.port
        return parts.hostname
    except ValueError:
        return None


def is_trusted_url(url: str) -> bool:
    """Return whether a response from a URL is sure to come from its host: over TLS, or from this machine."""
    from urllib.parse import urlsplit

    host = host_of(url)
    if not host:
        return False
    parts = urlsplit(url)
    if parts.username is not None or parts.fragment:
        return False
    if not url.isascii() or re.search(r"[\s\x00-\x20]", url):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def is_loopback(host: str) -> bool:
    """Return whether the name or the address of a host means this machine itself."""
    if host in ("localhost", "127.0.0.1", "::1"):
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
