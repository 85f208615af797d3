"""The program: its commands, `--run`, exit codes, and what is written where."""

import json
import sys
from types import SimpleNamespace

import click
import pytest

import servey.servey_uvicorn
from servey.action.action import action
from servey.cli import main as cli_main
from servey.cli.main import run, words
from servey.cli.project import Project
from servey.plugin import Command, Plugin, TriggerSupport
from servey.security.access_control import ALLOW_NONE
from servey.security.access_control.scope_access_control import ScopeAccessControl
from servey.security.authorization import Authorization
from servey.service import Service
from servey.settings import Settings
from servey.trigger.cron_trigger import CronTrigger
from servey.trigger.fixed_rate_trigger import FixedRateTrigger
from servey.trigger.web_trigger import WEB_GET, WebTrigger, WebTriggerMethod


@click.command()
@click.argument("whom")
def greet(whom: str) -> int:
    click.echo(f"hi {whom}")
    return 7  # what a command returns is no exit code


class Extra(Plugin):
    def triggers(self):
        return (TriggerSupport(FixedRateTrigger), TriggerSupport(CronTrigger), TriggerSupport(str))

    def commands(self):
        return (
            Command("greet", "greeting:greet", "Say it."),
            Command("config", "greeting:greet", "Replace a command of servey's."),
            Command("broken", "greeting:Extra", "Name what is no command."),
        )


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.setitem(sys.modules, "greeting", SimpleNamespace(greet=greet, Extra=Extra))


@action(
    triggers=(WEB_GET, WebTrigger(WebTriggerMethod.POST, "/ticks"), FixedRateTrigger(60), CronTrigger("0 7 * * *")),
    access_control=ScopeAccessControl("root"),
)
def tick() -> None:
    """Tick, and tock.

    At length.
    """


@action(access_control=ALLOW_NONE, deprecated=True)
def internal() -> None: ...


@action
def whoami(authorization: Authorization) -> str:
    return ""


ACTIONS = (tick, internal, whoami)

# --- which command ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], ["serve"]),
        (["--run=server"], ["serve"]),
        (["--run", "server", "--port", "1"], ["serve", "--port", "1"]),
        (["--port=1"], ["serve", "--port=1"]),
        (["--no-color"], ["--no-color", "serve"]),
        (["--no-color", "--run=config", "--json"], ["--no-color", "config", "--json"]),
        (["--run=action", "--action=x"], ["call", "x"]),
        (["--action", "x", "--event={}", "--run", "action"], ["call", "x", "--event={}"]),
        (["--run=action", "--action=x", "--run=5", "--action=6"], ["call", "x", "--run=5", "--action=6"]),
        (["--run=nope"], ["nope"]),
        (["--help"], ["--help"]),
        (["-h"], ["-h"]),
        (["--version"], ["--version"]),
        (["call", "x", "--run=1"], ["call", "x", "--run=1"]),
    ],
)
def test_run_names_a_command(args, expected):
    assert words(args, "serve") == expected


@pytest.mark.parametrize("args", [["--run"], ["--run=action"], ["--run=action", "--action"], ["--action=x"]])
def test_half_of_a_run_is_a_usage_error(args, capsys):
    assert run(args, default="serve") == 64
    assert capsys.readouterr().err.startswith("Error: ")


@pytest.mark.parametrize("args", [["--run=nope"], ["nope"]])
def test_an_unknown_command_is_told_those_that_there_are(servey, args):
    done = servey(*args, plugins=[Extra()])
    assert (done.code, done.out) == (64, "")
    for name in ("serve (--run=server)", "call (--run=action)", "list", "config", "completion", "greet"):
        assert name in done.err


def test_the_nearest_command_is_suggested(servey):
    assert "Did you mean 'list'?" in servey("lst").err


def test_version(servey):
    assert servey("--version") == (0, f"servey {sys.modules['servey'].__version__}\n", "")


