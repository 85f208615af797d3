"""The background calls in plain Celery: JSON, and its defaults. The broker is in `CELERY_BROKER_URL`."""

import time

from celery import Celery

app = Celery(__name__)


@app.task
def nothing() -> None:
    pass


@app.task
def mark(path: str) -> None:
    """Add the time, as one line."""
    with open(path, "a") as file:
        file.write(f"{time.monotonic()}\n")
