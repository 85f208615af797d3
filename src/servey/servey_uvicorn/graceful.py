"""uvicorn's server, with a stop that answers every request and that ends in any case."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, cast

import msgspec

from servey.errors import MissingExtraError, ServeyError, count_of
from servey.forced_exit import CLOSING_SECONDS, SAME_SECONDS, end_after
from servey.http.mounted import mounted_services
from servey.servey_uvicorn.access_log import access_logged
from servey.servey_uvicorn.connections import busy, has_unread, has_waiting, idle, refuse_new, websockets
from servey.settings import Settings

try:
    import uvicorn
except ModuleNotFoundError as error:
    if error.name != "uvicorn":
        raise
    raise MissingExtraError("uvicorn", "server") from error

from uvicorn.lifespan.on import LifespanOn

_log = logging.getLogger("servey.server")

EX_UNAVAILABLE = 69
"""The exit code (sysexits.h) of an application that cannot start, because a resource cannot be opened."""

HANDSHAKE_SECONDS = 0.1
"""Seconds that clients get to complete connections that they have begun, while no new connection can begin."""


class Stop(msgspec.Struct, frozen=True):
    """How a server stops; times are in seconds.

    Args:
        delay: How long it still serves requests after it is not ready any more.
        grace: How long running requests may take after that.
        lingering: The part of that time in which an open connection may still send a request.
        closing: The time limit for closing the lifespan. Then the process ends by force.
        accepts_waiting: Whether it accepts the connections that wait in the listening socket. If not, another process
            accepts them.
    """

    delay: float = 0.0
    grace: float = 10.0
    lingering: float = 0.5
    closing: float = CLOSING_SECONDS
    accepts_waiting: bool = True

    @property
    def seconds(self) -> float:
        """The longest time that it takes."""
        return self.delay + self.grace + self.closing

    @classmethod
    def of(cls, settings: Settings) -> Stop:
        """Return the stop of the settings."""
        grace = settings.calls.shutdown_timeout
        return cls(delay=settings.process.shutdown_delay, grace=grace, lingering=min(0.5, grace / 4))


class NotOpenedError(Exception):
    """The application's lifespan cannot start; the ``__cause__`` is its error."""


class _Lifespan(LifespanOn):
    """uvicorn's lifespan, which raises the error of a failed start; uvicorn logs it and exits."""

    _failure: BaseException | None = None

    async def startup(self) -> None:
        """Start the application's lifespan, or raise `NotOpenedError`."""
        await super().startup()
        if self._failure is not None:
            raise NotOpenedError from self._failure

    async def send(self, message: Any) -> None:
        """Receive a message from the application."""
        if message["type"] == "lifespan.startup.failed":
            # frameworks send this while they handle the exception
            self._failure = sys.exc_info()[1] or RuntimeError(message.get("message") or "the lifespan cannot start")
            raise NotOpenedError  # ends the lifespan, before uvicorn logs the message
        await super().send(message)


