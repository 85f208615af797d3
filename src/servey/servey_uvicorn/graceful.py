"""uvicorn's server with an end that leaves nobody without an answer, and that comes in any case."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from types import FrameType
from typing import Any, cast

import msgspec
import uvicorn

from servey.errors import ServeyError, count_of
from servey.servey_uvicorn.draining import busy, idle, refuse_beginnings, unread, waiting
from servey.service import Service
from servey.settings import Settings

_log = logging.getLogger("servey.server")

EX_UNAVAILABLE = 69
"""The exit code (sysexits.h) of a service that cannot start, because a resource cannot be opened."""

SAME_SECONDS = 0.5
"""For how long one Ctrl-C may come twice to a child: from the terminal, and by way of its parent."""

HANDSHAKE_SECONDS = 0.1
"""How long connections that have begun may take to be made, once no other can begin."""


class Stop(msgspec.Struct, frozen=True):
    """How long a server takes to stop, in seconds.

    Args:
        delay: How long it goes on as before, but for its readiness.
        grace: How long calls under way get after that.
        lingering: For how much of that a connection that is kept open may still send a request.
        closing: How long what the service has opened may take to close. Then the process ends by force.
    """

    delay: float = 0.0
    grace: float = 10.0
    lingering: float = 0.5
    closing: float = 2.0

    @property
    def seconds(self) -> float:
        """How long it takes at the longest."""
        return self.delay + self.grace + self.closing

    @classmethod
    def of(cls, settings: Settings) -> Stop:
        """Return what the settings say."""
        grace = settings.shutdown_timeout
        return cls(delay=settings.shutdown_delay, grace=grace, lingering=min(cls().lingering, grace / 4))


class NotOpenedError(Exception):
    """The service cannot run: opening it raised what is the ``__cause__``."""


class Server(uvicorn.Server):
    """uvicorn, with an end that leaves nobody without an answer, and that comes in any case.

    Args:
        config: As for `uvicorn.Server`.
        service: What the application serves; None for one that has no service.
        stop: How long it takes to stop.
        is_child: Whether this process is another one's: that one holds the socket, too, and tells what became of it.
        started: Called when the first request may come.
        all_stop: Set when all processes that share the socket stop; None when it is this one's own.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service | None,
        stop: Stop,
        *,
        is_child: bool = False,
        started: Callable[[], None] | None = None,
        all_stop: threading.Event | None = None,
    ) -> None:
        super().__init__(config)
        self._service = service
        self._stop = stop
        self._is_child = is_child
        self._on_started = started
        self._all_stop = all_stop
        self._opened = AsyncExitStack()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._interrupts = 0
        self._stops_since = time.monotonic()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal comes.

        Raises:
            SystemExit: The service cannot be opened, and the log says why; not in a child.
            NotOpenedError: In a child, the service cannot be opened.
        """
        try:
            super().run(sockets)
        except NotOpenedError as error:
            if self._is_child:
                raise
            tell_not_opened(error)
            raise SystemExit(EX_UNAVAILABLE) from None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; by force when that does not come to an end, with an event loop that is blocked too."""
        # another signal may come in the middle of this: what the first one is has to be settled at once
        first, self.should_exit = not self.should_exit, True
        stop, insisted = self._stop, self.force_exit
        self._interrupts += sig == signal.SIGINT
        if first:
            self._captured_signals.append(sig)
            self._stops_since = time.monotonic()
            _end_after(stop.seconds, sig)
        elif self._is_child and self._interrupts < 2 and time.monotonic() - self._stops_since < SAME_SECONDS:
            return  # the terminal's Ctrl-C, after what the parent has made of it
        else:
            super().handle_exit(sig, frame)
        if self.force_exit and not insisted:
            _end_after(stop.closing, sig)
        if self._loop is not None:
            with suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(self._woken.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the service, and listen."""
        self._loop = asyncio.get_running_loop()
        if self._service is not None:
            try:
                await self._opened.enter_async_context(self._service.running())
            except Exception as error:
                raise NotOpenedError from error
        await super().startup(sockets)
        if self._on_started is not None:
            self._on_started()

    async def main_loop(self) -> None:
        """Wait for the end, which is noticed at once; uvicorn's own looks ten times a second."""
        while not await self.on_tick(0):  # which renews the Date header
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Be ready no more, go on for the delay, stop accepting, let calls under way end, close the service."""
        loop, stop = asyncio.get_running_loop(), self._stop
        end = loop.time() + stop.delay + stop.grace
        if self._service is not None:
            self._service.stop_within(stop.delay + stop.grace)
        under_way = len(busy(self.server_state.connections))
        when = f" in {stop.delay:g} s" if stop.delay else ""
        _log.log(
            logging.INFO if under_way or when or not self._is_child else logging.DEBUG,
            "stopping%s: %s under way",
            when,
            count_of(under_way, "request"),
        )
        await self._close_after_answers()
        await self._wait(stop.delay)
        await self._stop_accepting(sockets or [])
        connections = self.server_state.connections
        await self._while(lambda: idle(connections), min(stop.lingering, end - loop.time()), 0.02)
        await self._while(lambda: unread(idle(connections)), min(0.5, end - loop.time()), 0)
        # from here to the closing of what is idle, uvicorn lets nothing else run
        self.config.timeout_graceful_shutdown = cast("int", max(0.0, end - loop.time()))
        await super().shutdown(sockets)
        if self.force_exit and self._service is not None:
            self._service.stop_within(0)
        try:
            await self._opened.aclose()
        except Exception:  # noqa: BLE001 - a resource of the user's; the process ends all the same
            _log.exception("the service failed to close")
        if self._is_child:
            self._captured_signals.clear()  # uvicorn raises them again

    async def _close_after_answers(self) -> None:
        """Have every answer from now on say ``Connection: close``, and do so after it."""
        self.config.encoded_headers = [*self.config.encoded_headers, (b"connection", b"close")]
        await self.on_tick(0)
        for connection in busy(self.server_state.connections):
            connection.shutdown()

    async def _wait(self, seconds: float) -> None:
        """Go on serving, unless somebody insists on the end."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0 and not self.force_exit:
            await asyncio.sleep(min(left, 0.5))
            await self.on_tick(0)

    async def _stop_accepting(self, sockets: list[socket.socket]) -> None:
        """Close the listening sockets; first take the connections that the kernel has accepted."""
        everybody = self._all_stop
        if everybody is not None:  # this process was asked to stop, perhaps a moment before all of them are
            await self._while(lambda: not everybody.is_set(), self._stop.lingering, 0.01)
        if not self._is_child or (everybody is not None and everybody.is_set()):
            refused = [refuse_beginnings(listening) for listening in sockets]
            if all(refused):
                await self._while(lambda: True, HANDSHAKE_SECONDS, 0.02)
            await self._while(lambda: waiting(sockets), 1.0, 0)
        for server in self.servers:
            server.close()

    async def _while(self, condition: Callable[[], Any], seconds: float, pause: float) -> None:
        """Wait while something is the case, for so long at most, and unless somebody insists on the end."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while condition() and loop.time() < until and not self.force_exit:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(pause)


def tell_not_opened(error: NotOpenedError) -> None:
    """Log why the service cannot run: an error of servey's own tells itself, for others there is the traceback."""
    cause = error.__cause__
    if isinstance(cause, ServeyError):
        _log.error("%s", cause)
    else:
        _log.error("the service cannot be opened", exc_info=cause)


def _end_after(seconds: float, number: int) -> None:
    last = threading.Timer(seconds, _end, (number,))
    last.daemon = True
    last.start()


def _end(number: int) -> None:
    """End the process, whatever hangs in it."""
    # a standard error that nobody reads holds who writes to it
    told = threading.Thread(
        target=_log.critical, args=("what runs or closes does not end; the process ends by force",), daemon=True
    )
    told.start()
    told.join(1)
    os._exit(128 + number)
