"""The development server: one process watches the files, another one serves and is replaced when they change.

The first never imports the user's code. It holds the listening socket, so that requests that come while the service
is loaded wait for it. A third process stands by, with all imported but the user's code, to make the change quick.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.util import cache_from_source
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

import msgspec
import uvicorn
from uvicorn._subprocess import get_subprocess
from uvicorn.supervisors.basereload import BaseReload

from servey import log
from servey.errors import SettingsError, located
from servey.servey_uvicorn.banner import changed, outline, reloaded
from servey.servey_uvicorn.error_page import ErrorPage
from servey.servey_uvicorn.graceful import NotOpenedError, Server, Stop
from servey.servey_uvicorn.processes import (
    deaf_to_interrupts,
    end_with_parent,
    how_it_ended,
    ignore_interrupts,
    raise_again,
    stop_this_process,
)
from servey.servey_uvicorn.server import CreateApp, say_hello, say_where, uvicorn_config
from servey.servey_uvicorn.watch import Changes, directories_of
from servey.service import Service
from servey.settings import Settings

_log = logging.getLogger("servey.server")

QUICK = Stop(delay=0.0, grace=1.5, lingering=0.1, closing=0.5)
"""Who edits a file does not wait for a call that takes long."""

BACKLOG = 2048

DEATHS, DEATHS_SECONDS = 3, 10.0
"""How many processes may die in so many seconds until no other takes over."""

Tell = Callable[[BaseException], str]


class Order(msgspec.Struct, frozen=True):
    """What a process that stands by is told when its turn comes.

    Args:
        first: Whether nobody has told yet where the server is.
        since: When it became necessary, in the time of `time.monotonic`.
        before: The actions that were served before, as `outline` has them; None when there were none yet.
        failure: What to show instead of the service: why the process before ended.
    """

    first: bool
    since: float
    before: dict[str, str] | None = None
    failure: str = ""


def serve_reloading(settings: Settings, create_app: CreateApp, listening: socket.socket, tell: Tell) -> None:
    """Serve what `settings` name, and again after each change, until a signal comes.

    Args:
        settings: The settings.
        create_app: As for `servey.servey_uvicorn.server.serve`.
        listening: The bound socket.
        tell: As for `servey.servey_uvicorn.server.serve`.

    Raises:
        SettingsError: The files cannot be watched.
    """
    with listening:
        listening.listen(BACKLOG)
        Reloader(settings, create_app, listening, tell).run()


class _Child:
    """A process that serves when it is told to."""

    def __init__(
        self,
        config: uvicorn.Config,
        listening: socket.socket,
        settings: Settings,
        create_app: CreateApp,
        tell: Tell,
    ) -> None:
        self.channel, theirs = Pipe()
        self.process = get_subprocess(config, partial(_child, settings, create_app, tell, theirs), [listening])
        self.served: dict[str, str] | None = None
        self.settled = False
        with deaf_to_interrupts():
            self.process.start()
        theirs.close()

    def hear(self) -> None:
        """Take the report that it serves: the actions, or that it shows an error instead."""
        with suppress(EOFError, OSError):
            while self.channel.poll():
                self.served = self.channel.recv()
                self.settled = True

    def end(self) -> None:
        """End it, in good order if that is possible."""
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(QUICK.grace + QUICK.closing + 0.5)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.hear()
        self.channel.close()


class Reloader(BaseReload):
    """uvicorn's, which waits for the old process without end, and looks after no process that has died.

    Args:
        settings: The settings.
        create_app: Makes the application.
        listening: The socket, which listens already.
        tell: Shows an error, and returns it as text.

    Raises:
        SettingsError: The files cannot be watched.
    """

    def __init__(self, settings: Settings, create_app: CreateApp, listening: socket.socket, tell: Tell) -> None:
        # what uvicorn's supervisor has to say is said here
        config = uvicorn.Config(
            "", log_config=None, log_level="error", workers=1, forwarded_allow_ips=[], reload_delay=0
        )
        super().__init__(config, lambda sockets: None, [listening])  # the target is each child's own
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        self._settings = settings
        self._create_app = create_app
        self._tell = tell
        self._signals: list[int] = []
        self._changed: set[Path] = set()
        self._before: dict[str, str] | None = None
        self._announced = False
        self._child: _Child | None = None
        self._standby: _Child | None = None
        self._deaths: list[float] = []
        roots = directories_of(settings.action_path)
        try:
            self._changes = Changes(roots, self.should_exit)
        except (OSError, RuntimeError) as error:
            raise SettingsError(
                f"the files in {roots[0]} cannot be watched: {error}; start with --no-reload"
            ) from error

    def signal_handler(self, sig: int, frame: FrameType | None) -> None:
        """End; a second Ctrl-C reaches the process that serves, which then waits for nothing."""
        child = self._child
        if self._signals and sig == signal.SIGINT and child is not None and child.process.pid is not None:
            with suppress(OSError):
                os.kill(child.process.pid, sig)
        self._signals.append(sig)
        self.should_exit.set()

    def run(self) -> None:
        """Serve until a signal comes; whatever happens, no process is left."""
        try:
            super().run()
        finally:
            for child in filter(None, (self._child, self._standby)):
                child.process.kill()

    def startup(self) -> None:
        """Start the first process."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.signal_handler)
        self._child = self._spawn()
        self._child.channel.send(Order(first=True, since=time.monotonic()))

    def should_restart(self) -> list[Path] | None:
        """Return the files that have changed, and look after the processes."""
        self._changed = next(self._changes)
        child = self._serving
        child.hear()
        self._announced = self._announced or child.settled
        if self._changed or self.should_exit.is_set():
            return sorted(self._changed)
        if self._changes.is_lost:  # no process starts in a directory that is not there
            self._end_standby()
        elif not child.process.is_alive():
            self._replace_dead()
        elif child.settled and self._standby is None:
            self._standby = self._spawn()
        return None

    def restart(self) -> None:
        """Replace the process that serves."""
        since = time.monotonic()
        places = [located(str(path), 0).rpartition(":")[0] for path in sorted(self._changed)]
        _log.info("%s%s changed", ", ".join(places[:3]), f" and {len(places) - 3} more" if len(places) > 3 else "")
        self._serving.end()
        self._deaths.clear()
        for path in self._changed:  # a second edit within a second, of the same size, is none by the times of files
            with suppress(OSError, NotImplementedError):
                Path(cache_from_source(path)).unlink(missing_ok=True)
        self._take_over(since)

    def shutdown(self) -> None:
        """End the processes, and this one as the signal would have done."""
        for listening in self.sockets:
            listening.close()  # who comes now is refused as soon as the child has closed it, too
        self._end_standby()
        self._serving.end()
        if self._signals:
            raise_again(self._signals[0])

    @property
    def _serving(self) -> _Child:
        assert self._child is not None, "nothing was started yet"
        return self._child

    def _spawn(self) -> _Child:
        return _Child(self.config, self.sockets[0], self._settings, self._create_app, self._tell)

    def _end_standby(self) -> None:
        if self._standby is not None:
            self._standby.process.kill()
            self._standby.end()
            self._standby = None

    def _take_over(self, since: float, failure: str = "") -> None:
        """Have the next process serve."""
        self._before = self._serving.served or self._before
        child, self._standby = self._standby, None
        if child is None or not child.process.is_alive():
            child = self._spawn()
        self._child = child
        with suppress(OSError):  # it has died: that is noticed
            child.channel.send(Order(first=not self._announced, since=since, before=self._before, failure=failure))

    def _replace_dead(self) -> None:
        """Go on after the process has died by itself: with another one, or with the error if that would not help."""
        child, now = self._serving, time.monotonic()
        how = how_it_ended(child.process.exitcode)
        child.end()
        self._deaths = [*(moment for moment in self._deaths if moment > now - DEATHS_SECONDS), now]
        if child.served is None:
            how = f"{how} before it could serve"
        elif len(self._deaths) > DEATHS:
            how = f"{how}, once more"
        else:
            _log.error("the process %s; another one takes over", how)
            self._take_over(now)
            return
        _log.error("the process %s; it is started again when a file changes", how)
        self._take_over(now, f"The process {how}.")


