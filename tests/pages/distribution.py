"""What is built of servey, and environments to install it in."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pages.installation import Installation

MINUTE = 60.0
SEARCH = [Path(sys.executable).parent / "uv", Path.home() / ".local" / "bin" / "uv"]


class Dist(NamedTuple):
    """What was built.

    Args:
        sdist: The source distribution.
        wheel: The wheel that was built from it.
        tree_wheel: The wheel that was built from the working tree.
    """

    sdist: Path
    wheel: Path
    tree_wheel: Path


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None, minutes: float = 4, code: int = 0) -> str:
    """Run a program and return what it writes, and demand its exit code."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=minutes * MINUTE,
        check=False,
    )
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout


def uv() -> str:
    """Return the path of uv, which `make` installs into .venv."""
    found = next((str(path) for path in SEARCH if path.exists()), None) or shutil.which("uv")
    assert found is not None, "there is no uv; `make test` installs it"
    return found


def base_python() -> Path:
    """Return the interpreter that runs this, outside of its environment."""
    return Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"


def empty_environment(directory: Path, variables: Mapping[str, str]) -> Installation:
    """Make a new environment of this Python, with nothing in it but pip.

    uv makes what `python -m venv` makes in a twentieth of the time. pip compiles nothing: each module is compiled when
    it is imported first, and many never are.
    """
    run(uv(), "venv", "--quiet", "--seed", "--python", base_python(), directory, cwd=directory.parent)
    return Installation(directory / "bin" / "python", installs=True, variables=variables)
