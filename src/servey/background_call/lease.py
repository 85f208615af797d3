"""A lease: an entry in a store that a process renews while it does something, and that ends after its death."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from servey.errors import CallError
from servey.problem_details import encodable_text

LEASE_SECONDS = 30.0
"""How long a lease lasts after the death of its process."""

_log = logging.getLogger("servey.background")


class Lease:
    """An entry that others see as taken.

    Args:
        store: The `servey.ports.KeyValueStore`.
        key: The key of the entry.
        value: The value of the entry, which no other process has.
        what: What has the lease, for the log.
    """

    def __init__(self, store: Any, key: str, value: bytes, what: str) -> None:
        self._store, self._key, self._value, self._what = store, key, value, what
        self._timer: asyncio.TimerHandle | None = None
        self._renewal: asyncio.Task[None] | None = None

    async def take(self) -> bytes | None:
        """Take the lease, and return None; if another process has it, return its value.

        Raises:
            CallError: The store does not answer.
        """
        return await self._store.add(self._key, self._value, LEASE_SECONDS)

    async def take_over(self, found: bytes) -> bool:
        """Take the lease from the process with the value `found`, and return whether that had it still.

        Raises:
            CallError: The store does not answer.
        """
        return await self._store.swap(self._key, found, self._value, LEASE_SECONDS)

    def begin(self) -> None:
        """Renew the lease from now on, until `end`. If the store fails, servey only logs it."""
        loop = asyncio.get_running_loop()  # without a task: most leases end before their first renewal
        self._timer = loop.call_later(LEASE_SECONDS / 3, self._begin_renewal, loop)

    async def end(self, value: bytes | None = None, seconds: float = 0.0) -> None:
        """Release the lease, or replace its value by another one for a time. If the store fails, servey only logs it.

        Args:
            value: The new value; None to remove the entry.
            seconds: How long the new value stays.
        """
        if self._timer is not None:
            self._timer.cancel()
        if self._renewal is not None:
            self._renewal.cancel()
        try:
            is_mine = await self._store.swap(self._key, self._value, value, seconds)
            if value is not None and not is_mine and await self._store.add(self._key, value, seconds) is not None:
                _log.warning("the lease of %s had ended: another call has run at the same time", self._what)
        except Exception as error:  # noqa: BLE001 - what had the lease has ended
            _log.warning("%s excludes others for up to %g s more: %s", self._what, LEASE_SECONDS, line_of(error))

    def _begin_renewal(self, loop: asyncio.AbstractEventLoop) -> None:
        self._renewal = loop.create_task(self._renew())

    async def _renew(self) -> None:
        while True:
            try:
                is_mine = await self.take_over(self._value) or await self.take() is None
            except Exception as error:  # noqa: BLE001 - it is tried again
                _log.warning("the lease of %s is not renewed: %s", self._what, line_of(error))
            else:
                if not is_mine:
                    _log.warning("%s does not run alone: its lease has ended", self._what)
                    return
            await asyncio.sleep(LEASE_SECONDS / 3)


def line_of(error: BaseException) -> str:
    """Return the class, the message and the places of an exception, whose own `__str__` may fail."""
    import traceback  # only for the log

    text = "".join(traceback.format_exception_only(error)).strip()
    if isinstance(error, CallError) and error.errors:
        text += f" (at {', '.join(path for path, _ in error.errors)})"  # the messages may quote arguments
    return encodable_text(text[:1000])
