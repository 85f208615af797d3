"""``servey graphql-schema`` and ``--run=graphql-schema``."""

import pytest

from servey import WEB_GET
from servey.action.action import action
from servey.cli.main import run
from servey.cli.project import Project
from servey.servey_strawberry.schema import create_schema, printed
from servey.service import Service


@action(triggers=(WEB_GET,))
def greet(name: str = "Zoë") -> str:
    """Greet somebody."""
    return f"Hello {name}!"


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Project(service=Service([greet]))


@pytest.mark.parametrize("command", [["graphql-schema"], ["--run=graphql-schema"], ["--run", "graphql-schema"]])
def test_it_writes_servey_schema_graphql(command, project, tmp_path, capsys):
    assert run(command, project=project) == 0
    written = (tmp_path / "servey_schema.graphql").read_text(encoding="utf-8")
    assert written == printed(create_schema(project.service))
    assert '"""Greet somebody."""\n  greet(name: String! = "Zoë"): String!' in written
    out, err = capsys.readouterr()
    assert (out, err.partition(":")[0]) == ("", "wrote servey_schema.graphql")


def test_it_writes_to_standard_output_and_to_another_file(project, tmp_path, capsys):
    assert run(["graphql-schema", "--output=-"], project=project) == 0
    out, err = capsys.readouterr()
    assert run(["graphql-schema", "-o", "other.graphql"], project=project) == 0
    assert ((tmp_path / "other.graphql").read_text(encoding="utf-8"), err) == (out, "")


def test_what_graphql_cannot_say_is_told_with_its_place(capsys):
    @action(triggers=(WEB_GET,))
    def clashes(first_name: str, firstName: str) -> str:
        return first_name

    assert run(["graphql-schema"], project=Project(service=Service([clashes]))) == 78
    assert "test_graphql_schema.py" in capsys.readouterr().err
