"""The Celery app of a service: its tasks, and what of its configuration depends on the service."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

import pytest

from servey.action.action import action
from servey.errors import SettingsError
from servey.servey_celery.app import create_celery
from servey.servey_celery.received import Received
from servey.service import Service
from servey.settings import Settings


@action
def plain(self: int, task: str = "") -> None: ...


@action(timeout=4000.0)
def long() -> None: ...


@action(timeout=math.inf)
def endless() -> None: ...


def app_of(*actions: Any, **settings: Any) -> Any:
    return create_celery(Service(list(actions), settings=Settings(broker="redis://127.0.0.1:1", **settings)))


def test_tasks_are_called_after_their_actions():
    names = {name for name in app_of(plain, long).tasks if not name.startswith("celery.")}
    assert names == {"plain", "long"}


def test_a_task_takes_the_parameters_of_its_action_whatever_their_names(monkeypatch: pytest.MonkeyPatch):
    import_module("celery.app.trace")._install_stack_protection()  # a worker does this at its start
    app = app_of(plain)
    found: list[Received] = []
    monkeypatch.setattr(app.servey.process, "run", lambda _, received: found.append(received))
    app.tasks["plain"].apply(kwargs={"self": 1, "task": "x"}, task_id="theirs", throw=True)
    [received] = found
    assert (received.action, received.id, received.kwargs) == ("plain", "theirs", {"self": 1, "task": "x"})


def test_a_process_is_killed_half_a_minute_after_the_deadline_of_its_call():
    tasks = app_of(plain, long, endless, background_timeout=100.0).tasks
    assert [tasks[name].time_limit for name in ("plain", "long", "endless")] == [130, 4030, 86400 + 30]


def test_redis_waits_for_the_longest_call_of_the_service():
    options = app_of(plain, long, background_timeout=100.0, max_delay=50.0).conf.broker_transport_options
    assert options["visibility_timeout"] == 4000 + 50 + 60


def test_a_worker_runs_as_many_calls_as_the_settings_say():
    assert app_of(plain, background_calls=3).conf.worker_concurrency == 3


def test_a_service_has_one_app():
    service = Service([plain], settings=Settings(broker="redis://127.0.0.1:1"))
    assert create_celery(service) is create_celery(service) is service.stores.calls.app  # type: ignore[attr-defined]


def test_a_service_without_a_broker_has_no_app():
    with pytest.raises(SettingsError, match="CELERY_BROKER is not set"):
        create_celery(Service([plain], settings=Settings()))
