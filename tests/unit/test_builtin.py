"""The composition root, and loading plugins by name."""

import sys
import textwrap

import pytest

from servey.builtin import BUILT_IN, built_in_plugins, load_plugin
from servey.errors import DefinitionError
from servey.plugin import Plugin
from servey.trigger.web_trigger import WebTrigger


def test_every_built_in_plugin_loads():
    plugins = built_in_plugins()
    assert tuple(f"{type(plugin).__module__}:{type(plugin).__name__}" for plugin in plugins) == BUILT_IN
    assert WebTrigger in [support.type for plugin in plugins for support in plugin.triggers()]


PLUGINS = """
    from servey.plugin import Plugin

    class One(Plugin): ...
    class Failing(Plugin):
        def __init__(self):
            raise RuntimeError("my own")
    def function(): ...
    instance = One()
"""


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    (tmp_path / "servey_own_plugins.py").write_text(textwrap.dedent(PLUGINS))
    (tmp_path / "servey_own_broken.py").write_text("import not_installed_anywhere")
    (tmp_path / "servey_own_syntax.py").write_text("1 +")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("servey_own_plugins", "servey_own_broken", "servey_own_syntax"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("plugins")
def test_a_plugin_is_made_anew_from_its_class():
    one, other = load_plugin("servey_own_plugins:One"), load_plugin("servey_own_plugins:One")
    assert isinstance(one, Plugin)
    assert type(one) is type(other)
    assert one is not other


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    "target",
    [
        *("", ":", "servey_own_plugins", "servey_own_plugins:", ":One", "servey_own_plugins.One"),
        *("servey_own_plugins:Nowhere", "servey_own_plugins:function", "servey_own_plugins:instance"),
        *("servey_own_nowhere:One", "servey_own_plugins.nowhere:One", "json:JSONDecoder"),
    ],
)
def test_what_is_no_plugin_is_told_with_what_to_write(target):
    with pytest.raises(DefinitionError) as caught:
        load_plugin(target)
    assert repr(target) in str(caught.value)
    assert caught.value.fix


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("target", "error", "told"),
    [
        ("servey_own_broken:One", ModuleNotFoundError, "not_installed_anywhere"),
        ("servey_own_syntax:One", SyntaxError, "syntax"),
        ("servey_own_plugins:Failing", RuntimeError, "my own"),
    ],
)
def test_an_error_of_the_plugins_own_is_raised_as_it_is(target, error, told):
    with pytest.raises(error, match=told) as caught:
        load_plugin(target)
    assert type(caught.value) is error
