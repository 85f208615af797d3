"""The programs of Celery, with the log of servey: a worker, and the one that puts the calls of schedules."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from servey.service import Service

_log = logging.getLogger("servey.worker")


def work(service: Service, pool: str, banner: Sequence[str]) -> None:
    """Run the calls of the broker until Ctrl-C or SIGTERM, and exit with the code of Celery.

    Running calls get ``SERVEY_SHUTDOWN_TIMEOUT`` seconds; then they go back to the broker.

    Args:
        service: The service.
        pool: One of `servey.servey_celery.worker_life.POOLS`.
        banner: The first lines of the log.

    Raises:
        MissingExtraError: Celery is not installed.
    """
    app = _app(service)
    worker = app.Worker(
        hostname=f"worker-{os.getpid()}@{socket.gethostname()}",
        pool_cls=import_module("celery.concurrency").get_implementation(pool),
        loglevel=logging.getLogger().level,
        quiet=True,
        without_mingle=True,
        without_gossip=True,
    )
    for line in banner:
        _log.info("%s", line)
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
    for line in banner:
        _log.info("%s", line)
    app.Beat(quiet=True, loglevel=logging.getLogger().level).run()


def _app(service: Service) -> Any:
    from servey.servey_celery.app import create_celery

    app = create_celery(service)
    import_module("celery.signals").setup_logging.connect(_keep_logging)
    for name in ("celery.worker.strategy", "celery.app.trace"):  # each call has a line of ours
        logging.getLogger(name).setLevel(logging.WARNING)
    return app


def _keep_logging(**_: Any) -> None:
    """Keep Celery from configuring the log: it does not when the signal has a receiver."""
