"""What somebody writes who sees schedules for the first time: they run on a server as it comes, without a broker."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ACTIONS = '''
from datetime import datetime

from servey.action.action import action
from servey.trigger.fixed_rate_trigger import FixedRateTrigger


@action(triggers=(FixedRateTrigger(1),))
def tick() -> None:
    """ Runs at regular intervals """
    with open("ticks", "a") as file:
        print(datetime.now().isoformat(), file=file)
'''

PROGRAM = """
import sys

from servey.service import Service
from servey.servey_thread.fixed_rate_trigger_thread import FixedRateTriggerThread

thread = FixedRateTriggerThread(Service.from_settings())
thread.start()
sys.stdin.read()
thread.stop()
"""


def ticks(directory: Path, count: int) -> list[str]:
    """Wait until the action has run `count` times, and return the times."""
    file = directory / "ticks"
    until = time.monotonic() + 60
    while True:
        found = file.read_text().splitlines() if file.exists() else []
        if len(found) >= count:
            return found
        assert time.monotonic() < until, found
        time.sleep(0.05)


def start(directory: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=directory,
        env={"PATH": "", "SERVER_PORT": "0", **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_an_action_with_a_fixed_rate_runs_at_regular_intervals_on_a_server(tmp_path: Path) -> None:
    (tmp_path / "actions.py").write_text(ACTIONS)
    process = start(tmp_path, "-m", "servey")
    try:
        ticks(tmp_path, 3)
    finally:
        process.send_signal(signal.SIGTERM)
        log, _ = process.communicate(timeout=30)
    assert re.search(r"every 0:00:01  tick", log)
    assert "Traceback" not in log


def test_the_same_runs_in_a_thread_of_a_program_without_an_event_loop(tmp_path: Path) -> None:
    (tmp_path / "actions.py").write_text(ACTIONS)
    process = start(tmp_path, "-c", PROGRAM)
    try:
        ticks(tmp_path, 2)
        log, _ = process.communicate("", timeout=30)
    finally:
        process.kill()
    assert (process.returncode, "Traceback" in log) == (0, False), log