class Server(uvicorn.Server):
    """uvicorn's server, with a stop that answers every request and that ends in any case.

    Args:
        app: The application.
        settings: The settings. uvicorn reads nothing from the environment.
        stop: The kind of stop; default: that of the settings.
        is_child: Whether it runs in a process of another server, which has the signals and the listening socket.
        access_log: Whether to log requests.
        started: Called when the server can take requests.
    """

    def __init__(
        self,
        app: Any,
        settings: Settings,
        stop: Stop | None = None,
        *,
        is_child: bool = False,
        access_log: bool = True,
        started: Callable[[], None] | None = None,
    ) -> None:
        level = settings.process.log_level
        config = uvicorn.Config(
            access_logged(app) if access_log else app,
            log_config=None,  # servey has configured logging
            log_level="warning" if level == "INFO" else level.lower(),  # its messages at INFO are servey's own
            access_log=False,
            server_header=False,
            forwarded_allow_ips=list(settings.process.trusted_proxies),
            ws_max_size=settings.http.max_body_size,
            workers=1,
            reload=False,
        )
        super().__init__(config)
        self._services = [item.service for item in mounted_services(app)]
        self._stop = stop or Stop.of(settings)
        self._is_child = is_child
        self._on_started = started
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._interrupts = 0
        self._stops_since = time.monotonic()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal comes. If the application cannot start, log why, and exit."""
        try:
            self.run_or_raise(sockets)
        except NotOpenedError as error:
            cause = error.__cause__
            if isinstance(cause, ServeyError):
                _log.error("%s", cause)
            else:
                _log.error("the application cannot start", exc_info=cause)
            raise SystemExit(EX_UNAVAILABLE) from None

    def run_or_raise(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal comes. If the application cannot start, raise `NotOpenedError`."""
        self.config.load()
        self.config.lifespan_class = _Lifespan
        super().run(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; end by force if the stop takes too long, even if the event loop is blocked."""
        # another signal may interrupt this function: it has to see at once that it is not the first
        is_first, self.should_exit = not self.should_exit, True
        was_forced = self.force_exit
        self._interrupts += sig == signal.SIGINT
        if is_first:
            self._captured_signals.append(sig)
            self._stops_since = time.monotonic()
            end_after(self._stop.seconds, sig)
        elif self._is_child and self._interrupts < 2 and time.monotonic() - self._stops_since < SAME_SECONDS:
            return  # the same Ctrl-C, from the terminal and from the parent
        else:
            super().handle_exit(sig, frame)
        if self.force_exit and not was_forced:
            end_after(self._stop.closing, sig)
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._woken.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, and listen."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self._on_started is not None:
            self._on_started()

    async def main_loop(self) -> None:
        """Wait for the stop, and notice it at once; uvicorn looks ten times a second."""
        while not await self.on_tick(0):  # which renews the Date header
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Set not ready, serve for the delay, stop accepting, wait for running requests, close the lifespan."""
        loop, stop = asyncio.get_running_loop(), self._stop
        end = loop.time() + stop.delay + stop.grace
        self._stop_services(stop.delay + stop.grace)
        self._log_stop()
        await self._close_after_answers()
        await self._serve_on(stop.delay)
        if stop.accepts_waiting:
            await self._accept_waiting(sockets or [])
        self._stop_listening(sockets or [])
        connections = self.server_state.connections
        await self._while(lambda: bool(idle(connections)), min(stop.lingering, end - loop.time()), 0.02)
        await self._while(lambda: has_unread(idle(connections)), min(0.5, end - loop.time()), 0)
        await self._while(lambda: bool(websockets(connections)), end - loop.time(), 0.02)  # uvicorn drops their calls
        # until it has closed the idle connections, uvicorn lets nothing else run
        self.config.timeout_graceful_shutdown = cast("int", max(0.0, end - loop.time()))
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn leaves the lifespan open then
            self._stop_services(0)
            await self.lifespan.shutdown()
        if self._is_child:
            self._captured_signals.clear()  # uvicorn would raise them again

    async def _accept_waiting(self, sockets: Sequence[socket.socket]) -> None:
        """Accept the connections that have begun, and refuse new ones (the supervisor does that for its workers)."""
        if not self._is_child:
            for listening in sockets:
                refuse_new(listening)
        await self._while(lambda: True, HANDSHAKE_SECONDS, 0.02)
        await self._while(lambda: has_waiting(sockets), 1.0, 0)

    def _stop_listening(self, sockets: Sequence[socket.socket]) -> None:
        """Close the listening sockets now; uvicorn would do it when the idle connections are closed."""
        for server in self.servers:
            server.close()
        for listening in sockets:
            listening.close()

    def _stop_services(self, seconds: float) -> None:
        """Begin the stop of the services, with its time limit from now."""
        for service in self._services:
            service.stop_within(seconds)

    def _log_stop(self) -> None:
        under_way = len(busy(self.server_state.connections))
        when = f" in {self._stop.delay:g} s" if self._stop.delay else ""
        level = logging.INFO if under_way or when or not self._is_child else logging.DEBUG
        _log.log(level, "stopping%s: %s under way", when, count_of(under_way, "request"))

    async def _close_after_answers(self) -> None:
        """Send ``Connection: close`` with every answer from now on, and close the connection after it."""
        self.config.encoded_headers = [*self.config.encoded_headers, (b"connection", b"close")]
        await self.on_tick(0)
        for connection in busy(self.server_state.connections):
            connection.shutdown()

    async def _serve_on(self, seconds: float) -> None:
        """Serve for the delay, unless a second Ctrl-C comes."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until and not self.force_exit:
            await asyncio.sleep(min(until - loop.time(), 0.5))
            await self.on_tick(0)

    async def _while(self, condition: Callable[[], bool], seconds: float, pause: float) -> None:
        """Wait while `condition` holds, for at most `seconds`, and unless a second Ctrl-C comes."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while condition() and loop.time() < until and not self.force_exit:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(pause)
