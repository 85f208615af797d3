"""What happens when a worker of Celery, or a process of its pool, starts and ends, whatever program runs it."""

from __future__ import annotations

import signal
import threading
from importlib import import_module
from typing import Any

from servey.background_call.broker_warnings import log_broker_warnings
from servey.servey_celery.extra import celery
from servey.servey_celery.settings import POOLS
from servey.servey_celery.stop import GIVE_BACK, Stop, ignore_signals, ignore_sigterm_alone

_signals: Any = import_module("celery.signals")
_current_process: Any = import_module("billiard").current_process


def _starting(sender: Any, **_: Any) -> None:
    """Check the pool of a worker, before there is one."""
    if not hasattr(sender.app, "servey"):
        return
    get_implementation = import_module("celery.concurrency").get_implementation
    pool = get_implementation(sender.pool_cls)
    if pool not in [get_implementation(name) for name in POOLS]:
        raise SystemExit(f"the pool of a worker of servey is one of {', '.join(POOLS)}, not {pool.__module__}")
    if pool is get_implementation("solo"):
        sender.concurrency = 1  # else it would get calls that it cannot run yet, and a stop would run all of them
    if threading.current_thread() is threading.main_thread():
        signal.signal(GIVE_BACK, signal.SIG_IGN)  # until a new process handles it
    log_broker_warnings(sender.app.servey.service.settings)


def _beat_starting(sender: Any, **_: Any) -> None:
    """Log the warnings of the settings."""
    engine = getattr(sender.app, "servey", None)
    if engine is not None:
        log_broker_warnings(engine.service.settings)


def _ready(sender: Any, **_: Any) -> None:
    """Handle the signals of a worker; if it runs in a thread, another program handles them."""
    engine = getattr(sender.app, "servey", None)
    if engine is not None and threading.current_thread() is threading.main_thread():
        Stop(sender.controller, engine.service.settings.calls.shutdown_timeout).install()


def _process_started(**_: Any) -> None:
    """Handle the signal that a worker sends to its processes, and ignore those that it gets itself.

    With the pool ``solo``, the process is the worker itself.
    """
    engine = getattr(celery.current_app, "servey", None)
    if engine is not None and _current_process().name != "MainProcess":
        ignore_signals()
        engine.process.before_open = ignore_sigterm_alone
        signal.signal(GIVE_BACK, engine.process.give_back)


def _ends(**_: Any) -> None:
    """Close the service when a worker, or one of its processes, ends."""
    engine = getattr(celery.current_app, "servey", None)
    if engine is not None:
        engine.process.close()


def connect() -> None:
    """Call the functions of this module at the signals of Celery."""
    _signals.worker_init.connect(_starting)
    _signals.beat_init.connect(_beat_starting)
    _signals.worker_ready.connect(_ready)
    _signals.worker_process_init.connect(_process_started)
    _signals.worker_process_shutdown.connect(_ends)
    _signals.worker_shutdown.connect(_ends)
