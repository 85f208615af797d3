"""The failed calls in a broker: the messages of the queue ``servey.failed``, which no worker takes.

A message there is a `FailedMessage` that a worker has put, or the message of a call that RabbitMQ has moved itself,
because its processes have died. The header of the call stays as it was, so that the signature still covers it.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from servey.errors import InternalError
from servey.servey_celery.configuration import FAILED_QUEUE, MOST_LOST, is_amqp, queues
from servey.servey_celery.failed_message import FailedMessage
from servey.servey_celery.received import received

_READ_AT_ONCE = 100


class StoredMessage(msgspec.Struct, frozen=True):
    """A message of the queue, and what removes it.

    Args:
        failed: The failed call.
        token: The delivery tag in RabbitMQ; the element of the list in Redis.
    """

    failed: FailedMessage
    token: Any


class FailedCalls:
    """Reads and removes the failed calls with one connection.

    Args:
        connection: The connection of kombu.
        broker: The URL of the broker.
    """

    def __init__(self, connection: Any, broker: str) -> None:
        self._channel = connection.default_channel
        self._is_amqp = is_amqp(broker)
        _, failed = queues(broker)
        failed(self._channel).declare()

    def latest(self, limit: int) -> Sequence[StoredMessage]:
        """Return failed calls, the latest first. They stay in the queue."""
        if self._is_amqp:
            return [*reversed(deque(self._amqp(), limit))]
        elements: list[bytes] = self._channel.client.lrange(FAILED_QUEUE, 0, limit - 1)
        return [_of_redis(element) for element in elements]

    def find(self, id: str) -> StoredMessage | None:
        """Return the failed call with an id, the oldest one of several."""
        items = self._amqp() if self._is_amqp else self._redis()
        return next((item for item in items if item.failed.received.id == id), None)

    def remove(self, item: StoredMessage) -> bool:
        """Remove a failed call, and return whether it was there."""
        if self._is_amqp:
            self._channel.basic_ack(item.token)
            return True
        return self._channel.client.lrem(FAILED_QUEUE, -1, item.token) > 0

    def _amqp(self) -> Iterator[StoredMessage]:
        """Yield the failed calls, the oldest first. They come back to their places when the connection is closed."""
        while (message := self._channel.basic_get(FAILED_QUEUE, no_ack=False)) is not None:
            yield StoredMessage(_read(message.body, dict(message.headers or {})), message.delivery_tag)

    def _redis(self) -> Iterator[StoredMessage]:
        """Yield the failed calls, the oldest first."""
        end = -1
        while elements := self._channel.client.lrange(FAILED_QUEUE, end - _READ_AT_ONCE + 1, end):
            yield from map(_of_redis, reversed(elements))
            end -= len(elements)


class _Element(msgspec.Struct):
    """A message of kombu in a list of Redis."""

    body: str
    headers: dict[str, Any] = {}
    properties: dict[str, Any] = {}

    def content(self) -> bytes:
        data = self.body.encode()
        return base64.b64decode(data) if self.properties.get("body_encoding") == "base64" else data


def _of_redis(element: bytes) -> StoredMessage:
    try:
        found = msgspec.json.decode(element, type=_Element)
        return StoredMessage(_read(found.content(), found.headers), element)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return StoredMessage(_by_broker(element, {}), element)


def _read(body: Any, headers: dict[str, Any]) -> FailedMessage:
    data = body.encode() if isinstance(body, str) else bytes(body)
    try:
        return msgspec.json.decode(data, type=FailedMessage)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _by_broker(data, headers)


def _by_broker(body: bytes, headers: dict[str, Any]) -> FailedMessage:
    """Return the failed call of a message that RabbitMQ has moved to the queue of failed calls."""
    deaths: Any = headers.get("x-death")
    died = deaths[0].get("time") if deaths else None
    is_lost = headers.get("x-first-death-reason") == "delivery_limit"
    why = f"the workers of the call have died {MOST_LOST} times" if is_lost else "the broker has moved the message"
    parsed: Any = None
    with suppress(ValueError, RecursionError):
        parsed = json.loads(body)
    failed = FailedMessage.unread(received(headers, parsed), InternalError(why), body if parsed is None else None)
    return failed if died is None else msgspec.structs.replace(failed, failed_at=died.timestamp())
