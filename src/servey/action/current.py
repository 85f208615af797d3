"""The current service and the current request, as context variables."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from servey.action.context import CURRENT_CALL, CallContext, Origin, new_request_id
from servey.errors import NoServiceError
from servey.security.authorization import Authorization

RUNNING: ContextVar[Any] = ContextVar("servey_running_service", default=None)
"""The service that is open around this code, outside of calls."""

_of_process: Any = None


class CurrentRequest(Protocol):
    """A network request that the server handles, in an action or in another route."""

    @property
    def request_id(self) -> str:
        """The request id, as in the answer and in the log."""
        ...

    @property
    def traceparent(self) -> str:
        """The trace of the request (W3C Trace Context §3.2); empty if unknown."""
        ...

    @property
    def client(self) -> str:
        """The address of the client; empty if unknown."""
        ...

    async def caller(self) -> Authorization | None:
        """Return the caller, from the verified token of the request; None if it has no token.

        Raises:
            CallError: The token is not valid.
        """
        ...


CURRENT_REQUEST: ContextVar[CurrentRequest | None] = ContextVar("servey_current_request", default=None)
"""The current request; an adapter sets it around its routes that are not actions."""


@contextmanager
def as_current_call(context: CallContext) -> Generator[None]:
    """Make `context` the current call for the code inside, for example for an authorizer before the call runs."""
    token = CURRENT_CALL.set(context)
    try:
        yield
    finally:
        CURRENT_CALL.reset(token)


async def current_context(transport: str) -> CallContext:
    """Return the context of a call that Python code makes.

    The context has the origin, caller, client and request id of the current call, or else of the current request. It
    has its own deadline. Outside of requests, the origin is the system.

    Args:
        transport: The name of the transport, as ``"direct"``.

    Raises:
        CallError: The token of the request is not valid.
    """
    call = CURRENT_CALL.get(None)
    if call is not None:
        return call.further(transport)
    request = CURRENT_REQUEST.get()
    if request is not None:
        caller = await request.caller()
        return CallContext(
            Origin.NETWORK,
            transport,
            request.request_id,
            caller,
            client=request.client,
            traceparent=request.traceparent,
        )
    return CallContext(Origin.SYSTEM, transport, new_request_id())


def current_service() -> Any:
    """Return the `servey.service.Service` whose action runs here; outside of actions, the one that is open around this.

    Threads, tasks and plain functions that an action starts belong to the action. Other code gets the service of the
    process, if the process is a server or a command line.

    Raises:
        NoServiceError: There is no current service.
    """
    call = CURRENT_CALL.get(None)
    service = None if call is None else call.service
    if service is None:
        service = RUNNING.get()
    if service is None:
        service = _of_process
    if service is None:
        raise NoServiceError
    return service


def set_service_of_process(service: Any) -> Any:
    """Set the service of this process, and return the one before; servers and the command line call this."""
    global _of_process
    before, _of_process = _of_process, service
    return before
