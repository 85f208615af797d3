"""The service: what is served, resolved once; duplicates, routes, triggers and plugins."""

import asyncio
import importlib
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from servey.action.action import action
from servey.errors import DefinitionError, ErrorMapping, SettingsError
from servey.plugin import Command, Injector, Plugin, TriggerSupport
from servey.servey_direct.direct import call
from servey.service import Service
from servey.settings import Settings
from servey.trigger.fixed_rate_trigger import FixedRateTrigger
from servey.trigger.web_trigger import WEB_GET, WEB_POST, WebTrigger, WebTriggerMethod

GET, POST = WebTriggerMethod.GET, WebTriggerMethod.POST

OTHERS = ["CeleryPlugin", "RedisPlugin", "ThreadPlugin"]


def line_of(function):
    return function.__code__.co_firstlineno


def lines(error):
    return [int(place.rpartition(":")[2]) for place in error.where]


def refused(*actions, **service):
    with pytest.raises(DefinitionError) as caught:
        Service(actions, **service)
    assert all(single.fix for single in caught.value.joined or (caught.value,))
    return caught.value


def named(name, *triggers, hint=int):
    def f() -> int:
        return 1

    def g(id: int) -> int:
        return id

    function = f if hint is None else g
    return action(name=name, triggers=triggers)(function)


# --- what is served -------------------------------------------------------------------------------------------------


def test_an_empty_service_serves_nothing():
    service = Service()
    assert (dict(service.operations), service.web_routes) == ({}, ())
    assert members(service.settings) == members(Settings())


def members(settings):
    """What settings say, but for what was made up."""
    fields = {name: getattr(part, name) for part in settings.parts for name in part.__struct_fields__}
    return {name: fields[name] for name in fields if name not in ("jwt_secret_key", "debug_authenticator_password")}


def test_a_service_cannot_be_changed():
    service = Service([named("f")])
    with pytest.raises(TypeError):
        service.operations["g"] = service.operations["f"]


def test_operations_are_in_the_order_of_the_actions():
    assert list(Service([named("b"), named("a"), named("c")]).operations) == ["b", "a", "c"]


def test_an_action_that_is_given_twice_counts_once():
    f = named("f")
    assert list(Service([f, f]).operations) == ["f"]


class Desk:
    @action
    def of_an_object(self: str) -> int:
        return 1

    @classmethod
    @action
    def of_the_class(cls: str) -> int:
        return 1


@pytest.mark.parametrize("method", [Desk().of_an_object, Desk.of_the_class])
def test_no_action_that_is_given_is_left_out(method):
    with pytest.raises(DefinitionError) as caught:
        Service([method])
    assert caught.value.where[0].endswith(f"test_service.py:{method.__code__.co_firstlineno}")
    assert "partial" in caught.value.fix


def test_actions_may_come_from_an_iterator():
    assert list(Service(named(name) for name in "ab").operations) == ["a", "b"]


def test_what_is_no_action_is_told():
    def plain() -> int:
        return 1

    error = refused(plain, len, resources=())
    assert lines(error) == [line_of(plain)]
    assert ["plain" in error.message, "len" in str(error)] == [True, True]
    assert lines(refused(resources=[plain])) == [line_of(plain)]


def test_two_actions_of_one_name_are_told_with_both_places():
    @action
    def one() -> int:
        return 1

    @action(name="one")
    def two() -> int:
        return 2

    @action(name="one")
    def three() -> int:
        return 3

    error = refused(one, two, three)
    assert [lines(single) for single in error.joined] == [
        [line_of(one), line_of(two)],
        [line_of(one), line_of(three)],
    ]


def test_problems_of_every_kind_are_told_in_one_error():
    @action
    def one(x) -> int:
        return 1

    @action(name="two")
    def two(x: complex) -> int:
        return 1

    @action(name="three", triggers=(FixedRateTrigger(1),))
    def three(x: int) -> int:
        return 1

    fine = named("fine")
    again = named("fine")
    error = refused(one, fine, two, three, again)
    assert [lines(single)[0] for single in error.joined] == [
        line_of(one),
        line_of(two),
        line_of(three),
        line_of(fine),
    ]


# --- routes ---------------------------------------------------------------------------------------------------------


