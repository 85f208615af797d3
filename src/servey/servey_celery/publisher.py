"""Publish messages, confirmed by the broker, from threads that do nothing else.

The client libraries of Celery block. Each thread has a connection of its own, which it opens at its first message, and
closes after an error.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from math import ceil
from time import monotonic
from typing import Any, TypeVar

import msgspec

from servey.cache_control.circuit_breaker import CircuitBreaker
from servey.errors import OverloadedError
from servey.servey_celery.configuration import QUEUE, is_amqp, queues
from servey.servey_celery.extra import kombu

T = TypeVar("T")

THREADS = 2

_WRITE_SECONDS = 2.0

_delays: Any = import_module("kombu.transport.native_delayed_delivery")

_log = logging.getLogger("servey.background")


class Publication(msgspec.Struct, frozen=True):
    """A message for the broker.

    Args:
        queue: Its queue.
        body: JSON.
        headers: The headers.
        delay: The seconds until the broker delivers it; only RabbitMQ can wait.
        most: The most messages in the queue, in Redis; the oldest ones give way. 0 for no limit.
    """

    queue: Any
    body: bytes
    headers: dict[str, Any]
    delay: float = 0.0
    most: int = 0


class Publisher:
    """Publishes messages.

    Args:
        app: The Celery app.
        timeout: The seconds in which the broker confirms the messages of a `publish`.
    """

    def __init__(self, app: Any, timeout: float) -> None:
        self._app, self._timeout = app, timeout
        self._broker: str = app.conf.broker_url
        self._is_amqp = is_amqp(self._broker)
        self._queues = queues(self._broker)
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._circuit = CircuitBreaker("the broker", _log, effect="background calls are refused until it does")
        self._threads: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._connections: list[Any] = []

    async def publish(self, publications: Sequence[Publication]) -> None:
        """Publish messages, and return when the broker has confirmed them.

        Raises:
            OverloadedError: It has not confirmed all of them in time.
        """
        future = self._submit(publications)
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise self._unanswered(error) from error

    def publish_now(self, publications: Sequence[Publication]) -> None:
        """Do the same as `publish` in a thread without an event loop."""
        future = self._submit(publications)
        try:
            future.result(self._timeout)
        except TimeoutError as error:
            future.cancel()
            raise self._unanswered(error) from error

    def with_connection(self, work: Callable[[Any], T]) -> T:
        """Return the result of work with a new connection; it is not repeated after an error.

        Raises:
            OverloadedError: The broker does not answer.
        """
        connection = self._connection()
        try:
            with self._connected(connection):
                return work(connection)
        except (*connection.recoverable_connection_errors, OSError, TimeoutError) as error:
            raise OverloadedError(f"the broker of background calls does not answer: {error}") from error

    def close(self) -> None:
        """Publish what waits, and close the connections. The next message opens them again."""
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None and self._pid == os.getpid():
            threads.shutdown()
            connections, self._connections = self._connections, []
            for connection in connections:
                with suppress(Exception):
                    connection.release()
            self._local = threading.local()

    def _submit(self, publications: Sequence[Publication]) -> Future[None]:
        until = monotonic() + self._timeout
        with self._lock:
            if self._pid != os.getpid():  # threads and connections belong to the parent
                self._begin()
            if not self._circuit.allows_request():
                raise OverloadedError("the broker of background calls does not answer")
            if self._threads is None:
                self._threads = ThreadPoolExecutor(THREADS, "servey-publisher")
            return self._threads.submit(self._publish, publications, until)

    def _unanswered(self, error: BaseException) -> OverloadedError:
        self._circuit.failed(error)
        return OverloadedError("the broker of background calls does not answer")

    def _connection(self) -> Any:
        options = dict(self._app.conf.broker_transport_options)
        if self._is_amqp:
            # a consumer reads without a limit, a producer does not
            options |= {"read_timeout": self._timeout, "write_timeout": _WRITE_SECONDS}
        return self._app.connection_for_write(transport_options=options)

    def _connected(self, connection: Any) -> Any:
        """Connect, with one attempt for each URL of the broker, and return the connection."""
        return connection.ensure_connection(max_retries=self._broker.count(";"), reraise_as_library_errors=False)

    # the methods below run in a thread of the publisher

    def _publish(self, publications: Sequence[Publication], until: float) -> None:
        done = 0
        for is_last in (False, True):  # a restarted broker has closed the connection
            is_fresh = not hasattr(self._local, "producer")
            try:
                producer = self._producer()
                while done < len(publications):
                    left = until - monotonic()
                    if left <= 0:
                        raise TimeoutError
                    self._send(producer, publications[done], left)
                    done += 1
                self._circuit.succeeded()
                return
            except Exception as error:
                self._drop()
                if is_last or is_fresh or monotonic() >= until:
                    raise self._unanswered(error) from error

    def _producer(self) -> Any:
        if not hasattr(self._local, "producer"):
            connection = self._local.connection = self._connection()
            self._connections.append(connection)
            self._connected(connection)
            for queue in self._queues:
                queue(connection.default_channel).declare()
            self._local.producer = self._app.amqp.Producer(connection, auto_declare=False)
            self._local.has_delays = False
        return self._local.producer

    def _drop(self) -> None:
        connection = self._local.__dict__.pop("connection", None)
        self._local.__dict__.pop("producer", None)
        if connection is not None:
            with suppress(ValueError):
                self._connections.remove(connection)
            with suppress(Exception):
                connection.collect()  # `release` would wait for an answer

    def _send(self, producer: Any, publication: Publication, seconds: float) -> None:
        queue = publication.queue
        # a virtual exchange costs another command
        exchange, key = (queue.exchange, queue.routing_key) if self._is_amqp else ("", queue.name)
        if publication.delay > 0:
            self._declare_delays(producer, queue)
            exchange, key = _DELAYED_EXCHANGE, _delays.calculate_routing_key(ceil(publication.delay), QUEUE)
        producer.publish(
            publication.body,
            exchange=exchange,
            routing_key=key,
            headers=publication.headers,
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,
            mandatory=True,  # a queue that was deleted is an error, and is declared again
            confirm_timeout=seconds,
        )
        if publication.most and not self._is_amqp:
            producer.channel.client.ltrim(queue.name, 0, publication.most - 1)

    def _declare_delays(self, producer: Any, queue: Any) -> None:
        """Declare the exchanges of RabbitMQ's delays, as a worker does: there may not have been one yet."""
        if self._local.has_delays:
            return
        connection = producer.connection
        _delays.declare_native_delayed_delivery_exchanges_and_queues(connection, "quorum")
        _delays.bind_queue_to_native_delayed_delivery_exchange(connection, queue(connection.default_channel))
        self._local.has_delays = True


_DELAYED_EXCHANGE: Any = kombu.Exchange(_delays.level_name(_delays.MAX_LEVEL), type="topic")
