"""The Celery app of a service."""

from __future__ import annotations

from typing import Any

from servey.action.context import new_request_id
from servey.action.operation import Operation
from servey.background_call.message import MessageSigner
from servey.background_call.runner import seconds_of
from servey.errors import SettingsError
from servey.servey_celery import worker_life
from servey.servey_celery.celery_call_queue import CeleryCallQueue
from servey.servey_celery.configuration import HARD_SECONDS, configuration
from servey.servey_celery.extra import celery
from servey.servey_celery.received import HEADER, Received
from servey.servey_celery.settings import CelerySettings
from servey.servey_celery.worker_process import CallFailedError, NotOpenError, WorkerProcess
from servey.service import Service


class _Task(celery.Task):
    """A task of Celery whose ``__call__`` has no names of its own: a parameter of an action may be called `self`."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)


class CeleryEngine:
    """A service on Celery: its app, its queue, and the calls in this process.

    Args:
        service: The service; ``CELERY_BROKER`` is set.
    """

    def __init__(self, service: Service) -> None:
        settings = service.settings
        if not settings.background.broker:
            raise SettingsError(
                "CELERY_BROKER is not set: write amqp://user:password@host:5672/vhost or redis://host:6379/0"
            )
        self.service = service
        self.app: Any = celery.Celery("servey", set_as_current=False, fixups=[])
        result_backend = settings.part(CelerySettings).result_backend
        self.app.conf.update(
            configuration(
                settings.background.broker,
                result_backend=result_backend,
                longest=max((seconds_of(item) for item in service.operations.values()), default=0.0),
                max_delay=settings.background.max_delay,
                calls=settings.background.background_calls,
            )
        )
        self.app.servey = self
        self.queue = CeleryCallQueue(
            self.app, MessageSigner(settings.message_secret), settings.background.queue_timeout
        )
        self.process = WorkerProcess(service, self.queue, keeps_results=bool(result_backend))
        for operation in service.operations.values():
            self._add_task(operation)
        worker_life.connect()

    def _add_task(self, operation: Operation) -> None:
        process = self.process

        # `_task` is positional only: a parameter of an action may be called `self`
        def run(_task: Any, /, *args: Any, **kwargs: Any) -> Any:
            request = _task.request
            id = request.id or new_request_id()
            return process.run(operation, Received(operation.name, id, request.get(HEADER), args, kwargs))

        self.app.task(
            run,
            name=operation.name,
            base=_Task,
            bind=True,
            typing=False,
            shared=False,
            Request="servey.servey_celery.request:KeepingRequest",
            throws=(CallFailedError, NotOpenError),  # logged already
            time_limit=seconds_of(operation) + HARD_SECONDS,
        )


def create_celery(service: Service) -> Any:
    """Return the Celery app of a service: a task for each action, with the action's name.

    ``celery -A servey.servey_celery.celery_app worker`` takes it. A task has the parameters of the action as keyword
    arguments. Other programs send it with ``app.send_task("say_hello", kwargs={"name": "World"})``: it runs as a call
    of the system, without a caller.

    You may add tasks and change the configuration, but not what is in `servey.servey_celery.configuration`: each value
    there keeps a call from being lost.

    Args:
        service: The service.

    Raises:
        SettingsError: ``CELERY_BROKER`` is not set.
        MissingExtraError: Celery is not installed.
    """
    return engine_of(service).app


def engine_of(service: Service) -> CeleryEngine:
    """Return the engine of a service; there is one."""
    queue: Any = service.stores.calls if service.settings.background.broker else None
    if isinstance(queue, CeleryCallQueue):
        return queue.app.servey
    return CeleryEngine(service)
