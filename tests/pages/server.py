"""A server that runs while a page is read."""

import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from pages.blocks import matches


class Server:
    """A server on a terminal of its own, up when the constructor returns.

    Args:
        command: The command line, for a shell; variables may be set in front.
        directory: Where it runs.
        environment: Its whole environment.
        port: Where it will answer; None for a program that serves nothing, which may not be up yet.
    """

    def __init__(self, command: str, directory: Path, environment: dict[str, str], port: int | None = None) -> None:
        self._master, slave = os.openpty()
        self._output = bytearray()
        self._process = subprocess.Popen(
            f"exec env {command}", shell=True, cwd=directory, env=environment, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        until = time.monotonic() + 60
        while port is not None and not answers(port):
            assert self._process.poll() is None, f"the server ended:\n{self.log()}"
            if time.monotonic() > until:
                self.stop()
                raise AssertionError(f"the server does not answer:\n{self.log()}")
            self._reading.join(0.05)

    def log(self) -> str:
        text = re.sub(r"\x1b\[[0-9;]*m", "", self._output.decode(errors="replace"))
        return text.replace("\r\n", "\n")

    def wait_for(self, lines: list[str], after: int = 0) -> None:
        """Return when each of the lines, with ``…`` for anything, is in the log after its first so many characters."""
        until = time.monotonic() + 60
        while True:
            logged = self.log()[after:].splitlines()
            missing = [line for line in lines if not any(matches(line, other) for other in logged)]
            if not missing:
                return
            assert self._process.poll() is None, f"the server ended:\n{self.log()}"
            assert time.monotonic() < until, f"{missing} is not in the log:\n{self.log()[after:]}"
            self._reading.join(0.05)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it, and return its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait(30)
        self._reading.join(30)
        return code

    def _read(self) -> None:
        try:
            while piece := os.read(self._master, 65536):
                self._output += piece
        except OSError:  # how a terminal whose other side is closed ends
            pass
        os.close(self._master)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def free_port() -> int:
    """Return a port that nobody is given by chance, for it is below those that are given out."""
    while True:
        port = random.randrange(15000, 30000)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
