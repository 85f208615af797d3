"""What importing servey must not load: a Lambda or a command line pays for each import at every start."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

FORBIDDEN = {
    *("boto3", "cachetools", "celery", "click", "cronsim", "cryptography", "graphql", "jwt", "limits", "marshy"),
    *("hashlib", "ipaddress", "pydantic", "redis", "schemey", "sqlite3", "starlette", "strawberry", "uvicorn"),
    *("watchfiles", "zoneinfo"),
}

MODULES = [
    name
    for name in (
        "servey",
        "servey.errors",
        "servey.action.action",
        "servey.action.operation",
        "servey.trigger.web_trigger",
        "servey.service",
    )
    if any((SOURCE / name.replace(".", "/")).with_suffix(end).exists() for end in ("", ".py"))
]


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after `statement`."""
    names = "{name.partition('.')[0] for name in sys.modules}"
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted({names})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(run.stdout))


@pytest.mark.parametrize("module", MODULES)
def test_an_import_loads_nothing_heavy(module):
    assert loaded_by(f"import {module}") & FORBIDDEN == set()


@pytest.mark.parametrize("package", [name for name in ("http", "schema") if (SOURCE / "servey" / name).is_dir()])
def test_a_core_package_loads_no_framework(package):
    files = sorted((SOURCE / "servey" / package).rglob("*.py"))
    names = [".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__") for file in files]
    assert loaded_by(f"import {', '.join(names)}") & {"starlette", "strawberry", "graphql", "uvicorn"} == set()


def test_a_forbidden_import_would_be_seen():
    assert loaded_by("import click") & FORBIDDEN == {"click"}
