"""What a plugin returns checks itself."""

import inspect
from collections.abc import Sequence
from typing import Any

import pytest

from servey.errors import DefinitionError, SettingsError
from servey.plugin import Command, Injector, Plugin, StoreSupport, TriggerSupport
from servey.service import Service
from servey.settings import Settings


def test_a_plugin_adds_nothing_unless_it_says_so():
    methods = [name for name in vars(Plugin) if not name.startswith("_")]
    ports = ("call_queue", "key_value_store")
    assert methods == [
        "settings",
        *("engines", "injectors", "triggers", "lifespans", "middleware", "authorizers", "authenticators", "errors"),
        *("result_stores", "rate_limit_storages", *ports, "commands"),
    ]
    assert {getattr(Plugin(), name)() for name in methods if name not in ports} == {()}
    assert {getattr(Plugin(), name)(Service()) for name in ports} == {None}
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


def test_a_plugin_opens_the_stores_of_its_schemes() -> None:
    class Disk(Plugin):
        def result_stores(self) -> Sequence[StoreSupport[Any]]:
            return (StoreSupport(("disk",), lambda url, settings: (url, settings.stores.store_timeout)),)

    service = Service([], plugins=[Disk()], settings=Settings(result_cache="disk://here", store_timeout=3.0))
    assert service.stores.results == ("disk://here", 3.0)


def test_a_store_that_no_plugin_opens_stops_the_start_and_is_not_repeated() -> None:
    for name in ("result_cache", "rate_limits"):
        with pytest.raises(SettingsError, match=f"SERVEY_{name.upper()}") as raised:
            Service([], settings=Settings(**{name: "memcached://me:secret@host"}))
        assert "secret" not in str(raised.value)
