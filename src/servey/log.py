"""Logging set-up for the programs: lines for a person on a terminal, one JSON object per line anywhere else.

Nothing is set up by an import. A library's user who calls servey from a program of their own keeps their logging.
"""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}
"""The attributes of a record that are no extras; `color_message` is uvicorn's message for its own formatter."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class HumanFormatter(logging.Formatter):
    """``INFO servey.operation: message``, and the traceback below.

    Control characters are shown as escapes: a message may quote what a stranger sent, and a terminal obeys it.
    """

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object: ``ts`` (RFC 3339, UTC), ``level``, ``logger``, ``msg``, the extras, ``exception`` as text.

    Example:
        >>> record = logging.makeLogRecord({"msg": "done", "levelname": "INFO", "name": "app", "created": 0.0})
        >>> JsonFormatter().format(record)
        '{"ts":"1970-01-01T00:00:00.000Z","level":"INFO","logger":"app","msg":"done"}'
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the object."""
        moment = datetime.fromtimestamp(record.created, UTC)
        members: dict[str, Any] = {
            "ts": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "msg": record.getMessage(),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD:
                members.setdefault(name, value)
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        elif record.exc_text:
            members["exception"] = record.exc_text
        if record.stack_info:
            members["stack"] = record.stack_info
        try:
            return msgspec.json.encode(members, enc_hook=_text).decode()
        except Exception:  # noqa: BLE001 - a lone surrogate, a key that is no string, a failing __repr__
            return msgspec.json.encode({name: _text(value) for name, value in members.items()}).decode()


class Handler(logging.StreamHandler[TextIO]):
    """Marks the handler that `configure` installed, so that it is replaced and nobody else's is."""


def configure(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Log everything from `level` on to `stream`; again, to change either.

    Args:
        level: ``DEBUG``, ``INFO``, ``WARNING``, ``ERROR`` or ``CRITICAL``.
        stream: Default: standard error.
    """
    root = logging.getLogger()
    for handler in [item for item in root.handlers if isinstance(item, Handler)]:
        root.removeHandler(handler)
    handler = Handler(stream or sys.stderr)
    handler.setFormatter(HumanFormatter() if _is_terminal(handler.stream) else JsonFormatter())
    root.addHandler(handler)
    root.setLevel(level)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # no real stream, or a closed one
        return False


def _text(value: Any) -> str:
    """Return `value` as text that can be encoded, whatever it is."""
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - logging must not fail for a value's own defect
        text = f"<{type(value).__name__}>"
    return text.encode("utf-8", "backslashreplace").decode()
