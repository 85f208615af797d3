"""Real brokers, which tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.rabbitmqs import RabbitMq, needs_rabbitmq
from support.valkeys import Valkey


def emptied(kind: str, request: pytest.FixtureRequest) -> str:
    """Return the URL of a broker without messages: ``"rabbitmq"`` or ``"valkey"``."""
    server = request.getfixturevalue(kind)
    if kind == "rabbitmq":
        server.empty()
        return server.url
    with server.client() as client:
        client.flushall()
    return server.connection_url


@contextmanager
def own_broker(kind: str) -> Iterator[RabbitMq | Valkey]:
    """Yield a broker of one test, which starts it and kills it; skip the test if it is not installed."""
    if kind == "rabbitmq":
        needs_rabbitmq()
    broker = RabbitMq() if kind == "rabbitmq" else Valkey()
    try:
        yield broker
    finally:
        broker.stop()


@contextmanager
def silent(broker: RabbitMq | Valkey) -> Iterator[None]:
    """Hold a broker up: its connections stay open, and it answers nothing."""
    process = broker.pid
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)
