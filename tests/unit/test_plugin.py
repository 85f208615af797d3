"""What a plugin returns checks itself."""

import inspect

import pytest

from servey.errors import DefinitionError
from servey.plugin import Command, Injector, Plugin, TriggerSupport


def test_a_plugin_adds_nothing_unless_it_says_so():
    methods = [name for name in vars(Plugin) if not name.startswith("_")]
    assert methods == [
        *("engines", "injectors", "triggers", "lifespans", "middleware", "authorizers", "authenticators", "errors"),
        "commands",
    ]
    assert {getattr(Plugin(), name)() for name in methods} == {()}
    assert all(inspect.getdoc(getattr(Plugin, name)) for name in methods)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (Injector, ("Tenant", len)),
        (Injector, (list[int], len)),
        (Injector, (int, None)),
        (TriggerSupport, ("WebTrigger",)),
        (TriggerSupport, (object(),)),
        (Command, ("hello", "module", "Say hello.")),
        (Command, ("hello", "module:", "Say hello.")),
        (Command, ("hello", ":hello", "Say hello.")),
    ],
)
def test_what_cannot_be_is_refused(kind, arguments):
    with pytest.raises(DefinitionError) as caught:
        kind(*arguments)
    assert caught.value.fix


@pytest.mark.parametrize(
    "item", [Injector(int, len), TriggerSupport(int), Command("hello", "module:hello", "Say hello.")]
)
def test_what_is_returned_cannot_be_changed(item):
    name = item.__struct_fields__[0]
    with pytest.raises(AttributeError):
        setattr(item, name, None)
