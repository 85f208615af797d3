"""The production server of several processes: they share the listening socket, and one looks after them.

The first worker shows that the service can be opened; only then the others start. From then on a worker that dies, or
that cannot start, is replaced, at longer and longer intervals if that goes on, and the others serve meanwhile.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from multiprocessing import Pipe, connection
from multiprocessing.connection import Connection
from typing import Any

from uvicorn.config import Config
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from servey import log
from servey.servey_uvicorn.draining import refuse_beginnings
from servey.servey_uvicorn.graceful import EX_UNAVAILABLE, NotOpenedError, Server, Stop, tell_not_opened
from servey.servey_uvicorn.processes import (
    deaf_to_interrupts,
    how_it_ended,
    ignore_interrupts,
    raise_again,
    stop_this_process,
)
from servey.servey_uvicorn.server import CreateApp, say_where, uvicorn_config
from servey.service import Service
from servey.settings import MOST_WORKERS, Settings

_log = logging.getLogger("servey.server")

START_SECONDS = 60.0
"""How long a new worker may take to serve, before a rolling restart is given up."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""How long it takes until a worker is started that has failed before, in seconds; doubled each time."""

STABLE_SECONDS = 10.0
"""How long a worker has to have lived for its death to be no failure to start."""


def serve_with_workers(settings: Settings, create_app: CreateApp, listening: socket.socket) -> None:
    """Serve what `settings` name with several processes, until a signal comes.

    Args:
        settings: The settings, with the number of processes.
        create_app: As for `servey.servey_uvicorn.server.serve`.
        listening: The bound socket.

    Raises:
        SystemExit: The first worker cannot start.
    """
    listening.listen(Config("").backlog)
    config = uvicorn_config("", settings)
    config.workers = settings.workers
    Workers(config, listening, settings, create_app).run()


