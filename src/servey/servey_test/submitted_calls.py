"""The background calls that a test submits. They stay in memory until the test runs them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager

import msgspec

from servey.background_call.call import Again, Call, Failed, FailedCall, Outcome
from servey.background_call.entries import check_entry
from servey.background_call.runner import Runner
from servey.service import Service


class SubmittedCalls:
    """A `servey.ports.CallQueue` in memory. Its calls run only in `run_all`.

    Args:
        service: The service that runs them.
    """

    is_durable = False
    carries_callers = True

    def __init__(self, service: Service) -> None:
        self._service = service
        self._waiting: deque[Call] = deque()
        self._known: set[str] = set()

    @property
    def waiting(self) -> Sequence[Call]:
        """The submitted calls that have not run."""
        return tuple(self._waiting)

    async def put(self, calls: Sequence[Call], /) -> None:
        """Store calls; a call with a known id is ignored."""
        self.put_now(calls)

    def put_now(self, calls: Sequence[Call], /) -> None:
        """Do the same as `put`."""
        for call in calls:
            if call.id not in self._known:
                self._known.add(call.id)
                self._waiting.append(Call.decode(call.encode()))  # as another process gets it

    @asynccontextmanager
    async def consuming(self, run: Callable[[Call], Awaitable[Outcome]], /) -> AsyncGenerator[None]:
        """Run nothing; `run_all` runs the calls."""
        yield

    async def failed(self, limit: int, /) -> Sequence[FailedCall]:
        """Return nothing: `run_all` raises an error for a call that fails."""
        return ()

    async def retry(self, id: str, /) -> bool:
        """Return False."""
        return False

    async def forget(self, id: str, /) -> bool:
        """Return False."""
        return False

    async def run_all(self) -> Sequence[Call]:
        """Run the calls in the order of their submission, and the calls that they submit. Delays are ignored.

        Returns:
            Each attempt that has run.

        Raises:
            AssertionError: A call has failed for good.
        """
        ran: list[Call] = []
        runner = Runner(self._service)
        while self._waiting:
            call = self._waiting.popleft()
            ran.append(call)
            outcome = await runner.run(call)
            if isinstance(outcome, Again):
                self._waiting.appendleft(outcome.call)
            elif isinstance(outcome, Failed):
                problem = msgspec.json.decode(outcome.problem)
                why = outcome.traceback.rstrip().rpartition("\n")[2] or problem.get("detail", problem["title"])
                raise AssertionError(f"the background call of {call.action} failed: {why}\n{outcome.traceback}")
        return ran


class MemoryEntries:
    """A `servey.ports.KeyValueStore` in the memory of a test, so that each test begins with an empty one."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[bytes, float]] = {}

    async def get(self, key: str, /) -> bytes | None:
        """Return the value of a key; None if there is none."""
        check_entry(key)
        value, ends = self._entries.get(key, (None, 0.0))
        return value if ends > time.monotonic() else None

    async def add(self, key: str, value: bytes, seconds: float, /) -> bytes | None:
        """Store a value for a time, unless the key has one. Return the value that is there already; None if added."""
        check_entry(key, value)
        found = await self.get(key)
        if found is None:
            self._entries[key] = value, time.monotonic() + seconds
        return found

    async def swap(self, key: str, old: bytes, new: bytes | None, seconds: float, /) -> bool:
        """Replace the value `old` by `new` for a time (None: remove it), and return whether `old` was there."""
        check_entry(key, new or b"")
        if await self.get(key) != old:
            return False
        if new is None:
            del self._entries[key]
        else:
            self._entries[key] = new, time.monotonic() + seconds
        return True


@contextmanager
def collecting(service: Service) -> Generator[SubmittedCalls]:
    """Collect the submitted calls, so that no server on this machine runs the calls of a test.

    The entries of a test, such as idempotency keys, are in memory, too. Inside another `collecting` of the service, it
    yields the same object.
    """
    stores = vars(service.stores)
    before = {name: stores[name] for name in ("calls", "entries") if name in stores}
    if isinstance(before.get("calls"), SubmittedCalls):
        yield before["calls"]
        return
    submitted = SubmittedCalls(service)
    stores |= {"calls": submitted, "entries": MemoryEntries()}
    try:
        yield submitted
    finally:
        for name in ("calls", "entries"):
            del stores[name]
        stores |= before
