"""A call as data, for queues and brokers: the action, its arguments, and what of its context travels along."""

from __future__ import annotations

import time

import msgspec

from servey.action.context import CallContext, Origin
from servey.errors import MalformedError
from servey.security.authorization import Authorization


class CallEnvelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call on its way to another process. Only a trusted channel may carry it: its caller is not verified again.

    Readers skip fields that they do not know, so that two releases can share a queue.

    Args:
        action: The action's name.
        arguments: The arguments as JSON, from `ArgumentsCodec.encode_json`.
        origin: The origin of the call.
        request_id: The id of the request that the call belongs to.
        caller: The caller.
        expires: When the call is given up, in Unix seconds; None for never.
    """

    action: str
    arguments: msgspec.Raw
    origin: Origin
    request_id: str
    caller: Authorization | None = None
    expires: float | None = None

    @classmethod
    def of(cls, action: str, arguments: bytes, context: CallContext, *, now: float) -> CallEnvelope:
        """Return the envelope of a call.

        Args:
            action: The action's name.
            arguments: The arguments as JSON.
            context: The context of the call.
            now: The time of the event loop that the deadline of `context` is in, in seconds.

        Raises:
            TypeError: The caller is of a subclass of `Authorization`, whose further fields would be lost.
        """
        caller = context.authorization
        if caller is not None and type(caller) is not Authorization:
            raise TypeError(f"a {type(caller).__name__} cannot be sent: put its further fields into claims")
        return cls(
            action=action,
            arguments=msgspec.Raw(arguments),
            origin=context.origin,
            request_id=context.request_id,
            caller=caller,
            expires=None if context.deadline is None else time.time() + context.deadline - now,
        )

    @classmethod
    def decode(cls, data: bytes) -> CallEnvelope:
        """Read what `encode` wrote.

        Raises:
            MalformedError: It is not an envelope.
        """
        try:
            return _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedError(f"this is not a call: {error}") from error

    def encode(self) -> bytes:
        """Write it as JSON; equal envelopes have equal bytes."""
        return msgspec.json.encode(self, order="deterministic")

    def context(self, transport: str, *, now: float) -> CallContext:
        """Return the context of the call in the process that makes it.

        Args:
            transport: The name of the transport, such as ``"background"``.
            now: The time of this process's event loop, in seconds.
        """
        deadline = None if self.expires is None else now + self.expires - time.time()
        return CallContext(self.origin, transport, self.request_id, self.caller, deadline)


_DECODER = msgspec.json.Decoder(CallEnvelope)
