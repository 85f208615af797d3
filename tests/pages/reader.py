"""Does what a page says."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from pages.blocks import Block, commands_of, matches
from pages.container import Container, Image
from pages.files import CHECKS, unit_of
from pages.installation import ROOT, Installation, check_install
from pages.server import Server, free_port

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
STAND_IN = Path(__file__).with_name("curl.py")

GO_ON = """
import contextlib, io, json, sys
*_before, _last = json.load(sys.stdin)
with contextlib.redirect_stdout(io.StringIO()):
    for _block in _before:
        exec(compile(_block, "<earlier on the page>", "exec"), globals())
exec(compile(_last, "<the block>", "exec"), globals())
"""
SERVER = re.compile(r"(?:\w+=\S+ )*(?:python -m servey|servey serve(?: --workers \d+| --app \S+)?|uvicorn .*)")
WORKER = re.compile(r"(?:\w+=\S+ )*servey worker(?: --calls \d+)?")
LISTING = re.compile(r"(?:\w+=\S+ )*servey (?:calls|schedule)(?: -.*)?")
"""Commands that show what servers and workers have done so far: the reader repeats them until they show it."""
RUN_EXAMPLES = (
    "from servey.service import Service; from servey.servey_test.example_run import example_runs\n"
    "for run in example_runs(Service.from_settings()): run.run()"
)


class Reader:
    """Does what a page says.

    Args:
        directory: Where.
        curl: Which curl; None for the stand-in.
        installation: Where servey is installed; default: in the environment of the tests.
    """

    def __init__(self, directory: Path, curl: str | None, installation: Installation | None = None) -> None:
        self.directory = directory
        self.installation = installation or Installation()
        self.port = free_port()
        tools = directory.parent / "bin"
        tools.mkdir()
        if curl is None:
            script = tools / "curl"
            script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(STAND_IN))} "$@"\n')
            script.chmod(0o755)
        (tools / ".curlrc").write_text("silent\nshow-error\n")  # as on a terminal, where no progress is shown
        self.environment = {
            **self.installation.environment(tools),
            "CURL_HOME": str(tools),
            "SERVER_PORT": str(self.port),
        }
        self.image: Image | None = None
        self.server: Server | Container | None = None
        self.worker: Server | None = None
        self.programs: list[str] = []
        self.is_installed = not self.installation.installs

    def read(self, blocks: list[Block]) -> None:
        shown: str | None = None
        for index, block in enumerate(blocks):
            follower = blocks[index + 1] if index + 1 < len(blocks) else None
            if block.file:
                logged = len(self.server.log()) if isinstance(self.server, Server) else 0
                self.write(block)
                if isinstance(self.server, Server) and follower is not None and follower.language == "text":
                    shown = follower.text
                    self.server.wait_for(shown.splitlines(), logged)
            elif block.language == "python":
                is_shown = follower is not None and follower.language in ("text", "json") and not follower.file
                shown = follower.text if is_shown else ""
                self.programs.append(block.text)
                self.compare(block, shown, self.python(GO_ON, given=json.dumps(self.programs)))
            elif block.language == "console":
                for command, output in commands_of(block):
                    self.command(block, command, output)
            else:
                known = block.language in ("text", "json") and shown is block.text
                assert known, f"line {block.line}: a block that is not run ({block.language or 'no language'})"
            if block.language == "json":
                json.loads(block.text.replace("…", "0"))

    def write(self, block: Block) -> None:
        path = self.directory / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.stat().st_mtime if path.exists() else 0.0
        path.write_text(block.text, encoding="utf-8")
        if before:  # of a file that is replaced within a second, Python might take what it has compiled before
            os.utime(path, (before + 2, before + 2))
        if block.language in CHECKS:
            CHECKS[block.language](path)
            if path.suffix == ".service" and "servey serve\n" in block.text:  # the others need a broker
                self.start_unit(path)
            return
        assert block.language == "python", f"line {block.line}: nobody checks a file in {block.language}"
        if path.name != "actions.py":
            self.python(f"import {block.file.removesuffix('.py').replace('/', '.')}")
            return
        if self.is_installed:
            self.run_examples()

    def run_examples(self) -> None:
        with TemporaryDirectory() as aside:  # what examples leave behind is not the reader's
            shutil.copytree(self.directory, aside, dirs_exist_ok=True)
            self.python(RUN_EXAMPLES, Path(aside))

    def python(self, code: str, directory: Path | None = None, given: str = "") -> str:
        command = [str(self.installation.python), "-W", "error", "-c", code]
        done = subprocess.run(
            command,
            cwd=directory or self.directory,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{given or code}\n{done.stdout}{done.stderr}"
        return done.stdout

    def exported(self, command: str) -> dict[str, str]:
        """Return what an ``export`` of the shell sets."""
        done = subprocess.run(
            ["bash", "-c", f"{command} && env -0"],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        after = dict(item.split("=", 1) for item in done.stdout.split("\0") if item)
        return {name: value for name, value in after.items() if re.search(rf"\b{name}=", command)}

    def command(self, block: Block, command: str, shown: str) -> None:
        if command.startswith("pip install ") and not self.installation.installs:
            check_install(command, self.directory)
            return
        if command.startswith("make "):
            for target in (word for word in shlex.split(command, comments=True)[1:] if "=" not in word):
                assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.M), f"line {block.line}: no target {target}"
            return
        if command.startswith("docker "):
            self.docker(block, shlex.split(command))
            return
        if command.startswith("export "):  # each command has a shell of its own
            self.environment.update(self.exported(command))
            return
        command = command.replace("localhost:8000", f"localhost:{self.port}").replace("port 8000", f"port {self.port}")
        if SERVER.fullmatch(command):
            self.stop()
            self.server = Server(command, self.directory, self.environment, self.port)
            self.server.wait_for(shown.replace("8000", str(self.port)).splitlines())
            return
        if WORKER.fullmatch(command):  # beside the server
            self.worker = Server(command, self.directory, self.environment)
            self.worker.wait_for(shown.splitlines())
            return
        until = time.monotonic() + 60 if LISTING.fullmatch(command) else 0.0
        done = self.run(command)
        while not matches(shown, done.stdout) and time.monotonic() < until:
            done = self.run(command)
        if command.startswith("pip install ") and not shown:  # it says much, and nothing that a page would show
            assert done.returncode == 0, f"line {block.line}: {done.stdout}"
            if not self.is_installed and (self.directory / "actions.py").exists():  # a program that came before
                self.run_examples()
            self.is_installed = True
            return
        self.compare(block, shown, done.stdout.replace(str(self.port), "8000"))

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )

    def docker(self, block: Block, words: list[str]) -> None:
        """Build with what is in the directory, or run what was built."""
        self.stop()
        if words[1:] == ["build", "-t", words[-2], "."]:
            self.image = Image(self.directory, self.directory.parent / "image", self.installation)
            return
        assert words[1:6] == ["run", "--rm", "--init", "-p", "8000:8000"], f"line {block.line}: nobody does {words}"
        assert self.image is not None, f"line {block.line}: no image was built"
        if words[6] == "-v":
            self.image.check_volume(words[7].partition(":")[2])
        self.server = self.image.run(self.port, variables={})

    def start_unit(self, path: Path) -> None:
        """Start what a systemd unit starts, with its variables; a path in it is one in the page's directory."""
        service = unit_of(path)["Service"]
        home = service["WorkingDirectory"][0]
        start = service["ExecStart"][0].replace(f"{home}/.venv/bin", str(self.installation.python.parent))
        variables = shlex.join(word for text in service["Environment"] for word in shlex.split(text))
        self.stop()
        self.server = Server(
            f"{variables} SERVER_PORT={self.port} {start}", self.directory, self.environment, self.port
        )

    def compare(self, block: Block, shown: str, actual: str) -> None:
        assert matches(shown, actual), f"line {block.line}\n--- shown\n{shown}\n--- actual\n{actual}"

    def stop(self) -> None:
        for running in (self.worker, self.server):
            if running is not None:
                running.stop()
        self.server = self.worker = None
