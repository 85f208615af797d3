"""The development server: one process watches the files; another serves, and is replaced when they change.

The first process never imports the user's code. It holds the listening socket, so requests wait while the new code
loads. A third process stands by: it has imported all modules except the user's code, which makes a reload fast.
"""

from __future__ import annotations

import logging
import math
import signal
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib.util import cache_from_source
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from servey.errors import SettingsError, located
from servey.http.mounted import mounted_services
from servey.servey_uvicorn.banner import log_banner, log_reload, outline
from servey.servey_uvicorn.error_page import ErrorPage
from servey.servey_uvicorn.graceful import NotOpenedError, Server, Stop
from servey.servey_uvicorn.listening import BACKLOG, log_address
from servey.servey_uvicorn.processes import Child, Load, ShowError, raise_again
from servey.servey_uvicorn.watch import Changes
from servey.settings import Settings

_log = logging.getLogger("servey.server")

QUICK = Stop(delay=0.0, grace=1.5, lingering=0.1, closing=0.5, accepts_waiting=False)
"""The stop of a reload: short, so it ends running calls; the new code serves waiting connections."""

DEATHS, DEATHS_SECONDS = 3, 10.0
"""How many processes may die in how many seconds until the server shows the error instead of starting another."""


class Order(NamedTuple):
    """The order to serve, for a process that stands by.

    Args:
        since: When the order became necessary, in the time of `time.monotonic`.
        before: The actions that were served before, as `outline` has them; None if there were none yet.
        failure: Why the process before ended; shown instead of the service.
    """

    since: float
    before: dict[str, str] | None = None
    failure: str = ""


class Reloader:
    """Keeps one process serving the newest code, and another one standing by.

    A process reports the actions that it serves when it serves, or None when it shows an error instead.
    """

    def __init__(
        self, settings: Settings, load: Load, show_error: ShowError, listening: socket.socket, roots: Sequence[Path]
    ) -> None:
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        listening.listen(BACKLOG)
        life = partial(_serve_when_ordered, settings, load, show_error)
        self._spawn = partial(Child, life, listening, settings.process.log_level, QUICK.seconds + 1.0)
        self._listening = listening
        self._stopping = threading.Event()
        self._signals: list[int] = []
        self._before: dict[str, str] | None = None
        self._has_announced = False
        self._deaths: list[float] = []
        self._standby: Child | None = None
        try:
            self._changes = Changes(roots, self._stopping)
        except (OSError, RuntimeError) as error:
            raise SettingsError(
                f"the files in {roots[0]} cannot be watched: {error}; start with --no-reload"
            ) from error
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take_signal)
        self._child = self._spawn()

    def run(self) -> None:
        """Serve until a signal comes; end as the signal would have ended this process, and leave no child."""
        try:
            self._child.send(Order(time.monotonic()))
            for paths in self._changes:
                self._look_after(paths)
            self._listening.close()  # the operating system refuses clients as soon as the child has closed it, too
            self._end_standby()
            self._child.end(QUICK.seconds + 0.5)
        finally:
            for child in filter(None, (self._child, self._standby)):
                child.process.kill()
        if self._signals:
            raise_again(self._signals[0])

    def _take_signal(self, sig: int, frame: FrameType | None) -> None:
        """Stop; pass a second Ctrl-C on to the process that serves, which then waits for nothing."""
        if self._signals and sig == signal.SIGINT:
            self._child.signal(sig)
        self._signals.append(sig)
        self._stopping.set()

    def _look_after(self, paths: set[Path]) -> None:
        """Replace the process if files have changed or if it has died; start another one as a stand-by."""
        child = self._child
        child.hear()
        is_settled = child.heard < math.inf
        if is_settled and not self._has_announced:
            self._has_announced = True
            log_address(self._listening)
        if self._stopping.is_set():
            return
        if paths:
            self._reload(sorted(paths))
        elif self._changes.is_lost:  # no process starts in a directory that is not there
            self._end_standby()
        elif not child.is_alive:
            self._replace_dead()
        elif is_settled and self._standby is None:
            self._standby = self._spawn()

    def _reload(self, paths: Sequence[Path]) -> None:
        """Replace the process that serves."""
        since = time.monotonic()
        places = [located(str(path), 0).rpartition(":")[0] for path in paths]
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        _log.info("%s%s changed", ", ".join(places[:3]), more)
        self._child.end(QUICK.seconds + 0.5)
        self._deaths.clear()
        for path in paths:  # Python misses a second edit within a second that keeps the size, if it finds a cache
            with suppress(OSError, NotImplementedError):
                Path(cache_from_source(path)).unlink(missing_ok=True)
        self._take_over(since)

    def _end_standby(self) -> None:
        if self._standby is not None:
            self._standby.process.kill()
            self._standby.end(0)
            self._standby = None

    def _take_over(self, since: float, failure: str = "") -> None:
        """Have the next process serve."""
        self._before = self._child.report or self._before
        child, self._standby = self._standby, None
        if child is None or not child.is_alive:
            child = self._spawn()
        self._child = child
        child.send(Order(since, self._before, failure))

    def _replace_dead(self) -> None:
        """Start another process after one has died, or show the error if another one would die, too."""
        child, now = self._child, time.monotonic()
        child.end(0)
        how = child.how_it_ended()
        self._deaths = [*(moment for moment in self._deaths if moment > now - DEATHS_SECONDS), now]
        if child.report is None:
            how = f"{how} before it could serve"
        elif len(self._deaths) > DEATHS:
            how = f"{how}, once more"
        else:
            _log.error("the process %s; another one takes over", how)
            self._take_over(now)
            return
        _log.error("the process %s; it starts again when a file changes", how)
        self._take_over(now, f"The process {how}.")


def _serve_when_ordered(
    settings: Settings, load: Load, show_error: ShowError, channel: Connection, listening: socket.socket
) -> None:
    """Stand by, and serve when the order comes, or show why that is not possible: the life of a process."""
    Server(ErrorPage("", settings), settings, QUICK).config.load()  # imports what uvicorn needs
    try:
        order: Order = channel.recv()
    except (EOFError, OSError):  # the parent has ended
        return
    failure = order.failure or _serve(settings, load, show_error, order, channel, listening)
    if not failure:
        return

    def started() -> None:
        _log.info("the application is loaded again when a file changes; until then every answer is this error")
        channel.send(None)

    # no access log: a browser that shows the error asks each second
    page = ErrorPage(failure, settings)
    Server(page, settings, QUICK, is_child=True, access_log=False, started=started).run([listening])


def _serve(
    settings: Settings, load: Load, show_error: ShowError, order: Order, channel: Connection, listening: socket.socket
) -> str:
    """Serve the application until a signal comes; return why it cannot be served, or an empty text."""
    if order.before is not None:  # the first process has logged these warnings
        logging.getLogger("servey.settings").setLevel(logging.ERROR)
    try:
        app = load(settings)
        mounted = mounted_services(app)
        served = {name: seen for item in mounted for name, seen in outline(item.service).items()}
    except BaseException as error:  # noqa: BLE001 - the user's modules may raise anything, SystemExit too
        return show_error(error)

    def started() -> None:
        if order.before is None:
            log_banner(settings, app, listening)
        else:
            log_reload(time.monotonic() - order.since, order.before, served, app, listening)
        channel.send(served)

    server = Server(app, settings, QUICK, is_child=True, started=started)
    try:
        server.run_or_raise([listening])
    except NotOpenedError as error:
        return "" if server.should_exit else show_error(error.__cause__ or error)
    return ""
