"""Configure logging for the programs: readable lines on a terminal, otherwise one JSON object per line.

The import configures nothing, so a program that uses servey as a library has its own logging.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import msgspec

from servey.action.context import CURRENT_CALL
from servey.action.current import CURRENT_REQUEST

_STANDARD = {*vars(logging.makeLogRecord({})), "members", "message", "asctime", "taskName", "color_message"}
"""The attributes of a record that are not extras; `color_message` is uvicorn's message for its own formatter."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class CallFilter(logging.Filter):
    """Add ``request_id`` and ``action`` of the current call to each record. It drops no record.

    The handler that `configure` installs has it. Add it to your own handlers, not to loggers: the filter of a logger
    does not see the records of its child loggers.

    Example:
        >>> handler = logging.StreamHandler()
        >>> handler.addFilter(CallFilter())
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the attributes that the record does not have yet, and return True."""
        call = CURRENT_CALL.get(None)
        if call is not None:
            vars(record).setdefault("request_id", call.request_id)
            if call.action:
                vars(record).setdefault("action", call.action)
        elif (request := CURRENT_REQUEST.get()) is not None:
            vars(record).setdefault("request_id", request.request_id)
        return True


class HumanFormatter(logging.Formatter):
    """``INFO servey.operation: message``, with the request id, and the traceback below.

    Control characters are escaped, because a message may quote the text of a caller. Lone surrogates are escaped, too,
    because most streams cannot write them.
    """

    def __init__(self, *, has_time: bool = False) -> None:
        super().__init__(f"{'%(asctime)s ' if has_time else ''}%(levelname)s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the time."""
        return _time(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line, with the request id unless the message contains it."""
        line = super().formatMessage(record)
        request_id = getattr(record, "request_id", "")
        if not request_id or request_id in line or isinstance(record, AccessRecord):
            return line
        return f"{line} (request {request_id})"

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return _CONTROL.sub(_escaped, super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object: ``ts`` (RFC 3339, UTC), ``level``, ``logger``, ``msg``, the extras, ``exception`` as text.

    Example:
        >>> record = logging.makeLogRecord({"msg": "done", "levelname": "INFO", "name": "app", "created": 0.0})
        >>> JsonFormatter().format(record)
        '{"ts":"1970-01-01T00:00:00.000Z","level":"INFO","logger":"app","msg":"done"}'
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the object."""
        members: dict[str, Any] = {
            "ts": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "msg": record.getMessage(),
        }
        if isinstance(record, AccessRecord):
            return _json(members | record.members)
        for name, value in vars(record).items():
            if name not in _STANDARD:
                members.setdefault(name, value)
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        elif record.exc_text:
            members["exception"] = record.exc_text
        if record.stack_info:
            members["stack"] = record.stack_info
        return _json(members)


class AccessRecord(logging.LogRecord):
    """One request of the access log: a readable line, and members for programs.

    An ordinary record costs more than a small request. This record leaves out the place in the source, the thread and
    the process.
    """

    members: dict[str, Any]

    def __init__(self, name: str, level: int, message: str, members: dict[str, Any]) -> None:
        moment = time.time()
        self.__dict__ = {
            **_BLANK,
            "name": name,
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "msg": message,
            "created": moment,
            "msecs": int(moment % 1 * 1000) + 0.0,
            "relativeCreated": (moment - _BLANK["created"]) * 1000,
            "members": members,
            **members,
        }


_BLANK: dict[str, Any] = {**vars(logging.makeLogRecord({}))}


class Handler(logging.StreamHandler[TextIO]):
    """The handler that `configure` installs; another call of `configure` replaces it, and no other handler."""


def configure(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Log messages from `level` on to `stream`; a second call changes both.

    Args:
        level: ``DEBUG``, ``INFO``, ``WARNING``, ``ERROR`` or ``CRITICAL``.
        stream: Default: standard error.
    """
    root = logging.getLogger()
    for handler in [item for item in root.handlers if isinstance(item, Handler)]:
        root.removeHandler(handler)
    handler = Handler(stream or sys.stderr)
    handler.setFormatter(HumanFormatter() if _is_terminal(handler.stream) else JsonFormatter())
    handler.addFilter(CallFilter())
    root.addHandler(handler)
    root.setLevel(level)


def replace_last_resort() -> None:
    """Log warnings with time, level and request id in a program that has not configured logging.

    Python would write only their messages. Nothing changes for a program that configures logging, before or after this
    call, or that has replaced `logging.lastResort`.
    """
    default = logging.lastResort
    if default is not None and default is getattr(logging, "_defaultLastResort", None):
        handler = type(default)(logging.WARNING)  # it writes to the current `sys.stderr`
        handler.setFormatter(HumanFormatter(has_time=True))
        handler.addFilter(CallFilter())
        logging.lastResort = handler


def _time(record: logging.LogRecord) -> str:
    second, part = divmod(record.created, 1)
    return f"{_second(int(second))}.{int(part * 1000):03}Z"


@lru_cache(maxsize=4)
def _second(moment: int) -> str:
    """Return a second, UTC, without its fraction; cached, because many records share a second."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # no real stream, or a closed one
        return False


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _json(members: dict[str, Any]) -> str:
    try:
        return msgspec.json.encode(members, enc_hook=_text).decode()
    except Exception:  # noqa: BLE001 - a lone surrogate, a key that is not a string, a failing __repr__
        return msgspec.json.encode({name: _text(value) for name, value in members.items()}).decode()


def _text(value: Any) -> str:
    """Return any value as text that can be encoded."""
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - logging must not fail for a value's own defect
        text = f"<{type(value).__name__}>"
    return text.encode("utf-8", "backslashreplace").decode()
