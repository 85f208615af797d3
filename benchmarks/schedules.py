"""What schedules cost in processes that put their calls into one file, and how late one process begins the calls."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.workload import loop_factory

ROOT = Path(__file__).parents[1]
PROCESSES = 4
INTERVALS = {"1,000 schedules of a second": 1.0, "1,000 schedules of a minute": 60.0}


@dataclass
class ScheduleFigures:
    """What was measured.

    Args:
        producing: Percent of a core that all processes together take for putting the calls, by kind.
        late: How many milliseconds after its time each call began.
    """

    producing: dict[str, float] = field(default_factory=dict[str, float])
    late: list[float] = field(default_factory=list[float])


def _child(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.schedules", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def _answer(process: subprocess.Popen[str]) -> Any:
    out, errors = process.communicate(timeout=300)
    if process.returncode:
        raise RuntimeError(errors[-3000:])
    return json.loads(out)


def measure(*, seconds: float, late_seconds: float) -> ScheduleFigures:
    """Return what schedules cost, and how late they are.

    Args:
        seconds: How long the cost is measured. In less than a minute, the schedules of a minute may not be due.
        late_seconds: How long the lateness is measured.
    """
    figures = ScheduleFigures()
    with tempfile.TemporaryDirectory() as folder:
        producers = {
            label: [
                _child("produce", os.path.join(folder, f"{interval:g}.db"), str(interval), str(seconds))
                for _ in range(PROCESSES)
            ]
            for label, interval in INTERVALS.items()
        }
        for label, processes in producers.items():
            figures.producing[label] = 100 * sum(map(_answer, processes))
        figures.late = _answer(_child("late", os.path.join(folder, "late.db"), "1", str(late_seconds)))
    return figures


async def _produce(store: str, interval: float, seconds: float) -> float:
    """Return the CPU seconds per second that putting the calls of 1,000 schedules takes in this process."""
    from benchmarks.apps.servey_background_app import scheduled

    async with scheduled(store, 1000, interval).serving():
        await asyncio.sleep(3)  # all processes have started
        before, begin = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        return (time.process_time() - before) / (time.monotonic() - begin)


async def _late(store: str, interval: float, seconds: float) -> list[float]:
    """Return how many milliseconds after its time each call of 100 schedules began."""
    from benchmarks.apps.servey_background_app import scheduled

    late: list[float] = []
    async with scheduled(store, 100, interval, late).serving():
        await asyncio.sleep(2)
        late.clear()
        await asyncio.sleep(seconds)
        return [value * 1000 for value in late]


def main() -> None:
    kind, store, interval, seconds = sys.argv[1:]
    job = (_produce if kind == "produce" else _late)(store, float(interval), float(seconds))
    with asyncio.Runner(loop_factory=loop_factory()[0]) as runner:
        print(json.dumps(runner.run(job)))


if __name__ == "__main__":
    main()
