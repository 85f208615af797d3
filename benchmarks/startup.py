"""What a process costs before and beside its requests: imports, start-up by number of actions, memory.

Each figure comes from fresh interpreters, which take turns; an import's is the CPU time inside the interpreter, so that
Python's own start is in none of them.
"""

import asyncio
import gc
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.in_process import batch, take_turns
from benchmarks.workload import REQUESTS, Asgi, Request, agree, loop_factory, running

ROOT = Path(__file__).parents[1]
SIZES = (10, 100, 1000)
BASELINE = "msgspec, asyncio, dataclasses, inspect, logging"
ENTRY = """\
from servey.action.action import action
from servey.service import Service
from servey.servey_direct.direct import call
@action
async def hello(name: str) -> str:
    return f"Hello {name}!"
Service([hello])
"""
PEER = "fastapi, mangum" if find_spec("mangum") else "fastapi"
IMPORTS = {
    BASELINE: f"import {BASELINE}",
    "servey": "import servey",
    "direct entry": ENTRY,
    "direct entry, jwt": f"{ENTRY}\nimport jwt",
    PEER: f"import {PEER}",
}


def _child(*arguments: str) -> Any:
    command = [sys.executable, "-m", "benchmarks.startup", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout)


def imports(rounds: int) -> dict[str, list[float]]:
    """Return the CPU milliseconds of each of `IMPORTS`, in every round."""
    timed = (
        "import time\nbegin = time.process_time()\n"
        "exec({!r}, {{'__name__': 'entry'}})\nprint(time.process_time() - begin)"
    )
    taken: dict[str, list[float]] = {name: [] for name in IMPORTS if name != PEER or find_spec("fastapi")}
    for turn in range(rounds + 1):
        for name in random.sample(list(taken), len(taken)):
            command = [sys.executable, "-c", timed.format(IMPORTS[name])]
            out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
            if turn:  # the first round writes the bytecode
                taken[name].append(float(out) * 1000)
    return taken


# ---- many actions


def servey_with(count: int) -> Asgi:
    """Return servey with `count` actions, each at a path of its own and with a nested result."""
    from benchmarks.apps.models import USERS, User
    from servey.action.action import action
    from servey.servey_starlette.app import create_app
    from servey.service import Service
    from servey.trigger.web_trigger import WebTrigger, WebTriggerMethod

    def make(i: int) -> Any:
        @action(name=f"a{i}", triggers=(WebTrigger(WebTriggerMethod.GET, f"/a{i}"),))
        async def hello(name: str) -> str:
            return f"Hello {name}!"

        @action(name=f"u{i}", triggers=(WebTrigger(WebTriggerMethod.GET, f"/u{i}/{{id}}"),))
        async def user(id: int) -> User:
            return USERS[id]

        return user if i % 2 else hello

    return create_app(Service(actions=[make(i) for i in range(count)]))


def fastapi_with(count: int) -> Asgi:
    """Return FastAPI with the same."""
    from fastapi import FastAPI

    from benchmarks.apps.models import USERS, User

    app = FastAPI()

    def make(i: int) -> None:
        async def hello(name: str) -> str:
            return f"Hello {name}!"

        async def user(id: int) -> User:
            return USERS[id]

        if i % 2:
            app.get(f"/u{i}/{{id}}")(user)
        else:
            app.get(f"/a{i}")(hello)

    for i in range(count):
        make(i)
    return app


FACTORIES: dict[str, Callable[[int], Asgi]] = {"servey": servey_with, "FastAPI": fastapi_with}


def _last(count: int, kind: str) -> Request:
    """A request for one of the last actions of an app."""
    if kind == "plain":
        return Request("", "GET", f"/a{count - 2}?name=World", expected="Hello World!")
    expected = REQUESTS["users_100"].expected[7]
    return Request("", "GET", f"/u{count - 1}/7", expected=expected)


async def _start(framework: str, count: int) -> float:
    FACTORIES[framework](0)  # the imports
    begin = time.process_time()
    app = FACTORIES[framework](count)
    async with running({"": app}):
        await agree({"": app}, {"": _last(count, "plain")})
        return time.process_time() - begin


def start_up(frameworks: list[str], rounds: int) -> dict[str, dict[int, list[float]]]:
    """Return the CPU milliseconds from the first declaration to the first answer, imports apart."""
    taken: dict[str, dict[int, list[float]]] = {name: {size: [] for size in SIZES} for name in frameworks}
    for _ in range(rounds):
        for size in SIZES:
            for name in frameworks:
                taken[name][size].append(_child("start", name, str(size)) * 1000)
    return taken


async def _request_cost(framework: str, rounds: int, seconds: float) -> dict[str, dict[int, list[float]]]:
    apps = {size: FACTORIES[framework](size) for size in SIZES}
    figures: dict[str, dict[int, list[float]]] = {}
    async with running({str(size): app for size, app in apps.items()}):
        for kind in ("plain", "template"):
            requests = {size: _last(size, kind) for size in SIZES}
            for size in SIZES:
                await agree({f"{framework}, {size} actions": apps[size]}, {"": requests[size]})
            lanes = {size: partial(batch, apps[size], requests[size]) for size in SIZES}
            figures[kind] = await take_turns(lanes, rounds, seconds)
    return figures


def request_cost(framework: str, rounds: int, seconds: float) -> dict[str, dict[int, list[float]]]:
    """Return the CPU microseconds of a request for one of the last of 10, 100 and 1,000 actions."""
    with asyncio.Runner(loop_factory=loop_factory()[0]) as runner:
        return runner.run(_request_cost(framework, rounds, seconds))


# ---- memory


def _resident() -> float:
    """Return this process's resident memory in MiB."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        import resource  # the peak, and no such module on Windows

        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return kilobytes / (1024 * 1024 if sys.platform == "darwin" else 1024)
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def _memory(target: str, calls: int) -> list[float]:
    module, _, attribute = target.partition(":")
    app = getattr(import_module(module), attribute)
    async with running({"": app}):
        await agree({target: app}, REQUESTS)
        gc.collect()
        before = _resident()
        for request in REQUESTS.values():
            await batch(app, request, calls // len(REQUESTS))
        gc.collect()
        return [before, _resident()]


def memory(targets: dict[str, str], calls: int) -> dict[str, list[float]]:
    """Return each app's resident MiB after its start, and after that many requests of all kinds."""
    return {name: _child("memory", target, str(calls)) for name, target in targets.items()}


def main() -> None:
    kind, name, number = sys.argv[1:]
    job = _start(name, int(number)) if kind == "start" else _memory(name, int(number))
    with asyncio.Runner(loop_factory=loop_factory()[0]) as runner:
        print(json.dumps(runner.run(job)))


if __name__ == "__main__":
    main()
