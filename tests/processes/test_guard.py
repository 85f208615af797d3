"""Programs that tests start end with the test run, even if it is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.rabbitmqs import GUARD

from .conftest import until

RUN = """
import subprocess, sys
guard = subprocess.Popen([sys.executable, "-I", *sys.argv[1:]], stdin=subprocess.PIPE)
print("started", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it looks for processes in /proc")
def test_programs_end_with_a_test_run_that_is_killed(tmp_path: Path):
    directory, mark = tmp_path / "data", f"{tmp_path}/mark"
    directory.mkdir()
    program = [sys.executable, "-c", "import time; time.sleep(600)", mark]
    words = [str(GUARD), str(directory), *program, "--", *program]
    with subprocess.Popen([sys.executable, "-c", RUN, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"started\n"
        until(lambda: len(_running(mark)) == 4, "the test run, its guard and two programs run")
        run.kill()
    until(lambda: not _running(mark), "all of them have ended")
    until(lambda: not directory.exists(), "the directory is removed")


def _running(word: str) -> list[str]:
    found: list[str] = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path("/proc", entry, "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if word in words:
            found.append(entry)
    return found
