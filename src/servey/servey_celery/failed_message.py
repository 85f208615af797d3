"""A failed call, as a message of the queue of failed calls."""

from __future__ import annotations

from typing import Any

import msgspec

from servey.background_call.call import Call
from servey.background_call.message import Message, MessageSigner
from servey.errors import CallError


class FailedMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A failed call as it is stored.

    Args:
        id: The id of the call.
        action: The action's name.
        arguments: The arguments as parsed JSON.
        args: Arguments by position, in a message of another program.
        header: The header of the message; None if it had none.
        failed_at: When it failed, in Unix seconds.
        problem: The problem details (RFC 9457).
        traceback: The traceback of the action.
    """

    id: str
    action: str
    arguments: Any
    header: Any
    failed_at: float
    problem: Any
    traceback: str = ""
    args: Any = ()

    def message(self, signer: MessageSigner) -> Message | None:
        """Return the call; None if its header is not valid."""
        if self.header is None:
            return None
        try:
            return signer.read(self.header, id=self.id, action=self.action, arguments=self.arguments)
        except CallError:
            return None

    def call(self, signer: MessageSigner) -> Call:
        """Return the call; without a caller if its header is not valid."""
        found = self.message(signer)
        if found is not None:
            return found.call
        arguments = msgspec.Raw(msgspec.json.encode(self.arguments))
        return Call(id=self.id, action=self.action, arguments=arguments, due=self.failed_at, request_id=self.id)
