"""The figures as tables, and the targets they are held against."""

import math
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import brokers, idempotency
from benchmarks.background import PEER, WORKERS, BackgroundFigures, Lanes
from benchmarks.brokers import BROKERS, BrokerFigures
from benchmarks.graphql import WORKS, GraphqlFigures
from benchmarks.in_process import ratio
from benchmarks.schedules import ScheduleFigures
from benchmarks.served import CONNECTIONS, Figures, cores, generator
from benchmarks.startup import BASELINE, SIZES
from benchmarks.startup import PEER as ENTRY_PEER
from benchmarks.workload import REQUESTS, loop_factory

PACKAGES = ("msgspec", "orjson", "starlette", "litestar", "fastapi", "pydantic", "uvicorn", "httptools", "granian")
BACKGROUND_PACKAGES = ("celery", "redis", "amqp")
GRAPHQL_PACKAGES = ("graphql-core", "strawberry-graphql", "ariadne")
FEATURES = {
    "hello": "open GET",
    "authorized": "with a token",
    "new token": "with a token not seen lately",
    "cached": "from the result cache",
    "not modified": "304",
    "limited": "with a rate limit",
}
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

Rounds = dict[str, list[float]]


@dataclass
class Results:
    """Everything that was measured; what was not is empty."""

    in_process: dict[str, Rounds] = field(default_factory=dict[str, Rounds])
    features: Rounds = field(default_factory=Rounds)
    graphql: GraphqlFigures | None = None
    served: dict[str, Figures] = field(default_factory=dict[str, Figures])
    imports: Rounds = field(default_factory=Rounds)
    start_up: dict[str, dict[int, list[float]]] = field(default_factory=dict[str, dict[int, list[float]]])
    request_cost: dict[str, dict[str, dict[int, list[float]]]] = field(
        default_factory=dict[str, dict[str, dict[int, list[float]]]]
    )
    memory: Rounds = field(default_factory=Rounds)
    background: BackgroundFigures | None = None
    idempotency: Lanes | None = None
    brokers: dict[str, BrokerFigures] | None = None
    schedules: ScheduleFigures | None = None


@dataclass(frozen=True)
class Verdict:
    """One target and what was measured."""

    work: str
    compared: str
    bound: float
    measured: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound

    def row(self) -> tuple[str, ...]:
        sign = "≤" if self.at_most else "≥"
        return (
            self.work,
            self.compared,
            f"{sign} {self.bound:g}",
            f"{self.measured:.2f}",
            "met" if self.met else "missed",
        )


def verdicts(results: Results) -> list[Verdict]:
    """Hold the figures against the targets; a target whose figures are missing is left out."""
    found: list[Verdict] = []

    def compare(rounds: Rounds, work: str, *targets: tuple[str, str, float, bool]) -> None:
        for above, below, bound, at_most in targets:
            if rounds.get(above) and rounds.get(below):
                measured = ratio(rounds[above], rounds[below])
                found.append(Verdict(work, f"{above} / {below}", bound, measured, at_most))

    for name, targets in {
        "hello": (
            ("servey", "by hand", 2.5),
            ("Starlette", "servey", 1.4),
            ("Litestar", "servey", 3.5),
            ("FastAPI", "servey", 6),
        ),
        "echo": (("Litestar", "servey", 3), ("FastAPI", "servey", 7)),
        "users_100": (("servey", "by hand", 1.5), ("Litestar", "servey", 1), ("FastAPI", "servey", 2.5)),
        "hello_sync": (("FastAPI", "servey", 3),),
        "authorized": (("Starlette", "servey", 1), ("Litestar", "servey", 1), ("FastAPI", "servey", 1)),
    }.items():
        work = f"{REQUESTS[name].label}, in process"
        rows = [(above, below, bound, below == "by hand") for above, below, bound in targets]
        compare(results.in_process.get(name, {}), work, *rows)
    compare(
        {FEATURES[name]: rounds for name, rounds in results.features.items()},
        "servey, in process",
        (FEATURES["authorized"], FEATURES["hello"], 1.6, True),
        (FEATURES["cached"], FEATURES["hello"], 1.2, True),
        (FEATURES["not modified"], FEATURES["cached"], 1, True),
    )
    if results.graphql:
        compare(
            results.graphql.executed["things"],
            f"GraphQL: {WORKS['things'].label}",
            ("servey", "graphql-core", 1.1, True),
        )
    if "hello" in results.served:
        compare(
            throughput(results.served["hello"]),
            f"{REQUESTS['hello'].label}, through uvicorn",
            ("servey", "by hand", 0.85, False),
            ("servey", "FastAPI", 2.8, False),
            ("servey", "Litestar", 1.9, False),
        )
    few, some, many = SIZES
    for kind, taken in results.request_cost.get("servey", {}).items():
        named = {str(size): rounds for size, rounds in taken.items()}
        compare(named, f"a request among {many:,} actions, {kind} path", (str(many), str(few), 1.1, True))
    if taken := results.start_up.get("servey"):
        at = {size: statistics.median(rounds) for size, rounds in taken.items()}
        growth = ((at[many] - at[some]) / (many - some)) / max((at[some] - at[few]) / (some - few), 1e-9)
        found.append(Verdict("start-up grows linearly", f"an action of {many:,} / of {some}", 1.3, growth, True))
    entry = "import and one open action"
    compare(results.imports, entry, ("direct entry", ENTRY_PEER, 0.2, True), ("direct entry", BASELINE, 1.3, True))
    compare(results.imports, f"{entry}, a token read", ("direct entry, jwt", ENTRY_PEER, 0.4, True))
    if results.background:
        found += _background_verdicts(results.background)
    if results.idempotency:
        target = (idempotency.SQLITE, idempotency.PLAIN, 1.5, True)
        compare(results.idempotency.wall, "a request that does nothing, through uvicorn", target)
    for broker, figures in (results.brokers or {}).items():
        compare(
            figures.put.wall,
            f"put a call into {broker}",
            (brokers.PUT_NOW, brokers.PEER, 1.2, True),
            (brokers.SUBMIT, brokers.PEER, 1.2, True),
        )
        for pool in brokers.POOLS:
            targets = (
                (brokers.SERVEY, brokers.PEER, 1.3, True),
                (brokers.SERVEY_DEF, brokers.PEER, 1.3, True),
                (brokers.SERVEY, brokers.AS_IT_COMES, 1.3, True),
            )
            compare(figures.nothing[pool].wall, f"make a call of nothing, {broker}, {pool}", *targets)
            target = (brokers.SERVEY, brokers.PEER, 1.05, True)
            compare(figures.wait[pool].wall, f"make a call of 5 ms, {broker}, {pool}", target)
    if results.schedules:
        cost = "% of a core for putting their calls, 4 processes"
        bounds = zip(results.schedules.producing.items(), (3, 0.5), strict=True)
        found += (Verdict(label, cost, bound, measured, True) for (label, measured), bound in bounds)
    return found


