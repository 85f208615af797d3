"""The rows of calls: leases, poison calls, clocks that jump, and deletion."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from servey.background_call.call import Again, Call, Done, Failed
from servey.servey_thread import call_rows
from servey.servey_thread.call_rows import Claims, Ended
from servey.servey_thread.sqlite_place import connect
from support.queues import a_call

HOUR, DAY = 3600.0, 86400.0


@pytest.fixture
def rows() -> Iterator[sqlite3.Connection]:
    connection = connect(None)
    yield connection
    connection.close()


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch):
    """Makes the wall clock jump by so many seconds, from the time of the start."""
    start = time.time()

    def jump(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: start + seconds)

    jump(0)
    return jump


def put(rows: sqlite3.Connection, *calls: Call) -> None:
    call_rows.put(calls, rows)


def take(rows: sqlite3.Connection, owner: str = "", most: int = 10) -> Claims:
    return call_rows.record_and_claim([], owner, most, True, rows)


def end(rows: sqlite3.Connection, id: str, owner: str, outcome: Any, expires: float | None = None) -> None:
    call_rows.record_and_claim([Ended(id, owner, outcome, expires)], owner, 0, False, rows)


def ids(claims: Claims) -> list[str]:
    return [claimed.id for claimed in claims.claimed]


def open_ids(rows: sqlite3.Connection) -> list[tuple[str, bool]]:
    return [(found.call.id, found.is_running) for found in call_rows.list_open(100, rows)]


def failed_ids(rows: sqlite3.Connection) -> list[str]:
    return [found.call.id for found in call_rows.list_failed(100, rows)]


def die(rows: sqlite3.Connection, owner: str = "observer") -> None:
    """Let the observer see the beats of all others stand still."""
    seen: Any = {}
    for _ in range(4):
        seen = call_rows.beat_and_recover(owner, True, seen, rows)


def test_a_process_that_claims_nothing_writes_nothing(rows: sqlite3.Connection):
    put(rows, a_call("later", after=60))
    before = rows.total_changes
    found = take(rows)
    call_rows.beat_and_recover("me", False, {}, rows)
    assert (found.owner, ids(found), rows.total_changes) == ("", [], before)
    assert found.next_at == pytest.approx(time.time() + 60, abs=10)


def test_of_many_calls_those_whose_ids_are_known_stay_as_they_are(rows: sqlite3.Connection):
    put(rows, a_call("a", action="first"), a_call("x\0a"))
    put(rows, a_call("a", action="second"), a_call("x\0b"), a_call("ü 'ü'"), a_call("c"), a_call("c", action="second"))
    found = {opened.call.id: opened.call.action for opened in call_rows.list_open(100, rows)}
    assert found == {"a": "first", "x\0a": "act", "x\0b": "act", "ü 'ü'": "act", "c": "act"}


def test_calls_whose_ids_are_known_are_found_without_a_write(rows: sqlite3.Connection):
    calls = [a_call(str(number)) for number in range(3)]
    put(rows, *calls)
    tried: list[str] = []
    rows.set_trace_callback(tried.append)
    put(rows, *calls)
    assert [text for text in tried if "INSERT" in text] == []


def test_the_calls_of_an_owner_whose_beat_stands_still_are_given_back(
    rows: sqlite3.Connection, caplog: pytest.LogCaptureFixture
):
    put(rows, a_call("a"), a_call("b"))
    dead, live = take(rows, most=1), take(rows, most=1)
    seen: Any = {}
    for _ in range(3):
        seen = call_rows.beat_and_recover("observer", False, seen, rows)
        call_rows.beat_and_recover(live.owner, True, {}, rows)
        assert ids(take(rows, live.owner)) == []
    caplog.set_level(logging.WARNING)
    call_rows.beat_and_recover("observer", False, seen, rows)
    assert open_ids(rows) == [("b", True), ("a", False)]
    assert "1 call" in caplog.text
    assert ids(take(rows, live.owner)) == ["a"]
    assert take(rows, dead.owner).owner == dead.owner  # nothing to take, so no name is needed


def test_beats_count_and_not_time(rows: sqlite3.Connection, jump):
    """The observer may have slept, or the file was locked for all: time alone proves nothing."""
    put(rows, a_call("a"))
    owner = take(rows).owner
    seen = call_rows.beat_and_recover("observer", False, {}, rows)
    jump(1000 * DAY)
    seen = call_rows.beat_and_recover("observer", False, seen, rows)
    call_rows.beat_and_recover(owner, True, {}, rows)
    for _ in range(3):
        seen = call_rows.beat_and_recover("observer", False, seen, rows)
    assert open_ids(rows) == [("a", True)]


def test_a_claim_is_a_sign_of_life(rows: sqlite3.Connection):
    put(rows, a_call("a"))
    first = take(rows)
    end(rows, "a", first.owner, Done())
    seen: Any = {}
    for _ in range(3):
        seen = call_rows.beat_and_recover("observer", False, seen, rows)
    put(rows, a_call("b"))
    assert take(rows, first.owner).owner == first.owner
    call_rows.beat_and_recover("observer", False, seen, rows)
    assert open_ids(rows) == [("b", True)]


def test_an_owner_that_was_removed_claims_under_a_new_name(rows: sqlite3.Connection):
    put(rows, a_call("a"))
    asleep = take(rows)
    die(rows)
    again = take(rows, asleep.owner)
    assert ids(again) == ["a"]
    assert again.owner != asleep.owner
    for outcome in (Again(a_call("a", attempt=2)), Failed(b"{}"), None, RuntimeError()):
        end(rows, "a", asleep.owner, outcome)
        assert open_ids(rows) == [("a", True)]
    end(rows, "a", again.owner, Again(a_call("a", attempt=3)))
    assert [call.call.attempt for call in call_rows.list_open(1, rows)] == [3]


def test_an_owner_that_was_removed_notices_it_without_a_beat(rows: sqlite3.Connection):
    put(rows, a_call("a"))
    asleep = take(rows)
    die(rows)
    assert call_rows.record_and_claim([], asleep.owner, 1, False, rows).owner != asleep.owner


@pytest.mark.parametrize("state", ["waits", "runs again", "failed", "delayed"])
def test_a_lost_claim_still_ends_the_call(rows: sqlite3.Connection, state: str):
    put(rows, a_call("a"))
    asleep = take(rows)
    die(rows)
    if state != "waits":
        again = take(rows)
        outcomes = {"failed": Failed(b"{}"), "delayed": Again(a_call("a", after=60))}
        if state in outcomes:
            end(rows, "a", again.owner, outcomes[state])
    end(rows, "a", asleep.owner, Done())
    assert (open_ids(rows), failed_ids(rows)) == ([], [])
    put(rows, a_call("a"))
    assert open_ids(rows) == []


def test_a_call_whose_process_dies_five_times_fails(rows: sqlite3.Connection, caplog: pytest.LogCaptureFixture):
    put(rows, a_call("poison"))
    for _ in range(5):
        assert ids(take(rows)) == ["poison"]
        die(rows)
    assert ids(take(rows)) == []
    [failed] = call_rows.list_failed(10, rows)
    problem = msgspec.json.decode(failed.problem)
    assert (failed.call.id, failed.traceback, problem["status"]) == ("poison", "", 500)
    assert "5 times" in problem["detail"]
    assert failed.failed_at == pytest.approx(time.time(), abs=60)
    assert "poison" in caplog.text
    assert call_rows.retry("poison", rows)  # five more
    for _ in range(5):
        assert ids(take(rows)) == ["poison"]
        die(rows)
    assert failed_ids(rows) == ["poison"]


def test_an_outcome_starts_the_count_of_deaths_again(rows: sqlite3.Connection):
    put(rows, a_call("a"))
    for attempt in range(3):
        for _ in range(4):
            assert ids(take(rows)) == ["a"]
            die(rows)
        end(rows, "a", take(rows).owner, Again(a_call("a", attempt=attempt + 2)))
    assert open_ids(rows) == [("a", False)]


def test_a_call_that_is_given_back_is_ready_at_once_and_not_counted(rows: sqlite3.Connection):
    put(rows, a_call("a"))
    for _ in range(20):
        found = take(rows)
        assert ids(found) == ["a"]
        end(rows, "a", found.owner, None)


def test_a_defect_of_the_runner_pauses_the_call_and_fails_it_in_the_end(rows: sqlite3.Connection, jump):
    put(rows, a_call("a"))
    for number in range(5):
        jump(number * 10)
        found = take(rows)
        assert ids(found) == ["a"]
        end(rows, "a", found.owner, RuntimeError())
        assert ids(take(rows)) == []
    assert (open_ids(rows), failed_ids(rows)) == ([], ["a"])


def test_a_ready_call_does_not_wait_for_a_clock_that_jumps_back(rows: sqlite3.Connection, jump):
    put(rows, a_call("now"), a_call("later", after=2 * HOUR))
    jump(-HOUR)
    found = take(rows)
    assert ids(found) == ["now"]
    end(rows, "now", found.owner, Again(a_call("now", attempt=2, after=5)))
    jump(-2 * HOUR)
    assert ids(take(rows)) == []  # the next attempt waits as long as the jump
    jump(-HOUR + 6)
    assert ids(take(rows)) == ["now"]
    jump(2 * HOUR)
    assert ids(take(rows)) == ["later"]


def test_the_calls_of_the_dead_are_ready_although_the_clock_jumps_back(rows: sqlite3.Connection, jump):
    put(rows, a_call("a"))
    take(rows)
    jump(-HOUR)
    die(rows)
    assert ids(take(rows)) == ["a"]


def test_delayed_calls_that_are_due_come_in_the_order_of_all_times(rows: sqlite3.Connection, jump):
    put(rows, a_call("c", after=3), a_call("a", after=1), a_call("e", after=9))
    jump(5)
    put(rows, a_call("b", after=-3), a_call("d", after=-1))
    assert ids(take(rows, most=3)) == ["a", "b", "c"]
    assert ids(take(rows, most=3)) == ["d"]


def test_ended_calls_are_known_for_a_day_and_hold_no_data(rows: sqlite3.Connection, jump):
    put(rows, a_call("a"))
    end(rows, "a", take(rows).owner, Done())
    assert rows.execute("SELECT call, owner, problem FROM calls").fetchall() == [(b"", None, None)]
    jump(DAY - 1)
    assert not call_rows.purge(rows)
    put(rows, a_call("a"))
    assert open_ids(rows) == []
    jump(DAY + 1)
    call_rows.purge(rows)
    put(rows, a_call("a"))
    assert open_ids(rows) == [("a", False)]


def test_ended_calls_that_expire_are_known_longer_than_a_clock_jumps(rows: sqlite3.Connection, jump):
    """A schedule of a second has 86,400 calls a day."""
    put(rows, a_call("a", expires=time.time() + 60))
    end(rows, "a", take(rows).owner, Done(), expires=time.time() + 60)
    jump(HOUR + 60)
    call_rows.purge(rows)
    put(rows, a_call("a"))
    assert open_ids(rows) == []
    jump(4 * HOUR)
    call_rows.purge(rows)
    assert rows.execute("SELECT count(*) FROM calls").fetchall() == [(0,)]


def test_failed_calls_are_kept_for_fourteen_days(rows: sqlite3.Connection, jump):
    put(rows, a_call("a"))
    end(rows, "a", take(rows).owner, Failed(b"{}"))
    jump(14 * DAY - 1)
    call_rows.purge(rows)
    assert failed_ids(rows) == ["a"]
    jump(14 * DAY + 1)
    call_rows.purge(rows)
    assert failed_ids(rows) == []


def test_calls_are_deleted_in_portions(rows: sqlite3.Connection, jump):
    put(rows, *(a_call(str(number)) for number in range(1200)))
    found = take(rows, most=1200)
    call_rows.record_and_claim([Ended(id, found.owner, Done()) for id in ids(found)], found.owner, 0, False, rows)
    jump(DAY + 1)
    assert [call_rows.purge(rows) for _ in range(3)] == [True, True, False]
    assert rows.execute("SELECT count(*) FROM calls").fetchall() == [(0,)]


def test_a_call_that_this_release_cannot_read_is_listed_without_its_details(rows: sqlite3.Connection):
    rows.execute("INSERT INTO calls (id, state, at, call) VALUES ('strange', 0, 5.0, x'3f')")
    [found] = call_rows.list_open(10, rows)
    assert (found.call.id, found.call.action, found.call.due) == ("strange", "", 5.0)
    end(rows, "strange", take(rows).owner, Failed(b"{}"))
    assert failed_ids(rows) == ["strange"]
    assert call_rows.retry("strange", rows)
    assert ids(take(rows)) == ["strange"]


def test_the_indexes_answer_all_queries(rows: sqlite3.Connection):
    """No query visits every row: ten thousand calls may wait, and a million have ended."""
    put(rows, a_call("a"))
    seen: list[str] = []
    rows.set_trace_callback(seen.append)
    found = take(rows)
    end(rows, "a", found.owner, RuntimeError())
    call_rows.beat_and_recover("observer", True, {}, rows)
    call_rows.list_open(10, rows)
    call_rows.list_failed(10, rows)
    call_rows.purge(rows)
    call_rows.count_open(rows)
    call_rows.forget("a", rows)
    call_rows.retry("a", rows)
    rows.set_trace_callback(None)
    plans = {
        step
        for statement in seen
        if not statement.startswith("--")
        for (*_, step) in rows.execute(f"EXPLAIN QUERY PLAN {statement}")
    }
    assert {step for step in plans if step.startswith("SCAN calls")} == set()
    assert any("calls_by_state" in step for step in plans)
