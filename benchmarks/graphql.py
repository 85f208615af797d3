"""CPU time per GraphQL operation, executed in process and sent to the ASGI app by POST.

The services take turns as in `in_process`, and garbage is collected between the turns only. What is executed is the
text of a query, as a server gets it: whoever parses and validates it every time is measured with that. For graphql-core
alone, which leaves it to others, the document is ready.
"""

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from benchmarks import in_process
from benchmarks.apps.things import ALL_THINGS, ANSWERS, ASYNC, BATCHED, HELLO, SYNC
from benchmarks.workload import Asgi, DisagreementError, Request, agree, loop_factory, running

Execute = Callable[[str, Mapping[str, Any]], Awaitable[Any]]

EXECUTORS = {
    "by hand": "benchmarks.apps.things:execute",
    "graphql-core": "benchmarks.apps.graphql_core_app:execute",
    "Ariadne": "benchmarks.apps.ariadne_app:execute",
    "Strawberry": "benchmarks.apps.strawberry_app:execute",
    "Strawberry, caches": "benchmarks.apps.strawberry_app:execute_cached",
    "servey": "benchmarks.apps.servey_graphql_app:execute",
}
APPS = {
    "Ariadne": "benchmarks.apps.ariadne_app:app",
    "Strawberry": "benchmarks.apps.strawberry_app:app",
    "Strawberry, caches": "benchmarks.apps.strawberry_app:cached_app",
    "servey": "benchmarks.apps.servey_graphql_app:app",
}


@dataclass(frozen=True)
class Work:
    """One operation.

    Args:
        without: Who cannot do it.
        sent: Whether it is also measured over HTTP.
    """

    label: str
    query: str
    variables: Mapping[str, Any] = field(default_factory=dict[str, Any])
    without: tuple[str, ...] = ()
    sent: bool = False

    @property
    def expected(self) -> Any:
        return ANSWERS[self.query](self.variables)

    @property
    def request(self) -> Request:
        body = json.dumps({"query": self.query, "variables": self.variables}).encode()
        return Request(f"{self.label}, by POST", "POST", "/graphql", body, {"data": self.expected})


WORKS = {
    "hello": Work("one field, one variable", HELLO, {"name": "World"}, sent=True),
    "things": Work("100 objects of 9 leaf fields, 3 of them nested", ALL_THINGS, sent=True),
    "batched": Work(
        "100 objects, one nested in each by one call for all", BATCHED, without=("graphql-core", "Ariadne")
    ),
    "async": Work("100 objects, one nested in each by an async function", ASYNC),
    "sync": Work("100 objects, one nested in each by a sync function", SYNC),
}


class GraphqlFigures(NamedTuple):
    """For each work and service the microseconds of CPU time in every round."""

    executed: dict[str, dict[str, list[float]]]
    sent: dict[str, dict[str, list[float]]]


async def batch(execute: Execute, work: Work, calls: int) -> float:
    """Return the CPU time of one execution in microseconds."""
    query, variables = work.query, work.variables
    begin = time.process_time_ns()
    for _ in range(calls):
        await execute(query, variables)
    return (time.process_time_ns() - begin) / calls / 1000


async def _undisturbed(lane: in_process.Lane, calls: int) -> float:
    gc.disable()
    try:
        return await lane(calls)
    finally:
        gc.enable()


async def _agree(executors: dict[str, Execute]) -> None:
    """Raise `DisagreementError` unless all executors give the answers that were made by hand."""
    found: list[str] = []
    for work in WORKS.values():
        expected = work.expected
        for name, execute in executors.items():
            if name not in work.without and (answer := await execute(work.query, work.variables)) != expected:
                found.append(f"{name}: {work.query}: {str(answer)[:300]}, expected {str(expected)[:300]}")
    if found:
        raise DisagreementError("\n".join(["the answers differ:", *found]))


async def _measure(executors: dict[str, Execute], apps: dict[str, Asgi], rounds: int, seconds: float) -> GraphqlFigures:
    requests = {name: work.request for name, work in WORKS.items() if work.sent}
    async with running(apps):
        await _agree(executors)
        await agree(apps, requests, {})
        figures = GraphqlFigures({}, {})
        for name, work in WORKS.items():
            lanes: dict[str, in_process.Lane] = {
                executor: partial(_undisturbed, partial(batch, execute, work))
                for executor, execute in executors.items()
                if executor not in work.without
            }
            figures.executed[name] = await in_process.take_turns(lanes, rounds, seconds, least=1)
        for name, request in requests.items():
            lanes = {app: partial(_undisturbed, partial(in_process.batch, made, request)) for app, made in apps.items()}
            figures.sent[name] = await in_process.take_turns(lanes, rounds, seconds, least=1)
        return figures


def measure(
    executors: dict[str, Execute], apps: dict[str, Asgi], *, rounds: int = 15, seconds: float = 0.1
) -> GraphqlFigures:
    """Return what the executions and the requests cost.

    Args:
        executors: What executes the text of a query, by the service's name.
        apps: The apps by name.
        rounds: How often each service has its turn.
        seconds: How long a turn is.

    Raises:
        DisagreementError: The services do not answer alike.
    """
    gc.collect()
    gc.freeze()  # the libraries need not be looked through between all turns
    try:
        with asyncio.Runner(loop_factory=loop_factory()[0]) as runner:
            return runner.run(_measure(executors, apps, rounds, seconds))
    finally:
        gc.unfreeze()
