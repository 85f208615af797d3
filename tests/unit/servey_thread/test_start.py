"""The embedded engine in the life of a service."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from servey import WEB_POST, CallContext, FixedRateTrigger, Origin, Retry, background
from servey.action.action import action
from servey.action.portal import Portal
from servey.background_call.call import Call
from servey.errors import OverloadedError, SettingsError
from servey.ports import OpenCallsQueue
from servey.servey_starlette.app import create_app
from servey.servey_test.client import client_of
from servey.servey_thread.sqlite_call_queue import SqliteCallQueue
from servey.service import Service
from servey.settings import Settings

BOUND = 30.0
NOWHERE = "/proc/1/nowhere/store.db"


@action
def plain() -> None: ...


@action(triggers=(FixedRateTrigger(3600),))
def scheduled() -> None: ...


@action(retry=Retry())
def retried() -> None: ...


async def serve(service: Service) -> None:
    async with asyncio.timeout(BOUND), service.serving():
        pass


@pytest.mark.parametrize("needs_it", [scheduled, retried])
def test_a_service_that_needs_the_store_does_not_start_without_it(needs_it) -> None:
    with pytest.raises(SettingsError, match="SERVEY_STORE"):
        asyncio.run(serve(Service([plain, needs_it], settings=Settings(store=NOWHERE))))


@pytest.mark.parametrize("needs_it", [scheduled, retried])
def test_a_service_that_needs_a_queue_does_not_start_with_a_shared_store_alone(needs_it) -> None:
    with pytest.raises(SettingsError, match="CELERY_BROKER") as caught:
        asyncio.run(serve(Service([plain, needs_it], settings=Settings(store="redis://me:secret@host"))))
    assert "secret" not in str(caught.value)


def test_other_services_start_with_a_shared_store_alone() -> None:
    asyncio.run(serve(Service([plain], settings=Settings(store="redis://127.0.0.1:1"))))


def test_other_services_start_and_a_submission_fails() -> None:
    @action
    async def submitting() -> None:
        background.submit(plain)

    service = Service([plain, submitting], settings=Settings(store=NOWHERE))

    async def submit() -> None:
        async with asyncio.timeout(BOUND), service.serving():
            with pytest.raises(SettingsError, match="SERVEY_STORE"):
                await background.asubmit(plain)
            with pytest.raises(OverloadedError):
                await service.call("submitting", {}, CallContext(Origin.SYSTEM, "direct", "1"))

    asyncio.run(submit())


def test_a_server_that_leaves_background_calls_to_workers_starts_without_the_store() -> None:
    asyncio.run(serve(Service([scheduled], settings=Settings(store=NOWHERE, background=False))))


def test_a_service_without_background_calls_creates_no_file(tmp_path: Path) -> None:
    asyncio.run(serve(Service([plain], settings=Settings(store=str(tmp_path / "made" / "store.db")))))
    assert list(tmp_path.iterdir()) == []


def test_the_calls_of_a_test_leave_no_file(tmp_path: Path) -> None:
    @action(triggers=(WEB_POST, FixedRateTrigger(1)))
    async def submitting() -> None:
        background.submit(plain)

    service = Service([plain, submitting], settings=Settings(store=str(tmp_path / "made" / "store.db")))

    async def main() -> list[str]:
        async with asyncio.timeout(BOUND), client_of(create_app(service, serves=True)) as client:
            await client.request("POST", "/actions/submitting", json={})
            await background.asubmit(submitting)  # by the test itself
            return [call.action for call in await client.run_submitted()]

    assert asyncio.run(main()) == ["plain", "submitting", "plain"]
    assert list(tmp_path.iterdir()) == []


def test_a_url_is_no_place_of_the_embedded_engine() -> None:
    with pytest.raises(SettingsError) as caught:
        _ = Service([plain], settings=Settings(store="redis://user:secret@host")).stores.calls
    assert "secret" not in str(caught.value)


def test_the_memory_of_a_service_lasts_as_long_as_one_of_its_loops() -> None:
    service = Service([plain], settings=Settings(store="memory", background=False))

    async def submit() -> None:
        async with service.running():
            await background.asubmit(plain)

    async def count() -> int:
        queue = service.stores.calls
        assert isinstance(queue, OpenCallsQueue)
        return len(await queue.open_calls(10))

    with Portal(service.running) as portal:
        asyncio.run(submit())
        assert portal.call(count) == 1
    assert asyncio.run(count()) == 0


def test_schedules_outlive_an_unexpected_error_of_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = threading.Event()

    @action(triggers=(FixedRateTrigger(1),))
    def tick() -> None:
        ran.set()

    put, failures = SqliteCallQueue.put, iter(range(2))

    async def fail_twice(queue: SqliteCallQueue, calls: Sequence[Call], /) -> None:
        if next(failures, None) is not None:
            raise RuntimeError("can't start new thread")
        await put(queue, calls)

    monkeypatch.setattr(SqliteCallQueue, "put", fail_twice)

    async def serve_until_it_runs() -> None:
        async with asyncio.timeout(BOUND), Service([tick], settings=Settings(store="memory")).serving():
            assert await asyncio.to_thread(ran.wait, BOUND)

    asyncio.run(serve_until_it_runs())
