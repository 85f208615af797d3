"""Run programs until standard input ends; then kill them, and all that they have started.

The test run holds the other end of standard input, so the programs end with it, even if it is killed.

Usage: python -I guard.py DIRECTORY WORD… [-- WORD…]…

Args:
    DIRECTORY: Is removed at the end, unless the word ``keep`` came on standard input.
    WORD: The words of a program; ``--`` separates programs.
"""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from itertools import groupby


def main(directory: str, *words: str) -> None:
    programs = [list(group) for is_end, group in groupby(words, lambda word: word == "--") if not is_end]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for program in programs:
            processes.append(subprocess.Popen(program, stdin=subprocess.DEVNULL, start_new_session=True))
        said = sys.stdin.read()
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if said != "keep":
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # of the test run
        signal.signal(ignored, signal.SIG_IGN)
    main(*sys.argv[1:])
