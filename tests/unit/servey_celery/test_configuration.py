"""The configuration of Celery: each value that keeps a call from being lost."""

from __future__ import annotations

from typing import Any

import pytest

from servey.servey_celery.configuration import FAILED_QUEUE, QUEUE, configuration, queues

REDIS, RABBITMQ = "redis://127.0.0.1:1", "amqp://127.0.0.1:1"
BOTH = pytest.mark.parametrize("broker", [REDIS, RABBITMQ])


def configured(broker: str, **values: Any) -> dict[str, Any]:
    given = {"result_backend": "", "longest": 1200.0, "max_delay": 900.0, "calls": 4, **values}
    return configuration(broker, **given)


@BOTH
def test_a_message_is_acknowledged_when_its_call_has_ended(broker: str):
    found = configured(broker)
    assert found["task_acks_late"]
    assert found["task_reject_on_worker_lost"]


@BOTH
def test_a_worker_takes_as_many_calls_as_it_runs(broker: str):
    found = configured(broker, calls=3)
    assert (found["worker_prefetch_multiplier"], found["worker_concurrency"]) == (1, 3)


@BOTH
def test_messages_are_json_alone(broker: str):
    found = configured(broker)
    assert found["accept_content"] == ["json"]
    assert {found[f"{kind}_serializer"] for kind in ("task", "result", "event")} == {"json"}


def test_redis_gives_the_calls_of_a_killed_machine_back_after_the_longest_call_delay_and_a_minute():
    found = configured(REDIS, longest=5000.0, max_delay=100.0)["broker_transport_options"]
    assert found["visibility_timeout"] == 5000 + 100 + 60
    assert (found["unacked_restore_interval"], found["unacked_restore_throttle"]) == (5, 1)


def test_a_silent_broker_is_noticed():
    found = configured(REDIS)["broker_transport_options"]
    assert (found["socket_connect_timeout"], found["socket_timeout"]) == (1, 2)
    assert configured(RABBITMQ)["broker_transport_options"]["connect_timeout"] == 1


def test_rabbitmq_confirms_each_message():
    assert configured(RABBITMQ)["broker_transport_options"]["confirm_publish"] is True


def test_the_calls_in_rabbitmq_are_in_a_quorum_queue_that_loses_none():
    calls, _ = queues(RABBITMQ)
    assert (calls.name, calls.durable, calls.exchange.type) == (QUEUE, True, "topic"), "topic: it can have delays"
    assert calls.queue_arguments == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 5,
        "x-dead-letter-exchange": FAILED_QUEUE,
        "x-dead-letter-routing-key": FAILED_QUEUE,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-consumer-timeout": 25 * 3600 * 1000,  # an hour more than the longest deadline
    }
    found = configured(RABBITMQ)
    assert found["task_queues"] == (calls,)
    assert (found["task_default_queue_type"], found["task_default_exchange_type"]) == ("quorum", "topic")
    assert found["worker_detect_quorum_queues"]


def test_failed_calls_in_rabbitmq_are_kept_for_two_weeks():
    _, failed = queues(RABBITMQ)
    assert (failed.name, failed.durable) == (FAILED_QUEUE, True)
    assert failed.queue_arguments == {
        "x-queue-type": "classic",
        "x-message-ttl": 14 * 86400 * 1000,
        "x-max-length": 100_000,
    }


def test_queues_of_redis_have_no_arguments_of_rabbitmq():
    assert [queue.queue_arguments for queue in queues(REDIS)] == [None, None]


@pytest.mark.parametrize(("backend", "ignores"), [("", True), ("redis://127.0.0.1:1/1", False)])
def test_results_are_stored_only_where_there_is_a_place(backend: str, ignores: bool):
    found = configured(REDIS, result_backend=backend)
    assert (found["result_backend"], found["task_ignore_result"]) == (backend or None, ignores)
