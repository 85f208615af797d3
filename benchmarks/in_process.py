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
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import Any, TypeVar

from benchmarks.apps.models import tokens
from benchmarks.workload import Asgi, Request, agree, call, loop_factory, receiver, running, scopes


async def _discard(message: dict[str, Any]) -> None:
    pass


async def batch(app: Asgi, request: Request, calls: int) -> float:
    """Return the CPU time of one call in microseconds."""
    make, receive = scopes(request), receiver(request.body)
    begin = time.process_time_ns()
    for _ in range(calls):
        await app(make(), receive, _discard)
    return (time.process_time_ns() - begin) / calls / 1000


K = TypeVar("K")
Lane = Callable[[int], Awaitable[float]]
"""Makes that many calls and returns the CPU time of one in microseconds."""


async def calls_for(lane: Lane, seconds: float, least: int = 20) -> int:
    """The number of calls that take about `seconds`; warms the app up on the way."""
    calls = least
    while True:
        begin = time.perf_counter()
        await lane(calls)
        if (took := time.perf_counter() - begin) > seconds / 4:
            return max(least, round(calls * seconds / took))
        calls *= 2


async def take_turns(lanes: dict[K, Lane], rounds: int, seconds: float, least: int = 20) -> dict[K, list[float]]:
    """Return the microseconds of CPU time per call of each lane in every round; the lanes take turns."""
    calls = {name: await calls_for(lane, seconds, least) for name, lane in lanes.items()}
    taken: dict[K, list[float]] = {name: [] for name in lanes}
    for _ in range(rounds):
        for name in random.sample(list(lanes), len(lanes)):
            gc.collect()
            taken[name].append(await lanes[name](calls[name]))
    return taken


async def _measure(
    apps: dict[str, Asgi], requests: dict[str, Request], rounds: int, seconds: float
) -> dict[str, dict[str, list[float]]]:
    async with running(apps):
        await agree(apps, requests)
        return {
            name: await take_turns(
                {app: partial(batch, made, request) for app, made in request.of(apps).items()}, rounds, seconds
            )
            for name, request in requests.items()
        }


async def _features(app: Asgi, requests: dict[str, Request], rounds: int, seconds: float) -> dict[str, list[float]]:
    async with running({"servey": app}):
        new = replace(requests["authorized"], more_headers={}, tokens=cycle(tokens(5000)))
        requests = {**requests, "new token": new, "not modified": await not_modified(app, requests["cached"])}
        await agree({"servey": app}, requests)
        return await take_turns(
            {name: partial(batch, app, request) for name, request in requests.items()}, rounds, seconds
        )


async def not_modified(app: Asgi, request: Request) -> Request:
    """Return the request of somebody who has the answer already (RFC 9110 §13.1.2)."""
    _, headers, _ = await call(app, request)
    tag = headers[b"etag"].decode()
    return replace(request, label="the same, not modified", more_headers={"if-none-match": tag}, statuses=(304,))


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


def features(
    app: Asgi, requests: dict[str, Request], *, rounds: int = 15, seconds: float = 0.1
) -> dict[str, list[float]]:
    """Return what each of the requests costs one app, measured in turns.

    Two more are made of them: one with a token that was not seen lately, and one on condition that what is cached
    has changed.

    Args:
        app: The app.
        requests: The requests by name, "authorized" and "cached" among them.
        rounds: How often each request has its turn.
        seconds: How long a turn is.
    """
    with asyncio.Runner(loop_factory=loop_factory()[0]) as runner:
        return runner.run(_features(app, requests, rounds, seconds))


def ratio(above: list[float], below: list[float]) -> float:
    """Return the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))
