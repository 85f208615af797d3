"""Measure, print the tables, and with --write put them into docs/benchmarks.md.

make bench                     everything, about a quarter of an hour
make bench ARGS=--quick        does it all work? no figure to trust
make bench ARGS=--write        the figures into docs/benchmarks.md
make bench ARGS="--only in_process --app servey=module:app"
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import background, brokers, graphql, idempotency, in_process, schedules, served, startup
from benchmarks.report import Results, busyness, render, write
from benchmarks.workload import APPS, REQUESTS, DisagreementError, load

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
PARTS = ("in_process", "graphql", "served", "startup", "background", "idempotency", "brokers", "schedules")
FEATURES = ("hello", "authorized", "cached", "limited")
SERVED = ("hello", "hello_sync", "echo", "users_100")


def measure(parts: list[str], targets: dict[str, str], quick: bool) -> Results:
    apps = _load(targets)
    targets = {name: target for name, target in targets.items() if name in apps}
    results = Results()
    if "in_process" in parts:
        _say("in process …")
        rounds, seconds = (3, 0.01) if quick else (15, 0.05)
        results.in_process = in_process.measure(apps, REQUESTS, rounds=rounds, seconds=seconds)
        if "servey" in apps:
            requests = {name: REQUESTS[name] for name in FEATURES}
            results.features = in_process.features(apps["servey"], requests, rounds=rounds, seconds=seconds)
    if "graphql" in parts:
        _say("graphql …")
        rounds, seconds = (3, 0.01) if quick else (15, 0.05)
        results.graphql = graphql.measure(_load(graphql.EXECUTORS), _load(graphql.APPS), rounds=rounds, seconds=seconds)
    if quick:
        targets = {name: target for name, target in targets.items() if name in ("by hand", "servey")}
    if "served" in parts:
        _say("served …")
        # the first request is the one that is judged; the others are for the picture
        for names, rounds in ((SERVED[:1], 1 if quick else 6), (SERVED[1:], 0 if quick else 3)):
            if rounds:
                results.served |= served.measure(
                    {name: target for name, target in targets.items() if name != "FastAPI, models"},
                    {name: REQUESTS[name] for name in names},
                    rounds=rounds,
                    seconds=0.3 if quick else 1.0,
                )
    if "startup" in parts:
        _say("imports, start-up and memory …")
        frameworks = [name for name in startup.FACTORIES if name in targets]
        results.imports = startup.imports(1 if quick else 7)
        results.start_up = startup.start_up(frameworks, 1 if quick else 3)
        for name in frameworks:
            results.request_cost[name] = startup.request_cost(name, 3 if quick else 11, 0.01 if quick else 0.03)
        results.memory = startup.memory(targets, 700 if quick else 10_000)
    if "background" in parts:
        _say("background calls …")
        rounds, count, tries = (1, 200, 1) if quick else (3, 1000, 2)
        results.background = background.measure(rounds=rounds, count=count, tries=tries)
    if "idempotency" in parts:
        _say("idempotency …")
        results.idempotency = idempotency.measure(rounds=1 if quick else 5, seconds=0.3 if quick else 1.5)
    if "brokers" in parts:
        _say("brokers …")
        rounds, count, tries = (1, 50, 1) if quick else (3, 300, 2)
        results.brokers = brokers.measure(rounds=rounds, count=count, tries=tries)
    if "schedules" in parts:
        _say("schedules …")
        results.schedules = schedules.measure(seconds=2 if quick else 60, late_seconds=2 if quick else 20)
    return results


def _load(targets: dict[str, str]) -> dict[str, Any]:
    made, missing = load(targets)
    for name, reason in missing.items():
        _say(f"left out: {name} ({reason})")
    return made


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="servey beside its peers")
    parser.add_argument("--quick", action="store_true", help="a smoke: every part, shortly")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part only; may be repeated")
    parser.add_argument(
        "--app", action="append", default=[], metavar="NAME=MODULE:ATTRIBUTE", help="add or replace an app"
    )
    options = parser.parse_args()
    if options.write and (options.quick or options.only or options.app):
        parser.error("--write takes the whole run, as it is")
    targets = APPS | dict(item.split("=", 1) for item in options.app)
    begin = time.monotonic()
    busy = busyness()
    try:
        results = measure(options.only or list(PARTS), targets, options.quick)
    except DisagreementError as error:
        sys.exit(str(error))
    text = render(results, busy)
    if options.quick:
        text = "A SMOKE RUN: it shows that everything works; its figures mean nothing.\n\n" + text
    print(text)
    _say(f"took {time.monotonic() - begin:.0f} s")
    if options.write:
        write(text, PAGE)


if __name__ == "__main__":
    main()
