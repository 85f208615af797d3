"""CPU time per call of each app, called as a server calls it, without sockets.

The apps take turns: in every round each gets one short batch, in an order of its own, and a ratio is the median of
the rounds' ratios. What a noisy machine does to one round it does to all of its batches. The time is that of
the process with all its threads, for a sync function runs in one.
"""

import asyncio
import gc
import random
import statistics
import time
from typing import Any

from benchmarks.workload import Asgi, Request, agree, loop_factory, receiver, running, scopes


async def _discard(message: dict[str, Any]) -> None:
    pass


async def batch(app: Asgi, request: Request, calls: int) -> float:
    """Return the CPU time of one call in microseconds."""
    make, receive = scopes(request), receiver(request.body)
    begin = time.process_time_ns()
    for _ in range(calls):
        await app(make(), receive, _discard)
    return (time.process_time_ns() - begin) / calls / 1000


async def calls_for(app: Asgi, request: Request, seconds: float) -> int:
    """The number of calls that take about `seconds`; warms the app up on the way."""
    calls = 20
    while True:
        begin = time.perf_counter()
        await batch(app, request, calls)
        if (took := time.perf_counter() - begin) > seconds / 4:
            return max(20, round(calls * seconds / took))
        calls *= 2


async def _measure(
    apps: dict[str, Asgi], requests: dict[str, Request], rounds: int, seconds: float
) -> dict[str, dict[str, list[float]]]:
    figures: dict[str, dict[str, list[float]]] = {}
    async with running(apps):
        await agree(apps, requests)
        for name, request in requests.items():
            calls = {app: await calls_for(apps[app], request, seconds) for app in apps}
            taken: dict[str, list[float]] = {app: [] for app in apps}
            for _ in range(rounds):
                for app in random.sample(list(apps), len(apps)):
                    gc.collect()
                    taken[app].append(await batch(apps[app], request, calls[app]))
            figures[name] = taken
    return figures


def measure(
    apps: dict[str, Asgi], requests: dict[str, Request], *, rounds: int = 15, seconds: float = 0.1
) -> dict[str, dict[str, list[float]]]:
    """Return, for each request and app, the microseconds of CPU time per call in every round.

    Args:
        apps: The apps by name.
        requests: The requests by name.
        rounds: How often each app has its turn.
        seconds: How long a turn is.

    Raises:
        DisagreementError: The apps do not answer alike.
    """
    with asyncio.Runner(loop_factory=loop_factory()[0]) as runner:
        return runner.run(_measure(apps, requests, rounds, seconds))


def ratio(above: list[float], below: list[float]) -> float:
    """Return the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))
