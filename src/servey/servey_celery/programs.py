"""The programs of Celery, with the log of servey: a worker, and the one that puts the calls of schedules."""

from __future__ import annotations

import logging
import os
import socket
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from servey import log
from servey.servey_celery.app import create_celery
from servey.service import Service

_signals: Any = import_module("celery.signals")

_NOISY = (
    *("celery.worker.strategy", "celery.app.trace"),  # each call has a line of ours
    *("celery.worker.consumer.mingle", "celery.worker.consumer.gossip", "celery.worker.consumer.tasks"),
    *("kombu", "multiprocessing"),
)

_log = logging.getLogger("servey.worker")


def work(service: Service, pool: str, banner: Sequence[str]) -> None:
    """Run the calls of the broker until Ctrl-C or SIGTERM, and exit.

    Running calls get ``SERVEY_SHUTDOWN_TIMEOUT`` seconds; then they go back to the broker.

    Args:
        service: The service.
        pool: One of `servey.servey_celery.settings.POOLS`.
        banner: The first lines of the log.

    Raises:
        MissingExtraError: Celery is not installed.
    """
    app = _app(service)
    _write(banner)
    with warnings.catch_warnings():
        # Celery warns of the user root because of pickle, which these workers do not accept
        warnings.simplefilter("ignore", import_module("celery.exceptions").SecurityWarning)
        worker = app.Worker(
            hostname=f"worker-{os.getpid()}@{socket.gethostname()}",
            pool_cls=pool,
            loglevel=logging.getLogger().level,
            quiet=True,
            without_mingle=True,
            without_gossip=True,
        )
    worker.start()
    sys.exit(worker.exitcode)


def beat(service: Service, banner: Sequence[str]) -> None:
    """Put the calls of schedules into the broker until Ctrl-C or SIGTERM.

    Args:
        service: The service.
        banner: The first lines of the log.

    Raises:
        MissingExtraError: Celery is not installed.
    """
    app = _app(service)
    _write(banner)
    app.Beat(quiet=True, loglevel=logging.getLogger().level).run()


def _write(banner: Sequence[str]) -> None:
    for line in banner:
        _log.info("%s", line)


def _app(service: Service) -> Any:
    app = create_celery(service)
    _signals.setup_logging.connect(_quiet)
    return app


def log_as_servey(level: str) -> None:
    """Let the programs of Celery write the log of servey.

    Args:
        level: The lowest level of its messages, if ``--loglevel`` is not lower.
    """

    def configure(loglevel: int, logfile: str | None, **_: Any) -> None:
        lowest = min(loglevel, logging.getLevelNamesMapping()[level])
        stream = open(logfile, "a", encoding="utf-8") if logfile else None  # noqa: SIM115 - for the whole process
        log.configure(logging.getLevelName(lowest), stream)
        _quiet()

    _signals.setup_logging.connect(configure, weak=False)


def _quiet(**_: Any) -> None:
    """Leave messages out that are no help. Celery does not configure the log when its signal has a receiver."""
    import_module("billiard.util").get_logger().propagate = True  # lost processes are in the same log
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