def test_every_web_trigger_is_a_route():
    service = Service([named("say_hello", WEB_GET, WEB_POST, WebTrigger(GET, "/hello/{id}")), named("quiet")])
    assert [(route.method, route.path, route.operation.name) for route in service.web_routes] == [
        ("GET", "/actions/say-hello", "say_hello"),
        ("POST", "/actions/say-hello", "say_hello"),
        ("GET", "/hello/{id}", "say_hello"),
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/a", "/a"),
        ("/a/{id}", "/a/{id}"),
        ("/{id}", "/{id}"),
        ("/actions/f", None),
    ],
)
def test_two_actions_of_one_route_are_told_with_both_places(first, second):
    one, two = named("g", WebTrigger(GET, first)), named("f", WebTrigger(GET, second))
    error = refused(one, two)
    assert lines(error) == [line_of(one), line_of(two)]
    assert "GET" in error.message


def test_templates_of_one_shape_are_one_route():
    @action(triggers=(WebTrigger(GET, "/users/{id}/x"),))
    def one(id: int) -> int:
        return id

    @action(triggers=(WebTrigger(GET, "/users/{name}/x"),))
    def two(name: str) -> str:
        return name

    assert lines(refused(one, two)) == [line_of(one), line_of(two)]


def test_routes_that_differ_are_none():
    triggers = [
        WebTrigger(GET, "/a"),
        WebTrigger(POST, "/a"),
        WebTrigger(GET, "/A"),
        WebTrigger(GET, "/a/{id}"),
        WebTrigger(GET, "/a/b"),
        WebTrigger(GET, "/{id}/b"),
        WebTrigger(GET, "/a/{id}/c"),
        WebTrigger(GET, "/"),
    ]
    service = Service([named(f"f{index}", trigger) for index, trigger in enumerate(triggers)])
    assert len(service.web_routes) == len(triggers)


def test_a_path_that_names_no_parameter_is_told():
    f = named("f", WebTrigger(GET, "/{it}/{id}"))
    error = refused(f)
    assert lines(error) == [line_of(f)]
    assert ("{it}" in error.message, "id" in error.fix) == (True, True)


def test_a_path_cannot_hold_a_list():
    @action(triggers=(WebTrigger(GET, "/{ids}"),))
    def f(ids: list[int]) -> int:
        return 1

    error = refused(f)
    assert (lines(error), "{ids}" in error.message) == ([line_of(f)], True)


def test_all_problems_of_routes_are_told():
    error = refused(named("f", WebTrigger(GET, "/{a}"), WebTrigger(POST, "/{b}")), named("g", WebTrigger(GET, "/{a}")))
    assert len(error.joined) == 4


# --- triggers -------------------------------------------------------------------------------------------------------


class Bell:
    """A trigger of the user's own."""


class LoudBell(Bell):
    pass


def bells(events):
    class Bells(Plugin):
        def triggers(self):
            @asynccontextmanager
            async def start(service, triggered) -> AsyncIterator[None]:
                events.append([(operation.name, type(trigger)) for operation, trigger in triggered])
                yield
                events.append("stop")

            def check(operation, trigger):
                if operation.arguments.parameters:
                    raise DefinitionError("a bell gives nothing", where=operation.action.where, fix="take nothing")

            return (TriggerSupport(Bell, start, check),)

    return Bells()


def test_a_trigger_that_nobody_serves_is_told():
    f = named("f", Bell(), hint=None)
    error = refused(f)
    assert lines(error) == [line_of(f)]
    assert ("Bell" in error.message, "SERVEY_PLUGINS" in error.fix) == (True, True)


def test_a_triggers_class_is_told_from_a_trigger():
    error = refused(named("f", WebTrigger))
    assert "WebTrigger(" in error.fix


WITHOUT_STARLETTE = """
import sys

class Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "starlette":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing)

from servey.action.action import action
from servey.errors import MissingExtraError
from servey.service import Service
from servey.trigger.web_trigger import WEB_GET

@action(triggers=(WEB_GET,))
def f() -> int:
    return 1

service = Service([f])
print(list(service.operations))
try:
    from servey.servey_starlette.app import create_app
except MissingExtraError as error:
    print(error.extra, error)
"""


