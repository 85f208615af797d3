"""The ids that workers know: a broker stores a call twice if it is put twice."""

from __future__ import annotations

from servey.background_call.message import Message
from servey.ports import KeyValueStore

KNOWN_SECONDS = 86400.0
"""How long an id is known."""


async def claim(store: KeyValueStore, message: Message) -> bool:
    """Return whether a message is the first one with its id; only ids with a meaning are put twice.

    Further attempts, and messages that the broker delivers again, belong to the put that was first.

    Raises:
        OverloadedError: The store does not answer.
    """
    if not message.call.is_named:
        return True
    put = message.put.encode()
    found = await store.add(f"call:{message.call.id}", put, KNOWN_SECONDS)
    return found is None or found == put
