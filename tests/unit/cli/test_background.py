"""`servey calls`, `servey schedule`, and what `servey call` says of the calls that it submits."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from servey import Authorization, CronTrigger, FixedRateTrigger, background
from servey.action.action import action
from servey.background_call.runner import Runner
from servey.service import Service
from servey.settings import Settings

BOUND = 30.0


@action
def send(number: int) -> None:
    if number < 0:
        raise ConnectionError("the mail server is gone")


@action
def repeat(text: str) -> None:
    raise ValueError(text)


@action
def order(number: int) -> str:
    return background.submit(send, number=number)


@action(triggers=(CronTrigger("30 2 * * *", "Europe/Berlin"), FixedRateTrigger(3600, params={"number": 5})))
def report(number: int = 1) -> None: ...


ACTIONS = (send, repeat, order, report)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=str(tmp_path / "store.db"))


async def failed(settings: Settings, *numbers: int) -> list[str]:
    """Let calls fail for good, one after another; return their ids."""
    service = Service(ACTIONS, settings=settings)
    ids: list[str] = []
    async with service.running():
        for number in numbers:
            ids.append(await background.asubmit(send, number=number))
        done = asyncio.Event()

        async def run(call: Any) -> Any:
            outcome = await Runner(service).run(call)
            if call.id == ids[-1]:
                done.set()
            return outcome

        async with asyncio.timeout(BOUND), service.stores.calls.consuming(run):
            await done.wait()
    return ids


def test_a_command_says_that_its_background_calls_wait(servey, settings: Settings) -> None:
    done = servey("call", "order", "--number=1", actions=ACTIONS, settings=settings)
    assert (done.code, json.loads(done.out) != "") == (0, True)
    assert done.err == "1 background call submitted, for a running server or `servey worker` to make\n"
    listed = servey("calls", "--json", actions=ACTIONS, settings=settings)
    [row] = json.loads(listed.out)
    assert (row["id"], row["action"], row["arguments"]) == (json.loads(done.out), "send", {"number": 1})
    assert (row["state"], row["attempt"], row["why"]) == ("waiting", 1, "")


def test_failed_calls_are_listed_shown_retried_and_forgotten(servey, settings: Settings) -> None:
    def run(*words: str) -> Any:
        return servey("calls", *words, actions=ACTIONS, settings=settings)

    assert run().err == "No call runs, waits or has failed.\n"
    one, two = asyncio.run(failed(settings, -1, -2))
    rows = json.loads(run("--failed", "--json").out)
    assert [(row["id"], row["state"]) for row in rows] == [(two, "failed"), (one, "failed")]
    assert {row["why"] for row in rows} == {"ConnectionError: the mail server is gone"}
    shown = run("show", one).out
    assert '{"number":-1}' in shown
    assert "ConnectionError: the mail server is gone" in shown
    assert run("retry", one).out == f"{one} waits again\n"
    assert [row["state"] for row in json.loads(run("--json").out)] == ["waiting", "failed"]
    assert run("forget", "--all").out == f"{two} is forgotten\n"
    assert run("--failed").err == "No call has failed.\n"
    assert run("forget", one).out == f"{one} is forgotten\n"
    assert run().err == "No call runs, waits or has failed.\n"


@pytest.mark.parametrize("command", ["show", "retry", "forget"])
def test_an_unknown_id_is_an_error(servey, settings: Settings, command: str) -> None:
    done = servey("calls", command, "nope", actions=ACTIONS, settings=settings)
    assert (done.code, "nope" in done.err) == (66, True)


@pytest.mark.parametrize("words", [("retry",), ("retry", "one", "--all"), ("forget",)])
def test_a_change_needs_ids_or_all(servey, settings: Settings, words: tuple[str, ...]) -> None:
    assert servey("calls", *words, actions=ACTIONS, settings=settings).code == 64


def test_schedules_are_shown_with_their_next_and_last_runs(servey, settings: Settings) -> None:
    words = ("schedule", "--from", "2027-03-27T00:00+01:00", "--to", "2027-03-28T03:00+02:00", "--json")
    done = servey(*words, actions=ACTIONS, settings=settings)
    found = json.loads(done.out)
    assert [(row["name"], row["last_run"]) for row in found["schedules"]] == [
        ("report:30 2 * * * Europe/Berlin", None),
        ("report:every 1:00:00", None),
    ]
    nights = [row for row in found["next"] if row["zone"] == "Europe/Berlin"]
    assert [(row["due"], row["local"], row["clock"]) for row in nights] == [
        ("2027-03-27T01:30:00.000Z", "2027-03-27T02:30:00+01:00", ""),
        ("2027-03-28T01:00:00.000Z", "2027-03-28T03:00:00+02:00", "forward"),
    ]
    assert len(found["next"]) == 2 + 26
    table = servey("schedule", "--count", "2", actions=ACTIONS, settings=settings).out
    assert table.count("never") == 2


def test_the_last_run_of_a_schedule_is_shown(servey, tmp_path: Path) -> None:
    settings = Settings(store=str(tmp_path / "store.db"))

    @action(triggers=(FixedRateTrigger(1),))
    def tick() -> None: ...

    async def run_once() -> None:
        service = Service([tick], settings=settings)
        async with asyncio.timeout(BOUND), service.serving():
            while await service.stores.entries.get("run:tick:every 0:00:01") is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    asyncio.run(run_once())
    [row] = json.loads(servey("schedule", "--json", actions=[tick], settings=settings).out)["schedules"]
    assert row["last_run"]["outcome"] == "done"


def test_without_schedules_the_command_says_how_to_make_one(servey, settings: Settings) -> None:
    done = servey("schedule", actions=[send], settings=settings)
    assert (done.code, done.out, "CronTrigger" in done.err) == (0, "", True)


@pytest.mark.parametrize("time", ["tomorrow", "2026-13-01"])
def test_a_wrong_time_is_a_usage_error(servey, settings: Settings, time: str) -> None:
    done = servey("schedule", "--from", time, actions=ACTIONS, settings=settings)
    assert (done.code, "2026-03-29T02:30" in done.err) == (64, True)


def test_the_caller_of_a_failed_call_is_shown(servey, settings: Settings) -> None:
    async def fail() -> str:
        service = Service(ACTIONS, settings=settings)
        async with service.running():
            from servey import CallContext, Origin

            context = CallContext(Origin.NETWORK, "direct", "r-1", Authorization("ann"))
            [id] = [json.loads(await service.call("order", b'{"number": -1}', context))]
        await failed(settings, -2)
        return id

    id = asyncio.run(fail())
    shown = servey("calls", "show", id, actions=ACTIONS, settings=settings).out
    assert [line.split() for line in shown.splitlines()[3:5]] == [["caller", "ann"], ["request", "r-1"]]


def test_texts_of_callers_do_not_control_the_terminal(servey, settings: Settings) -> None:
    async def fail() -> str:
        async with Service(ACTIONS, settings=settings).running():
            id = await background.asubmit(repeat, text="\x1b]0;title\x07 \x9b31m \r\u202eevil é 💥")
        await failed(settings, -1)
        return id

    id = asyncio.run(fail())
    listed = servey("calls", actions=ACTIONS, settings=settings).out
    shown = servey("calls", "show", id, actions=ACTIONS, settings=settings).out
    escaped = r"ValueError: \x1b]0;title\x07 \x9b31m \r\u202eevil é 💥"
    assert [line.count(escaped) for line in listed.splitlines() if id in line] == [1]
    assert shown.splitlines()[-1] == escaped


def test_a_waiting_call_is_shown_too(servey, settings: Settings) -> None:
    id = json.loads(servey("call", "order", "--number=1", actions=ACTIONS, settings=settings).out)
    shown = servey("calls", "show", id, actions=ACTIONS, settings=settings).out
    assert [line.split() for line in shown.splitlines()[:3]] == [
        ["id", id],
        ["action", "send"],
        ["arguments", '{"number":1}'],
    ]
    assert "problem" not in shown


def test_an_id_with_spaces_is_quoted_for_the_shell(servey, settings: Settings) -> None:
    async def submit() -> None:
        service = Service(ACTIONS, settings=settings)
        async with service.running():
            await background.once("two words").asubmit(send, number=1)
            await background.once("word").asubmit(send, number=1)

    asyncio.run(submit())
    listed = servey("calls", actions=ACTIONS, settings=settings).out
    assert "'send#two words'  send" in listed
    assert "\nsend#word " in listed


def test_the_calls_in_the_memory_of_processes_are_not_seen(servey) -> None:
    done = servey("calls", actions=ACTIONS, settings=Settings(store="memory"))
    assert (done.code, done.out, "SERVEY_STORE=memory" in done.err) == (78, "", True)


def test_the_schedules_of_one_action_are_shown_alone(servey, settings: Settings) -> None:
    @action(triggers=(FixedRateTrigger(1),))
    def tick() -> None: ...

    found = json.loads(servey("schedule", "report", "--json", actions=[report, tick], settings=settings).out)
    assert {row["action"] for part in found.values() for row in part} == {"report"}
    done = servey("schedule", "reprot", actions=[report, tick], settings=settings)
    assert (done.code, "did you mean report?" in done.err) == (66, True)


def test_without_failed_calls_a_retry_of_all_says_so(servey, settings: Settings) -> None:
    assert servey("calls", "retry", "--all", actions=ACTIONS, settings=settings) == (0, "", "No call has failed.\n")
