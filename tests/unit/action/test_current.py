"""Which service is running, as code that belongs to none sees it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest

from servey.action.action import action
from servey.action.current import current_service, set_service_of_process
from servey.errors import NoServiceError
from servey.servey_direct.direct import call
from servey.service import Service

BOUND = 60.0


def test_without_any_there_is_an_error() -> None:
    with pytest.raises(NoServiceError, match="no service is running here"):
        current_service()


def test_an_action_is_part_of_its_service_wherever_it_runs() -> None:
    seen: dict[str, Any] = {}

    def plain() -> None:
        seen["plain"] = current_service()

    @action
    def in_a_thread() -> None:
        seen["thread"] = current_service()
        plain()

    @action(run_in="loop")
    def on_the_loop() -> None:
        seen["loop"] = current_service()

    @action
    async def in_tasks() -> None:
        async def task() -> None:
            seen["task"] = current_service()

        await asyncio.create_task(task())
        await asyncio.to_thread(lambda: seen.update(to_thread=current_service()))

    service = Service([in_a_thread, on_the_loop, in_tasks])
    for name in service.operations:
        asyncio.run(call(service, name, b"{}"))
    assert seen == dict.fromkeys(("plain", "thread", "loop", "task", "to_thread"), service)
    with pytest.raises(NoServiceError):
        current_service()


def test_a_call_of_another_service_inside_an_action_is_that_services() -> None:
    seen: list[Any] = []

    @action
    async def inner() -> None:
        seen.append(current_service())

    @action
    async def outer() -> None:
        await call(second, "inner", b"{}")
        seen.append(current_service())

    first, second = Service([outer]), Service([inner])
    asyncio.run(call(first, "outer", b"{}"))
    assert seen == [second, first]


def test_what_runs_inside_a_running_service_is_part_of_it() -> None:
    service, other = Service(), Service()

    async def main() -> None:
        async with service.running():
            assert current_service() is service
            async with other.running():
                assert current_service() is other
            assert current_service() is service
        with pytest.raises(NoServiceError):
            current_service()

    asyncio.run(main())


def test_a_service_may_be_left_in_another_task_than_it_was_entered_in() -> None:
    service = Service()

    async def main() -> None:
        running = service.running()
        await asyncio.create_task(running.__aenter__())
        await asyncio.create_task(running.__aexit__(None, None, None))

    asyncio.run(main())


def test_a_process_may_be_for_one_service() -> None:
    service, other = Service(), Service()
    seen: list[Any] = []
    set_service_of_process(service)
    thread = threading.Thread(target=lambda: seen.append(current_service()))
    thread.start()
    thread.join(BOUND)

    async def main() -> None:
        async with other.running():
            seen.append(current_service())

    asyncio.run(main())
    assert seen == [service, other]


def test_the_application_that_a_server_imports_is_the_service_of_its_process(tmp_path: Any) -> None:
    (tmp_path / "actions.py").write_text("")
    code = (
        "import threading\n"
        "from servey.servey_starlette.starlette_app import app\n"
        "from servey.action.current import current_service\n"
        "thread = threading.Thread(target=lambda: print(current_service() is app.service))\n"
        "thread.start(); thread.join()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr
