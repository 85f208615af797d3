"""Open the resources of a running service, and start the sources of calls of a serving one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from servey.action.callables import name_of, source_of
from servey.action.injection import Injection
from servey.action.operation import Operation
from servey.action.runtime import Runtime
from servey.errors import ResourceError, SettingsError, raised_in
from servey.plugin import TriggerSupport

if TYPE_CHECKING:
    from servey.service import Service

_log = logging.getLogger("servey.service")

Lifespan = Callable[["Service"], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def open_service(
    service: Service, runtime: Runtime, injection: Injection, lifespans: Sequence[Lifespan]
) -> AsyncGenerator[None]:
    """Open the keys, the resources of scope ``"service"`` and the lifespans of plugins; close them in reverse order."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(service.stores.close)
        await stack.enter_async_context(service.authentication.running())
        for node in injection.service_resources:
            try:
                manager = injection.open(node, None, runtime.values)
                runtime.values[node.type] = await stack.enter_async_context(runtime.kept(manager, node.label))
            except Exception as error:
                failed = raised_in(error, source_of(node.resource.fn).__code__.co_filename)
                raise ResourceError(name_of(node.resource.fn), [node.resource.where, failed], error) from error
        runtime.usable = True
        for lifespan in lifespans:
            await stack.enter_async_context(lifespan(service))
        yield


@asynccontextmanager
async def start_sources(service: Service, supports: Sequence[TriggerSupport]) -> AsyncGenerator[None]:
    """Start to make background calls, and the triggers that begin calls by themselves."""
    async with AsyncExitStack() as stack:
        if service.idempotent:
            _ = service.stores.entries  # a missing store is an error of the start
        if service.settings.background.background and _has_queue(service):
            await stack.enter_async_context(_making_background_calls(service))
        for support in supports:
            if support.start is not None:
                await stack.enter_async_context(support.start(service, triggered(service, support.type)))
        yield


def _has_queue(service: Service) -> bool:
    """Return whether the service has a queue of background calls; raise the error of a missing one if it needs it."""
    try:
        _ = service.stores.calls
    except SettingsError:
        if needs_queue(service):
            raise
        return False
    return True


def needs_queue(service: Service) -> bool:
    """Return whether a service cannot run without a queue: it has schedules, or actions that retry."""
    return bool(service.schedules) or any(operation.action.retry for operation in service.operations.values())


@asynccontextmanager
async def _making_background_calls(service: Service) -> AsyncGenerator[None]:
    """Make the calls of the queue until the service begins to stop; at the end, wait for those that run."""
    from servey.background_call.runner import Runner  # commands and Lambda functions do not need it

    loop = asyncio.get_running_loop()
    started, ending = loop.create_future(), loop.create_task(service.until_stopping())

    async def make_calls() -> None:
        async with service.stores.calls.consuming(Runner(service).run):
            started.set_result(None)
            await asyncio.wait((ending,))

    making = loop.create_task(make_calls())
    try:
        await asyncio.wait((making, started), return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            making.result()  # raises its error
        yield
    finally:
        ending.cancel()
        try:
            await asyncio.shield(making)
        except asyncio.CancelledError:  # the stop takes too long
            making.cancel()
            await asyncio.wait((making,))
            raise


def triggered(service: Service, kind: type) -> Sequence[tuple[Operation, Any]]:
    """Return the triggers of a type, each with its operation."""
    return [
        (operation, trigger)
        for operation in service.operations.values()
        for trigger in operation.action.triggers
        if isinstance(trigger, kind)
    ]


def warn_of_resources(operations: Iterable[Operation]) -> None:
    """Log a warning for each resource that a request may open once per object."""
    for operation in operations:
        for node in operation.execution.opened_per_object:
            _log.warning(
                "%s (%s) opens %s once for every object in a request: write "
                '@resource(scope="request") at %s (several threads then use a sync one, one after another), '
                "or give the action a batch_invoker",
                operation.name,
                operation.action.where,
                node.label,
                node.resource.where,
                extra={"action": operation.name},
            )
