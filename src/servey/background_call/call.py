"""A background call as data, and its outcome."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from servey.codec import ResultError
from servey.errors import MalformedError
from servey.security.authorization import Authorization

if TYPE_CHECKING:
    from servey.action.operation import Operation

ARGUMENTS_LIMIT = 256 * 1024
"""The largest size of a call's arguments, in bytes of JSON."""


def arguments_json(operation: Operation, arguments: Mapping[str, Any]) -> bytes:
    """Return arguments, given by name as in a call of the function, as JSON for `Call.arguments`.

    Raises:
        ValueError: The action has no such arguments; the error has all problems.
    """
    try:
        return operation.arguments.encode_json(operation.bind(**arguments))
    except ResultError as error:
        raise ValueError(f"{operation.name} cannot have these arguments: {error}") from error


class Call(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A background call. Store it only in a trusted place: servey does not verify its caller again.

    Readers ignore unknown fields, so that two releases can share a queue.

    Args:
        id: The id of the call, at most 400 characters. A queue stores one call of an id.
        action: The action's name.
        arguments: The arguments as a JSON object, from `ArgumentsCodec.encode_json`.
        due: When the call may begin, in Unix seconds.
        request_id: The id of the request that has submitted the call.
        expires: The call does not begin after this time, in Unix seconds; None for no limit.
        attempt: The number of the attempt, from 1; a failure with a retry adds 1.
        caller: The caller on whose behalf the call is made.
        traceparent: The trace that the call belongs to (W3C Trace Context §3.2); empty if unknown.
        postponed: How often the call was postponed, because the process does not know its action.
        alone: While a call with this text runs, other calls with the same text are skipped. Empty for no such rule.
    """

    id: str
    action: str
    arguments: msgspec.Raw
    due: float
    request_id: str
    expires: float | None = None
    attempt: int = 1
    caller: Authorization | None = None
    traceparent: str = ""
    postponed: int = 0
    alone: str = ""

    @property
    def is_named(self) -> bool:
        """Whether the id has a meaning (a schedule and its time, `Background.once`), so that others may put it, too."""
        return self.id.startswith((f"{self.action}:", f"{self.action}#"))

    @property
    def log_fields(self) -> dict[str, Any]:
        """The fields of a log record about this call."""
        return {"action": self.action, "request_id": self.request_id, "call_id": self.id}

    @classmethod
    def decode(cls, data: bytes) -> Call:
        """Decode the bytes of `encode`.

        Raises:
            MalformedError: The bytes are not a call.
        """
        try:
            return _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedError(f"this is not a call: {error}") from error

    def later(self, seconds: float, **changes: Any) -> Call:
        """Return the call with changes, due so many seconds from now."""
        return msgspec.structs.replace(self, due=time.time() + seconds, **changes)

    def encode(self) -> bytes:
        """Encode the call as JSON; equal calls have equal bytes."""
        return _ENCODER.encode(self)


_DECODER = msgspec.json.Decoder(Call)
_ENCODER = msgspec.json.Encoder(order="deterministic")


class Done(msgspec.Struct, frozen=True):
    """The call has ended.

    Args:
        result: The result as JSON.
        skipped: Why the action was not called; empty if it was.
    """

    result: bytes = b"null"
    skipped: str = ""


class Again(msgspec.Struct, frozen=True):
    """The call has failed, and the queue makes its next attempt.

    Args:
        call: The next attempt; `Call.due` is its time.
    """

    call: Call


class Failed(msgspec.Struct, frozen=True):
    """The call has failed for good. The queue stores it, and you can retry or forget it.

    Args:
        problem: The problem details (RFC 9457) as JSON.
        traceback: The traceback of the action; empty if there is none.
    """

    problem: bytes
    traceback: str = ""


Outcome = Done | Again | Failed


class FailedCall(msgspec.Struct, frozen=True):
    """A failed call in a queue.

    Args:
        call: The last attempt.
        failed_at: When it failed, in Unix seconds.
        problem: The problem details (RFC 9457) as JSON.
        traceback: The traceback of the action; empty if there is none.
    """

    call: Call
    failed_at: float
    problem: bytes
    traceback: str = ""


class OpenCall(msgspec.Struct, frozen=True):
    """A running or waiting call in a queue.

    Args:
        call: The current or next attempt.
        is_running: Whether a process runs it.
    """

    call: Call
    is_running: bool
