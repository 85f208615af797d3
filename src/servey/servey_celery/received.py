"""A message as a worker has got it, before its header is verified."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from servey.action.operation import Operation
from servey.background_call.call import Call, Failed
from servey.background_call.message import Message, MessageSigner
from servey.background_call.runner import failed_outcome
from servey.errors import CallError, MalformedError
from servey.servey_celery.failed_message import FailedMessage

HEADER = "servey"
"""The header of a message with all of a call but its id, its action and its arguments."""


class Received(msgspec.Struct, frozen=True):
    """A received message.

    Args:
        action: The name of the task.
        id: The id of the task.
        header: The header of this package; None if another program has put the message.
        args: The arguments by position.
        kwargs: The arguments by name.
    """

    action: str
    id: str
    header: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    def message(self, operation: Operation, signer: MessageSigner) -> Message:
        """Return the verified message.

        A message without a header is a call of the system, without a caller.

        Raises:
            MalformedError: It is not valid.
        """
        if self.header is None:
            raw = msgspec.Raw(msgspec.json.encode(self._by_name(operation)))
            call = Call(id=self.id, action=self.action, arguments=raw, due=time.time(), request_id=self.id)
            return Message(call, self.id)
        if self.args:
            raise MalformedError("the message has arguments by position")
        return signer.read(self.header, id=self.id, action=self.action, arguments=self.kwargs)

    def failed(self, error: CallError, traceback: str = "") -> FailedMessage:
        """Return the failed call of a message that is not run."""
        return self.failed_by(failed_outcome(error, self.id), traceback)

    def failed_by(self, outcome: Failed, traceback: str = "") -> FailedMessage:
        """Return the failed call of an outcome."""
        return FailedMessage(
            id=self.id,
            action=self.action,
            arguments=self.kwargs,
            args=self.args,
            header=self.header,
            failed_at=time.time(),
            problem=msgspec.json.decode(outcome.problem),
            traceback=outcome.traceback or traceback,
        )

    def _by_name(self, operation: Operation) -> dict[str, Any]:
        """Return the arguments by name; those by position are in the order of the function."""
        names = [name for name, _ in operation.signature.order if name in operation.arguments.parameters]
        if len(self.args) > len(names):
            raise MalformedError(
                f"{operation.name} takes {len(names)} arguments, and the message has {len(self.args)} by position"
            )
        given = dict(zip(names, self.args, strict=False))
        twice = sorted(given.keys() & self.kwargs.keys())
        if twice:
            raise MalformedError(f"the message has {twice[0]} by position and by name")
        return {**given, **self.kwargs}


def received(headers: Mapping[str, Any], body: Any) -> Received:
    """Return the message of headers and of a parsed body, as far as they have its parts."""
    try:
        args, kwargs, *_ = cast("tuple[Any, ...]", body)
        parts = msgspec.convert((args, kwargs), tuple[tuple[Any, ...], dict[str, Any]])
    except (TypeError, ValueError, msgspec.ValidationError):
        parts = (), dict[str, Any]()
    return Received(str(headers.get("task", "")), str(headers.get("id", "")), headers.get(HEADER), *parts)
