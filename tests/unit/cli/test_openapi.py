"""``servey openapi`` and ``--run=openapi``."""

import json
from pathlib import Path

import pytest

from servey import WEB_GET
from servey.action.action import action
from servey.cli.main import run
from servey.cli.project import Project
from servey.schema.openapi import openapi_document
from servey.service import Service


@action(triggers=(WEB_GET,))
def greet(name: str = "Zoë") -> str:
    """Greet somebody."""
    return f"Hello {name}!"


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Project(service=Service([greet]))


@pytest.mark.parametrize("command", [["openapi"], ["--run=openapi"], ["--run", "openapi"]])
def test_it_writes_openapi_json(command, project, tmp_path, capsys):
    assert run(command, project=project) == 0
    written = (tmp_path / "openapi.json").read_text(encoding="utf-8")
    assert json.loads(written) == openapi_document(project.service)
    assert "Zoë" in written
    out, err = capsys.readouterr()
    assert (out, err) == ("", "wrote openapi.json: 1 path, OpenAPI 3.1.1\n")


def test_it_writes_the_same_again(project, tmp_path):
    run(["openapi", "-o", "a.json"], project=project)
    run(["openapi", "--output=b.json"], project=project)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize(("version", "expected"), [("3.0", "3.0.4"), ("3.1", "3.1.1")])
def test_it_writes_the_version_that_is_asked_for_to_standard_output(version, expected, project, capsys):
    assert run(["openapi", "--version", version, "--output=-"], project=project) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["openapi"], err) == (expected, "")


def test_a_version_that_there_is_not_is_refused(project, capsys):
    assert run(["openapi", "--version=2.0"], project=project) == 64
    assert "'3.1', '3.0'" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_told(project, capsys):
    assert run(["openapi", "-o", "nowhere/openapi.json"], project=project) == 74
    assert capsys.readouterr().err == "Error: cannot write nowhere/openapi.json: No such file or directory\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_disk_that_is_full_is_told(project, capsys):
    assert run(["openapi", "-o", "/dev/full"], project=project) == 74
    assert "No space left on device" in capsys.readouterr().err


def test_what_was_there_stays_when_writing_fails(project, tmp_path, monkeypatch):
    (tmp_path / "openapi.json").write_text("before")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert run(["openapi"], project=project) == 74
    assert [path.name for path in tmp_path.iterdir()] == ["openapi.json"]
    assert (tmp_path / "openapi.json").read_text() == "before"


def test_a_file_keeps_its_mode_and_a_link_its_target(project, tmp_path):
    target = tmp_path / "kept.json"
    target.write_text("before")
    target.chmod(0o640)
    (tmp_path / "openapi.json").symlink_to(target)
    assert run(["openapi"], project=project) == 0
    assert (tmp_path / "openapi.json").is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    assert json.loads(target.read_text())["openapi"] == "3.1.1"
