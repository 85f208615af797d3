"""Every code block of README.md, of the pages in docs and of the tour's README is run, and answers what it shows.

A page is read from top to bottom, in a directory of its own. What a block is depends on its language:

python    a program, which goes on from those before it on the page. What it prints is in the `text` or `json` block
          that follows; without one, it prints nothing.
console   commands behind a ``$``, each followed by what it prints. A server runs until the page ends or another
          one is started; what is shown of its log appears in it. ``pip install`` installs nothing here, and must
          name extras and packages that exist; ``make`` makes nothing, and must name a target that exists.
text, json  what the block before prints.

After a comment ``<!-- file: NAME -->`` the block is a file. A Python module is imported; the examples of an
``actions.py`` are run. In what is shown, ``…`` stands for anything in its line, and alone in a line for any lines.
"""

import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
TOUR = ROOT / "examples" / "tour"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), TOUR / "README.md"]
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
STAND_IN = Path(__file__).with_name("curl.py")

FENCE = re.compile(r"^(?:<!-- file: (?P<file>\S+) -->\n+)?```(?P<language>.*)\n(?P<text>(?:.*\n)*?)```$", re.M)
GO_ON = """
import contextlib, io, json, sys
*_before, _last = json.load(sys.stdin)
with contextlib.redirect_stdout(io.StringIO()):
    for _block in _before:
        exec(compile(_block, "<earlier on the page>", "exec"), globals())
exec(compile(_last, "<the block>", "exec"), globals())
"""
SERVER = re.compile(r"(?:\w+=\S+ )*(?:python -m servey|servey serve|uvicorn .*)")
RUN_EXAMPLES = (
    "from servey.service import Service; from servey.servey_test.example_run import example_runs\n"
    "for run in example_runs(Service.from_settings()): run.run()"
)


class Block(NamedTuple):
    file: str
    language: str
    text: str
    line: int


def blocks_of(page: str) -> list[Block]:
    found = [
        Block(match["file"] or "", match["language"], match["text"], page.count("\n", 0, match.start()) + 1)
        for match in FENCE.finditer(page)
    ]
    fences = re.findall(r"^[ \t>]*(?:```|~~~)", page, re.M)
    assert fences == ["```"] * 2 * len(found), "every fence stands at the beginning of its line"
    return found


def matches(shown: str, actual: str) -> bool:
    pattern = re.escape(shown.strip()).replace("…", ".*")
    pattern = re.sub(r"(?m)^\.\*(\\\n|\Z)", r"(?:.*\\n?)*?", pattern)
    return re.fullmatch(pattern, actual.replace("\r\n", "\n").strip()) is not None


class Reader:
    """Does what a page says.

    Args:
        directory: Where.
        curl: Which curl; None for the stand-in.
    """

    def __init__(self, directory: Path, curl: str | None) -> None:
        self.directory = directory
        self.port = free_port()
        tools = directory.parent / "bin"
        tools.mkdir()
        if curl is None:
            script = tools / "curl"
            script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(STAND_IN))} "$@"\n')
            script.chmod(0o755)
        (tools / ".curlrc").write_text("silent\nshow-error\n")  # as on a terminal, where no progress is shown
        self.environment = {
            "CURL_HOME": str(tools),
            **{name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ},
            "PATH": os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONDONTWRITEBYTECODE": "1",  # a file that is replaced within a second would be taken for the old one
            "SERVER_PORT": str(self.port),
        }
        self.server: Server | None = None
        self.programs: list[str] = []

    def read(self, blocks: list[Block]) -> None:
        shown: str | None = None
        for index, block in enumerate(blocks):
            follower = blocks[index + 1] if index + 1 < len(blocks) else None
            if block.file:
                self.write(block)
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
        path.write_text(block.text, encoding="utf-8")
        if block.language == "toml":
            tomllib.loads(block.text)
            return
        assert block.language == "python", f"line {block.line}: nobody checks a file in {block.language}"
        self.python(f"import {block.file.removesuffix('.py').replace('/', '.')}")
        if path.name == "actions.py":
            with TemporaryDirectory() as aside:  # what examples leave behind is not the reader's
                shutil.copytree(self.directory, aside, dirs_exist_ok=True)
                self.python(RUN_EXAMPLES, Path(aside))

    def python(self, code: str, directory: Path | None = None, given: str = "") -> str:
        command = [sys.executable, "-W", "error", "-c", code]
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

    def command(self, block: Block, command: str, shown: str) -> None:
        if command.startswith("pip install "):
            check_requirements(shlex.split(command)[2:])
            return
        if command.startswith("make "):
            assert re.search(rf"^{re.escape(command.split()[1])}:", MAKEFILE, re.M), (
                f"line {block.line}: no such target"
            )
            return
        if command.startswith("export "):  # each command has a shell of its own
            self.environment.update(word.split("=", 1) for word in shlex.split(command)[1:])
            return
        command = command.replace("localhost:8000", f"localhost:{self.port}").replace("port 8000", f"port {self.port}")
        if SERVER.fullmatch(command):
            self.stop()
            self.server = Server(command, self.directory, self.environment, self.port)
            log = self.server.log().replace(str(self.port), "8000")
            for line in shown.splitlines():
                assert any(matches(line, logged) for logged in log.splitlines()), f"{line!r} is not in the log:\n{log}"
            return
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        self.compare(block, shown, done.stdout.replace(str(self.port), "8000"))

    def compare(self, block: Block, shown: str, actual: str) -> None:
        assert matches(shown, actual), f"line {block.line}\n--- shown\n{shown}\n--- actual\n{actual}"

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()


