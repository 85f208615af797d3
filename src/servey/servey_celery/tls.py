"""TLS to brokers. By itself, Celery verifies no certificate of Redis, and no host name in a certificate of RabbitMQ."""

from __future__ import annotations

import ssl
from typing import Any

_REDIS = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}


class _HostName(dict[str, Any]):
    """Options of a connection to RabbitMQ: it verifies the name of the host that it connects to.

    Where the value is None, kombu sets it to the host of each connection. So it must be None for the next host, too.
    """

    def __getitem__(self, name: str) -> Any:
        return None


def broker_tls(broker: str) -> dict[str, Any] | None:
    """Return the options of TLS for a broker; None without TLS.

    Options in its URL replace those for Redis (``?ssl_ca_certs=/path``).
    """
    if broker.startswith("rediss"):
        return dict(_REDIS)
    return _HostName(server_hostname=None) if broker.startswith("amqps") else None


def result_tls(result_backend: str) -> dict[str, Any] | None:
    """Return the options of TLS for results; None without TLS."""
    return dict(_REDIS) if result_backend.startswith("rediss") else None
