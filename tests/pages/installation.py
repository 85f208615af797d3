"""Where servey is installed that a page is read with, and what ``pip install`` comes to there."""

import os
import shlex
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
PIP_OPTIONS = {"--no-cache-dir", "--upgrade"}
PIP_OPTIONS_WITH_A_VALUE = {"--find-links"}


@dataclass(frozen=True)
class Installation:
    """An environment of Python.

    Args:
        python: Its interpreter.
        installs: Whether ``pip install`` installs; without, it must name what exists.
        variables: Further variables of the environment.
    """

    python: Path = field(default=Path(sys.executable))
    installs: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)

    def environment(self, *tools: Path) -> dict[str, str]:
        """Return the environment of a user who has activated this one, and `tools` in front of it."""
        here = Path(sys.executable).parent
        others = [path for path in os.environ["PATH"].split(os.pathsep) if Path(path) != here]
        if not self.installs:
            others.insert(0, str(here))
        kept = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "TMPDIR")}
        kept |= {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
        if self.installs:
            kept |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        return {
            **kept,
            "PATH": os.pathsep.join([*map(str, tools), str(self.python.parent), *others]),
            "PYTHONNOUSERSITE": "1",
            **self.variables,
        }


def check_install(command: str, directory: Path) -> None:
    """Check a ``pip install`` without installing: what it names is here, in a version that it allows."""
    words = iter(shlex.split(command)[2:])
    for word in words:
        if word in PIP_OPTIONS_WITH_A_VALUE:
            next(words)
        elif word == "-r":
            for line in (directory / next(words)).read_text(encoding="utf-8").splitlines():
                if line and not line.startswith("#"):
                    check_requirement(line)
        else:
            assert word in PIP_OPTIONS or not word.startswith("-"), f"what is {word}?"
            if word not in PIP_OPTIONS:
                check_requirement(word)


def check_requirement(text: str) -> None:
    requirement = Requirement(text)
    assert requirement.specifier.contains(version(requirement.name), prereleases=True), text
    if requirement.name == "servey":
        assert requirement.extras <= EXTRAS, text
