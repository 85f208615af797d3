"""Background calls in plain Celery: as it comes, or with the promises of servey. The environment has the broker."""

import os
import time

from celery import Celery
from kombu import Exchange, Queue

QUEUES = {True: "late", False: "early"}


def create(broker: str, *, is_late: bool) -> Celery:
    """Return the app.

    Args:
        broker: The URL of the broker.
        is_late: Whether a killed process loses no call: confirmed publishing, late acknowledgement, prefetch 1, and in
            RabbitMQ a replicated queue. Otherwise, the app has the defaults of Celery.
    """
    app = Celery(__name__, broker=broker, set_as_current=False)
    app.conf.task_default_queue = QUEUES[is_late]
    app.conf.broker_connection_retry_on_startup = True
    if is_late:
        app.conf.update(
            task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1, task_ignore_result=True
        )
    if is_late and broker.startswith("amqp"):
        exchange = Exchange(QUEUES[True], type="topic")  # a direct one cannot have delayed messages
        queue = Queue(QUEUES[True], exchange, QUEUES[True], queue_arguments={"x-queue-type": "quorum"})
        app.conf.update(task_queues=[queue], task_default_exchange_type="topic", task_default_queue_type="quorum")
        app.conf.broker_transport_options = {"confirm_publish": True}
    for task in (nothing, wait, mark):
        app.task(task, name=task.__name__, shared=False)
    return app


def nothing() -> None:
    pass


def wait() -> None:
    time.sleep(0.005)


def mark(path: str) -> None:
    """Add the time, as one line."""
    with open(path, "a") as file:
        file.write(f"{time.monotonic()}\n")


app = create(os.environ.get("CELERY_BROKER_URL", ""), is_late=bool(os.environ.get("BENCHMARK_LATE")))
