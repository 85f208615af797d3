"""`servey worker` and `servey beat` with a broker, in real processes: schedules, stops, and a broker that is away."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.brokers import emptied, first_with, own_broker, silent
from support.length import FULL, length
from support.rabbitmqs import RabbitMq
from support.valkeys import Valkey

from .conftest import BOUND, ServerProcess, until
from .effects import ACTIONS, Effects
from .test_schedules import ACTIONS as TICKS
from .test_schedules import times_of, written

Start = Callable[..., ServerProcess]

APP = ("-A", "servey.servey_celery.celery_app")
GOES_BACK, LOST = "goes back to the queue: the worker stops", "has lost its process"
LATEST_STOP = 6 + 2 + 5.0
"""How much longer than ``SERVEY_SHUTDOWN_TIMEOUT`` a stop may take on a busy machine, in seconds."""


@pytest.fixture
def effects(tmp_path: Path) -> Iterator[Callable[..., Effects]]:
    made: list[Effects] = []

    def make(broker: str) -> Effects:
        made.append(Effects(tmp_path, broker=broker))
        return made[-1]

    yield make
    for item in made:
        item.close()


@pytest.fixture
def away(request: pytest.FixtureRequest) -> Iterator[RabbitMq | Valkey]:
    """A broker that is away, until the test starts it."""
    with own_broker(request.param) as broker:
        yield broker


@pytest.fixture
def to_hold_up(request: pytest.FixtureRequest) -> Iterator[RabbitMq | Valkey]:
    """An empty broker that runs; a test that holds it up loses none of its messages."""
    if request.param == "rabbitmq":
        node: RabbitMq = request.getfixturevalue("rabbitmq")
        node.empty()
        yield node
        return
    with own_broker(request.param) as broker:
        broker.start()
        yield broker


def end(process: ServerProcess) -> None:
    """End a process that is ready as a platform does."""
    process.signal(signal.SIGTERM)
    assert process.wait() == 0, "".join(process.lines[-40:])


def a_worker(start: Start, source: str, broker: str, *words: str, **variables: str) -> ServerProcess:
    process = start(source, "--calls", "2", *words, command="worker", CELERY_BROKER=broker, **variables)
    process.wait_for("ready.")
    return process


@first_with("valkey")
def test_two_beats_and_two_workers_run_each_second_once(start: Start, tmp_path: Path, broker: str) -> None:
    words = (*APP, "beat", "--loglevel", "INFO", "-s", str(tmp_path / "a-file-of-schedules"))
    beats = [
        start(TICKS, command="beat", CELERY_BROKER=broker),
        start(TICKS, *words, command="celery", CELERY_BROKER=broker),
    ]
    workers = [a_worker(start, TICKS, broker, "--pool", pool) for pool in ("prefork", "threads")]
    began = time.time()  # a beat that starts slowly puts only the latest of the times before

    def times() -> list[int]:
        return sorted(moment for moment in times_of(written(tmp_path)) if moment > began)

    until(lambda: len(times()) >= length(4, 60), "the schedule runs", 2 * BOUND)
    for process in (*beats, *workers):
        end(process)
    found = times()
    assert found == list(range(found[0], found[0] + len(found))), "each second once, and none is left out"
    files = {path.name for path in tmp_path.iterdir()}
    assert files <= {"actions.py", "__pycache__", ".servey", "ticks", "served"}, "beat writes no file"


@first_with("rabbitmq", "away")
def test_beat_and_worker_wait_for_a_broker_that_is_away_at_the_start_and_later(
    start: Start, tmp_path: Path, away: RabbitMq | Valkey
) -> None:
    beat = start(TICKS, command="beat", CELERY_BROKER=away.url)
    beat.wait_for("the calls of schedules wait until the queue takes them")
    worker = start(TICKS, "--calls", "1", command="worker", CELERY_BROKER=away.url)
    cycles = 2 if isinstance(away, Valkey) or FULL else 1  # RabbitMQ takes seconds to start
    for number in range(1, cycles + 1):
        before = len(written(tmp_path))
        away.start()
        beat.wait_for("the queue takes the calls of schedules again", count=number)
        until(lambda before=before: len(written(tmp_path)) > before, "the schedule runs")
        away.kill()
        beat.wait_for("the calls of schedules wait until the queue takes them", count=number + 1)
    assert sum("the calls of schedules wait" in line for line in beat.lines) == cycles + 1, (
        "the log says it once each time"
    )
    end(beat)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, "".join(worker.lines[-40:])


@first_with("valkey", "away")
def test_a_worker_stops_while_it_waits_for_a_broker(start: Start, away: RabbitMq | Valkey) -> None:
    worker = start(TICKS, command="worker", CELERY_BROKER=away.url)
    worker.wait_for("Cannot connect")
    end(worker)


PROGRAMS = {
    "prefork": ("worker", ("--calls", "2", "--pool", "prefork")),
    "threads": ("worker", ("--calls", "2", "--pool", "threads")),
    "solo": ("worker", ("--pool", "solo")),
    "celery": ("celery", (*APP, "worker", "--concurrency", "2", "--loglevel", "INFO")),
}


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("prefork", "valkey"),
        ("threads", "valkey"),
        ("solo", "rabbitmq"),
        ("celery", "rabbitmq"),
    ],
)
def test_a_stop_ends_in_time_and_gives_long_calls_back(
    start: Start, effects: Callable[..., Effects], request: pytest.FixtureRequest, program: str, kind: str
) -> None:
    command, words = PROGRAMS[program]
    broker = emptied(kind, request)
    done = effects(broker)
    done.submit_sleep(60.0)
    done.submit_sleep(60.0)
    at_once = 1 if program == "solo" else 2
    worker = start(ACTIONS, *words, command=command, CELERY_BROKER=broker, SERVEY_SHUTDOWN_TIMEOUT="1")
    worker.wait_for("ready.")
    until(lambda: done.runs()[0] == at_once, "long calls run")
    began = time.monotonic()
    end(worker)
    assert time.monotonic() - began < 1 + LATEST_STOP
    a_worker(start, ACTIONS, broker)
    until(lambda: done.runs()[0] == at_once + 2, "another worker runs them")


@first_with("rabbitmq")
def test_a_second_signal_gives_calls_back_at_once(start: Start, effects: Callable[..., Effects], broker: str) -> None:
    done = effects(broker)
    done.submit_sleep(60.0)
    worker = a_worker(start, ACTIONS, broker, SERVEY_SHUTDOWN_TIMEOUT="600")
    until(lambda: done.runs()[0] == 1, "the call runs")
    worker.signal(signal.SIGINT)
    worker.wait_for("stopping: running calls get 600 s")
    time.sleep(0.6)  # two signals within half a second are the same Ctrl-C
    end(worker)
    assert any(GOES_BACK in line for line in worker.lines)


@pytest.mark.parametrize(
    ("number", "program", "kind"),
    [
        (signal.SIGTERM, "prefork", "rabbitmq"),
        (signal.SIGINT, "celery", "valkey"),
        (signal.SIGINT, "threads", "valkey"),
    ],
)
def test_a_signal_to_all_processes_of_a_worker_interrupts_no_call(
    start: Start, effects: Callable[..., Effects], request: pytest.FixtureRequest, number: int, program: str, kind: str
) -> None:
    command, words = PROGRAMS[program]
    broker = emptied(kind, request)
    done = effects(broker)
    done.submit_sleep(1.0)
    done.submit_sleep(60.0)
    worker = start(ACTIONS, *words, command=command, CELERY_BROKER=broker, SERVEY_SHUTDOWN_TIMEOUT="2")
    worker.wait_for("ready.")
    until(lambda: done.runs()[0] == 2, "both calls run")
    os.killpg(worker.process.pid, number)
    assert worker.wait() == 0, "".join(worker.lines[-40:])
    assert [sum(text in line for line in worker.lines) for text in (") took 1.", GOES_BACK, LOST)] == [1, 1, 0]


CAREFUL = f"""import asyncio
{ACTIONS.partition("def sleep")[0]}
async def sleep(seconds: float) -> None:
    database().execute("INSERT INTO runs VALUES (0, 0)")
    try:
        await asyncio.sleep(seconds)
    finally:
        await asyncio.sleep(0.2)
        database().execute("INSERT INTO effects VALUES ('closed', 1)")
