"""The paths that the user was promised: each in all three forms of import."""

import importlib
import subprocess
import sys

import pytest

PATHS = [
    ("servey.action.action", "action"),
    ("servey.action.example", "Example"),
    ("servey.trigger.web_trigger", "WEB_GET"),
    ("servey.trigger.web_trigger", "WEB_POST"),
    ("servey.trigger.web_trigger", "WebTrigger"),
    ("servey.trigger.web_trigger", "WebTriggerMethod"),
    ("servey.trigger.fixed_rate_trigger", "FixedRateTrigger"),
    ("servey.servey_thread.fixed_rate_trigger_thread", "FixedRateTriggerThread"),
    ("servey.security.authorization", "Authorization"),
    ("servey.security.access_control.scope_access_control", "ScopeAccessControl"),
    ("servey.cache_control.ttl_cache_control", "TtlCacheControl"),
    ("servey.servey_starlette.route_factory.authenticator_route_factory", "login_routes"),
    ("servey.servey_test.test_servey_actions", "define_test_class"),
]

FORMS = {
    "import as": "import {module} as m\nfound = m.{name}",
    "from import": "from {module} import {name} as found",
    "attribute": "import {module}\nfound = {module}.{name}",
    "attribute after servey": "import servey, {module}\nfound = servey.{rest}.{name}",
}


def run(code, directory):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=directory, check=False
    )


def imports(module, name):
    """The code that imports one path in all forms."""
    statements = [form.format(module=module, name=name, rest=module.partition(".")[2]) for form in FORMS.values()]
    return "\n".join(f"{statement}\nassert found.__class__.__module__, found" for statement in statements)


@pytest.mark.parametrize(("module", "name"), PATHS)
def test_every_promised_path_can_be_imported_alone(module, name, tmp_path):
    done = run(imports(module, name), tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("order", [1, -1])
def test_every_promised_path_can_be_imported_after_the_others(order, tmp_path):
    done = run("\n".join(imports(*path) for path in PATHS[::order]), tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("module", "name"), PATHS)
def test_what_is_exported_above_is_the_same_object(module, name):
    found = getattr(importlib.import_module(module), name)
    servey = importlib.import_module("servey")
    if name == "action":
        assert callable(found)
        assert servey.action is importlib.import_module("servey.action")
    elif hasattr(servey, name):
        assert getattr(servey, name) is found


def test_every_name_that_servey_exports_is_there():
    servey = importlib.import_module("servey")
    assert sorted(servey.__all__) == sorted(set(servey.__all__))
    assert [name for name in servey.__all__ if not hasattr(servey, name)] == []


ACTIONS = """
from servey.action.action import action
from servey.trigger.web_trigger import WEB_GET


@action(triggers=(WEB_GET,))
def say_hello(name: str) -> str:
    \""" Greet a user! \"""
    return f"Hello {name}!"
"""


@pytest.mark.parametrize(
    "statement",
    [
        "import servey.servey_starlette.starlette_app as m; app = m.app",
        "from servey.servey_starlette.starlette_app import app",
        "import servey.servey_starlette.starlette_app; app = servey.servey_starlette.starlette_app.app",
    ],
)
def test_the_application_is_that_of_the_actions_in_the_working_directory(statement, tmp_path):
    (tmp_path / "actions.py").write_text(ACTIONS)
    done = run(f"{statement}\nprint(type(app).__mro__[1].__module__, list(app.service.operations))", tmp_path)
    assert (done.stdout, done.returncode) == ("starlette.applications ['say_hello']\n", 0), done.stderr


def test_without_actions_the_application_says_what_to_do(tmp_path):
    done = run("import servey.servey_starlette.starlette_app", tmp_path)
    assert done.returncode == 1
    assert "DefinitionError: there is no module 'actions'" in done.stderr
    assert "SERVEY_ACTION_PATH" in done.stderr