def _background_verdicts(figures: BackgroundFigures) -> Iterable[Verdict]:
    put, made = figures.put.wall, figures.made.wall
    for above in ("servey, one after another", "servey, 100 at once"):
        if put.get(PEER):
            yield Verdict("put a background call", f"{above} / {PEER}", 0.3, ratio(put[above], put[PEER]), True)
    for below in WORKERS:
        if made.get(below):
            yield Verdict("make a background call", f"servey / {below}", 0.4, ratio(made["servey"], made[below]), True)


def throughput(figures: Figures) -> Rounds:
    """Requests per second of the server's own CPU time; where that is unknown, of the clock.

    On a core that the server has to itself both are the same; the first holds beside neighbours too.
    """
    if any(math.isnan(value) or value <= 0 for rounds in figures.cpu.values() for value in rounds):
        return figures.rates
    return {name: [1e6 / value for value in rounds] for name, rounds in figures.cpu.items()}


def machine() -> list[str]:
    """Say what was measured on, and with what."""
    installed: list[str] = []
    for name in PACKAGES + GRAPHQL_PACKAGES + BACKGROUND_PACKAGES:
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    server_core, _ = cores()
    tool = "wrk" if generator() == "wrk" else "the bundled generator (Python; wrk or oha give truer figures)"
    return [
        f"{_processor()}, {os.cpu_count()} cores; {platform.system()} {platform.release()}",
        f"Python {platform.python_version()}, {loop_factory()[1]}, {', '.join(installed)}",
        f"load: {tool}, {CONNECTIONS} connections; the server {'pinned to one core' if server_core else 'not pinned'}",
    ]


def busyness() -> str:
    """Say so when other processes keep this machine busy; to be asked before the measurement."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load < 0.3 * (os.cpu_count() or 1):
        return ""
    return f"**the machine was busy with other work** (load {load:.1f}): above all the served figures suffer from that"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, its columns aligned for the terminal."""
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = "|".join("-" * (width + 2) if i == 0 else "-" * (width + 1) + ":" for i, width in enumerate(widths))
    return "\n".join([line(lines[0]), f"|{rule}|", *map(line, lines[1:])])


def _number(values: list[float]) -> str:
    value = statistics.median(values)
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _graphql(works: dict[str, Rounds], unit: str) -> str:
    """Return a table of the works, its cells with the ratio to one of the services where that does the work."""
    services = list(dict.fromkeys(name for taken in works.values() for name in taken))

    def cell(taken: Rounds, name: str) -> str:
        if name not in taken:
            return ""
        return _number(taken[name]) + (f" ({ratio(taken[name], taken[unit]):.2f})" if unit in taken else "")

    rows = ((label, *(cell(taken, name) for name in services)) for label, taken in works.items())
    return table(("", *services), rows)


