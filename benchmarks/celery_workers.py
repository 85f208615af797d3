"""Workers of Celery in processes of their own, which take calls only when they are told to."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.served import cpu_seconds, end

ROOT = Path(__file__).parents[1]
WAIT_SECONDS = 120.0


class Worker:
    """A worker.

    Args:
        app: A Celery app with its broker and its queue.
        name: Its name; each worker of a broker has another.
        broker: The process of the broker.
        log: The file of its log.
    """

    def __init__(self, app: Any, name: str, broker: int, log: Path) -> None:
        self._app, self._broker, self._log = app, broker, log
        self.name = f"{name}@bench"
        self._pid = 0

    @contextmanager
    def running(self, module: str, pool: str, concurrency: int, environment: Mapping[str, str]) -> Iterator[None]:
        """Run the worker around the block; wait in it with `wait_until_up`."""
        command = [sys.executable, "-m", "celery", "-A", module, "worker", "--pool", pool]
        command += ["--concurrency", str(concurrency), "--hostname", self.name]
        with self._log.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environment}
            )
        self._pid = process.pid
        try:
            yield
        finally:
            end(process, 20)

    def wait_until_up(self) -> None:
        """Wait for the worker, and let it take no calls yet."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not self._app.control.ping(destination=[self.name], timeout=1):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the worker {self.name} did not start:\n{self._log.read_text()[-3000:]}")
        self.take(False)

    def take(self, begins: bool) -> None:
        """Let the worker take calls, or no more calls."""
        control = self._app.control
        change = control.add_consumer if begins else control.cancel_consumer
        replies = change(self._app.conf.task_default_queue, destination=[self.name], reply=True, timeout=20)
        if not replies or "ok" not in replies[0][self.name]:
            raise RuntimeError(f"the worker {self.name} answers {replies}")

    def made(self, task: str) -> int:
        """Return how many calls of a task it has made."""
        stats = self._app.control.inspect(destination=[self.name], timeout=20).stats()
        return stats[self.name]["total"].get(task, 0)

    def cpu_seconds(self) -> float:
        """Return the CPU time of the worker, its processes, and the broker."""
        return cpu_seconds(self._pid) + cpu_seconds(self._broker)
