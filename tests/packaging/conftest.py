"""What is built once, and where it is installed. Two processes of pytest-xdist share it.

``DIST`` names a directory whose wheel and sdist are tested instead of new ones: those that `make dist` has built.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import servey
from pages.distribution import Dist, empty_environment, run, uv
from pages.installation import ROOT, Installation


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Callable:
    """Return ``make(name, function)``: a directory that one process of the session fills, by a call of the function."""
    base = tmp_path_factory.getbasetemp()
    base = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    base.mkdir(exist_ok=True)

    @contextmanager
    def locked(name: str) -> Iterator[None]:
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def make(name: str, function: Callable[[Path], object]) -> Path:
        directory, done = base / name, base / f"{name}.done"
        with locked(name):
            if not done.exists():
                shutil.rmtree(directory, ignore_errors=True)  # of another test that failed there
                directory.mkdir()
                function(directory)
                done.touch()
        return directory

    return make


@pytest.fixture(scope="session")
def dist(shared) -> Dist:
    """Build the sdist, the wheel from it, and the wheel from the tree."""

    def build(directory: Path) -> None:
        if given := os.environ.get("DIST"):
            shutil.copytree(given, directory / "dist")
        else:
            run(uv(), "build", "--out-dir", directory / "dist", cwd=ROOT)
        run(uv(), "build", "--wheel", "--out-dir", directory / "tree", cwd=ROOT)

    built = shared("dist", build)
    (sdist,), (wheel,) = (built / "dist").glob("*.tar.gz"), (built / "dist").glob("*.whl")
    (tree_wheel,) = (built / "tree").glob("*.whl")
    return Dist(sdist, wheel, tree_wheel)


@pytest.fixture(scope="session")
def variables(dist, shared) -> dict[str, str]:
    """What has pip find this release, as if it were on PyPI; and what breaks a build that asks for node or npm."""

    def write(directory: Path) -> None:
        text = f"servey=={servey.__version__}\nnodejs-wheel-binaries<0\n"
        (directory / "constraints.txt").write_text(text, encoding="utf-8")

    links = [str(dist.wheel.parent), *os.environ.get("PIP_FIND_LINKS", "").split()]
    return {
        "PIP_CONSTRAINT": str(shared("pip", write) / "constraints.txt"),
        "PIP_FIND_LINKS": " ".join(links),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_COMPILE": "false",  # means that it does not compile
        "npm_config_registry": "http://127.0.0.1:9/",  # nobody answers there
    }


@pytest.fixture(scope="session")
def base(shared, dist, variables) -> Installation:
    """An environment that has servey alone, installed from the sdist."""

    def install(directory: Path) -> None:
        made = empty_environment(directory / "venv", variables)
        run(made.python, "-m", "pip", "install", dist.sdist, cwd=directory, env=made.environment())

    python = shared("base", install) / "venv" / "bin" / "python"
    return Installation(python, installs=True, variables=variables)


@pytest.fixture(scope="session")
def server(shared, dist, variables) -> Installation:
    """An environment that has servey with its server, installed from the wheel."""

    def install(directory: Path) -> None:
        made = empty_environment(directory / "venv", variables)
        run(made.python, "-m", "pip", "install", "servey[server]", cwd=directory, env=made.environment())

    python = shared("server", install) / "venv" / "bin" / "python"
    return Installation(python, installs=True, variables=variables)
