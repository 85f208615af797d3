"""A background call as data, and its outcome: what a queue keeps, and what the runner returns to it."""

from __future__ import annotations

import msgspec

from servey.errors import MalformedError
from servey.security.authorization import Authorization

ARGUMENTS_LIMIT = 256 * 1024
"""The largest size of a call's arguments, in bytes of JSON."""


class Call(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A background call. Keep it only in a trusted place: its caller is not verified again.

    Readers ignore unknown fields, so that two releases can share a queue.

    Args:
        id: The id of the call, at most 400 characters. A queue keeps one call of an id.
        action: The action's name.
        arguments: The arguments as a JSON object, from `ArgumentsCodec.encode_json`.
        due: When the call may begin, in Unix seconds.
        request_id: The id of the request that has submitted the call.
        expires: The time after which the call is not begun any more, in Unix seconds; None for no such time.
        attempt: The number of the attempt: 1, and more after failures.
        caller: The caller on whose behalf the call is made.
        traceparent: The trace that the call belongs to (W3C Trace Context §3.2); empty if unknown.
        postponed: How often the call was put off, because the process that took it does not know its action.
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
    """The call has failed for good; the queue keeps it until somebody retries or forgets it.

    Args:
        problem: The problem details (RFC 9457) as JSON.
        traceback: The traceback of the action; empty if there is none.
    """

    problem: bytes
    traceback: str = ""


Outcome = Done | Again | Failed


class FailedCall(msgspec.Struct, frozen=True):
    """A failed call that a queue keeps.

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
    """A call that a queue keeps and that has not ended.

    Args:
        call: The current or next attempt.
        is_running: Whether a process runs it.
    """

    call: Call
    is_running: bool
