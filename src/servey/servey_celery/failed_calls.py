"""The failed calls in a broker: the messages of the queue ``servey.failed``, which no worker takes.

A message there is a `FailedMessage` that a worker has put, or the message of a call that RabbitMQ has moved itself,
because its processes have died. The header of the call stays as it was, so that the signature still covers it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from servey.background_call.call import FailedCall
from servey.background_call.message import MessageSigner
from servey.errors import InternalError
from servey.servey_celery.configuration import FAILED_QUEUE, MOST_LOST, is_amqp, queues
from servey.servey_celery.failed_message import FailedMessage
from servey.servey_celery.received import received


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
        return self._amqp(limit) if self._is_amqp else self._redis(limit)

    def find(self, id: str) -> StoredMessage | None:
        """Return the failed call with an id."""
        return next((item for item in self.latest(0) if item.failed.id == id), None)

    def remove(self, item: StoredMessage) -> bool:
        """Remove a failed call, and return whether it was there."""
        if self._is_amqp:
            self._channel.basic_ack(item.token)
            return True
        return self._channel.client.lrem(FAILED_QUEUE, 1, item.token) > 0

    def _amqp(self, limit: int) -> Sequence[StoredMessage]:
        # the messages come back to their places when the connection is closed
        found: list[StoredMessage] = []
        while (message := self._channel.basic_get(FAILED_QUEUE, no_ack=False)) is not None:
            read = _read(message.body, dict(message.headers or {}))
            found.append(StoredMessage(read, message.delivery_tag))
        found.reverse()
        return found[:limit] if limit else found

    def _redis(self, limit: int) -> Sequence[StoredMessage]:
        elements: list[bytes] = self._channel.client.lrange(FAILED_QUEUE, 0, limit - 1)
        found: list[StoredMessage] = []
        for element in elements:
            raw: Any = {}
            with suppress(ValueError):
                raw = json.loads(element)
            found.append(StoredMessage(_read(_body(raw), raw.get("headers") or {}), element))
        return found


def _body(raw: Any) -> bytes:
    body = str(raw.get("body", "")).encode()
    properties: Any = raw.get("properties") or {}
    if properties.get("body_encoding") == "base64":
        with suppress(ValueError):
            return base64.b64decode(body)
    return body


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
    why = f"the processes of the call have died {MOST_LOST} times" if is_lost else "the broker has moved the message"
    parsed: Any = None
    with suppress(ValueError, RecursionError):
        parsed = json.loads(body)
    failed = received(headers, parsed).failed(InternalError(why), "" if parsed else body.decode(errors="replace"))
    return failed if died is None else msgspec.structs.replace(failed, failed_at=died.timestamp())


def stored(item: FailedMessage, signer: MessageSigner) -> FailedCall:
    """Return a failed call for `servey.ports.CallQueue.failed`."""
    return FailedCall(item.call(signer), item.failed_at, msgspec.json.encode(item.problem), item.traceback)
