"""The queue of background calls in a broker, from which Celery workers take them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from servey.background_call.call import Call, FailedCall, Outcome
from servey.background_call.message import Message, MessageSigner
from servey.errors import OverloadedError
from servey.servey_celery.configuration import is_amqp, queues
from servey.servey_celery.failed_calls import FailedCalls, stored
from servey.servey_celery.failed_message import FailedMessage
from servey.servey_celery.publisher import Publication, Publisher
from servey.servey_celery.received import HEADER


class CeleryCallQueue:
    """Puts background calls into a broker (`servey.ports.CallQueue`); Celery workers run them.

    A call that is put twice is in the broker twice. Workers recognize a known id (`servey.servey_celery.claims`).

    Args:
        app: The Celery app.
        signer: Makes and verifies the headers of messages.
        timeout: The seconds in which the broker confirms a put.
    """

    is_durable = True

    def __init__(self, app: Any, signer: MessageSigner, timeout: float) -> None:
        self.app, self.signer, self._timeout = app, signer, timeout
        self._publisher = Publisher(app, timeout)
        self.carries_callers = signer.signs
        self._calls, self._failed = queues(app.conf.broker_url)
        self._delays = is_amqp(app.conf.broker_url)

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
        await _confirmed(self._publisher.publish(list(map(self._publication, messages))), self._timeout)

    def put_messages_now(self, messages: Sequence[Message]) -> None:
        """Do the same as `put_messages` in a thread without an event loop."""
        _result(self._publisher.publish(list(map(self._publication, messages))), self._timeout)

    async def put_failed(self, failed: FailedMessage) -> None:
        """Put a failed call into the queue of failed calls."""
        await _confirmed(self._publisher.publish([self._failed_publication(failed)]), self._timeout)

    def put_failed_now(self, failed: FailedMessage) -> None:
        """Do the same as `put_failed` in a thread without an event loop."""
        _result(self._publisher.publish([self._failed_publication(failed)]), self._timeout)

    @asynccontextmanager
    async def consuming(self, run: Callable[[Call], Awaitable[Outcome]], /) -> AsyncGenerator[None]:
        """Do nothing: the workers of Celery run the calls."""
        yield

    async def failed(self, limit: int, /) -> Sequence[FailedCall]:
        """Return the calls that have failed for good, the latest first."""
        found = await self._with_failed(lambda calls: calls.latest(limit))
        return [stored(item.failed, self.signer) for item in found]

    async def retry(self, id: str, /) -> bool:
        """Put a failed call again, and return whether there is such a call.

        Raises:
            ValueError: Its message is not signed by this service, so it never runs.
        """

        def retry(calls: FailedCalls) -> bool:
            found = calls.find(id)
            if found is None:
                return False
            self.put_messages_now([_again(found.failed, self.signer)])
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

    async def _with_failed(self, work: Callable[[FailedCalls], Any]) -> Any:
        broker = self.app.conf.broker_url
        return await asyncio.to_thread(
            self._publisher.with_connection, lambda connection: work(FailedCalls(connection, broker))
        )

    def _publication(self, message: Message) -> Publication:
        call = message.call
        delay = max(0.0, call.due - time.time())
        raw = bytes(call.arguments)
        # kombu takes such an object for one of its own
        with_arguments = b'"__type__"' in raw
        kwargs: Any = {} if with_arguments else msgspec.json.decode(raw)
        headers, _, body, _ = self.app.amqp.as_task_v2(
            call.id,
            call.action,
            (),
            kwargs,
            eta=datetime.fromtimestamp(call.due, UTC) if delay and not self._delays else None,
            argsrepr="",
            kwargsrepr="…",  # they would be in logs and in monitors
        )
        headers[HEADER] = self.signer.header(message, with_arguments=with_arguments)
        return Publication(self._calls, call.id, body, headers, delay if self._delays else 0.0)

    def _failed_publication(self, failed: FailedMessage) -> Publication:
        return Publication(self._failed, failed.id, msgspec.to_builtins(failed), {})


def _new(call: Call) -> Message:
    return Message(call, os.urandom(8).hex())


def _again(failed: FailedMessage, signer: MessageSigner) -> Message:
    """Return the message of a failed call, for its first attempt."""
    if failed.header is None:
        call = failed.call(signer)
        return _new(msgspec.structs.replace(call, due=time.time(), expires=None))
    found = failed.message(signer)
    if found is None:
        raise ValueError(f"the call {failed.id} was not submitted by this service, or with another key: forget it")
    call = msgspec.structs.replace(found.call, attempt=1, postponed=0, expires=None)
    return Message(call, found.put)


async def _confirmed(future: Future[None], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await asyncio.wrap_future(future)
    except TimeoutError:
        raise OverloadedError("the broker of background calls does not answer") from None


def _result(future: Future[None], seconds: float) -> None:
    try:
        future.result(seconds)
    except TimeoutError:
        future.cancel()
        raise OverloadedError("the broker of background calls does not answer") from None
