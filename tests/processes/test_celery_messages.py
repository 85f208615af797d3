"""Messages that a worker of Celery cannot run: none is lost, and none ends the worker."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from servey.servey_celery import consumer
from servey.servey_celery.configuration import QUEUE
from support.celery_queues import WorkedQueue
from support.queues import Runs, a_call, until

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""Celery's worker leaves sockets to the garbage collector; in a process of its own, nothing is left."""


@pytest.fixture(autouse=True)
def _no_sockets_are_left() -> Iterator[None]:
    yield
    gc.collect()


@asynccontextmanager
async def worker(broker: str, directory: Path) -> AsyncGenerator[tuple[WorkedQueue, Runs]]:
    """Run a worker that takes one call at a time; yield its queue, and the calls that it has run."""
    queue, runs = WorkedQueue(broker, calls_at_once=1, store=str(directory / "store.db")), Runs()
    try:
        async with runs.of(queue):
            yield queue, runs
    finally:
        await queue.close()


async def failures(queue: WorkedQueue, count: int) -> dict[str, str]:
    """Wait for failed calls; return why each has failed, by its id."""

    async def are_there() -> bool:
        return len(await queue.failed(100)) >= count

    await until(are_there)
    return {item.call.id: json.loads(item.problem)["detail"] for item in await queue.failed(100)}


def send(queue: WorkedQueue, action: str, id: str, **parts: Any) -> None:
    """Send a task as another program does."""
    queue.app.send_task(action, task_id=id, exchange=QUEUE, routing_key=QUEUE, **parts)


def send_raw(queue: WorkedQueue, body: str | bytes, headers: dict[str, Any], content: str = "application/json") -> None:
    with queue.app.connection_for_write() as connection, connection.Producer() as producer:
        producer.publish(
            body,
            exchange=QUEUE,
            routing_key=QUEUE,
            headers=headers,
            content_type=content,
            content_encoding="utf-8",
            serializer=None,
        )


async def test_calls_of_an_unknown_action_wait_for_a_newer_worker_and_then_fail(
    broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "POSTPONE_SECONDS", 1.0)
    monkeypatch.setattr(consumer, "MOST_POSTPONED", 2)
    async with worker(broker, tmp_path) as (queue, runs):
        began = time.time()
        await queue.put([a_call("ours", action="gone"), a_call("again", action="gone")])
        send(queue, "gone", "theirs", kwargs={"value": 1})
        send(queue, "gone", "by position", args=[1])
        await queue.put([a_call("known")])
        await runs.until(1)
        assert (await failures(queue, 1)).keys() == {"by position"}, "its arguments have no names, so it cannot wait"
        found = await failures(queue, 4)
        at = {item.call.id: item.failed_at - began for item in await queue.failed(100)}
    assert {id: found[id] for id in ("ours", "again", "theirs")} == dict.fromkeys(
        ("ours", "again", "theirs"), "there is no action 'gone'"
    )
    assert min(at[id] for id in ("ours", "again", "theirs")) >= 2 * 1.0
    assert runs.ids == ["known"], "the others do not keep the worker from its calls"


ODD: dict[str, tuple[Any, str]] = {
    "no json": (("{", {"task": "act"}), "the message is not JSON"),
    "text": (("text", {"task": "act"}, "text/plain"), "the message is not a task"),
    "pickle": ((b"\x80\x04N.", {"task": "act"}, "application/x-python-serialize"), "the message is not a task"),
    "a number": (("5", {"task": "act"}), "the message is not a task"),
    "no task": (("[[], {}, {}]", {}), "the message is not a task of Celery"),
    "a time": (("[[], {}, {}]", {"task": "act", "eta": "soon"}), "the message is not a task"),
    "forged": (
        ('[[], {"value": 1}, {}]', {"task": "act", "servey": "forged"}),
        "the signature of the message is not valid",
    ),
}


async def test_messages_that_are_no_calls_are_among_the_failed_ones_and_the_worker_goes_on(
    broker: str, tmp_path: Path
) -> None:
    async with worker(broker, tmp_path) as (queue, runs):
        for id, ((body, headers, *content), _) in ODD.items():
            send_raw(queue, body, {"id": id, **headers}, *content)
        if broker.startswith("redis"):
            with Redis.from_url(broker) as client:
                client.lpush(QUEUE, "no message at all")
        await queue.put([a_call("good")])
        await runs.until(1)
        found = await failures(queue, len(ODD) + broker.startswith("redis"))
        for id in found:
            assert await queue.forget(id)
        assert await queue.failed(100) == []
    assert {id: found.pop(id, "").partition(":")[0] for id in ODD} == {id: why for id, (_, why) in ODD.items()}
    assert [why.partition(":")[0] for why in found.values()] == (
        ["an element of the list is not a message"] if broker.startswith("redis") else []
    )
    assert runs.ids == ["good"]
