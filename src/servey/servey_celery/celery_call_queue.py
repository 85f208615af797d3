"""The queue of background calls in a broker, from which Celery workers take them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from servey.background_call.call import Call, FailedCall, Outcome
from servey.background_call.message import Message, MessageSigner, canonical_json
from servey.errors import MalformedError
from servey.servey_celery.configuration import MOST_FAILED, is_amqp, queues
from servey.servey_celery.failed_calls import FailedCalls
from servey.servey_celery.failed_message import FailedMessage
from servey.servey_celery.publisher import Publication, Publisher
from servey.servey_celery.received import HEADER, Received

T = TypeVar("T")

_BODY = b'[%b,%b,{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]'
"""The body of a Celery message: arguments by position and by name, and what Celery calls afterwards."""


class CeleryCallQueue:
    """Puts background calls into a broker (`servey.ports.CallQueue`); Celery workers run them.

    A call that is put twice is in the broker twice. Workers recognize a known id (`servey.servey_celery.known_ids`).

    Args:
        app: The Celery app.
        signer: Makes and verifies the headers of messages.
        timeout: The seconds in which the broker confirms a put.
    """

    is_durable = True

    def __init__(self, app: Any, signer: MessageSigner, timeout: float) -> None:
        self.app, self.signer = app, signer
        self.carries_callers = signer.signs
        self._publisher = Publisher(app, timeout)
        self._calls, self._failed = queues(app.conf.broker_url)
        self._has_delays = is_amqp(app.conf.broker_url)

    async def put(self, calls: Sequence[Call], /) -> None:
        """Return when the broker has confirmed all calls.

        Raises:
            OverloadedError: It has not confirmed them in time. It may have some, and they run.
        """
        if calls:
            await self.put_messages([_new(call) for call in calls])

    def put_now(self, calls: Sequence[Call], /) -> None:
        """Do the same as `put` in a thread without an event loop."""
        if calls:
            self.put_messages_now([_new(call) for call in calls])

    async def put_messages(self, messages: Sequence[Message]) -> None:
        """Do the same as `put`, for further attempts of calls."""
        await self._publisher.publish([self._publication(message) for message in messages])

    def put_messages_now(self, messages: Sequence[Message]) -> None:
        """Do the same as `put_messages` in a thread without an event loop."""
        self._publisher.publish_now([self._publication(message) for message in messages])

    async def put_failed(self, failed: FailedMessage) -> None:
        """Return when the broker has confirmed a failed call.

        Raises:
            OverloadedError: It has not confirmed it in time.
        """
        await self._publisher.publish([self._failed_publication(failed)])

    def put_failed_now(self, failed: FailedMessage) -> None:
        """Do the same as `put_failed` in a thread without an event loop."""
        self._publisher.publish_now([self._failed_publication(failed)])

    @asynccontextmanager
    async def consuming(self, run: Callable[[Call], Awaitable[Outcome]], /) -> AsyncGenerator[None]:
        """Do nothing: the workers of Celery run the calls."""
        yield

    async def failed(self, limit: int, /) -> Sequence[FailedCall]:
        """Return the calls that have failed for good, the latest first."""
        found = await self._with_failed(lambda calls: calls.latest(limit))
        return [item.failed.stored(self.signer) for item in found]

    async def retry(self, id: str, /) -> bool:
        """Put a failed call again, and return whether there is such a call.

        Raises:
            ValueError: Its message is not signed by this service, so it never runs.
        """

        def retry(calls: FailedCalls) -> bool:
            found = calls.find(id)
            if found is None:
                return False
            self._publisher.publish_now([self._again(found.failed.received)])
            return calls.remove(found)

        return await self._with_failed(retry)

    async def forget(self, id: str, /) -> bool:
        """Forget a failed call, and return whether there is such a call. A waiting call cannot be forgotten."""

        def forget(calls: FailedCalls) -> bool:
            found = calls.find(id)
            return found is not None and calls.remove(found)

        return await self._with_failed(forget)

    async def close(self) -> None:
        """Close the connections of the process."""
        await asyncio.to_thread(self._publisher.close)

    async def _with_failed(self, work: Callable[[FailedCalls], T]) -> T:
        broker = self.app.conf.broker_url
        return await asyncio.to_thread(
            self._publisher.with_connection, lambda connection: work(FailedCalls(connection, broker))
        )

    def _publication(self, message: Message) -> Publication:
        call = message.call
        arguments = _arguments(bytes(call.arguments))
        if arguments is None:  # other programs would read something else, so they get a text
            body = _BODY % (msgspec.json.encode([bytes(call.arguments).decode()]), b"{}")
        else:
            body = _BODY % (b"[]", arguments)
            message = msgspec.structs.replace(message, call=msgspec.structs.replace(call, arguments=arguments))
        headers = self._headers(call.id, call.action, call.due)
        headers[HEADER] = self.signer.header(message)
        return Publication(self._calls, body, headers, call.due - time.time() if self._has_delays else 0.0)

    def _again(self, received: Received) -> Publication:
        """Return the message of a failed call, for its first attempt."""
        if received.header is None:
            parts = map(msgspec.json.encode, (received.args, received.kwargs))
            return Publication(self._calls, _BODY % tuple(parts), self._headers(received.id, received.action))
        try:
            found = received.signed(self.signer)
        except MalformedError as error:
            raise ValueError(f"the call {received.id} can only be forgotten: {error}") from error
        call = msgspec.structs.replace(found.call, attempt=1, postponed=0, expires=None)
        return self._publication(Message(call, found.put))

    def _headers(self, id: str, action: str, due: float = 0.0) -> dict[str, Any]:
        is_late = self._has_delays or due <= time.time()
        return self.app.amqp.as_task_v2(
            id,
            action,
            eta=None if is_late else datetime.fromtimestamp(due, UTC),
            argsrepr="…",  # in logs and in monitors
            kwargsrepr="…",
        ).headers

    def _failed_publication(self, failed: FailedMessage) -> Publication:
        return Publication(self._failed, failed.encode(), {}, most=MOST_FAILED)


def _new(call: Call) -> Message:
    return Message(call, os.urandom(8).hex())


def _arguments(raw: bytes) -> bytes | None:
    """Return arguments as canonical JSON; None if kombu does not read the same from them."""
    try:
        parsed = msgspec.json.decode(raw)
        is_same = isinstance(parsed, dict) and msgspec.json.encode(parsed) == raw
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    found = canonical_json(parsed)
    is_of_kombu = b'"__type__"' in found  # it reads other types from such an object
    return found if is_same and not is_of_kombu else None