def render(results: Results, busy: str = "") -> str:
    """Return everything as Markdown."""
    parts = ["\n".join(f"- {line}" for line in [*machine(), busy] if line)]
    if judged := verdicts(results):
        met = sum(verdict.met for verdict in judged)
        parts += [
            f"### Targets: {met} of {len(judged)} met",
            table(("work", "compared", "target", "measured", ""), (verdict.row() for verdict in judged)),
        ]
    if results.in_process:
        apps = list(next(iter(results.in_process.values())))
        rows = [
            (REQUESTS[name].label, *(_number(taken[app]) if app in taken else "" for app in apps))
            for name, taken in results.in_process.items()
        ]
        parts += ["### In process: µs of CPU time per call", table(("", *apps), rows)]
    if plain := results.features.get("hello"):
        rows = [
            (FEATURES[name], _number(taken), f"{ratio(taken, plain):.2f}") for name, taken in results.features.items()
        ]
        parts += ["### What servey's own parts cost", table(("", "µs", "/ open GET"), rows)]
    if results.graphql:
        executed, sent = results.graphql
        parts += [
            "### GraphQL: µs of CPU time per execution (/ graphql-core)",
            _graphql({WORKS[name].label: taken for name, taken in executed.items()}, "graphql-core"),
            "### GraphQL by POST, in process: µs of CPU time per call (/ Strawberry)",
            _graphql({WORKS[name].label: taken for name, taken in sent.items()}, "Strawberry"),
        ]
    if results.served:
        parts.append("### Served: requests per second (µs of the server's CPU time per request)")
        servers = list(next(iter(results.served.values())).rates)
        rows = [
            (
                server,
                *(
                    f"{_number(taken.rates[server])} ({_number(taken.cpu[server])})"
                    for taken in results.served.values()
                ),
            )
            for server in servers
        ]
        parts.append(table(("", *(REQUESTS[name].label for name in results.served)), rows))
    if results.imports:
        rows = [
            (f"`{name}`" if name in (BASELINE, ENTRY_PEER, "servey") else name, _number(taken))
            for name, taken in results.imports.items()
        ]
        parts += ["### Imports: ms of CPU time", table(("", "ms"), rows)]
    if results.start_up:
        parts.append("### By number of actions")
        head = ("", *(f"{size:,}" for size in SIZES))
        rows = [
            (f"{name}: start to first answer, ms", *map(_number, taken.values()))
            for name, taken in results.start_up.items()
        ]
        for name, kinds in results.request_cost.items():
            rows += [
                (f"{name}: a request, {kind} path, µs", *map(_number, taken.values())) for kind, taken in kinds.items()
            ]
        parts.append(table(head, rows))
    if results.memory:
        rows = [(name, f"{before:.1f}", f"{after:.1f}") for name, (before, after) in results.memory.items()]
        parts += ["### Memory: resident MiB", table(("", "after start", "after the requests"), rows)]
    if results.background:
        for title, lanes in (("Put", results.background.put), ("Make", results.background.made)):
            parts += [f"### {title} a background call", _lanes(lanes)]
    if results.idempotency:
        parts += ["### Idempotency: a request that does nothing, through uvicorn", _lanes(results.idempotency)]
    if results.brokers is not None:
        parts += _brokers(results.brokers)
    if results.schedules:
        parts += ["### Schedules", _schedules(results.schedules)]
    return "\n\n".join(parts) + "\n"


def _brokers(taken: dict[str, BrokerFigures]) -> Iterable[str]:
    for name in BROKERS:
        if name not in taken:
            yield f"### {name}\n\n{name} (or Celery) is not installed, so nothing was measured with it."
            continue
        yield f"### {name}: put a call"
        yield _lanes(taken[name].put)
        for pool in brokers.POOLS:
            yield f"### {name}, {pool}: make a call of nothing"
            yield _lanes(taken[name].nothing[pool])
            yield f"### {name}, {pool}: make a call of 5 ms"
            yield _lanes(taken[name].wait[pool])


def _schedules(figures: ScheduleFigures) -> str:
    rows = [(f"{label}, % of a core", f"{percent:.2f}") for label, percent in figures.producing.items()]
    late = sorted(figures.late)
    for percent in (50, 99):
        rows.append((f"100 schedules of a second: ms late, p{percent}", f"{late[len(late) * percent // 100]:.0f}"))
    return table(("", ""), rows)


def _lanes(lanes: Lanes) -> str:
    unit = next(iter(lanes.wall))

    def row(name: str) -> tuple[str, ...]:
        wall, cpu = lanes.wall[name], lanes.cpu[name]
        return (
            name,
            _number(wall),
            f"{ratio(wall, lanes.wall[unit]):.2f}",
            _number(cpu),
            f"{ratio(cpu, lanes.cpu[unit]):.2f}",
        )

    return table(("", "µs", f"/ {unit}", "µs of CPU time", f"/ {unit}"), map(row, lanes.wall))


def write(text: str, page: Path) -> None:
    """Put `text` between the markers of `page`."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{page} has no markers {BEGIN} … {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")
