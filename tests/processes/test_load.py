"""Load on a server of two processes, one of which is killed; and a stop in the middle of it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from itertools import product

import pytest

from support.length import length

from .conftest import ServerProcess, until
from .load import Load

ACTIONS = """
import asyncio
import os
import time

from servey import WEB_GET
from servey.action.action import action


@action(triggers=(WEB_GET,))
async def pid() -> int:
    return os.getpid()


@action(triggers=(WEB_GET,))
def work() -> int:
    time.sleep(0.02)
    return os.getpid()
"""

TIMEOUT = 30.0


def test_ten_thousand_requests_survive_the_death_of_one_of_two_workers(start: Callable[..., ServerProcess]) -> None:
    server = start(ACTIONS, "--workers", "2", LOG_LEVEL="WARNING")
    until(lambda: len(server.children()) == 2, "two workers")
    port = until(lambda: listening_port(server), "a socket")
    load = Load(port, "/actions/pid", clients=16, enough=lambda: load.answered >= 10_000 and len(load.bodies) >= 3)
    killed: list[int] = []

    async def kill_one() -> None:
        await load.until(lambda: load.answered >= 3_000 and len(load.bodies) == 2)
        killed.append(int(max(load.bodies, key=load.bodies.__getitem__)))
        os.kill(killed[0], signal.SIGKILL)

    async def main() -> None:
        async with asyncio.timeout(180):
            await asyncio.gather(load.run(), kill_one())

    asyncio.run(main())
    assert load.answered >= 10_000
    assert set(load.statuses) == {200}
    assert load.refused == 0
    assert len(load.unanswered) <= load.clients, load.unanswered  # what the dead one had in its hands
    assert len(load.bodies) == 3, "its successor has answered, too"
    assert killed[0] not in until(lambda: len(left := server.children()) == 2 and left, "two workers again")


WORKERS, PROCESS = ("--workers", "2"), ("--no-reload",)
PID, WORK = "/actions/pid", "/actions/work"
EVERY_PAIR = [(WORKERS, PID, "0"), (WORKERS, WORK, "0.5"), (PROCESS, PID, "0.5"), (PROCESS, WORK, "0")]
"""Any two of: several processes or one, `async def` or `def`, without a delay or with one."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "path", "delay"), length(EVERY_PAIR, list(product([WORKERS, PROCESS], [PID, WORK], ["0", "0.5"])))
)
def test_a_stop_under_load_leaves_no_request_unanswered(
    start: Callable[..., ServerProcess], words: tuple[str, ...], path: str, delay: str
) -> None:
    server = start(
        ACTIONS, *words, LOG_LEVEL="WARNING", SERVEY_SHUTDOWN_TIMEOUT=str(TIMEOUT), SERVEY_SHUTDOWN_DELAY=delay
    )
    port = until(lambda: listening_port(server), "a socket")
    load = Load(port, path, clients=24)
    stopped: list[float] = []

    async def stop() -> None:
        await load.until(lambda: load.answered >= 300)
        stopped.append(time.monotonic())
        server.signal(signal.SIGTERM)

    async def main() -> None:
        async with asyncio.timeout(180):
            await asyncio.gather(load.run(), stop())

    asyncio.run(main())
    assert server.wait() == -signal.SIGTERM
    assert time.monotonic() - stopped[0] < TIMEOUT + float(delay)
    assert load.unanswered == []
    assert load.refused == load.clients
    assert set(load.statuses) == {200}
    assert load.said_close > load.clients / 4  # those that keep their connections were told


def listening_port(server: ServerProcess) -> int:
    """Return the port that the server listens on, from the operating system: its log may be off."""
    inodes = set()
    try:
        for number in os.listdir(f"/proc/{server.process.pid}/fd"):
            target = os.readlink(f"/proc/{server.process.pid}/fd/{number}")
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:
        return 0
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in list(table)[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                return int(fields[1].partition(":")[2], 16)
    return 0
