"""The production server of several processes: workers share the listening socket, and a supervisor restarts them.

The first worker shows that the application can start; only then the others start. Then the supervisor replaces a worker
that dies, while the others serve; if workers fail again, it waits longer each time.
"""

from __future__ import annotations

import logging
import math
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import Pipe, connection
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from servey.servey_uvicorn.connections import refuse_new
from servey.servey_uvicorn.graceful import EX_UNAVAILABLE, Server, Stop
from servey.servey_uvicorn.listening import BACKLOG, log_address
from servey.servey_uvicorn.processes import Child, Load, raise_again
from servey.settings import Settings

_log = logging.getLogger("servey.server")

BEAT_SECONDS, SILENT_SECONDS = 5.0, 30.0
"""How often a worker reports, and after how long a silent one is replaced."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds until another worker starts: the first after a second failure, then twice that, at most the last."""

STABLE_SECONDS = 10.0
"""A worker that dies after this time has started successfully."""


def serve_with_workers(settings: Settings, load: Load, listening: socket.socket) -> None:
    """Serve an application with several processes, until a signal comes. Exit if the first one cannot start."""
    listening.listen(BACKLOG)
    stop = Stop.of(settings)
    life = partial(_serve, settings, load)
    spawn = partial(Child, life, listening, settings.process.log_level, stop.seconds + 1.0)
    WorkerSupervisor(spawn, settings.process.workers, listening, stop).run()


class WorkerSupervisor:
    """Keeps a number of workers alive until a signal comes; all of them stop together."""

    def __init__(self, spawn: Callable[[], Child], count: int, listening: socket.socket, stop: Stop) -> None:
        self._spawn = spawn
        self._count = count
        self._listening = listening
        self._stop = stop
        self.workers: list[Child] = []
        self._signals: list[int] = []
        self._woken, self._wake = Pipe(duplex=False)
        self._has_served = False
        self._failures = 0
        self._failed_at, self._start_at = -math.inf, 0.0

    def run(self) -> None:
        """Supervise the workers until a signal comes; then end this process by the same signal."""
        self.handle_signals()
        try:
            self.workers.append(self._spawn())
            while not self._signals:
                self._wait(1.0)
                self.look_after(time.monotonic())
            _log.info("stopping")
        finally:
            self._stop_workers()
        raise_again(self._signals[0])

    def handle_signals(self) -> None:
        """Stop when a signal comes."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take_signal)

    def look_after(self, now: float) -> None:
        """Note the reports and deaths of workers, and start missing ones. Exit if the first one never serves."""
        if self._signals:
            return
        for worker in self.workers:
            worker.hear()
            if worker.is_alive and now - worker.heard > SILENT_SECONDS:
                _log.error("worker %s has not answered for %g s and is ended", worker.process.pid, SILENT_SECONDS)
                worker.process.kill()
                worker.process.join()
        if not self._has_served and any(worker.report for worker in self.workers):
            self._has_served = True
            log_address(self._listening)
        for worker in [item for item in self.workers if not item.is_alive]:
            self.workers.remove(worker)
            self._note_death(worker, now)
        if self._has_served and now >= self._start_at:
            self._start_missing()

    def _start_missing(self) -> None:
        while len(self.workers) < self._count and not self._signals:
            self.workers.append(self._spawn())

    def _note_death(self, worker: Child, now: float) -> None:
        """Decide when the next worker starts. If the first worker dies before it has served, exit instead."""
        worker.hear()
        worker.channel.close()
        if not self._has_served:
            _log.error("the first worker %s before it could serve", worker.how_it_ended())
            code = worker.process.exitcode or 0
            raise SystemExit(code if code > 0 else EX_UNAVAILABLE)
        if worker.report and now - worker.began > STABLE_SECONDS:
            self._failures, self._failed_at = 0, -math.inf
        if worker.began > self._failed_at:  # workers that die together have failed once
            pause = min(FIRST_PAUSE * 2 ** (self._failures - 1), LONGEST_PAUSE) if self._failures else 0.0
            self._failures += 1
            self._failed_at, self._start_at = now, now + pause
        pause = math.ceil(self._start_at - now)
        when = f"in {pause} s" if pause > 0 else "at once"
        _log.error("worker %s %s; another one starts %s", worker.process.pid, worker.how_it_ended(), when)

    def _take_signal(self, sig: int, frame: FrameType | None) -> None:
        """Stop; pass a second Ctrl-C on to the workers, which then wait for nothing."""
        if self._signals and sig == signal.SIGINT:
            for worker in self.workers:
                worker.signal(sig)
        self._signals.append(sig)
        self._wake.send_bytes(b"1")

    def _stop_workers(self) -> None:
        """Stop all workers; end by force those that do not stop."""
        for worker in self.workers:
            worker.process.terminate()
        self._join(self._stop.delay)
        refuse_new(self._listening)
        self._listening.close()  # it stays open until the last worker has accepted what waits
        self._join(self._stop.seconds - self._stop.delay + 2.0)
        for worker in self.workers:
            worker.process.kill()
            worker.process.join()

    def _join(self, seconds: float) -> None:
        """Wait until all workers have ended, for at most `seconds`."""
        until = time.monotonic() + seconds
        for worker in self.workers:
            worker.process.join(max(0.0, until - time.monotonic()))

    def _wait(self, seconds: float) -> None:
        """Wait for a signal, a report, or the end of a worker."""
        sources: list[Any] = [self._woken]
        for worker in self.workers:
            sources += [worker.channel, worker.process.sentinel]
        connection.wait(sources, seconds)


def _serve(settings: Settings, load: Load, channel: Connection, listening: socket.socket) -> None:
    """Serve, and report: the life of a worker."""
    has_started = threading.Event()

    def report() -> None:
        with suppress(OSError):  # the supervisor has ended
            while True:
                serves = has_started.is_set()
                channel.send(serves)
                if serves:
                    time.sleep(BEAT_SECONDS)
                else:
                    has_started.wait(BEAT_SECONDS)

    threading.Thread(target=report, name="servey-report", daemon=True).start()
    logging.getLogger("servey.settings").setLevel(logging.ERROR)  # the supervisor has logged these warnings
    Server(load(settings), settings, is_child=True, started=has_started.set).run([listening])