def test_a_service_without_the_extra_of_a_trigger_is_built_and_its_host_gives_the_command():
    run = subprocess.run([sys.executable, "-c", WITHOUT_STARLETTE], capture_output=True, text=True, timeout=60)
    assert run.stdout.splitlines() == [
        "['f']",
        "server 'starlette' is not installed; run pip install 'servey[server]'",
    ], run.stderr


def test_a_plugin_serves_a_trigger_and_its_subclasses():
    events = []
    actions = [named("f", Bell(), hint=None), named("g", LoudBell(), hint=None), named("h", hint=None)]
    service = Service(actions, plugins=[bells(events)])

    async def main():
        async with service.serving():
            events.append("serving")

    asyncio.run(main())
    assert events == [[("f", Bell), ("g", LoudBell)], "serving", "stop"]


def test_a_service_that_only_runs_starts_no_triggers():
    events = []
    service = Service([named("f", Bell(), hint=None)], plugins=[bells(events)])

    async def main():
        async with service.running():
            events.append("running")

    asyncio.run(main())
    assert events == ["running"]


def test_a_plugin_refuses_an_action_for_its_trigger():
    f = named("f", Bell())
    error = refused(f, plugins=[bells([])])
    assert (error.message, lines(error)) == ("a bell gives nothing", [line_of(f)])


# --- plugins --------------------------------------------------------------------------------------------------------


def test_each_method_of_a_plugin_is_called_once():
    calls = []

    class Counting(Plugin):
        pass

    def counting(name):
        def method(self, *service):
            calls.append(name)
            return None if service else ()

        return method

    methods = [name for name in vars(Plugin) if not name.startswith("_")]
    for name in methods:
        setattr(Counting, name, counting(name))
    service = Service([named("a"), named("b"), named("c")], plugins=[Counting()])
    assert [service.commands, service.commands] == [(), ()]
    asyncio.run(call(service, "a", {"id": 1}))
    assert [service.stores.calls, service.stores.entries] == [service.stores.calls, service.stores.entries]
    methods.remove("middleware")  # an application calls it
    assert sorted(calls) == sorted(methods)


def test_the_users_plugins_go_before_the_built_in_ones():
    class One(Plugin):
        pass

    class Two(Plugin):
        pass

    names = [type(plugin).__name__ for plugin in Service(plugins=[One(), Two()]).plugins]
    assert names == ["One", "Two", "StarlettePlugin", "StrawberryPlugin", *OTHERS]


def test_what_a_plugin_adds_is_taken():
    class Tenant:
        pass

    mapping = ErrorMapping(KeyError, 404)
    command = Command("hello", "module:hello", "Say hello.")
    authorizer = object()

    class Adding(Plugin):
        def injectors(self):
            return (Injector(Tenant, lambda context: Tenant()),)

        def errors(self):
            return (mapping,)

        def commands(self):
            return (command,)

        def authorizers(self):
            return (authorizer,)

    @action
    def f(tenant: Tenant) -> str:
        return type(tenant).__name__

    service = Service([f], plugins=[Adding()])
    assert asyncio.run(call(service, "f", {})) == "Tenant"
    assert service.operations["f"].errors == (mapping,)
    assert (service.commands, service.authentication.authorizers) == ((command,), (authorizer,))


# --- from the settings ----------------------------------------------------------------------------------------------


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

    yield write
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


ACTIONS = """
    from servey.action.action import action

    @action
    def say_hello(name: str) -> str:
        return f"Hello {name}!"
"""

PLUGINS = """
    from servey.plugin import Plugin

    class One(Plugin): ...
    class Two(Plugin): ...
    class Failing(Plugin):
        def __init__(self):
            raise RuntimeError("my own")
    def function(): ...
    instance = One()
"""


def test_the_environment_says_where_the_actions_are(project, monkeypatch):
    project({"shop/hello.py": ACTIONS, "shop/__init__.py": ""})
    monkeypatch.setenv("SERVEY_ACTION_PATH", "shop.hello")
    monkeypatch.setenv("SERVEY_TIMEOUT", "3")
    service = Service.from_settings()
    assert (list(service.operations), service.settings.calls.timeout) == (["say_hello"], 3.0)


