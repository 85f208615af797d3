"""The program run in this process."""

import logging
import os
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from servey.cli.main import run
from servey.cli.project import Project
from servey.service import Service


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch):
    """The program changes sys.path and the root logger, as programs do."""
    for name in [name for name in os.environ if name.startswith("SERVEY_") or name in ("NO_COLOR", "LOG_LEVEL")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "path", [*sys.path])
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def servey(capsys) -> Callable[..., Outcome]:
    """Run the program in this process on a service of the given actions."""

    def servey(*args: str, actions=(), **arguments) -> Outcome:
        project = Project(service=Service(actions, **arguments))
        code = run(args, project=project)
        return Outcome(code, *capsys.readouterr())

    return servey
