"""Problem details (RFC 9457) of a call error, which can always be encoded."""

from __future__ import annotations

import logging
import typing
from typing import Any

import msgspec

from servey.errors import CallError

_log = logging.getLogger("servey.errors")


def problem_details(error: CallError, request_id: str = "", types: str = "") -> dict[str, Any]:
    """Return the problem details of an error (RFC 9457), with JSON values only.

    `encodable_text` replaces lone surrogates. Members that JSON cannot express are left out and logged.

    Args:
        error: The error.
        request_id: The id of the request.
        types: The prefix of ``type``, before the code.

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
    """Return a JSON value with `encodable_text` applied to every text in it."""
    if isinstance(value, str):
        return encodable_text(value)
    if isinstance(value, dict):
        members = typing.cast("dict[Any, Any]", value).items()
        return {encodable(name): encodable(member) for name, member in members}
    if isinstance(value, (list, tuple)):
        return [encodable(item) for item in typing.cast("list[Any]", value)]
    return value


def encodable_text(text: str) -> str:
    """Return a text that UTF-8 can encode: a lone surrogate becomes U+FFFD, a surrogate pair its character.

    Example:
        >>> encodable_text("caf\\udce9")
        'caf\ufffd'
    """
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def is_text(text: str) -> bool:
    """Whether a str can be written in UTF-8: one with a lone surrogate cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
