"""A call error as problem details that can be written, whatever texts and data its service has put into it."""

from __future__ import annotations

import logging
import typing
from typing import Any

import msgspec

from servey.errors import CallError

_log = logging.getLogger("servey.errors")


def problem_details(error: CallError, request_id: str = "", types: str = "") -> dict[str, Any]:
    """Return the problem details of an error (RFC 9457), of JSON values alone.

    Texts that UTF-8 cannot write have replacements. Members that JSON cannot hold are left out, and logged.

    Args:
        error: The error.
        request_id: What the caller and the log know the call by.
        types: What the ``type`` begins with, before the code.

    Example:
        >>> from servey.errors import NotFoundError
        >>> problem_details(NotFoundError("no \\udce9", data={"at": object()}))["detail"]
        'no \ufffd'
    """
    found: dict[str, Any] = {}
    for name, value in error.problem(request_id, types).items():
        try:
            written = encodable(msgspec.to_builtins(value, str_keys=True))
            msgspec.json.encode(written)
        except (TypeError, ValueError, OverflowError, RecursionError):
            _log.exception(
                "the member %r of a %s cannot be encoded",
                name,
                type(error).__name__,
                extra={"request_id": request_id},
            )
        else:
            found[encodable_text(str(name))] = written
    return found


def encodable(value: Any) -> Any:
    """Return what JSON holds with every text in it as `encodable_text` returns it."""
    if isinstance(value, str):
        return encodable_text(value)
    if isinstance(value, dict):
        members = typing.cast("dict[Any, Any]", value).items()
        return {encodable(name): encodable(member) for name, member in members}
    if isinstance(value, (list, tuple)):
        return [encodable(item) for item in typing.cast("list[Any]", value)]
    return value


def encodable_text(text: str) -> str:
    """Return a text that UTF-8 can write: lone surrogates become U+FFFD, pairs of them the character that they mean.

    Example:
        >>> encodable_text("caf\\udce9")
        'caf\ufffd'
    """
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
