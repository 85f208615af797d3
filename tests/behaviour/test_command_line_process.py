"""A handful of the rules once more through a real process: what an operating system sees of a call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ACTIONS = """
import asyncio
import threading
from servey import ConflictError, CallContext
from servey.action.action import action

@action
def greet(name: str) -> str:
    print("printed by the action")
    return f"Hello {name}!"

@action
def fail(how: str) -> None:
    if how == "conflict":
        raise ConflictError("somebody was faster")
    raise RuntimeError("a bug")

@action(timeout=0.2)
def overrun() -> None:
    threading.Event().wait()

@action(timeout=0.2)
async def overrun_async() -> None:
    await asyncio.Event().wait()

@action
def origin(context: CallContext) -> list[str]:
    return [context.origin.value, context.transport]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("project")
    (directory / "actions.py").write_text(ACTIONS)
    return directory


def servey(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SERVEY_", "SERVER_"))}
    environment |= {"SERVEY_SHUTDOWN_TIMEOUT": "0.2"}
    return subprocess.run(
        [sys.executable, "-m", "servey", *words],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_result_alone_goes_to_standard_output(project: Path) -> None:
    for words in (
        ["call", "greet", "--name", "World"],
        ["call", "greet", "--event", '{"name": "World"}'],
        ["--run=action", "--action=greet", '--event={"name": "World"}'],
    ):
        done = servey(project, *words)
        assert (done.returncode, json.loads(done.stdout)) == (0, "Hello World!")
        assert "printed by the action" in done.stderr
    assert json.loads(servey(project, "call", "origin").stdout) == ["system", "cli"]


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (["greet", "--event", "{"], 65, "malformed"),
        (["greet", "--event", '{"name": 5}'], 65, "invalid"),
        (["greet"], 65, "invalid"),
        (["fail", "--how", "conflict"], 73, "conflict"),
        (["fail", "--how", "bug"], 70, "internal_error"),
        (["overrun"], 75, "timeout"),
        (["overrun-async"], 75, "timeout"),
    ],
    ids=["malformed", "invalid", "missing", "conflict", "bug", "overrun", "overrun-async"],
)
def test_an_error_is_an_exit_code_and_a_code(project: Path, words: list[str], exit_code: int, code: str) -> None:
    done = servey(project, "call", *words)
    assert (done.returncode, done.stdout) == (exit_code, "")
    assert f"Error: {code}" in done.stderr


def test_an_unknown_flag_is_a_usage_error(project: Path) -> None:
    done = servey(project, "call", "greet", "--nmae", "World")
    assert (done.returncode, done.stdout) == (64, "")
    assert "--name" in done.stderr
