"""The skill for coding agents that is in the wheel: short, and every name in it exists. Its blocks: test_blocks.py."""

import re
import sys
from importlib import import_module
from pathlib import Path

import yaml

import servey
from servey.action.action import Action
from servey.cli.main import COMMANDS
from servey.settings import Settings

SKILL = Path(servey.__file__).parent / ".agents" / "skills" / "servey" / "SKILL.md"
TEXT = SKILL.read_text(encoding="utf-8")
PROSE = re.sub(r"^```.*?^```$", "", TEXT, flags=re.M | re.S)
CODE = re.findall(r"`([^`]+)`", PROSE)
THERE, _, ABSENT = TEXT.partition("## What does not exist")


def resolves(path: str) -> bool:
    """Whether a dotted path is a module, or a name in one."""
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        return hasattr(import_module(module), name)
    except ImportError:
        return False


def test_its_front_matter_is_that_of_a_skill():
    _, front, _ = TEXT.split("---\n", 2)
    matter = yaml.safe_load(front)
    assert set(matter) == {"name", "description"}
    assert matter["name"] == SKILL.parent.name == "servey"
    assert 50 < len(matter["description"]) <= 1024
    assert f"release {servey.__version__.rpartition('.')[0]})" in matter["description"]


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 200


def test_every_command_that_it_names_exists():
    lines = [*CODE, *re.findall(r"^\$ (.*)$", TEXT, re.M)]
    named = {found[1] for line in lines if (found := re.match(r"(?:\w+=\w+ )*servey ([a-z]+)\b", line))}
    assert {"serve", "call", "list", "new", "openapi", "config"} <= named
    assert named <= {command.name for command in COMMANDS}


def test_every_path_of_servey_that_it_names_exists(monkeypatch, tmp_path):
    (tmp_path / "actions.py").write_text("", encoding="utf-8")  # the application looks for it
    monkeypatch.syspath_prepend(tmp_path)
    named = {path for code in CODE for path in re.findall(r"\bservey(?:\.\w+)+(?::\w+)?", code)} - {"servey.Servey"}
    assert "servey.servey_starlette.starlette_app:app" in named
    try:
        assert [path for path in named if not resolves(path)] == []
    finally:  # other tests have modules of these names
        for name in ("servey.servey_starlette.starlette_app", "actions"):
            sys.modules.pop(name, None)
    assert not resolves("servey.Servey")


def test_every_error_that_it_names_can_be_imported_from_servey():
    named = {code for code in CODE if re.fullmatch(r"[A-Z]\w+Error", code)}
    assert len(named) > 5
    assert [name for name in named if not hasattr(servey, name)] == []


def test_every_setting_that_it_names_exists():
    known = {name for item in Settings().variables().values() for name in (item.name, *item.aliases)}
    named = set(re.findall(r"\b(?:SERVEY|SERVER|CORS|LOG)_[A-Z_]+\b", TEXT))
    assert len(named) > 5
    assert named <= known


def test_every_argument_of_the_decorator_is_named():
    line = re.search(r"^\* Arguments of `@action`:(.*?)\.$", TEXT, re.M | re.S)
    assert line is not None
    arguments = set(Action.__struct_fields__) - {"fn", "named", "namespace"}
    assert set(re.findall(r"`(\w+)`", line[1])) == arguments


def test_what_it_says_does_not_exist_does_not():
    assert "AWS" in ABSENT
    for module in ("servey.servey_aws", "servey.subscription"):
        assert not resolves(f"{module}.__name__")