def test_help_lists_the_commands_and_no_arguments_show_it(servey):
    done = servey("--help", plugins=[Extra()])
    assert (done.code, done.err) == (0, "")
    for command in (*cli_main.COMMANDS, Command("greet", "a:b", "Say it.")):
        assert f"  {command.name}" in done.out
        assert command.summary in done.out
    bare = servey()
    assert (bare.code, bare.out) == (64, "")
    assert "Commands:" in bare.err


@pytest.mark.parametrize("command", [command.name for command in cli_main.COMMANDS])
def test_every_command_has_help(servey, command):
    done = servey(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: servey {command}")


# --- plugins' commands --------------------------------------------------------------------------------------------


def test_a_plugins_command_runs(servey):
    assert servey("greet", "you", plugins=[Extra()]) == (0, "hi you\n", "")


def test_a_plugin_replaces_no_command_of_serveys(servey):
    assert "SERVER_PORT" in servey("config", plugins=[Extra()]).out


def test_a_plugins_command_that_is_none_is_told(servey):
    done = servey("broken", plugins=[Extra()])
    assert (done.code, done.out) == (70, "")
    assert "broken" in done.err


# --- list ---------------------------------------------------------------------------------------------------------


def test_list_is_a_table_with_one_line_for_each_action(servey):
    done = servey("list", actions=ACTIONS, plugins=[Extra()])
    assert (done.code, done.err) == (0, "")
    header, *rows = [line.split("  ") for line in done.out.splitlines()]
    assert [cell.strip() for cell in header if cell] == ["ACTION", "TRIGGERS", "SCHEDULE", "ACCESS", "SUMMARY"]
    assert [[cell.strip() for cell in row if cell.strip()] for row in rows] == [
        ["tick", "GET /actions/tick, POST /ticks", "every 0:01:00, 0 7 * * * UTC", "scope root", "Tick, and tock."],
        ["internal", "nobody"],
        ["whoami", "any token"],
    ]


def test_its_columns_are_aligned_and_empty_ones_left_out(servey):
    done = servey("list", actions=[internal, whoami])
    assert done.out == "ACTION    ACCESS\ninternal  nobody\nwhoami    any token\n"


def test_list_as_json(servey):
    done = servey("list", "--json", actions=ACTIONS, plugins=[Extra()])
    rows = json.loads(done.out)
    assert [row.pop("where").partition(":")[0].endswith("test_program.py") for row in rows] == [True] * 3
    assert rows[0] == {
        "action": "tick",
        "triggers": ["GET /actions/tick", "POST /ticks"],
        "schedule": ["every 0:01:00", "0 7 * * * UTC"],
        "access": "scope root",
        "summary": "Tick, and tock.",
        "deprecated": False,
        "nested_in": None,
    }
    assert rows[1]["deprecated"]


def test_a_service_without_actions_says_so(servey):
    done = servey("list")
    assert (done.code, done.out) == (0, "")
    assert "@action" in done.err
    assert servey("list", "--json").out == "[]\n"


# --- config -------------------------------------------------------------------------------------------------------


def test_config_shows_every_setting_and_what_set_it(monkeypatch, capsys):
    monkeypatch.setenv("PORT", "9000")
    assert run(["config", "--json"]) == 0
    rows = {row["variable"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows.keys() == {variable.name for variable in Settings().variables().values()}
    assert (rows["SERVER_PORT"]["value"], rows["SERVER_PORT"]["source"]) == ("9000", "PORT")


def test_a_wrong_setting_is_78(monkeypatch, capsys):
    monkeypatch.setenv("SERVER_PORT", "x")
    monkeypatch.setenv("SERVEY_TIMEOUT", "y")
    assert run(["config"]) == 78
    told = capsys.readouterr()
    assert told.out == ""
    assert "SERVER_PORT" in told.err
    assert "SERVEY_TIMEOUT" in told.err


def test_an_unknown_setting_is_a_warning(monkeypatch, capsys):
    monkeypatch.setenv("SERVEY_THREDS", "1")
    assert run(["config"]) == 0
    assert "SERVEY_THREADS" in capsys.readouterr().err


# --- serve --------------------------------------------------------------------------------------------------------


class Served(list[Settings]):
    """What the server is called with instead of running; whether it is to reload each time."""

    def __init__(self) -> None:
        super().__init__()
        self.reload: list[bool] = []

    def serve(self, settings: Settings, load: object, *, reload: bool, modules: str, show_error: object) -> None:
        self.append(settings)
        self.reload.append(reload)


@pytest.fixture
def served(monkeypatch) -> Served:
    called = Served()
    fake = SimpleNamespace(serve=called.serve)
    monkeypatch.setitem(sys.modules, "servey.servey_uvicorn.server", fake)
    monkeypatch.setattr(servey.servey_uvicorn, "server", fake, raising=False)
    return called


@pytest.mark.parametrize("args", [[], ["--run=server"], ["serve"]])
def test_the_server_gets_the_environments_settings(served, args):
    settings = Settings(server_port=9000)
    assert run(args, default="serve", project=Project(settings=settings)) == 0
    assert served == [settings]


def test_flags_of_serve_replace_settings(served):
    assert run(["serve", "--host", "0.0.0.0", "--port=0"], project=Project(settings=Settings())) == 0
    assert served == [Settings(server_host="0.0.0.0", server_port=0)]
    assert served[0].production
    assert run(["serve", "--workers", "3"], project=Project(settings=Settings())) == 0
    assert served[1] == Settings(workers=3)


LOCAL, EVERYWHERE = Settings(), Settings(server_host="0.0.0.0")
PRODUCTION = Settings(environment="production")
DEVELOPED_ELSEWHERE = Settings(server_host="0.0.0.0", environment="development")


@pytest.mark.parametrize(
    ("settings", "args", "reload"),
    [
        (LOCAL, [], True),
        (LOCAL, ["--no-reload"], False),
        (LOCAL, ["--reload"], True),
        (LOCAL, ["--workers", "2"], False),
        (LOCAL, ["--host", "0.0.0.0"], False),
        (Settings(workers=2), ["--workers", "1"], True),
        (EVERYWHERE, [], False),
        (PRODUCTION, [], False),
        (DEVELOPED_ELSEWHERE, [], False),
        (DEVELOPED_ELSEWHERE, ["--reload"], True),
    ],
)
def test_the_server_reloads_in_development_on_this_machine_with_one_process(served, settings, args, reload):
    assert run(["serve", *args], project=Project(settings=settings)) == 0
    assert served.reload == [reload]


@pytest.mark.parametrize(("settings", "args"), [(PRODUCTION, []), (EVERYWHERE, []), (LOCAL, ["--workers", "2"])])
def test_reloading_where_that_cannot_be_is_a_usage_error(served, settings, args, capsys):
    assert run(["serve", "--reload", *args], project=Project(settings=settings)) == 64
    assert served == []


@pytest.mark.parametrize("port", ["70000", "-1", "x"])
def test_a_port_that_is_none_is_a_usage_error(served, port):
    assert run(["serve", "--port", port]) == 64
    assert served == []


class NoStarlette:
    """Finds what is not installed."""

    def find_spec(self, name, path=None, target=None):
        if name == "starlette":
            raise ModuleNotFoundError("No module named 'starlette'", name="starlette")


def test_without_the_extra_serve_says_how_to_install_it(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.split(".")[0] == "starlette"]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("servey.servey_starlette.")]:
        monkeypatch.delitem(sys.modules, name)
    import servey.servey_starlette

    monkeypatch.delattr(servey.servey_starlette, "app", raising=False)
    monkeypatch.setattr(sys, "meta_path", [NoStarlette(), *sys.meta_path])
    assert run(["serve"], project=Project(settings=Settings())) == 69
    assert "pip install 'servey[server]'" in capsys.readouterr().err


# --- defects ------------------------------------------------------------------------------------------------------


def test_a_defect_of_serveys_own_is_70_with_its_traceback(monkeypatch, capsys):
    def broken(self: Project) -> Service:
        raise ZeroDivisionError("of servey")

    monkeypatch.setattr(Project, "service", property(broken))
    assert run(["list"]) == 70
    told = capsys.readouterr()
    assert "ZeroDivisionError: of servey" in told.err
    assert told.out == ""
