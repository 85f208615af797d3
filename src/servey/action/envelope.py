"""A call as data, for queues and brokers: the action, its arguments, and a part of its context."""

from __future__ import annotations

import time

import msgspec

from servey.action.context import CallContext, Origin
from servey.errors import MalformedError
from servey.security.authorization import Authorization


class CallEnvelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call for another process. Send it only over a trusted channel: its caller is not verified again.

    Readers ignore unknown fields, so that two releases can share a queue.

    Args:
        action: The action's name.
        arguments: The arguments as JSON, from `ArgumentsCodec.encode_json`.
        origin: The origin of the call.
        request_id: The id of the request that the call belongs to.
        caller: The caller.
        expires: The deadline in Unix seconds; None for no deadline.
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
            now: The current time, in seconds, of the event loop of `context`.

        Raises:
            TypeError: The caller is of a subclass of `Authorization`; its further fields would be lost.
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
        """Decode the bytes of `encode`.

        Raises:
            MalformedError: The bytes are not an envelope.
        """
        try:
            return _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedError(f"this is not a call: {error}") from error

    def encode(self) -> bytes:
        """Encode the envelope as JSON; equal envelopes have equal bytes."""
        return msgspec.json.encode(self, order="deterministic")

    def context(self, transport: str, *, now: float) -> CallContext:
        """Return the context of the call in the process that makes it.

        Args:
            transport: The name of the transport, such as ``"background"``.
            now: The current time of this process's event loop, in seconds.
        """
        deadline = None if self.expires is None else now + self.expires - time.time()
        return CallContext(self.origin, transport, self.request_id, self.caller, deadline)


_DECODER = msgspec.json.Decoder(CallEnvelope)
