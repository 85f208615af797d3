"""The settings of the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from servey.settings_part import SettingsPart, Variable


class UvicornSettings(SettingsPart, frozen=True, kw_only=True):
    """Which proxies the server trusts, and how it stops."""

    trusted_proxies: Annotated[
        tuple[str, ...],
        Variable(
            "FORWARDED_ALLOW_IPS",
            "The proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` the server trusts: addresses and networks, "
            "or `*` for all.",
            ("SERVEY_FORWARDED_ALLOW_IPS",),
        ),
    ] = ("127.0.0.1", "::1")
    shutdown_delay: Annotated[
        Annotated[float, msgspec.Meta(ge=0, le=3600)],
        Variable(
            "SERVEY_SHUTDOWN_DELAY",
            "The seconds that a stopping server still accepts requests, while `/readyz` answers that it is not ready.",
        ),
    ] = 0.0

    def problems(self, *, production: bool) -> Iterator[str]:
        """Yield proxies that are neither addresses nor networks."""
        if "*" in self.trusted_proxies and len(self.trusted_proxies) > 1:
            yield "FORWARDED_ALLOW_IPS has * and more: * alone trusts every proxy, so remove the rest"
        for proxy in self.trusted_proxies:
            if proxy != "*" and not _is_network(proxy):
                yield (
                    f"FORWARDED_ALLOW_IPS has {proxy!r}, which is neither an address nor a network: write 10.0.0.7, or "
                    "10.0.0.0/8 with zeros after the prefix"
                )


def _is_network(text: str) -> bool:
    if text in ("127.0.0.1", "::1"):
        return True
    import ipaddress

    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True
