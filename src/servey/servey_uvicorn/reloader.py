"""The development server: one process watches the files; another serves, and is replaced when they change.

The first process never imports the user's code. It holds the listening socket, so requests wait while the new code
loads. A third process stands by: it has imported everything but the user's code, which makes a reload quick.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib.util import cache_from_source
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from servey.errors import SettingsError, located
from servey.servey_uvicorn.banner import changed, log_banner, outline, reloaded
from servey.servey_uvicorn.error_page import ErrorPage
from servey.servey_uvicorn.graceful import NotOpenedError, Server, Stop, uvicorn_config
from servey.servey_uvicorn.listening import BACKLOG, log_address
from servey.servey_uvicorn.mounted import Mounted, mounted_services
from servey.servey_uvicorn.processes import Child, raise_again
from servey.servey_uvicorn.watch import Changes
from servey.settings import Settings

_log = logging.getLogger("servey.server")

QUICK = Stop(delay=0.0, grace=1.5, lingering=0.1, closing=0.5, accepts_waiting=False)
"""A stop for a reload: short, as it ends calls under way; connections that wait are for the new code."""

DEATHS, DEATHS_SECONDS = 3, 10.0
"""How many processes may die in how many seconds until the server shows the error instead of starting another."""

Load = Callable[[Settings], Any]
Tell = Callable[[BaseException], str]


class Order(msgspec.Struct, frozen=True):
    """What a process that stands by receives when it is its turn to serve.

    Args:
        first: Whether no process has logged the address yet.
        since: When the order became necessary, in the time of `time.monotonic`.
        before: The actions that were served before, as `outline` has them; None if there were none yet.
        failure: Why the process before ended; shown instead of the service.
    """

    first: bool
    since: float
    before: dict[str, str] | None = None
    failure: str = ""


def serve_reloading(
    settings: Settings, load: Load, listening: socket.socket, tell: Tell, roots: Sequence[Path]
) -> None:
    """Serve an application, and load it again after each change of a file, until a signal comes.

    Args:
        settings: The settings.
        load: As for `servey.servey_uvicorn.server.serve`.
        listening: The bound socket.
        tell: As for `servey.servey_uvicorn.server.serve`.
        roots: The directories to watch.

    Raises:
        SettingsError: The files cannot be watched.
    """
    with listening:
        listening.listen(BACKLOG)
        life = partial(_serve_when_ordered, settings, load, tell)
        spawn = partial(ReloadedChild, life, listening, settings.process.log_level, QUICK.seconds + 1.0)
        Reloader(spawn, listening, roots).run()


class ReloadedChild(Child):
    """A process that serves when it receives its order."""

    served: dict[str, str] | None = None
    """The actions that it serves."""
    is_settled = False
    """Whether it serves, or shows an error instead."""

    def hear(self) -> None:
        """Take its report: the actions that it serves, or None if it shows an error."""
        for served in self.received():
            self.served = served
            self.is_settled = True

    def order(self, order: Order) -> None:
        """Have it serve. If it has died, the reloader will notice."""
        with suppress(OSError):
            self.channel.send(order)

    def end(self) -> None:
        """Stop it, by force if it does not stop in time."""
        if self.is_alive:
            self.process.terminate()
            self.process.join(QUICK.seconds + 0.5)
        if self.is_alive:
            self.process.kill()
        self.process.join()
        self.hear()
        self.channel.close()


class Reloader:
    """Keeps one process serving the newest code, and another one standing by.

    Args:
        spawn: Starts a process.
        listening: The listening socket.
        roots: The directories to watch.

    Raises:
        SettingsError: The files cannot be watched.
    """

    def __init__(self, spawn: Callable[[], ReloadedChild], listening: socket.socket, roots: Sequence[Path]) -> None:
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        self._spawn = spawn
        self._listening = listening
        self._stopping = threading.Event()
        self._signals: list[int] = []
        self._before: dict[str, str] | None = None
        self._has_announced = False
        self._deaths: list[float] = []
        self._standby: ReloadedChild | None = None
        try:
            self._changes = Changes(roots, self._stopping)
        except (OSError, RuntimeError) as error:
            raise SettingsError(
                f"the files in {roots[0]} cannot be watched: {error}; start with --no-reload"
            ) from error
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take_signal)
        self._child = spawn()

    def run(self) -> None:
        """Serve until a signal comes; end as the signal would have ended this process, and leave no child."""
        try:
            self._child.order(Order(first=True, since=time.monotonic()))
            for paths in self._changes:
                self._look_after(paths)
            self._listening.close()  # the operating system refuses clients as soon as the child has closed it, too
            self._end_standby()
            self._child.end()
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
        """Replace the process if files have changed or if it has died; have another one stand by."""
        child = self._child
        child.hear()
        self._has_announced = self._has_announced or child.is_settled
        if self._stopping.is_set():
            return
        if paths:
            self._reload(sorted(paths))
        elif self._changes.is_lost:  # no process starts in a directory that is not there
            self._end_standby()
        elif not child.is_alive:
            self._replace_dead()
        elif child.is_settled and self._standby is None:
            self._standby = self._spawn()

    def _reload(self, paths: Sequence[Path]) -> None:
        """Replace the process that serves."""
        since = time.monotonic()
        places = [located(str(path), 0).rpartition(":")[0] for path in paths]
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        _log.info("%s%s changed", ", ".join(places[:3]), more)
        self._child.end()
        self._deaths.clear()
        for path in paths:  # Python misses a second edit within a second that keeps the size, if it finds a cache
            with suppress(OSError, NotImplementedError):
                Path(cache_from_source(path)).unlink(missing_ok=True)
        self._take_over(since)

    def _end_standby(self) -> None:
        if self._standby is not None:
            self._standby.process.kill()
            self._standby.end()
            self._standby = None

    def _take_over(self, since: float, failure: str = "") -> None:
        """Have the next process serve."""
        self._before = self._child.served or self._before
        child, self._standby = self._standby, None
        if child is None or not child.is_alive:
            child = self._spawn()
        self._child = child
        child.order(Order(first=not self._has_announced, since=since, before=self._before, failure=failure))

    def _replace_dead(self) -> None:
        """Start another process after one has died, or show the error if another one would die, too."""
        child, now = self._child, time.monotonic()
        child.end()
        how = child.how_it_ended()
        self._deaths = [*(moment for moment in self._deaths if moment > now - DEATHS_SECONDS), now]
        if child.served is None:
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
    settings: Settings, load: Load, tell: Tell, channel: Connection, listening: socket.socket
) -> None:
    """Stand by, and serve when the order comes: the life of the process that serves."""
    uvicorn_config(ErrorPage("", settings), settings).load()  # imports what uvicorn needs
    try:
        order: Order = channel.recv()
    except (EOFError, OSError):  # the parent has ended
        return
    failure = order.failure or _serve(settings, load, tell, order, channel, listening)
    if failure:
        _show(failure, settings, order, channel, listening)


def _serve(
    settings: Settings, load: Load, tell: Tell, order: Order, channel: Connection, listening: socket.socket
) -> str:
    """Serve the application until a signal comes; return why it cannot be served, or an empty text."""
    if order.before is not None:  # the first process has logged these warnings
        logging.getLogger("servey.settings").setLevel(logging.ERROR)
    try:
        app = load(settings)
        mounted = mounted_services(app)
        served = {name: seen for item in mounted for name, seen in outline(item.service).items()}
    except BaseException as error:  # noqa: BLE001 - the user's modules may raise anything, SystemExit too
        return tell(error)

    def started() -> None:
        if order.before is None:
            log_banner(settings, mounted, listening)
        else:
            _log_reload(order, order.before, served, mounted, listening)
        if order.first:
            log_address(listening)
        channel.send(served)

    services = [item.service for item in mounted]
    server = Server(uvicorn_config(app, settings), services, QUICK, is_child=True, started=started)
    try:
        server.run([listening])
    except NotOpenedError as error:
        return "" if server.should_exit else tell(error.__cause__ or error)
    return ""


def _log_reload(
    order: Order,
    before: dict[str, str],
    served: dict[str, str],
    mounted: Sequence[Mounted],
    listening: socket.socket,
) -> None:
    """Log how long the reload took and which actions it changed."""
    _log.info("%s", reloaded(time.monotonic() - order.since, before, served))
    different = [name for name, seen in served.items() if before.get(name) != seen]
    for item in mounted:
        for line in changed(item.service, listening.getsockname()[1], different, item.prefix):
            _log.info("%s", line)


def _show(failure: str, settings: Settings, order: Order, channel: Connection, listening: socket.socket) -> None:
    """Answer every request with the error until a signal comes."""

    def started() -> None:
        if order.first:
            log_address(listening)
        _log.info("the application is loaded again when a file changes; until then every answer is this error")
        channel.send(None)

    # no access log: a browser that shows the error asks each second
    config = uvicorn_config(ErrorPage(failure, settings), settings, access_log=False)
    Server(config, (), QUICK, is_child=True, started=started).run([listening])
