"""A stand-in for docker: does what a Dockerfile says in a directory, on this machine's Python.

It is no container: nothing is isolated, FROM and USER are only checked, and absolute paths are those of a directory.
What it shows is that the files are there, that the commands work, that the server answers, that the health check
tells a server that is up from one that is down, and that the server ends by the signal that it is given.
"""

import fnmatch
import json
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

from pages.installation import Installation, check_install
from pages.server import Server, answers

BASE = re.compile(r"python:3\.1[1-4]-slim")
KNOWN = {"FROM", "WORKDIR", "ENV", "COPY", "RUN", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "CMD"}


class Image:
    """What ``docker build`` makes of the Dockerfile in a directory.

    Args:
        context: The directory.
        root: An empty one, for what is in the image.
        installation: What the base image has.
    """

    def __init__(self, context: Path, root: Path, installation: Installation) -> None:
        self._context, self._root, self._installation = context, root, installation
        self._environment = installation.environment()
        self._workdir = root
        self._ignored = (context / ".dockerignore").read_text(encoding="utf-8").split()
        self._health: list[str] = []
        self._command: list[str] = []
        self._signal = signal.SIGTERM
        self._users: list[str] = []
        self._owners: list[str] = []
        instructions = instructions_of((context / "Dockerfile").read_text(encoding="utf-8"))
        assert instructions[0][0] == "FROM"
        for name, text in instructions:
            assert name in KNOWN, f"nobody checks {name}"
            getattr(self, f"_do_{name.lower()}")(text)
        assert self._users[-1:] not in ([], ["0"], ["root"]), "the server needs no root"
        assert set(self._owners) <= set(self._users), "the server cannot write there"
        assert self._command, "nothing is started"
        assert self._health, "nobody looks whether it is well"

    def check_volume(self, path: str) -> None:
        """Check that a new volume would get a directory of the image that nobody else can read."""
        place = self._root / path.lstrip("/")
        assert place.is_dir(), f"the image has no {path}"
        assert place.stat().st_mode & 0o777 == 0o700

    def run(self, port: int, variables: dict[str, str]) -> "Container":
        """Start the container."""
        environment = {**self._environment, "SERVER_PORT": str(port), **variables}
        health = [str(self._installation.python) if word == "python" else word for word in self._health]
        return Container(self._command, health, self._signal, self._workdir, environment, port)

    def _do_from(self, text: str) -> None:
        assert BASE.fullmatch(text), f"not a supported Python: {text}"

    def _do_workdir(self, text: str) -> None:
        self._workdir = self._root / text.lstrip("/")
        self._workdir.mkdir(parents=True, exist_ok=True)

    def _do_env(self, text: str) -> None:
        self._environment.update(word.split("=", 1) for word in shlex.split(text))

    def _do_copy(self, text: str) -> None:
        *sources, target = shlex.split(text)
        assert target == ".", "into the working directory"
        for source in sources:
            path = self._context / source
            if path.is_file():
                assert not self._is_ignored(source), f"{source} is in .dockerignore"
                shutil.copy(path, self._workdir)
            else:
                shutil.copytree(path, self._workdir, dirs_exist_ok=True, ignore=self._ignore)

    def _do_run(self, text: str) -> None:
        text = re.sub(r" -o (\d+) -g (\d+)\b", self._owned, text)
        if text.startswith("pip install ") and not self._installation.installs:
            check_install(text, self._workdir)
            return
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=self._workdir,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, f"RUN {text}\n{done.stdout}"

    def _owned(self, match: re.Match[str]) -> str:
        """Remember the owner of a directory, which only root could set here."""
        self._owners.append(match[1])
        return ""

    def _do_user(self, text: str) -> None:
        assert re.fullmatch(r"\d+:\d+", text), "a number, for Kubernetes cannot tell that a name is not root"
        self._users.append(text.split(":")[0])

    def _do_expose(self, text: str) -> None:
        assert text == self._environment["SERVER_PORT"]

    def _do_stopsignal(self, text: str) -> None:
        self._signal = signal.Signals[text]

    def _do_healthcheck(self, text: str) -> None:
        options, _, command = text.partition(" CMD ")
        assert re.fullmatch(r"(--(interval|timeout|start-period|retries)=\d+s? ?)*", options), options
        self._health = json.loads(command)

    def _do_cmd(self, text: str) -> None:
        self._command = json.loads(text)  # the form without a shell, which would keep the signal to itself

    def _ignore(self, directory: str, names: list[str]) -> list[str]:
        inside = Path(directory).relative_to(self._context)
        return [name for name in names if self._is_ignored((inside / name).as_posix())]

    def _is_ignored(self, path: str) -> bool:
        return any(
            fnmatch.fnmatch(path, pattern) or (pattern[:3] == "**/" and fnmatch.fnmatch(Path(path).name, pattern[3:]))
            for pattern in self._ignored
        )


class Container:
    """A server that runs as its image says."""

    def __init__(
        self,
        command: list[str],
        health: list[str],
        number: signal.Signals,
        directory: Path,
        environment: dict[str, str],
        port: int,
    ) -> None:
        self._health, self._signal, self._directory, self._environment = health, number, directory, environment
        assert self.health() != 0, "the health check does not see that nothing is there"
        self._server = Server(shlex.join(command), directory, environment, port)
        self._port = port
        if self.health() != 0:
            self.stop()
            raise AssertionError(f"the health check does not see that the server is well:\n{self.log()}")

    def health(self) -> int:
        """Run the health check, and return its exit code."""
        done = subprocess.run(
            self._health, cwd=self._directory, env=self._environment, capture_output=True, timeout=30, check=False
        )
        return done.returncode

    def log(self) -> str:
        return self._server.log()

    def stop(self) -> int:
        code = self._server.stop(self._signal)
        assert not answers(self._port), "something still listens"
        return code


def instructions_of(dockerfile: str) -> list[tuple[str, str]]:
    """Return the instructions; a backslash goes on in the next line."""
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in text.splitlines())]
