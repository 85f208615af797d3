"""Real brokers, which tests share."""

from __future__ import annotations

import pytest


def emptied(kind: str, request: pytest.FixtureRequest) -> str:
    """Return the URL of a broker without messages: ``"rabbitmq"`` or ``"valkey"``."""
    server = request.getfixturevalue(kind)
    if kind == "rabbitmq":
        server.empty()
        return server.url
    with server.client() as client:
        client.flushall()
    return server.connection_url
