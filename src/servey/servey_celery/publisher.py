"""Publish messages, confirmed by the broker, from threads that do nothing else.

The client libraries of Celery block. Each thread has a connection of its own, which it opens at its first message, and
closes after an error.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
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

_log = logging.getLogger("servey.background")

_DELAYED_EXCHANGE = "celery_delayed_27"


class Publication(msgspec.Struct, frozen=True):
    """A message for the broker.

    Args:
        queue: Its queue.
        id: The id of the call.
        body: JSON values.
        headers: The headers.
        delay: The seconds until the broker delivers it; only RabbitMQ can wait.
    """

    queue: Any
    id: str
    body: Any
    headers: dict[str, Any]
    delay: float = 0.0


class Publisher:
    """Publishes messages.

    Args:
        app: The Celery app.
        timeout: The seconds in which all messages of a call of `publish` are confirmed.
    """

    def __init__(self, app: Any, timeout: float) -> None:
        self._app, self._timeout = app, timeout
        self._queues = queues(app.conf.broker_url)
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._circuit = CircuitBreaker("the broker", _log, effect="background calls are refused until it does")
        self._threads: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._connections: list[Any] = []

    def publish(self, publications: Sequence[Publication]) -> Future[None]:
        """Publish messages, and return the future of their confirmation.

        Raises:
            OverloadedError: (Also from the future.) The broker does not answer.
        """
        if not self._circuit.allows_request():
            raise OverloadedError("the broker of background calls does not answer")
        until = monotonic() + self._timeout
        with self._lock:
            if self._pid != os.getpid():  # threads and connections belong to the parent
                self._begin()
            if self._threads is None:
                self._threads = ThreadPoolExecutor(THREADS, "servey-publisher")
            return self._threads.submit(self._publish, publications, until)

    def with_connection(self, work: Callable[[Any], T]) -> T:
        """Return the result of work with a new connection; it is not repeated after an error.

        Raises:
            OverloadedError: The broker does not answer.
        """
        try:
            with self._connection() as connection:
                connection.connect()
                return work(connection)
        except (*self._app.connection_for_write().recoverable_connection_errors, OSError, TimeoutError) as error:
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

    # the methods below run in a thread

    def _publish(self, publications: Sequence[Publication], until: float) -> None:
        done = 0
        for attempt in range(2):  # a restarted broker has closed the connection
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
                if attempt or is_fresh or monotonic() >= until:
                    self._circuit.failed(error)
                    raise OverloadedError("the broker of background calls does not answer") from error

    def _connection(self) -> Any:
        options = dict(self._app.conf.broker_transport_options)
        if is_amqp(self._app.conf.broker_url):
            # a consumer reads without a limit, a producer does not
            options |= {"read_timeout": self._timeout, "write_timeout": 2.0}
        return self._app.connection_for_write(transport_options=options)

    def _producer(self) -> Any:
        if not hasattr(self._local, "producer"):
            connection = self._connection()
            self._local.connection = connection
            self._connections.append(connection)
            connection.connect()
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
                connection.collapse()  # `release` would wait for an answer

    def _send(self, producer: Any, publication: Publication, seconds: float) -> None:
        queue = publication.queue
        exchange, key = queue.exchange, queue.routing_key
        if publication.delay > 0:
            self._declare_delays(producer, queue)
            exchange, key = _delayed_exchange(), _delayed_key(ceil(publication.delay))
        producer.publish(
            publication.body,
            exchange=exchange,
            routing_key=key,
            headers=publication.headers,
            correlation_id=publication.id,
            serializer="json",
            delivery_mode=2,
            declare=self._queues,
            confirm_timeout=seconds,
        )

    def _declare_delays(self, producer: Any, queue: Any) -> None:
        """Declare the exchanges of RabbitMQ's delays, as a worker does: there may not have been one yet."""
        if self._local.has_delays:
            return
        from kombu.transport import native_delayed_delivery as delays

        connection = producer.connection
        queue(connection.default_channel).declare()
        delays.declare_native_delayed_delivery_exchanges_and_queues(connection, "quorum")
        delays.bind_queue_to_native_delayed_delivery_exchange(connection, queue)
        self._local.has_delays = True


def _delayed_exchange() -> Any:
    return kombu.Exchange(_DELAYED_EXCHANGE, type="topic")


def _delayed_key(seconds: int) -> str:
    from kombu.transport.native_delayed_delivery import calculate_routing_key

    return calculate_routing_key(seconds, QUEUE)
