"""The configuration of Celery that makes a call run at least once. With other values, calls would be lost.

The order of the values is that of the way of a message: how it is published, where it waits, how a worker takes it, and
how it ends.
"""

from __future__ import annotations

from typing import Any

from servey.servey_celery.extra import kombu
from servey.servey_celery.tls import broker_tls, result_tls

QUEUE = "servey"
"""The name of the queue, of its exchange and of the routing key."""
FAILED_QUEUE = "servey.failed"
"""The queue with the calls that have failed for good."""

MOST_LOST = 5
"""How often a call whose process dies runs again."""
HARD_SECONDS = 30.0
"""How long a call may go on after its deadline, in seconds; then a worker of the pool ``prefork`` kills its process."""
FAILED_SECONDS = 14 * 86400
"""How long RabbitMQ keeps failed calls."""
MOST_FAILED = 100_000
"""The most failed calls in a broker; the oldest ones give way."""

_CONNECT_SECONDS, _SOCKET_SECONDS = 1.0, 2.0
_LOST_SECONDS = 2.0
"""How long a worker waits for the result of a process that has died, in seconds."""
_LONGEST_RUN = 25 * 3600 * 1000
"""RabbitMQ waits for the end of a call as long as this, in milliseconds. The longest deadline is a day.

The value is constant: RabbitMQ refuses a queue that is declared again with another value.
"""


def is_amqp(broker: str) -> bool:
    """Return whether a broker speaks AMQP, as RabbitMQ does."""
    return broker.startswith("amqp")


def queues(broker: str) -> tuple[Any, Any]:
    """Return the queue of the calls, and that of the failed ones."""
    if not is_amqp(broker):
        return _queue(QUEUE, "direct"), _queue(FAILED_QUEUE, "direct")
    arguments = {
        "x-queue-type": "quorum",  # the others are not replicated
        "x-delivery-limit": MOST_LOST,
        "x-dead-letter-exchange": FAILED_QUEUE,
        "x-dead-letter-routing-key": FAILED_QUEUE,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",  # what this strategy needs
        "x-consumer-timeout": _LONGEST_RUN,
    }
    # no quorum queue: it would count each look at its messages as a delivery
    failed = {"x-queue-type": "classic", "x-message-ttl": FAILED_SECONDS * 1000, "x-max-length": MOST_FAILED}
    # a direct exchange cannot have delayed messages
    return _queue(QUEUE, "topic", arguments), _queue(FAILED_QUEUE, "direct", failed)


def _queue(name: str, kind: str, arguments: dict[str, Any] | None = None) -> Any:
    exchange = kombu.Exchange(name, type=kind, durable=True)
    return kombu.Queue(name, exchange=exchange, routing_key=name, durable=True, queue_arguments=arguments)


def configuration(broker: str, *, result_backend: str, longest: float, max_delay: float, calls: int) -> dict[str, Any]:
    """Return the configuration of a Celery app.

    Args:
        broker: The URL of the broker.
        result_backend: The URL for results; empty for none.
        longest: The longest deadline of a call, in seconds.
        max_delay: The longest delay of a call, in seconds.
        calls: The number of calls that a worker runs at the same time.
    """
    return {
        "broker_url": broker,
        "broker_transport_options": _transport_options(broker, longest + max_delay),
        "broker_use_ssl": broker_tls(broker),
        "broker_connection_timeout": _CONNECT_SECONDS,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # one format, which is only data
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "task_queues": queues(broker)[:1],
        "task_default_queue": QUEUE,
        "task_default_exchange": QUEUE,
        "task_default_exchange_type": "topic" if is_amqp(broker) else "direct",
        "task_default_routing_key": QUEUE,
        "task_default_queue_type": "quorum" if is_amqp(broker) else "classic",
        "worker_detect_quorum_queues": True,
        "broker_native_delayed_delivery_queue_type": "quorum",
        "worker_pool": "prefork",
        "worker_concurrency": calls,
        "worker_prefetch_multiplier": 1,
        "worker_consumer": "servey.servey_celery.consumer:KeepingConsumer",
        # a message is acknowledged when its call has ended
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_lost_wait": _LOST_SECONDS,
        "result_backend": result_backend or None,
        "redis_backend_use_ssl": result_tls(result_backend),
        "task_ignore_result": not result_backend,
        "worker_hijack_root_logger": False,
        "beat_scheduler": "servey.servey_celery.beat:AgendaScheduler",
        "beat_max_loop_interval": 1.0,
    }


def _transport_options(broker: str, longest: float) -> dict[str, Any]:
    if is_amqp(broker):
        return {"confirm_publish": True, "connect_timeout": _CONNECT_SECONDS}
    return {
        # the calls of a killed machine run again after this time; before it, a running call may not run again
        "visibility_timeout": longest + HARD_SECONDS * 2,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        # another Celery in the same database has its own timeout
        "unacked_key": f"{QUEUE}.unacked",
        "unacked_index_key": f"{QUEUE}.unacked_index",
        "unacked_mutex_key": f"{QUEUE}.unacked_mutex",
        "priority_steps": [0],
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": _SOCKET_SECONDS,
        "socket_keepalive": True,
    }
