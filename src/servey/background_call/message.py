"""Background calls as messages of a broker: the arguments as JSON, and one header with all else, signed.

The header is a compact JWS (RFC 7515) with HS256. Its signature also covers the id, the action and the arguments, so
other programs that can write to the broker cannot call an action on behalf of a caller. Its key is derived, so that a
message is never a bearer token, and a bearer token never a message (RFC 8725 §3.11, §3.12).
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import msgspec

from servey.background_call.call import Call
from servey.errors import MalformedError

MESSAGE_TYPE = "servey-call+jwt"
"""The ``typ`` of the header (RFC 8725 §3.11)."""

HEADER_LIMIT = 1024 * 1024
"""The largest length of a header, in characters."""


class _Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of the header. Readers ignore unknown fields."""

    call: Call
    """The call without its arguments, which are in the message."""
    put: str
    arguments_hash: str
    lost: int = 0


_NO_ARGUMENTS = msgspec.Raw(b"null")
_ENCODER = msgspec.json.Encoder()
_CANONICAL = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder(_Claims)


def canonical_json(value: Any) -> bytes:
    """Return the JSON of a value; equal values have the same, whatever program has written and parsed them.

    Raises:
        MalformedError: The value is not JSON.
    """
    try:
        return _CANONICAL.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise MalformedError(f"the arguments are not JSON: {error}") from error


class Message(msgspec.Struct, frozen=True):
    """A call in a broker.

    Args:
        call: The call.
        put: The id of the put. Two puts of one call have different ids; further attempts, and a message that the
            broker delivers again, have the same one.
        lost: How many processes have died while they ran the call.
    """

    call: Call
    put: str
    lost: int = 0

    def later(self, seconds: float, **changes: Any) -> Message:
        """Return the message of the same put with a changed call (`Call.later`)."""
        return msgspec.structs.replace(self, call=self.call.later(seconds, **changes))


class MessageSigner:
    """Make the headers of messages, and verify them.

    Args:
        secret: The common secret of all servers and workers. If it is empty, headers are not signed, and have no
            caller.
    """

    def __init__(self, secret: str) -> None:
        self._key = _derived(secret) if secret else b""

    @property
    def signs(self) -> bool:
        """Whether there is a key, so that calls can have a caller."""
        return bool(self._key)

    def header(self, message: Message) -> str:
        """Return the header of a message that contains exactly the bytes of the call's arguments.

        Raises:
            ValueError: The call has a caller, and there is no key.
        """
        call = message.call
        if call.caller is not None and not self._key:
            raise ValueError("a call with a caller needs a key: set SERVEY_MESSAGE_KEY")
        bare = msgspec.structs.replace(call, arguments=_NO_ARGUMENTS)
        claims = _ENCODER.encode(_Claims(bare, message.put, _hash(call.arguments), message.lost))
        if not self._key:
            return claims.decode()
        return _jws().encode(claims, self._key, algorithm="HS256", headers={"typ": MESSAGE_TYPE})

    def read(self, header: Any, *, id: str, action: str, arguments: bytes) -> Message:
        """Return the message of a header.

        Args:
            header: The header.
            id: The id of the message.
            action: The action's name.
            arguments: The arguments of the message as JSON.

        Raises:
            MalformedError: The header is not valid: it is not of this service, or the message was changed.
        """
        claims = self._claims(header)
        call = claims.call
        if (call.id, call.action) != (id, action):
            raise MalformedError(f"the header of the message is that of another call: {call.action} ({call.id})")
        if claims.arguments_hash != _hash(arguments):
            raise MalformedError("the arguments of the message were changed on the way")
        return Message(msgspec.structs.replace(call, arguments=msgspec.Raw(arguments)), claims.put, claims.lost)

    def _claims(self, header: Any) -> _Claims:
        if not isinstance(header, str) or len(header) > HEADER_LIMIT:
            raise MalformedError("the header of the message is not a text, or too long")
        is_signed = not header.startswith("{")
        if is_signed and not self._key:
            raise MalformedError("the message is signed, and this process has no key: set SERVEY_MESSAGE_KEY")
        if self._key and not is_signed:
            raise MalformedError("the message is not signed: set the same SERVEY_MESSAGE_KEY in all processes")
        try:
            claims = _DECODER.decode(self._verified(header) if is_signed else header.encode())
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise MalformedError(f"the header of the message is not valid: {error}") from error
        if claims.call.caller is not None and not is_signed:
            raise MalformedError("the message has a caller, but no signature")
        return claims

    def _verified(self, header: str) -> bytes:
        from jwt.exceptions import PyJWTError

        try:
            found = _jws().decode_complete(header, self._key, algorithms=["HS256"])
        except (PyJWTError, ValueError, RecursionError) as error:
            raise MalformedError(
                "the signature of the message is not valid: it was changed, or another process has another "
                "SERVEY_MESSAGE_KEY (or JWT_SECRET_KEY)"
            ) from error
        if found["header"].get("typ") != MESSAGE_TYPE:
            raise MalformedError(f"the message is not of the type {MESSAGE_TYPE}")
        return found["payload"]


def _hash(arguments: Any) -> str:
    return hashlib.sha256(arguments).hexdigest()


def _derived(secret: str) -> bytes:
    """Return a key for messages alone (HKDF with SHA-256, RFC 5869)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), length=32, salt=None, info=MESSAGE_TYPE.encode()).derive(secret.encode())


@cache
def _jws() -> Any:
    from jwt.api_jws import PyJWS

    return PyJWS()
