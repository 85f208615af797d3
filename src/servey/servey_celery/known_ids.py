"""Run each id once: a broker stores a call twice if it is put twice, so workers store the ids that they know."""

from __future__ import annotations

from servey.background_call.message import Message
from servey.ports import KeyValueStore

KNOWN_SECONDS = 86400.0
"""How long workers know an id."""


async def is_first(store: KeyValueStore, message: Message) -> bool:
    """Return whether a call has to run: it has no named id, or no other put of its id came before.

    Further attempts have the put of the first attempt, and so does a message that the broker delivers again.

    Args:
        store: The store that all workers share.
        message: The message of the call.

    Raises:
        OverloadedError: The store does not answer.
    """
    if not message.call.is_named:
        return True
    put = message.put.encode()
    found = await store.add(f"call:{message.call.id}", put, KNOWN_SECONDS)
    return found is None or found == put
