"""What is going on around this code: the service that runs, and the request that is answered."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from servey.action.context import CURRENT_CALL, CallContext, Origin, new_request_id
from servey.errors import NoServiceError
from servey.security.authorization import Authorization

RUNNING: ContextVar[Any] = ContextVar("servey_running_service", default=None)
"""The service that was entered around this code, outside any call."""

_of_process: Any = None


class AnsweredRequest(Protocol):
    """A request of a network that is being answered, by an action or by anything else."""

    @property
    def request_id(self) -> str:
        """What its caller and the log know it by."""
        ...

    @property
    def client(self) -> str:
        """The address that it comes from; empty where that is not known."""
        ...

    async def caller(self) -> Authorization | None:
        """Return whom the request's token speaks for; None when it has none.

        Raises:
            CallError: The token is not good.
        """
        ...


ANSWERED: ContextVar[AnsweredRequest | None] = ContextVar("servey_answered_request", default=None)
"""The request that is answered here, outside any action; an adapter sets it around what else it serves."""


@contextmanager
def within(context: CallContext) -> Generator[None]:
    """Have the code inside belong to a call that does not run yet: what verifies its caller, for one."""
    token = CURRENT_CALL.set(context)
    try:
        yield
    finally:
        CURRENT_CALL.reset(token)


async def current_context(transport: str) -> CallContext:
    """Return the surroundings of a call that code makes: those of the call or the request that it belongs to.

    It has their origin, caller, client and request id; it is a call of its own, with a deadline of its own. Where
    nothing is answered, the operating system calls.

    Args:
        transport: Through what the call is made.

    Raises:
        CallError: The token of the request is not good.
    """
    call = CURRENT_CALL.get(None)
    if call is not None:
        return CallContext(call.origin, transport, call.request_id, call.authorization, client=call.client)
    request = ANSWERED.get()
    if request is not None:
        caller = await request.caller()
        return CallContext(Origin.NETWORK, transport, request.request_id, caller, client=request.client)
    return CallContext(Origin.SYSTEM, transport, new_request_id())


def current_service() -> Any:
    """Return the `servey.service.Service` whose action runs here; outside actions, the one that is open around this.

    Threads, tasks and plain functions that an action starts or calls are part of it. Code that is part of nothing gets
    the service of the process, when it is a server or a command line.

    Raises:
        NoServiceError: There is none.
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


def set_service_of_process(service: Any) -> None:
    """Say which service this process is for; what starts a server or a command line does."""
    global _of_process
    _of_process = service
