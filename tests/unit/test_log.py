"""Logging set-up."""

import asyncio
import io
import json
import logging
import subprocess
import sys

import pytest

from servey import WEB_GET
from servey.action.action import action
from servey.log import AccessRecord, CallFilter, Handler, HumanFormatter, JsonFormatter, configure, replace_last_resort
from servey.plugin import Plugin
from servey.servey_direct import direct
from servey.servey_starlette.app import create_app
from servey.servey_test.client import client_of
from servey.service import Service


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_it_was():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def record(message: str, *args: object, **attributes: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "app", "levelname": "WARNING", "msg": message, "args": args, "created": 0.5, **attributes}
    )


def test_a_terminal_gets_lines_for_people():
    configure("INFO", stream := Terminal())
    logging.getLogger("app").warning("%s left", 5, extra={"action": "x"})
    assert stream.getvalue() == "WARNING app: 5 left\n"


def test_anything_else_gets_json_lines():
    configure("INFO", stream := io.StringIO())
    logging.getLogger("app").warning("%s left", 5, extra={"action": "x", "request_id": "r-1"})
    line = json.loads(stream.getvalue())
    assert line.pop("ts").endswith("Z")
    assert line == {"level": "WARNING", "logger": "app", "msg": "5 left", "action": "x", "request_id": "r-1"}


def test_json_has_the_exception_as_text_on_its_one_line():
    configure("INFO", stream := io.StringIO())
    try:
        raise ValueError("bad\nthing")
    except ValueError:
        logging.getLogger("app").exception("failed")
    assert stream.getvalue().count("\n") == 1
    assert json.loads(stream.getvalue())["exception"].endswith("ValueError: bad\nthing")


def test_extras_replace_no_member_of_the_record():
    line = json.loads(JsonFormatter().format(record("real", level="fake", ts="fake", logger="fake")))
    assert line == {"ts": "1970-01-01T00:00:00.500Z", "level": "WARNING", "logger": "app", "msg": "real"}


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("value", [object(), {1, 2}, {(1, 2): 3}, "\udc80", Unprintable(), float("nan"), b"x", 2**70])
def test_any_extra_and_message_can_be_written(value):
    assert json.loads(JsonFormatter().format(record("m", extra=value)))["msg"] == "m"
    assert json.loads(JsonFormatter().format(record("\udc80\x1b", extra=value)))["level"] == "WARNING"


def test_what_a_terminal_would_obey_is_shown_instead():
    assert HumanFormatter().format(record("GET /%s", "\x1b[2J\r\x07é")) == "WARNING app: GET /\\x1b[2J\\x0d\\x07é"


def test_a_stream_of_strict_utf8_gets_every_record():
    told = "caf\udce9"
    for formatter in (HumanFormatter(), JsonFormatter()):
        for made in (record(told), AccessRecord("app", logging.INFO, told, {"subject": told, "status": 200})):
            assert "caf\\" in formatter.format(made).encode("utf-8").decode()


def test_the_level_is_the_least_severe_that_is_logged():
    configure("ERROR", stream := Terminal())
    logging.getLogger("app").warning("w")
    logging.getLogger("app").error("e")
    assert stream.getvalue() == "ERROR app: e\n"


def test_configuring_again_replaces_its_own_handler_only():
    logging.getLogger().addHandler(mine := logging.NullHandler())
    configure("INFO", Terminal())
    configure("DEBUG", stream := Terminal())
    handlers = logging.getLogger().handlers
    assert next(item for item in handlers if isinstance(item, Handler)).stream is stream
    assert len([item for item in handlers if isinstance(item, Handler)]) == 1
    assert mine in handlers


def test_uvicorns_message_for_its_own_formatter_is_no_extra():
    line = json.loads(JsonFormatter().format(record("%s left", 5, color_message="\x1b[1m%s left")))
    assert line == {"ts": "1970-01-01T00:00:00.500Z", "level": "WARNING", "logger": "app", "msg": "5 left"}


def test_an_import_sets_nothing_up():
    code = "import logging, servey, servey.log, servey.service, servey.cli.main; print(logging.getLogger().handlers)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# --- records of the user's code ---------------------------------------------------------------------------------------

_ours = logging.getLogger("parcels")


def _logged_in_a_thread() -> None:
    _ours.warning("in a thread")


class _Control:
    def check(self, authorization):
        _ours.warning("in the access control")


@action(triggers=(WEB_GET,), access_control=_Control())
async def on_the_loop() -> None:
    _ours.warning("on the loop")
    await asyncio.create_task(_in_a_task())
    await asyncio.to_thread(_logged_in_a_thread)


async def _in_a_task() -> None:
    _ours.warning("in a task")


@action(triggers=(WEB_GET,))
def in_a_worker() -> None:
    _ours.warning("in a worker", extra={"request_id": "its own"})


class _Routes(Plugin):
    def starlette_routes(self, service):
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route

        async def route(request):
            _ours.warning("in a route")
            return PlainTextResponse("")

        return (Route("/route", route),)


def _served(*paths):
    async def main():
        service = Service([on_the_loop, in_a_worker], plugins=[_Routes()])
        async with client_of(create_app(service)) as client:
            for path in paths:
                await client.request("GET", path, headers={"x-request-id": f"r{path}"})
        _ours.warning("outside")

    asyncio.run(main())


def test_records_of_the_users_code_have_the_request_id_and_the_action():
    configure("INFO", stream := io.StringIO())
    _served("/actions/on-the-loop", "/actions/in-a-worker", "/route")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["msg"], line.get("request_id"), line.get("action")) for line in lines] == [
        ("in the access control", "r/actions/on-the-loop", "on_the_loop"),
        ("on the loop", "r/actions/on-the-loop", "on_the_loop"),
        ("in a task", "r/actions/on-the-loop", "on_the_loop"),
        ("in a thread", "r/actions/on-the-loop", "on_the_loop"),
        ("in a worker", "its own", "in_a_worker"),
        ("in a route", "r/route", None),
        ("outside", None, None),
    ]


def test_a_handler_of_the_users_own_takes_the_filter():
    handler = logging.StreamHandler(stream := io.StringIO())
    handler.setFormatter(logging.Formatter("%(action)s %(message)s"))
    handler.addFilter(CallFilter())
    logging.getLogger().addHandler(handler)
    asyncio.run(direct.call(Service([in_a_worker]), "in_a_worker", {}))
    assert stream.getvalue() == "in_a_worker in a worker\n"


def test_a_terminal_shows_the_id_of_the_request():
    configure("INFO", stream := Terminal())
    _served("/route")
    assert stream.getvalue() == "WARNING parcels: in a route (request r/route)\nWARNING parcels: outside\n"


@pytest.fixture
def _last_resort(monkeypatch):
    """No logging is configured, and Python's last resort is what it was."""
    monkeypatch.setattr(logging, "lastResort", logging._defaultLastResort)


@pytest.mark.usefixtures("_last_resort")
def test_without_any_configuration_a_server_writes_time_level_and_request(capsys):
    logging.getLogger().handlers[:] = []  # pytest's
    _served("/route")
    first, second = capsys.readouterr().err.splitlines()
    time, _, rest = first.partition(" ")
    assert time.endswith("Z")
    assert rest == "WARNING parcels: in a route (request r/route)"
    assert second.endswith(" WARNING parcels: outside")


@pytest.mark.usefixtures("_last_resort")
def test_who_configures_logging_later_gets_none_of_it(capsys):
    replace_last_resort()
    logging.getLogger().handlers[:] = []  # pytest's
    logging.basicConfig(format="%(message)s", stream=(mine := io.StringIO()))
    _ours.warning("mine")
    assert (mine.getvalue(), capsys.readouterr().err) == ("mine\n", "")


@pytest.mark.usefixtures("_last_resort")
def test_who_has_replaced_the_last_resort_keeps_it(monkeypatch):
    monkeypatch.setattr(logging, "lastResort", None)
    replace_last_resort()
    assert logging.lastResort is None