def test_a_wrong_environment_stops_before_anything_is_imported(project, monkeypatch):
    project({"actions.py": "raise AssertionError('imported')"})
    monkeypatch.setenv("SERVEY_TIMEOUT", "soon")
    with pytest.raises(SettingsError, match="SERVEY_TIMEOUT"):
        Service.from_settings()


def test_plugins_of_the_settings_are_loaded_in_order(project):
    project({"actions.py": ACTIONS, "servey_test_plugins.py": PLUGINS})
    settings = Settings(plugins=("servey_test_plugins:Two", "servey_test_plugins:One"))
    names = [type(plugin).__name__ for plugin in Service.from_settings(settings).plugins]
    assert names == ["Two", "One", "StarlettePlugin", "StrawberryPlugin", *OTHERS]


def entry_points(tmp_path, text, name="servey_test_dist"):
    info = tmp_path / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[servey.plugins]\n{text}\n")


def test_plugins_of_installed_packages_go_first(project, tmp_path):
    project({"actions.py": ACTIONS, "servey_test_plugins.py": PLUGINS})
    entry_points(tmp_path, "mine = servey_test_plugins:Two")
    settings = Settings(plugins=("servey_test_plugins:One",))
    names = [type(plugin).__name__ for plugin in Service.from_settings(settings).plugins]
    assert names == ["Two", "One", "StarlettePlugin", "StrawberryPlugin", *OTHERS]


def test_a_plugin_that_is_named_twice_is_loaded_once(project, tmp_path):
    project({"actions.py": ACTIONS, "servey_test_plugins.py": PLUGINS})
    entry_points(tmp_path, "mine = servey_test_plugins:One")
    settings = Settings(plugins=("servey_test_plugins:One", "servey_test_plugins:Two", "servey_test_plugins:Two"))
    names = [type(plugin).__name__ for plugin in Service.from_settings(settings).plugins]
    assert names == ["One", "Two", "StarlettePlugin", "StrawberryPlugin", *OTHERS]


@pytest.mark.parametrize("target", ["servey_test_plugins:Nowhere", "servey_test_nowhere:One"])
def test_a_wrong_plugin_of_an_installed_package_is_told(project, tmp_path, target):
    project({"actions.py": ACTIONS, "servey_test_plugins.py": PLUGINS})
    entry_points(tmp_path, f"mine = {target}")
    with pytest.raises(DefinitionError) as caught:
        Service.from_settings(Settings())
    assert target in str(caught.value)


def test_a_nested_action_that_nothing_returns_is_warned_about(project, caplog):
    project(
        {
            "actions.py": """
                from dataclasses import dataclass
                from servey.action.action import action

                @dataclass
                class Reached:
                    value: int

                    @action
                    def double(self) -> int:
                        return self.value * 2

                @dataclass
                class Lost:
                    value: int

                    @action
                    def half(self) -> int:
                        return self.value // 2

                @action
                def reach() -> Reached:
                    return Reached(1)
            """
        }
    )
    Service.from_settings(Settings())
    (record,) = [item for item in caplog.records if item.name == "servey.service"]
    assert "Lost.half" in record.getMessage()
    assert "actions.py:" in record.getMessage()


PART = """
    from typing import Annotated

    from servey.plugin import Plugin
    from servey.settings_part import SettingsPart, Variable


    class Part(SettingsPart, frozen=True, kw_only=True):
        shop_tills: Annotated[int, Variable("SERVEY_SHOP_TILLS", "The number of tills.")] = 1


    class Shop(Plugin):
        def settings(self):
            return (Part,)
"""


def test_variables_of_named_plugins_are_known(project, caplog):
    project({"actions.py": "", "servey_test_plugins.py": PART})
    plugins = {"SERVEY_PLUGINS": "servey_test_plugins:Shop", "SERVEY_SHOP_TILLS": "3", "SERVEY_THREAD": "4"}
    settings = Settings.from_environment(plugins)
    assert caplog.messages == [], "a plugin may have a setting of any name"
    service = Service.from_settings(settings)
    assert service.settings.parts[-1].shop_tills == 3
    assert caplog.messages == ["SERVEY_THREAD is not a setting of servey; did you mean SERVEY_THREADS?"]
