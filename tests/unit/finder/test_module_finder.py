"""Finding declarations in the user's modules: everything once, in order, and errors shown as they are."""

import importlib
import sys
import textwrap

import pytest

from servey.errors import DefinitionError
from servey.finder import find_declarations
from servey.service import Service
from servey.settings import Settings

ACTION = """
    from servey.action.action import action

    @action
    def {name}() -> str:
        return "{name}"
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write files into a directory on `sys.path`; forget the modules afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(files):
        for path, text in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text))
        importlib.invalidate_caches()  # a directory may have changed within the resolution of its time
        return tmp_path

    yield write
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    for name in ("actions", "shop"):
        sys.modules.pop(name, None)


def names(path="actions"):
    return [item.name for item in find_declarations(path).actions]


def test_a_module_is_searched_in_order(project):
    project({"actions.py": ACTION.format(name="zebra") + ACTION.format(name="ant")})
    assert names() == ["zebra", "ant"]


def test_submodules_are_searched_at_every_depth(project):
    project(
        {
            "actions/__init__.py": ACTION.format(name="top"),
            "actions/one.py": ACTION.format(name="one"),
            "actions/deep/__init__.py": "",
            "actions/deep/two.py": ACTION.format(name="two"),
            "actions/space/three.py": "raise AssertionError('a directory without __init__.py is no package')",
        }
    )
    assert names() == ["top", "two", "one"]


def test_a_program_in_the_package_is_not_run(project):
    project(
        {
            "actions/__init__.py": ACTION.format(name="top"),
            "actions/__main__.py": "raise AssertionError('it was run')",
            "actions/deep/__init__.py": "",
            "actions/deep/__main__.py": "raise AssertionError('it was run')",
        }
    )
    assert names() == ["top"]


def test_a_submodule_alone_is_searched_where_it_is_named(project):
    project(
        {
            "shop/__init__.py": ACTION.format(name="top"),
            "shop/actions.py": ACTION.format(name="inner"),
            "shop/other.py": ACTION.format(name="other"),
        }
    )
    assert names("shop.actions") == ["inner"]


@pytest.mark.parametrize("path", ["actions,shop", " actions , shop ,", "actions,shop,actions"])
def test_several_modules_are_searched_and_each_action_counts_once(project, path):
    project({"actions.py": ACTION.format(name="one"), "shop.py": ACTION.format(name="two")})
    assert names(path) == ["one", "two"]


def test_a_re_export_and_an_alias_count_once(project):
    project(
        {
            "actions/__init__.py": "from actions.one import one\nfrom actions.one import one as alias",
            "actions/one.py": ACTION.format(name="one") + "\n    again = one",
            "actions/two.py": "from actions.one import *",
        }
    )
    assert names() == ["one"]
    assert list(Service.from_settings(Settings()).operations) == ["one"]


def test_resources_are_found_too(project):
    project(
        {
            "actions.py": """
                from collections.abc import Iterator
                from servey import resource
                from servey.action.action import action

                class Session: ...

                @resource
                def session() -> Iterator[Session]:
                    yield Session()

                @action
                def act(session: Session) -> str:
                    return "done"
            """
        }
    )
    found = find_declarations("actions")
    assert [item.fn.__name__ for item in found.resources] == ["session"]
    assert list(Service.from_settings(Settings()).operations) == ["act"]


def test_what_raises_when_it_is_asked_for_attributes_is_left_alone(project):
    project(
        {
            "actions.py": ACTION.format(name="one")
            + """
    class Proxy:
        def __getattr__(self, name):
            raise RuntimeError("outside of a request")

    from unittest.mock import MagicMock, call
    request, mock = Proxy(), MagicMock()
            """
        }
    )
    assert names() == ["one"]


@pytest.mark.parametrize("kind", ["action", "resource"])
def test_a_decorator_above_is_told_with_the_line(project, kind):
    project(
        {
            "actions.py": """
                import functools
                from collections.abc import Iterator
                from servey import resource
                from servey.action.action import action

                def traced(function):
                    return functools.wraps(function)(lambda *args: function(*args))

                class Session: ...

                @traced
                @action
                def f() -> str:
                    return "f"

                @functools.cache
                @action
                def g() -> str:
                    return "g"

                @traced
                @resource
                def session() -> Iterator[Session]:
                    yield Session()
            """
        }
    )
    with pytest.raises(DefinitionError) as caught:
        find_declarations("actions")
    wrong = [error for error in caught.value.joined if f"@{kind}" in error.message]
    lines = [error.where[0].rpartition("actions.py:")[2] for error in wrong]
    assert lines == (["12", "17"] if kind == "action" else ["22"])
    assert {error.fix.split()[1] for error in wrong} == {f"@{kind}"}


# --- errors of the user's own ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "file"), [("actions", "actions.py"), ("nowhere.actions", "nowhere/actions.py")])
def test_a_module_that_is_not_there_is_told_with_what_to_do(project, path, file):
    project({"other.py": ""})
    with pytest.raises(DefinitionError) as caught:
        find_declarations(path)
    assert repr(path) in caught.value.message
    assert file in caught.value.fix
    assert "SERVEY_ACTION_PATH" in caught.value.fix


def test_a_submodule_that_is_not_there_is_told(project):
    project({"shop/__init__.py": ""})
    with pytest.raises(DefinitionError, match=r"'shop\.actions'"):
        find_declarations("shop.actions")


@pytest.mark.parametrize("where", ["actions.py", "actions/__init__.py", "actions/one.py", "actions/deep/__init__.py"])
@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("import not_installed_anywhere", ModuleNotFoundError, "not_installed_anywhere"),
        ("from json import nothing_like_it", ImportError, "nothing_like_it"),
        ("import actions.nowhere", ModuleNotFoundError, "actions.nowhere"),
        ("1 +", SyntaxError, "syntax"),
        ("raise RuntimeError('my own')", RuntimeError, "my own"),
        ("import sys; sys.exit(3)", SystemExit, "3"),
    ],
)
def test_an_error_inside_a_module_is_raised_as_it_is(project, where, text, error, told):
    files = {"actions/__init__.py": "", "actions/deep/__init__.py": ""} if "/" in where else {}
    project({**files, where: text})
    with pytest.raises(error) as caught:
        find_declarations("actions")
    assert type(caught.value) is error
    assert told in str(caught.value)


def test_a_definition_error_inside_a_module_names_its_line(project):
    project({"actions.py": "from servey.action.action import action\n\n@action(timeout=-1)\ndef f() -> int: ...\n"})
    with pytest.raises(DefinitionError) as caught:
        find_declarations("actions")
    assert caught.value.where[0].endswith("actions.py:3")


@pytest.mark.parametrize(
    ("path", "fix"),
    [("actions.py", "'actions'"), ("./actions", "'actions'"), ("shop/actions", "'shop.actions'")],
)
def test_a_path_that_is_no_module_name_is_told_its_name(path, fix):
    with pytest.raises(DefinitionError) as caught:
        find_declarations(path)
    assert fix in caught.value.fix


def test_a_module_that_is_nearly_named_so_is_suggested(project, monkeypatch):
    monkeypatch.chdir(project({"actions.py": ""}))
    with pytest.raises(DefinitionError) as caught:
        find_declarations("action")
    assert "'actions'" in caught.value.fix


def test_a_module_that_is_here_and_not_on_the_path_is_told_so(tmp_path, monkeypatch):
    (tmp_path / "unreachable.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    with pytest.raises(DefinitionError) as caught:
        find_declarations("unreachable")
    assert "sys.path" in caught.value.fix


@pytest.mark.parametrize(
    "wrong",
    ["WebTrigger(WebTriggerMethod.GET, 'a/{x}')", "FixedRateTrigger(0)", "Example('a', params=5)"],
)
def test_a_declaration_that_knows_no_place_gets_the_users_line(project, wrong):
    directory = project({"actions.py": f"from servey import *\n\n{wrong}\n"})
    with pytest.raises(DefinitionError) as caught:
        find_declarations("actions")
    (place,) = caught.value.where
    assert place.endswith("actions.py:3")
    assert directory.name in place or place.startswith("actions.py")