class Server:
    """A server on a terminal of its own, up when the constructor returns."""

    def __init__(self, command: str, directory: Path, environment: dict[str, str], port: int) -> None:
        self._master, slave = os.openpty()
        self._output = bytearray()
        self._process = subprocess.Popen(
            f"exec env {command}", shell=True, cwd=directory, env=environment, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        until = time.monotonic() + 60
        while not answers(port):
            assert self._process.poll() is None, f"the server ended:\n{self.log()}"
            assert time.monotonic() < until, f"the server does not answer:\n{self.log()}"
            self._reading.join(0.05)

    def log(self) -> str:
        text = re.sub(r"\x1b\[[0-9;]*m", "", self._output.decode(errors="replace"))
        return text.replace("\r\n", "\n")

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
        self._reading.join(30)

    def _read(self) -> None:
        try:
            while piece := os.read(self._master, 65536):
                self._output += piece
        except OSError:  # how a terminal whose other side is closed ends
            pass
        os.close(self._master)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def free_port() -> int:
    """Return a port that nobody is given by chance, for it is below those that are given out."""
    while True:
        port = random.randrange(15000, 30000)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def commands_of(block: Block) -> list[tuple[str, str]]:
    """Return the commands with what each prints; a backslash or an open quote goes on in the next line."""
    parts = re.split(r"^\$ ", block.text, flags=re.M)
    assert parts[0] == "", f"line {block.line}: a command begins with a dollar sign"
    commands: list[tuple[str, str]] = []
    for part in parts[1:]:
        lines = part.splitlines()
        count = 1
        while lines[count - 1].endswith("\\") or not is_whole("\n".join(lines[:count])):
            count += 1
        commands.append(("\n".join(lines[:count]), "\n".join(lines[count:])))
    return commands


def is_whole(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True


def check_requirements(requirements: list[str]) -> None:
    for requirement in requirements:
        match = re.fullmatch(r"([\w-]+)(?:\[([\w,-]+)\])?", requirement)
        assert match is not None, requirement
        distribution(match[1])
        if match[1] == "servey":
            assert set(filter(None, (match[2] or "").split(","))) <= EXTRAS


CURL = shutil.which("curl")
READINGS = [(page, CURL) for page in PAGES]
if CURL is not None:
    READINGS.append((PAGES[-1], None))  # the stand-in does what curl does


@pytest.mark.parametrize(
    ("page", "curl"),
    READINGS,
    ids=[f"{page.relative_to(ROOT)}{'' if curl == CURL else ', no curl'}" for page, curl in READINGS],
)
def test_the_blocks_of_a_page_do_what_it_says(page, curl, tmp_path):
    directory = tmp_path / "project"
    if page.parent == TOUR:
        shutil.copytree(TOUR, directory)
    else:
        directory.mkdir()
    reader = Reader(directory, curl)
    try:
        reader.read(blocks_of(page.read_text(encoding="utf-8")))
    finally:
        reader.stop()


@pytest.mark.parametrize(
    "page",
    [
        "```\nx\n```\n",
        "```ruby\nputs 1\n```\n",
        "```text\nthe output of nothing\n```\n",
        "```python\nprint(1)\n```\n",
        "```python\nprint(1)\n```\n\n```text\n2\n```\n",
        "```python\n1 / 0\n```\n",
        "    ```python\n    pass\n    ```\n",
        "```python\npass\n",
        "```console\necho 1\n```\n",
        "```console\n$ echo 1\n2\n```\n",
        "```console\n$ pip install 'servey[nothing]'\n```\n",
        "```console\n$ make nothing\n```\n",
        "<!-- file: x.rb -->\n```ruby\nputs 1\n```\n",
        "<!-- file: x.py -->\n```python\n1 / 0\n```\n",
    ],
)
def test_a_block_that_is_wrong_or_not_run_is_found(page, tmp_path):
    (directory := tmp_path / "project").mkdir()
    with pytest.raises(AssertionError):
        Reader(directory, None).read(blocks_of(page))


def test_an_ellipsis_stands_for_anything():
    assert matches("a … c\n…\nz", "a b c\nd\ne\nz")
    assert matches("a\n…", "a\nb\nc")
    assert not matches("a … c", "a b\nc")
