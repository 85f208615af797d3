"""A failed call, as a message of the queue of failed calls."""

from __future__ import annotations

import time

import msgspec

from servey.background_call.call import Call, Failed, FailedCall
from servey.background_call.message import MessageSigner, canonical_json
from servey.background_call.runner import failed_outcome
from servey.errors import CallError, MalformedError
from servey.problem_details import encodable_text
from servey.servey_celery.received import Received

_SHOWN = 2000
"""How much of a body that could not be parsed is stored, in characters."""


class FailedMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A failed call as it is stored.

    Args:
        received: The message of the call.
        failed_at: When it failed, in Unix seconds.
        problem: The problem details (RFC 9457) as JSON.
        traceback: The traceback of the action.
    """

    received: Received
    failed_at: float
    problem: msgspec.Raw
    traceback: str = ""

    @classmethod
    def of(cls, message: Received, outcome: Failed) -> FailedMessage:
        """Return the failed call of a message, now."""
        return cls(message, time.time(), msgspec.Raw(outcome.problem), outcome.traceback)

    @classmethod
    def by(cls, message: Received, error: CallError, traceback: str = "") -> FailedMessage:
        """Return the failed call of a message that was not run."""
        outcome = failed_outcome(error, message.id)
        return cls.of(message, msgspec.structs.replace(outcome, traceback=traceback))

    @classmethod
    def unread(cls, message: Received, error: CallError, body: str | bytes | None) -> FailedMessage:
        """Return the failed call of a message whose body could not be parsed; None if it could."""
        if body is None:
            return cls.by(message, error)
        text = encodable_text(body) if isinstance(body, str) else bytes(body).decode(errors="replace")
        return cls.by(message, error, f"{text[:_SHOWN]}\n{error}")

    def encode(self) -> bytes:
        """Return the failed call as JSON. Arguments that are not JSON become a text."""
        try:
            return msgspec.json.encode(self)
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
            message = self.received
            text = encodable_text(repr((message.args, message.kwargs)))
            header = None if message.header is None else encodable_text(str(message.header))
            kept = Received(message.action, message.id, header, (text,))
            return msgspec.json.encode(msgspec.structs.replace(self, received=kept))

    def stored(self, signer: MessageSigner) -> FailedCall:
        """Return the failed call for `servey.ports.CallQueue.failed`; without a caller if its header is not valid."""
        message = self.received
        try:
            call = message.signed(signer).call
        except MalformedError:
            content = {"args": message.args, "kwargs": message.kwargs} if message.args else message.kwargs
            raw = msgspec.Raw(canonical_json(content))
            call = Call(id=message.id, action=message.action, arguments=raw, due=self.failed_at, request_id=message.id)
        return FailedCall(call, self.failed_at, bytes(self.problem), self.traceback)
