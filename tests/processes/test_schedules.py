"""Schedules in real processes: each time once, however many processes there are."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from support.length import FULL, length

from .conftest import BOUND, ServerProcess, until

ACTIONS = """
import os
import time
from collections.abc import Iterator

from servey import CallContext, FixedRateTrigger, resource
from servey.action.action import action


class Journal: ...


def write(file: str, line: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (line + chr(10)).encode())
    os.close(descriptor)


@resource(scope="service")
def journal() -> Iterator[Journal]:
    began = time.time()
    yield Journal()
    write("served", f"{began} {time.time()}")


@action(triggers=(FixedRateTrigger(1, overlap="allow"),))  # a run that a busy machine holds up excludes no other
def tick(context: CallContext, journal: Journal) -> None:
    write("ticks", context.call_id)
"""

HOSTS = {
    "serve": ("serve", "--workers", "4"),
    "uvicorn": ("uvicorn", "servey.servey_starlette.starlette_app:app", "--port", "0", "--workers", "4"),
    "workers": ("worker",),
}


def written(directory: Path) -> list[str]:
    return (directory / "ticks").read_text().splitlines() if (directory / "ticks").exists() else []


def times_of(lines: Sequence[str]) -> list[int]:
    """Return the times in the ids of calls, in Unix seconds."""
    return [int(datetime.fromisoformat(line.rpartition("@")[2]).timestamp()) for line in lines]


@pytest.mark.long
@pytest.mark.parametrize("host", HOSTS)
def test_every_second_runs_once_in_several_processes(
    start: Callable[..., ServerProcess], tmp_path: Path, host: str
) -> None:
    command, *words = HOSTS[host]
    servers = [start(ACTIONS, *words, command=command) for _ in range(4 if host == "workers" else 1)]
    until(lambda: len(written(tmp_path)) >= length(5, 60), "the schedule runs", 2 * BOUND)
    for server in servers:
        server.signal(signal.SIGTERM)
    for server in servers:
        server.wait()
    found = sorted(times_of(written(tmp_path)))
    assert found == list(range(found[0], found[0] + len(found))), "each second once, and none is left out"


@pytest.mark.long
def test_no_second_runs_twice_while_files_change(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    server = start(ACTIONS, "--reload")
    until(lambda: written(tmp_path), "the schedule runs")
    for number in range(length(2, 5)):
        before = len(written(tmp_path))
        (tmp_path / "actions.py").write_text(f"{ACTIONS}\nedited = {number}\n")
        server.wait_for("reloaded in", count=number + 1)
        until(lambda before=before: len(written(tmp_path)) >= before + 2, "the schedule runs again")
    server.signal(signal.SIGTERM)
    server.wait()
    found = times_of(written(tmp_path))
    assert len(found) == len(set(found)), "no second twice"
    served = [[float(part) for part in line.split()] for line in (tmp_path / "served").read_text().splitlines()]
    missed = [
        second for began, ended in served for second in range(int(began) + 2, int(ended) - 1) if second not in found
    ]
    if FULL:  # a busy machine may hold the only process up for more than a second
        assert missed == [], "none is left out while a process served"


def test_a_missed_run_follows_within_its_grace_only(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    late, later = time.gmtime(time.time() - 61), time.gmtime(time.time() - 3600)
    triggers = [f"CronTrigger('{moment.tm_min} {moment.tm_hour} * * *', grace=300)" for moment in (late, later)]
    source = ACTIONS.replace('FixedRateTrigger(1, overlap="allow")', ", ".join(triggers)).replace(
        "FixedRateTrigger", "CronTrigger"
    )
    server = start(source, command="worker")
    until(lambda: written(tmp_path), "the late run follows")
    server.signal(signal.SIGTERM)
    server.wait()
    names = [line.partition("@")[0] for line in written(tmp_path)]
    assert names == [f"tick:{late.tm_min} {late.tm_hour} * * * UTC"]
