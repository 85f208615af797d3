"""A message as a worker has got it, before its header is verified."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from servey.action.operation import Operation
from servey.background_call.call import Call
from servey.background_call.message import Message, MessageSigner, canonical_json
from servey.errors import CallError, MalformedError
from servey.problem_details import encodable_text

_log = logging.getLogger("servey.background")

HEADER = "servey"
"""The header of a message with all of a call but its id, its action and its arguments."""


class Received(msgspec.Struct, frozen=True, omit_defaults=True):
    """A received message.

    Args:
        action: The name of the task.
        id: The id of the task.
        header: The header of this package; None if another program has put the message.
        args: The arguments by position. With a header: none, or all arguments as one JSON text.
        kwargs: The arguments by name.
    """

    action: str
    id: str
    header: Any = None
    args: Any = ()
    kwargs: Any = {}

    @property
    def log_fields(self) -> dict[str, Any]:
        """The fields of a log record about this message."""
        return {"action": self.action, "call_id": self.id}

    def message(self, operation: Operation | None, signer: MessageSigner) -> Message:
        """Return the verified message.

        A message without a header is a call of the system, without a caller.

        Args:
            operation: The operation of the action; None if it is unknown.
            signer: Verifies the header.

        Raises:
            MalformedError: It is not valid, or it has arguments by position for an unknown action.
        """
        if self.header is not None:
            return self.signed(signer)
        raw = msgspec.Raw(canonical_json(self._by_name(operation)))
        call = Call(id=self.id, action=self.action, arguments=raw, due=time.time(), request_id=self.id)
        return Message(call, self.id)

    def signed(self, signer: MessageSigner) -> Message:
        """Return the verified message of a header.

        Raises:
            MalformedError: It is not valid.
        """
        return signer.read(self.header, id=self.id, action=self.action, arguments=self._json())

    def _json(self) -> bytes:
        if not self.args:
            return canonical_json(self.kwargs)
        if self.kwargs or len(self.args) > 1 or not isinstance(self.args[0], str):
            raise MalformedError("the message has a header, and arguments by position")
        return encodable_text(self.args[0]).encode()

    def _by_name(self, operation: Operation | None) -> dict[str, Any]:
        """Return the arguments by name; those by position are in the order of the function."""
        if not self.args:
            return self.kwargs
        if operation is None:
            raise MalformedError(f"there is no action {self.action!r}, whose arguments could be by position")
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
    if isinstance(body, dict):  # the first protocol of Celery has no headers
        first = cast("dict[str, Any]", body)
        headers, body = {**first, **headers}, (first.get("args"), first.get("kwargs"))
    try:
        args, kwargs, *_ = cast("tuple[Any, ...]", body)
        args, kwargs = msgspec.convert((args, kwargs), tuple[list[Any], dict[str, Any]])
    except (TypeError, ValueError, msgspec.ValidationError):
        args, kwargs = [], {}
    action, id = (encodable_text(str(headers.get(name) or "")) for name in ("task", "id"))
    return Received(action, id, headers.get(HEADER), args, kwargs)


def acknowledge_after(
    put: Callable[[], None], message: Received, acknowledge: Callable[[], None], reject: Callable[..., None]
) -> bool:
    """Put what follows from a message, and acknowledge it; if the broker does not take that, give the message back."""
    try:
        put()
    except CallError as error:
        _log.error("%s (%s) goes back to the queue: %s", message.action, message.id, error, extra=message.log_fields)
        reject(requeue=True)
        return False
    acknowledge()
    return True