"""


@pytest.mark.parametrize(("program", "kind"), [("celery", "rabbitmq"), ("threads", "valkey")])
def test_sigquit_gives_calls_back_at_once_and_lets_them_clean_up(
    start: Start, effects: Callable[..., Effects], request: pytest.FixtureRequest, program: str, kind: str
) -> None:
    command, words = PROGRAMS[program]
    broker = emptied(kind, request)
    done = effects(broker)
    done.submit_sleep(60.0)
    worker = start(CAREFUL, *words, command=command, CELERY_BROKER=broker, SERVEY_SHUTDOWN_TIMEOUT="600")
    worker.wait_for("ready.")
    until(lambda: done.runs()[0] == 1, "the call runs")
    os.killpg(worker.process.pid, signal.SIGQUIT)
    assert worker.wait() == 0, "".join(worker.lines[-40:])
    assert [sum(text in line for line in worker.lines) for text in (GOES_BACK, LOST)] == [1, 0]
    assert done.numbers() == [1], "the call has cleaned up"


@first_with("rabbitmq", "to_hold_up")
def test_a_worker_whose_broker_is_silent_ends_by_force_with_its_processes(
    start: Start, effects: Callable[..., Effects], to_hold_up: RabbitMq | Valkey
) -> None:
    done = effects(to_hold_up.url)
    done.submit_sleep(60.0)
    worker = a_worker(start, ACTIONS, to_hold_up.url, SERVEY_SHUTDOWN_TIMEOUT="1")
    until(lambda: done.runs()[0] == 1, "the call runs")
    processes = worker.processes()
    with silent(to_hold_up):
        began = time.monotonic()
        worker.signal(signal.SIGTERM)
        worker.wait()
        assert time.monotonic() - began < 1 + LATEST_STOP
        until(lambda: not any(map(is_running, processes)), "its processes have ended")


@first_with("rabbitmq")
def test_workers_that_are_stopped_again_and_again_never_hang_and_lose_no_call(
    start: Start, effects: Callable[..., Effects], broker: str
) -> None:
    stops, each = length(3, 50), 60
    done = effects(broker)
    for number in range(stops):
        done.submit(range(number * each, (number + 1) * each))
        worker = a_worker(start, ACTIONS, broker, SERVEY_SHUTDOWN_TIMEOUT="10")
        before = len(done.numbers())
        until(lambda before=before: len(done.numbers()) > before + 5, "calls run")
        began = time.monotonic()
        end(worker)
        assert time.monotonic() - began < 10, "the calls take milliseconds, so a stop does, too"
    a_worker(start, ACTIONS, broker)
    until(lambda: len(done.numbers()) == stops * each, "all calls have run")
    assert done.numbers() == list(range(stops * each))
    assert set(done.runs().values()) == {1}, "a stop makes no call run twice"


WEB = f"""{ACTIONS}

