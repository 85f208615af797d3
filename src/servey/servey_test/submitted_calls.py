"""The background calls that a test submits. They stay in memory until the test runs them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager

import msgspec

from servey.background_call.call import Again, Call, Failed, FailedCall, Outcome
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


@contextmanager
def collecting(service: Service) -> Generator[SubmittedCalls]:
    """Collect the submitted calls, so that no server on this machine runs the calls of a test.

    Inside another `collecting` of the service, it yields the same object.
    """
    before = vars(service.stores).get("calls")
    if isinstance(before, SubmittedCalls):
        yield before
        return
    submitted = service.stores.calls = SubmittedCalls(service)
    try:
        yield submitted
    finally:
        if before is None:
            vars(service.stores).pop("calls", None)
        else:
            service.stores.calls = before
