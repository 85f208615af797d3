"""Real brokers, which tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from support.length import FULL
from support.rabbitmqs import INSTALLED, RabbitMq, needs_rabbitmq
from support.valkeys import Valkey

T = TypeVar("T")


def emptied(kind: str, request: pytest.FixtureRequest) -> str:
    """Return the URL of a broker without messages: ``"rabbitmq"`` or ``"valkey"``."""
    server = request.getfixturevalue(kind)
    if kind == "rabbitmq":
        server.empty()
        return server.url
    with server.client() as client:
        client.flushall()
    return server.connection_url


def first_with(kind: str, fixture: str = "broker") -> Callable[[T], T]:
    """Run a slow test with one kind of broker (Valkey where the other is not installed), and with both at full length.

    Args:
        kind: The kind.
        fixture: The fixture of the test that takes a kind.
    """
    kinds = ["rabbitmq", "valkey"] if FULL else [kind if INSTALLED else "valkey"]
    parametrized = pytest.mark.parametrize(fixture, kinds, indirect=True)
    return lambda test: pytest.mark.long(parametrized(test))


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