@action(triggers=(WEB_POST, FixedRateTrigger(1)))
def order(number: int = -1) -> int:
    background.submit(mark, number=number)
    return number
"""


def post(server: ServerProcess, number: int) -> Any:
    return httpx.post(f"http://127.0.0.1:{server.port}/actions/order", json={"number": number}, timeout=BOUND)


@first_with("valkey", "away")
def test_a_server_starts_without_its_broker_and_answers_503_until_it_is_there(
    start: Start, tmp_path: Path, away: RabbitMq | Valkey
) -> None:
    server = start(WEB, "--no-reload", CELERY_BROKER=away.url)
    for _ in range(3):
        began = time.monotonic()
        assert post(server, 1).status_code == 503
        assert time.monotonic() - began < 5 + 5
    assert sum("the broker does not answer" in line for line in server.lines) == 1, "the log says it once"
    away.start()
    until(lambda: post(server, 2).status_code == 200, "submissions are taken")
    server.wait_for("the broker answers again")
    done = Effects(tmp_path, broker=away.url)
    a_worker(start, WEB, away.url)
    until(lambda: 2 in done.numbers(), "a worker makes the call")
    done.close()


@first_with("rabbitmq")
def test_a_server_with_a_broker_makes_no_background_calls_and_runs_no_schedules(
    start: Start, effects: Callable[..., Effects], broker: str
) -> None:
    done = effects(broker)
    server = start(WEB, "--no-reload", CELERY_BROKER=broker)
    assert post(server, 1).status_code == 200
    time.sleep(2.5)  # two seconds of the schedule
    assert done.numbers() == []
    worker = a_worker(start, WEB, broker)
    until(lambda: done.numbers() == [1], "a worker makes the call")
    end(worker)
    assert done.numbers() == [1], "no schedule has run"
    assert any("`servey beat` runs the schedules" in line for line in server.lines)


def is_running(process: int) -> bool:
    """Return whether a process runs; one that has ended may wait for its parent to notice it."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


@first_with("valkey")
def test_programs_show_what_they_do_and_no_password(start: Start, broker: str) -> None:
    url = broker.replace("127.0.0.1", "localhost")
    worker = a_worker(start, TICKS, url, "--pool", "threads", SERVEY_STORE="memory")
    beat = start(TICKS, command="beat", CELERY_BROKER=url)
    beat.wait_for("beat: Starting")
    for process in (worker, beat):
        end(process)
        assert not any("guest:guest" in line for line in process.lines)
        assert all(line.startswith("{") for line in process.lines if line.strip()), "one log, in one format"
    shown = [line for line in worker.lines if "a worker makes 2 background calls at the same time (threads)" in line]
    assert len(shown) == 1
    assert any("`servey beat` runs 1 schedule" in line for line in worker.lines)
    assert any("no key signs background calls" in line and '"WARNING"' in line for line in worker.lines)
    assert any("the calls of 1 schedule go to" in line for line in beat.lines)
    assert any("every 0:00:01  tick  (next" in line for line in beat.lines)