def _child(
    settings: Settings, create_app: CreateApp, tell: Tell, channel: Connection, sockets: list[socket.socket]
) -> None:
    """Stand by, and serve when told to: the life of the process that serves."""
    end_with_parent(partial(stop_this_process, QUICK.seconds + 1.0))
    ignore_interrupts()
    log.configure(settings.log_level)
    uvicorn_config(ErrorPage("", settings), settings).load()  # imports what uvicorn needs
    try:
        order = channel.recv()
    except (EOFError, OSError):  # the server has ended
        return
    listening = sockets[0]
    failure: str = order.failure
    if not failure:
        try:
            service = Service.from_settings(settings)
            app = create_app(service)
            served = outline(service)
        except BaseException as error:  # noqa: BLE001 - the user's modules may raise anything, SystemExit too
            failure = tell(error)
        else:

            def started() -> None:
                if order.before is None:
                    say_hello(service, app, listening)
                else:
                    _log.info("%s", reloaded(time.monotonic() - order.since, order.before, served))
                    differ = [name for name, seen in served.items() if order.before.get(name) != seen]
                    for line in changed(service, listening.getsockname()[1], differ):
                        _log.info("%s", line)
                if order.first:
                    say_where(listening)
                channel.send(served)

            server = Server(uvicorn_config(app, settings), service, QUICK, is_child=True, started=started)
            try:
                server.run(sockets)
                return
            except NotOpenedError as error:
                if server.should_exit:
                    return
                failure = tell(error.__cause__ or error)

    def showing() -> None:
        if order.first:
            say_where(listening)
        _log.info("the service is loaded again when a file changes; until then every answer is this error")
        channel.send(None)

    # a browser that shows it asks each second
    config = uvicorn_config(ErrorPage(failure, settings), settings, access_log=False)
    Server(config, None, QUICK, is_child=True, started=showing).run(sockets)
