"""``servey new`` from the wheel: the project's own make targets and its container, with real installations."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from pages.container import Image
from pages.distribution import base_python, run
from pages.installation import Installation
from pages.server import Server, free_port


def other_python() -> str:
    """Return the oldest supported Python of this machine, or the newest where the oldest runs this."""
    minors = range(11, 16) if sys.version_info.minor != 11 else range(15, 11, -1)
    for minor in minors:
        pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/python"))
        for path in filter(None, (shutil.which(f"python3.{minor}"), *pyenv)):
            check = f"import sys; sys.exit(sys.version_info[:2] != (3, {minor}))"
            # each is tried, for pyenv's shims are there for versions that are not active too
            if subprocess.run([path, "-c", check], capture_output=True, timeout=60, check=False).returncode == 0:
                return str(path)
    return sys.executable


def new_project(installation: Installation, tmp_path: Path) -> Path:
    run(installation.python.with_name("servey"), "new", "planets", cwd=tmp_path, env=installation.environment())
    return tmp_path / "planets"


@pytest.mark.parametrize("python", [str(base_python()), other_python()], ids=["this Python", "another Python"])
def test_a_new_project_sets_itself_up_passes_its_tests_and_serves(python, base, variables, tmp_path):
    project = new_project(base, tmp_path)
    environment = Installation(installs=True, variables=variables).environment()
    made = run("make", "test", f"PYTHON={python}", cwd=project, env=environment)
    assert "pip install" in made
    assert "Ran 10 tests" in made
    assert made.endswith("OK\n")

    again = run("make", "test", cwd=project, env=environment)
    assert "pip install" not in again
    assert "Ran 10 tests" in again

    port = free_port()
    server = Server("make serve", project, {**environment, "SERVER_PORT": str(port)}, port)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/planets/mars", timeout=30) as response:
            assert json.load(response) == {"name": "mars", "gravity": 3.72, "rings": False}
    finally:
        server.stop()

    run("make", "clean", cwd=project, env=environment)
    assert not (project / ".venv").exists()


def test_without_a_python_that_is_new_enough_it_says_so(base, variables, tmp_path):
    project = new_project(base, tmp_path)
    (tools := tmp_path / "tools").mkdir()
    (tools / "python3").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (tools / "python3").chmod(0o755)
    environment = {**os.environ, **variables}
    told = run("make", "test", f"PYTHON={tools / 'python3'}", cwd=project, env=environment, code=2)
    assert "Python 3.11 or newer is needed" in told
    assert not (project / ".venv").exists()


def test_its_container_is_built_and_is_well(server, tmp_path):
    project = new_project(server, tmp_path)
    (project / ".env").write_text("SECRET=1", encoding="utf-8")
    (project / ".servey").mkdir()
    (project / ".servey" / "store.db").write_text("calls of development", encoding="utf-8")
    image = Image(project, tmp_path / "image", server)
    assert sorted(path.name for path in (tmp_path / "image" / "app").iterdir()) == [
        ".servey",
        "__pycache__",
        "actions.py",
        "requirements.txt",
    ]
    assert list((tmp_path / "image" / "app" / ".servey").iterdir()) == []
    port = free_port()
    container = image.run(port, {})
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30) as response:
            assert json.load(response) == {"status": "ready"}
        assert "production" in container.log()
    finally:
        code = container.stop()
    assert code == -signal.SIGTERM  # by the signal, as whoever sent it expects
    assert container.health() != 0
