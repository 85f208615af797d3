"""Requests per second of each app behind a real server, one worker pinned to one core, the load on the others.

All servers are up all the time and take turns under load, so that the ratios of one round are of one moment.
"""

import contextlib
import http.client
import json
import math
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.workload import DisagreementError, Request, problem

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"
CONNECTIONS = 32

Affinity = set[int]


class Server(NamedTuple):
    """A running server."""

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """Return the CPU time that the server and its workers have used; NaN where there is no /proc."""
        return cpu_seconds(self.pid)


class Figures(NamedTuple):
    """What was measured of one request: for each server a figure of every round."""

    rates: dict[str, list[float]]  # requests per second
    cpu: dict[str, list[float]]  # microseconds of the server's CPU time per request, the system's part included


def end(process: subprocess.Popen[Any], seconds: float) -> None:
    """End a process, by force if it takes longer."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its children have used; NaN where there is no /proc."""
    try:
        return sum(map(_cpu_seconds, _family(pid)))
    except OSError:
        return math.nan


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _family(int(child))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cores() -> tuple[Affinity, Affinity]:
    """The core of the server, and those of the load generator; both empty where they cannot be chosen."""
    if not hasattr(os, "sched_getaffinity") or len(all_cores := sorted(os.sched_getaffinity(0))) < 2:
        return set(), set()
    return {all_cores[-1]}, set(all_cores[:-1])


def _pin(affinity: Affinity) -> Callable[[], None] | None:
    return (lambda: os.sched_setaffinity(0, affinity)) if affinity else None


def commands(target: str) -> dict[str, list[str]]:
    """The servers' command lines for one app, without host and port."""
    common = ["--no-access-log", "--log-level", "warning", "--workers", "1"]
    found = {"uvicorn": common.copy(), "granian": [*common, "--interface", "asgi"]}
    if find_spec("uvloop"):
        found["uvicorn"] += ["--loop", "uvloop"]
        found["granian"] += ["--loop", "uvloop"]
    if find_spec("httptools"):
        found["uvicorn"] += ["--http", "httptools"]
    return {name: [sys.executable, "-m", name, *options, target] for name, options in found.items() if find_spec(name)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def fetch(port: int, request: Request) -> tuple[int, dict[bytes, bytes], bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    with contextlib.closing(connection):
        headers = {name.decode(): value.decode() for name, value in request.headers if name != b"content-length"}
        connection.request(request.method, request.target, request.body or None, headers)
        answer = connection.getresponse()
        told = {name.lower().encode(): value.encode() for name, value in answer.getheaders()}
        return answer.status, told, answer.read()


def _wait_until_up(name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection((HOST, port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{name} did not start:\n{log.read_text()[-3000:]}")


@contextlib.contextmanager
def serving(name: str, command: list[str], affinity: Affinity) -> Iterator[Server]:
    """Run one server around the block."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*command, "--host", HOST, "--port", str(port)],
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=_pin(affinity),
            )
        try:
            _wait_until_up(name, process, port, log)
            yield Server(port, process.pid)
        finally:
            end(process, 10)


def generator() -> str:
    """Which load generator there is: ``wrk``, else ``ours``."""
    return "wrk" if shutil.which("wrk") else "ours"


def _wrk(port: int, request: Request, seconds: float, affinity: Affinity) -> tuple[int, float]:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"wrk.method = {json.dumps(request.method)}\n")
        for name, value in request.headers:
            if name not in (b"host", b"content-length"):
                script.write(f"wrk.headers[{json.dumps(name.decode())}] = {json.dumps(value.decode())}\n")
        if request.body:
            script.write(f"wrk.body = {json.dumps(request.body.decode())}\n")
        script.write("done = function(summary) print('=', summary.requests, summary.duration) end\n")
        script.flush()
        url = f"http://{HOST}:{port}{request.target}"
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", script.name, url]
        out = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=_pin(affinity)).stdout
    found = re.search(r"=\s+(\d+)\s+(\d+)", out)
    if "Socket errors" in out or "Non-2xx" in out or not found:
        raise RuntimeError(out)
    return int(found[1]), int(found[2]) / 1e6


def load_by_ours(port: int, request: Request, seconds: float, affinity: Affinity) -> tuple[int, float]:
    command = [sys.executable, "-m", "benchmarks.load", HOST, str(port), str(CONNECTIONS), str(seconds)]
    done = subprocess.run(command, input=request.raw, capture_output=True, cwd=ROOT, preexec_fn=_pin(affinity))
    result = json.loads(done.stdout) if done.returncode == 0 else {}
    if not result or result["errors"] or not result["requests"]:
        raise RuntimeError(f"{result}\n{done.stderr.decode()[-3000:]}")
    return result["requests"], result["seconds"]


def measure(
    targets: dict[str, str], requests: dict[str, Request], *, rounds: int = 5, seconds: float = 1.0
) -> dict[str, Figures]:
    """Return, for each request, what each server did in every round.

    The apps run under uvicorn; where granian is installed, ``by hand`` and ``servey`` run under it too, as
    ``servey, granian``.

    Args:
        targets: The apps as ``module:attribute``, by name.
        requests: The requests by name.
        rounds: How often each server has its turn.
        seconds: How long a turn is.

    Raises:
        DisagreementError: The servers do not answer alike.
    """
    server_core, load_cores = cores()
    load = _wrk if generator() == "wrk" else load_by_ours
    with contextlib.ExitStack() as stack:
        servers: dict[str, Server] = {}
        for name, target in targets.items():
            for kind, command in commands(target).items():
                if kind == "uvicorn" or name in ("by hand", "servey"):
                    label = name if kind == "uvicorn" else f"{name}, {kind}"
                    servers[label] = stack.enter_context(serving(label, command, server_core))
        wrong = [
            f"{name}: {request.method} {request.target}: {found}"
            for name, server in servers.items()
            for request in requests.values()
            if (found := problem(request, *fetch(server.port, request)))
        ]
        if wrong:
            raise DisagreementError("\n".join(["the servers' answers differ:", *wrong]))
        figures: dict[str, Figures] = {}
        for label, request in requests.items():
            figures[label] = taken = Figures({name: [] for name in servers}, {name: [] for name in servers})
            for turn in range(rounds + 1):
                for name in random.sample(list(servers), len(servers)):
                    server = servers[name]
                    before = server.cpu_seconds()
                    count, took = load(server.port, request, seconds, load_cores)
                    if turn:  # the first round warms up
                        taken.rates[name].append(count / took)
                        taken.cpu[name].append((server.cpu_seconds() - before) / count * 1e6)
        return figures