class Worker(Process):
    """One process that serves; tells when it does, and answers when it is asked whether it is well.

    Args:
        config: The supervisor's configuration.
        listening: The socket.
        settings: The settings.
        create_app: Makes the application.
        lifeline: A pipe that is closed when all workers stop, or the supervisor has died.
    """

    def __init__(
        self,
        config: Config,
        listening: socket.socket,
        settings: Settings,
        create_app: CreateApp,
        lifeline: Connection,
    ) -> None:
        super().__init__(config, [listening])
        self._settings = settings
        self._create_app = create_app
        self._lifeline = lifeline
        self.serves = False
        self.began = self.heard = time.monotonic()
        self.asked = False

    def start(self) -> None:
        """Start the process."""
        with deaf_to_interrupts():
            super().start()

    def hear(self) -> None:
        """Take what the process has sent: that it serves, or that it is well."""
        with suppress(EOFError, OSError):
            while self.parent_conn.poll():
                self.serves = self.parent_conn.recv() or self.serves
                self.heard, self.asked = time.monotonic(), False

    def ask(self) -> None:
        """Ask the process whether it is well, unless it was."""
        if not self.asked:
            with suppress(OSError):
                self.parent_conn.send(b"ping")
                self.heard, self.asked = time.monotonic(), True

    def pong(self) -> None:
        """Answer one question, in the worker: whether it serves."""
        self.child_conn.recv()
        self.child_conn.send(self._server is not None and self._server.started)

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve: the life of the process."""
        ignore_interrupts()
        log.configure(self._settings.log_level)
        all_stop = threading.Event()
        stop = Stop.of(self._settings)

        def watch_lifeline() -> None:
            connection.wait([self._lifeline])
            all_stop.set()
            stop_this_process(stop.seconds + 1.0)

        threading.Thread(target=watch_lifeline, name="servey-lifeline", daemon=True).start()
        service = Service.from_settings(self._settings)
        self._server = server = Server(
            uvicorn_config(self._create_app(service), self._settings),
            service,
            stop,
            is_child=True,
            started=lambda: self.child_conn.send(True),
            all_stop=all_stop,
        )
        threading.Thread(target=self.always_pong, name="servey-health", daemon=True).start()
        try:
            server.run(sockets)
        except NotOpenedError as error:
            tell_not_opened(error)
            raise SystemExit(EX_UNAVAILABLE) from None


class Workers(Multiprocess):
    """uvicorn's, which stops as one, starts again with patience, and is woken by what happens.

    Args:
        config: uvicorn's configuration, with the number of workers.
        listening: The socket, which listens already.
        settings: The settings.
        create_app: Makes the application.
    """

    processes: list[Worker]  # pyright: ignore[reportIncompatibleVariableOverride]
    processes_num: int
    sockets: list[socket.socket]

    def __init__(self, config: Config, listening: socket.socket, settings: Settings, create_app: CreateApp) -> None:
        self._woken, self._wakes = socket.socketpair()
        for end in (self._woken, self._wakes):
            end.setblocking(False)
        super().__init__(config, [listening])
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        self._settings = settings
        self._create_app = create_app
        self._stop = Stop.of(settings)
        self._lifeline, self._holds = Pipe(duplex=False)
        self._retired: list[Worker] = []
        self._successor: Worker | None = None
        self._to_replace: list[Worker] = []
        self._failures = 0
        self._start_at = self._failed_at = 0.0
        self._has_served = False
        self._exit_code = 0
        self._ends_by = 0

    def run(self) -> None:
        """Look after the workers until a signal comes.

        Raises:
            SystemExit: The first worker cannot start.
        """
        try:
            self.init_processes()
            while not self.should_exit.is_set():
                self._sleep(1.0)
                self.handle_signals()
                self.keep_subprocess_alive()
                self._roll()
            if self._ends_by:
                _log.info("stopping")
        finally:
            self.terminate_all()
            self.join_all()
            signal.set_wakeup_fd(-1)
        if self._exit_code:
            raise SystemExit(self._exit_code)
        if self._ends_by:
            raise_again(self._ends_by)

    def init_processes(self) -> None:
        """Start the first worker; the others follow when it serves."""
        self.processes.append(self._worker())

    def keep_subprocess_alive(self) -> None:
        """Take note of the workers' reports and deaths, and start those that are missing."""
        if self.should_exit.is_set():
            return
        now = time.monotonic()
        for worker in [*self.processes, *self._retired, *filter(None, [self._successor])]:
            worker.hear()
        for worker in self.processes:
            if worker.serves and not self._has_served:
                self._has_served = True
                say_where(self.sockets[0])
            if worker.asked and now - worker.heard > self.config.timeout_worker_healthcheck:
                _log.error("worker %s does not answer any more and is ended", worker.pid)
                worker.kill()
                worker.process.join()
            elif worker.serves and now - worker.heard > self.config.timeout_worker_healthcheck / 3:
                worker.ask()
        for worker in [item for item in self.processes if not item.process.is_alive()]:
            self.processes.remove(worker)
            self._has_died(worker, now)
        self._retired = [worker for worker in self._retired if worker.process.is_alive()]
        if not self._has_served or now < self._start_at:
            return
        while len(self.processes) < self.processes_num and not self.signal_queue:
            self.processes.append(self._worker())

    def _has_died(self, worker: Worker, now: float) -> None:
        """Decide when its successor starts; the very first worker has none."""
        worker.hear()
        how = how_it_ended(worker.exitcode)
        if not self._has_served and not worker.serves:
            _log.error("the first worker was %s before it could serve", how)
            self._exit_code = worker.exitcode if worker.exitcode and worker.exitcode > 0 else EX_UNAVAILABLE
            self.should_exit.set()
            return
        if worker.serves and now - worker.began > STABLE_SECONDS:
            self._failures = 0
        if not self._failures or worker.began > self._failed_at:  # those that die together have failed once
            pause = min(FIRST_PAUSE * 2 ** (self._failures - 1), LONGEST_PAUSE) if self._failures else 0.0
            self._failures += 1
            self._failed_at, self._start_at = now, now + pause
        pause = math.ceil(self._start_at - now)
        when = f"in {pause} s" if pause > 0 else "at once"
        _log.error("worker %s was %s; another one starts %s", worker.pid, how, when)

    def handle_int(self) -> None:
        """Stop."""
        self._ends_by = signal.SIGINT
        self.should_exit.set()

    def handle_term(self) -> None:
        """Stop."""
        self._ends_by = signal.SIGTERM
        self.should_exit.set()

    def handle_hup(self) -> None:
        """Replace one worker after the other, each when its successor serves."""
        _log.info("replacing the workers")
        self._to_replace = list(self.processes)

    def handle_ttin(self) -> None:
        """Serve with one more."""
        self.processes_num = min(self.processes_num + 1, MOST_WORKERS)
        _log.info("%s workers", self.processes_num)

    def handle_ttou(self) -> None:
        """Serve with one less."""
        if self.processes_num > 1:
            self.processes_num -= 1
            _log.info("%s workers", self.processes_num)
            if len(self.processes) > self.processes_num:
                self._retire(self.processes[-1])

    def _roll(self) -> None:
        """Go on with a rolling restart."""
        self._to_replace = [worker for worker in self._to_replace if worker in self.processes]
        successor = self._successor
        if successor is None:
            if self._to_replace and self._has_served and not self.should_exit.is_set():
                self._successor = self._worker()
            return
        successor.hear()
        failed = not successor.process.is_alive() or time.monotonic() - successor.began > START_SECONDS
        if successor.serves:
            self.processes.append(successor)
            replaced = self._to_replace.pop(0) if self._to_replace else self.processes[0]
            if len(self.processes) > self.processes_num:
                self._retire(replaced)
            if not self._to_replace:
                _log.info("the workers are replaced")
            self._successor = None
        elif failed:
            successor.kill()
            successor.process.join()
            _log.error(
                "the new worker was %s before it could serve; the old ones stay", how_it_ended(successor.exitcode)
            )
            self._successor, self._to_replace = None, []

    def terminate_all(self) -> None:
        """Have all workers stop, at once; a client that comes when they do not accept any more is refused."""
        self._holds.close()  # the workers' sign
        for worker in self._all():
            worker.hear()
            if not worker.serves:  # it has not come so far as to see the sign, and holds the socket
                worker.process.terminate()

    def join_all(self) -> None:
        """Wait for the workers, and end by force those that do not end."""
        stop, began = self._stop, time.monotonic()
        end = began + stop.seconds + 2.0
        while (left := [worker for worker in self._all() if worker.process.is_alive()]) and time.monotonic() < end:
            if self.sockets and time.monotonic() >= began + stop.delay:
                self._let_go()
            self._sleep(0.1, reports=False)
            if signal.SIGINT in self.signal_queue:  # again: nobody waits any longer
                self.signal_queue.clear()
                for worker in left:
                    with suppress(OSError):
                        os.kill(worker.pid or 0, signal.SIGINT)
        for worker in left:
            worker.process.kill()
        for worker in self._all():
            worker.process.join()
        self._let_go()

    def _let_go(self) -> None:
        """Close the socket: from now on it is open only as long as workers take what waits."""
        for listening in self.sockets:
            refuse_beginnings(listening)
            listening.close()
        self.sockets = []

    def _all(self) -> list[Worker]:
        return [*self.processes, *self._retired, *filter(None, [self._successor])]

    def _worker(self) -> Worker:
        worker = Worker(self.config, self.sockets[0], self._settings, self._create_app, self._lifeline)
        worker.start()
        return worker

    def _retire(self, worker: Worker) -> None:
        """Have one worker stop, while others go on."""
        self.processes.remove(worker)
        self._retired.append(worker)
        with suppress(OSError):
            os.kill(worker.pid or 0, signal.SIGTERM)

    def _sleep(self, seconds: float, *, reports: bool = True) -> None:
        """Sleep until something happens: a signal, the end of a worker, a report of one."""
        sources: list[Any] = [worker.process.sentinel for worker in self._all() if worker.process.is_alive()]
        if reports:
            sources += [worker.parent_conn for worker in self._all()]
        connection.wait([self._woken, *sources], seconds)
        with suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass
