"""Logging set-up."""

import io
import json
import logging
import subprocess
import sys

import pytest

from servey.log import AccessRecord, Handler, HumanFormatter, JsonFormatter, configure


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
