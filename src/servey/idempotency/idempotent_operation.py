"""An operation with idempotency: the first call with a key runs, and a repeat gets its answer."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import msgspec

from servey.action.context import CallContext, Origin
from servey.action.operation import Operation
from servey.action.reply import Reply
from servey.background_call.message import canonical_json
from servey.cache_control.answer_headers import header_lines, private_headers
from servey.cache_control.argument_key import UnkeyableError, argument_key
from servey.errors import (
    CallError,
    ConflictError,
    DefinitionError,
    InProgressError,
    InvalidError,
    MalformedError,
    did_you_mean,
)
from servey.idempotency.claim import Claim, Kept
from servey.idempotency.idempotency import Idempotency
from servey.idempotency.key import SHORTEST, entry_key, read_key
from servey.ports import KeyValueStore
from servey.trigger.web_trigger import WebTrigger, WebTriggerMethod

T = TypeVar("T")


def _same(kept: Kept) -> Kept:
    return kept


class IdempotentOperation:
    """An operation whose calls may be repeats. A transport calls `run` around its call, after `Operation.authorize`.

    The operation does not know about it.

    Args:
        operation: An operation whose action has an `Idempotency`.
        entries: Returns the store for keys and answers.

    Raises:
        DefinitionError: The action cannot have this `Idempotency`.
    """

    def __init__(self, operation: Operation, entries: Callable[[], KeyValueStore]) -> None:
        declared = operation.action.idempotency
        assert declared is not None
        self.operation = operation
        self._declared: Idempotency = declared
        self._entries = entries
        self._key_of_arguments = argument_key(operation.arguments)
        problems = [
            DefinitionError(f"{operation.name}: {problem}", where=operation.action.where, fix=fix)
            for problem, fix in _problems(operation, declared)
        ]
        if problems:
            raise DefinitionError.join(problems)
        wire_names = {field.name: field.wire for field in operation.arguments.root.fields}
        self._named = [wire_names[name] for name in declared.parameters]

    async def run(
        self,
        arguments: Any,
        context: CallContext,
        run: Callable[[], Awaitable[T]],
        *,
        keep: Callable[[T], Kept],
        repeat: Callable[[Kept], T],
        place: str = "",
    ) -> T:
        """Run a call, or return the answer of the first call with its key.

        Args:
            arguments: The decoded arguments.
            context: The context of the call.
            run: Runs the call.
            keep: Returns what is kept of the result.
            repeat: Returns the result for a kept answer.
            place: The place of the call in a request that makes several calls with one ``Idempotency-Key``.

        Raises:
            MalformedError: The ``Idempotency-Key`` is not valid, or it is missing and required.
            InvalidError: The key belongs to a call with other arguments.
            InProgressError: The first call has not ended.
            ConflictError: The first call has succeeded, but its answer was too large to keep.
            OverloadedError: The store does not answer.
            CallError: As for `run`.
        """
        key = self._key(arguments, context, place)
        if key is None:
            return await run()
        context.call_id = context.call_id or key  # the same when the call runs again after the death of its process
        self.operation.deadline(context, self.operation.runtime)  # it includes the wait for the store
        digest = self._digest(arguments)
        what = f"{self.operation.name} (request {context.request_id})"
        claim = Claim(self._entries(), key, digest, self._declared.hours * 3600, what)
        found = await claim.take()
        if found is None:
            return await claim.hold(context, run, keep)
        if found.arguments != digest:
            raise InvalidError("another call, with other arguments, has used this idempotency key: use a new key")
        if found.run:
            raise InProgressError("the first call with this idempotency key has not ended")
        if found.kept is None:
            raise already_done()
        return repeat(found.kept)

    async def content(self, arguments: Any, context: CallContext, run: Callable[[], Awaitable[Any]]) -> bytes:
        """Do the same as `run`, for a function that returns the result of `Operation.encode_json`; return its JSON.

        Args:
            arguments: As for `run`.
            context: As for `run`.
            run: Runs the call.
        """

        async def make() -> Kept:
            return self.kept(await run())

        return (await self.run(arguments, context, make, keep=_same, repeat=_same)).content

    def kept(self, encoded_result: Any) -> Kept:
        """Return what is kept of the result of `Operation.encode_json`, for a transport that sends no headers."""
        operation = self.operation
        reply: Reply[bytes] = encoded_result if operation.signature.replies else Reply(encoded_result)
        headers = private_headers(reply.headers) if operation.is_private else list(reply.headers.items())
        return Kept.of(reply.value, reply.status or operation.action.status, header_lines(headers))

    def checked(self, result: Any) -> tuple[Any, Kept]:
        """Return the checked result and what is kept of it; the last step of `Operation.run`."""
        value = self.operation.check(result)
        return value, self.kept(self.operation.encode_json(result))

    def restored(self, kept: Kept) -> tuple[Any, Kept]:
        """Return the result object for its JSON.

        Raises:
            ConflictError: Its class cannot be decoded.
        """
        try:
            if self.operation.result.is_reversible:
                return self.operation.result.decode_json(kept.content), kept
        except CallError:
            pass
        raise already_done()

    def _key(self, arguments: Any, context: CallContext, place: str) -> str | None:
        """Return the key of the entry for a call; None if the call has no idempotency key."""
        by_network, caller = context.origin is Origin.NETWORK, context.authorization
        subject = None if caller is None else caller.subject
        issuer = None if caller is None else caller.issuer
        is_shared = by_network and subject is None  # by callers that must not see the answers of others
        if context.idempotency_key is not None:
            shortest = SHORTEST if is_shared or self.operation.is_open else 1
            kind, text = "header", read_key(context.idempotency_key, shortest)
        elif self._declared.parameters and not is_shared:
            given = msgspec.json.decode(self.operation.arguments.encode_json(arguments))
            kind, place = "parameters", ""
            text = canonical_json([given[name] for name in self._named]).decode()
        elif context.call_id:
            kind, text = "call", context.call_id
        elif self._declared.required and by_network:
            raise MalformedError(
                "the Idempotency-Key is missing: send a new UUID for each call, and the same one for its repeats"
            )
        else:
            return None
        origin = "" if subject is not None else context.origin.value
        return entry_key(self.operation.name, origin, issuer, subject, kind, text, place)

    def _digest(self, arguments: Any) -> bytes:
        """Return a hash of the arguments; it is the same in all processes."""
        try:
            key = self._key_of_arguments(arguments)
        except UnkeyableError:
            key = self.operation.arguments.encode_json(arguments)
        return hashlib.sha256(key).digest()


def already_done() -> ConflictError:
    """Return the error of a repeat whose answer is not available."""
    return ConflictError("the first call with this idempotency key has succeeded, but its answer could not be kept")


def _problems(operation: Operation, declared: Idempotency) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the idempotency of an action, and how to mend it."""
    action, known = operation.action, operation.arguments.parameters
    if operation.signature.owner is not None:
        yield "a nested action has an idempotency, but it only reads", "remove the idempotency"
    web = [trigger for trigger in action.triggers if isinstance(trigger, WebTrigger)]
    if any(trigger.method is WebTriggerMethod.GET for trigger in web):
        yield "it has an idempotency, and is served by GET, which is idempotent already", "use WEB_POST"
    for name in declared.parameters:
        if name not in known:
            yield (
                f"the idempotency names {name}, which is not a parameter of a caller{did_you_mean(name, known)}",
                "name parameters that a caller gives",
            )
        elif known[name][1].kind != "leaf":
            yield f"the idempotency names {name}, which is not a simple value", "name a text, a number, a UUID, …"
        elif operation.arguments.root.fields[list(known).index(name)].required is False:
            yield f"the idempotency names {name}, which callers may leave out", f"remove the default of {name}"
    if declared.parameters and web and operation.is_open:
        yield (
            "all callers may call it, so its idempotency cannot name parameters: who guesses an order number would "
            "get the answer of another caller",
            "give it an access_control, or leave parameters out, so that clients send an Idempotency-Key",
        )
