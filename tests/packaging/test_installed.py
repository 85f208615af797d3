"""The built package in empty environments, away from the source: the README word for word, and every command."""

import re
import shutil
from pathlib import Path

import pytest

import servey
from pages.blocks import blocks_of
from pages.distribution import empty_environment, run
from pages.installation import ROOT, Installation
from pages.reader import Reader

COMMANDS = (
    "serve",
    "call",
    "worker",
    "beat",
    "schedule",
    "calls",
    "list",
    "openapi",
    "config",
    "token",
    "new",
    "completion",
)
ACTIONS = '''
from servey import WEB_GET, Example
from servey.action.action import action


@action(triggers=(WEB_GET,), examples=(Example(name="world", params={"name": "World"}, result="Hello World!"),))
def say_hello(name: str) -> str:
    """ Greet a user! """
    return f"Hello {name}!"
'''


@pytest.fixture
def project(tmp_path) -> Path:
    (tmp_path / "actions.py").write_text(ACTIONS, encoding="utf-8")
    return tmp_path


def command(installation: Installation, *words: str, cwd: Path, code: int = 0) -> str:
    environment = installation.environment()
    return run(installation.python.with_name(words[0]), *words[1:], cwd=cwd, env=environment, code=code)


def test_the_readme_is_right_word_for_word(tmp_path, variables):
    """It begins with an empty environment, in which its own `pip install` installs the wheel."""
    installation = empty_environment(tmp_path / "venv", variables)
    (directory := tmp_path / "project").mkdir()
    reader = Reader(directory, shutil.which("curl"), installation)
    try:
        reader.read(blocks_of((ROOT / "README.md").read_text(encoding="utf-8")))
    finally:
        reader.stop()
    imported = command(installation, "python", "-c", "import servey; print(servey.__file__)", cwd=directory)
    assert Path(imported.strip()).is_relative_to(tmp_path / "venv")


@pytest.mark.parametrize("extras", ["base", "server"])
def test_every_command_has_its_help(extras, project, request):
    installation = request.getfixturevalue(extras)
    shown = command(installation, "servey", "--help", cwd=project)
    listed = re.findall(r"^  (\w+) {2,}\S", shown.partition("Commands:")[2], re.M)
    assert tuple(listed) == COMMANDS
    for name in COMMANDS:
        assert command(installation, "servey", name, "--help", cwd=project).startswith("Usage: servey ")
    assert command(installation, "python", "-m", "servey", "--version", cwd=project) == f"servey {servey.__version__}\n"


def test_what_needs_no_server_works_without_its_extra(base, project):
    installed = command(base, "python", "-m", "pip", "list", "--format=freeze", cwd=project).lower()
    assert f"servey=={servey.__version__}\n" in installed
    assert not re.search("^(starlette|uvicorn|pydantic|marshy|nodejs)", installed, re.M)
    assert "say_hello  GET /actions/say-hello" in command(base, "servey", "list", cwd=project)
    assert command(base, "servey", "call", "say_hello", "--name", "World", cwd=project) == '"Hello World!"\n'
    assert "SERVER_PORT" in command(base, "servey", "config", cwd=project)
    assert "_SERVEY_COMPLETE" in command(base, "servey", "completion", "bash", cwd=project)
    command(base, "servey", "openapi", cwd=project)
    assert "/actions/say-hello" in (project / "openapi.json").read_text(encoding="utf-8")


def test_what_needs_the_server_tells_how_to_install_it(base, project):
    told = command(base, "servey", "serve", cwd=project, code=69)
    assert "pip install 'servey[server]'" in told
    assert "Traceback" not in told


def test_types_are_known_to_a_type_checker(base, project):
    """`py.typed` is where the installed package is."""
    code = "import servey, pathlib; print((pathlib.Path(servey.__file__).parent / 'py.typed').is_file())"
    assert command(base, "python", "-c", code, cwd=project) == "True\n"
