"""The decorators keep the static type of what they decorate: pyright is asked, strictly."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).parent / "cases"
RIGHT, WRONG = CASES / "right.py", CASES / "wrong.py"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What pyright has to say, as `{file: {line: {rule, …}}}` with lines from 1."""
    project = tmp_path_factory.mktemp("project")  # apart from the repository, as a user's is
    shutil.copytree(CASES, project / "cases")
    settings = {"include": ["cases"], "typeCheckingMode": "strict", "pythonVersion": "3.11"}
    (project / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "-p", str(project), "--pythonpath", sys.executable]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    report = json.loads(run.stdout)
    assert report["summary"]["filesAnalyzed"] == 2, run.stdout + run.stderr
    lines: dict[str, dict[int, set[str]]] = {RIGHT.name: {}, WRONG.name: {}}
    for item in report["generalDiagnostics"]:
        line = item["range"]["start"]["line"] + 1
        lines[Path(item["file"]).name].setdefault(line, set()).add(item.get("rule", item["message"]))
    return lines


def test_what_is_right_is_accepted(found):
    assert found[RIGHT.name] == {}


def test_what_is_wrong_is_refused_there_and_nowhere_else(found):
    expected = {
        number: set(match[1].split(","))
        for number, line in enumerate(WRONG.read_text().splitlines(), 1)
        if (match := re.search(r"# wrong: ([\w,]+)$", line))
    }
    assert len(expected) > 15
    assert {
        line: bool(rules & found[WRONG.name].get(line, set())) for line, rules in expected.items()
    } == dict.fromkeys(expected, True)
    assert set(found[WRONG.name]) == set(expected)
