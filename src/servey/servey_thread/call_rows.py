"""The rows of background calls in the SQLite file. The functions are jobs of `SqliteFile`."""

from __future__ import annotations

import logging
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from servey.background_call.call import Again, Call, Done, Failed, FailedCall, OpenCall, Outcome
from servey.errors import InternalError, MalformedError, count_of

_log = logging.getLogger("servey.background")

_READY, _DELAYED, _RUNNING, _ENDED, _FAILED = range(5)
"""The states of a row. A consumer can claim a ready call at any time, and a delayed call when it is due.

The meaning of the column `at` depends on the state. Ready, delayed, running: when the call is due. Ended: when `purge`
deletes the row. Failed: when the call failed.
"""

_MOST_LOSSES = 5
"""A call fails when this many processes have died while they ran it (the column `losses`)."""
_ENDED_SECONDS = 86400.0
_EXPIRED_SECONDS = 3 * 3600.0
"""How long an ended call with an expiry stays after that time, in seconds. No process puts it again after that time."""
_FAILED_SECONDS = 14 * 86400.0
_PAUSE_SECONDS = 5.0
"""The delay of a call after a defect of its runner, in seconds."""
_ROWS_AT_ONCE = 500
_UNHEARD_BEATS = 3

_PUT = "INSERT INTO calls (id, state, at, call) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
_UNKNOWN = "SELECT key FROM json_each(?) WHERE value NOT IN (SELECT id FROM calls)"
_NEXT_DUE = f"""
    SELECT EXISTS (SELECT 1 FROM calls WHERE state = {_READY}), (SELECT min(at) FROM calls WHERE state = {_DELAYED})"""
_READY_ROWS = f"SELECT rowid, at FROM calls WHERE state = {_READY} ORDER BY at LIMIT :most"
_DUE_ROWS = f"SELECT rowid, at FROM calls WHERE state = {_DELAYED} AND at <= :now ORDER BY at LIMIT :most"
_CLAIM = f"""
    UPDATE calls SET state = {_RUNNING}, owner = :owner WHERE rowid IN (
        SELECT rowid FROM (SELECT * FROM ({_READY_ROWS}) UNION ALL SELECT * FROM ({_DUE_ROWS})) ORDER BY at LIMIT :most
    ) RETURNING at, id, call"""
_DONE = f"""
    UPDATE calls SET state = {_ENDED}, at = ?, call = x'', owner = NULL, problem = NULL, traceback = NULL
    WHERE id = ? AND state != {_ENDED}"""
_OURS = f"WHERE id = ? AND state = {_RUNNING} AND owner = ?"
_AGAIN = f"UPDATE calls SET state = ?, at = ?, call = ?, owner = NULL, losses = 0 {_OURS}"
_FAIL = f"UPDATE calls SET state = {_FAILED}, at = ?, owner = NULL, problem = ?, traceback = ? {_OURS}"
_RETURN = f"UPDATE calls SET state = {_READY}, owner = NULL {_OURS}"
_LOST = f"""
    UPDATE calls SET owner = NULL, losses = losses + 1,
        state = CASE WHEN losses + 1 < {_MOST_LOSSES} THEN :state ELSE {_FAILED} END,
        at = CASE WHEN losses + 1 < {_MOST_LOSSES} THEN coalesce(:at, at) ELSE :now END,
        problem = CASE WHEN losses + 1 < {_MOST_LOSSES} THEN NULL ELSE :problem END"""
_LOST_OF_DEAD_OWNERS = f"""
    {_LOST} WHERE state = {_RUNNING} AND owner NOT IN (SELECT owner FROM owners) RETURNING id, state"""
_LOST_OF_ONE = f"{_LOST} WHERE id = :id AND state = {_RUNNING} AND owner = :owner"
_ORPHANS = f"SELECT EXISTS (SELECT 1 FROM calls WHERE state = {_RUNNING} AND owner NOT IN (SELECT owner FROM owners))"
_PURGE_CALLS = "DELETE FROM calls WHERE rowid IN (SELECT rowid FROM calls WHERE state = ? AND at <= ? LIMIT ?)"
_LIST_FAILED = f"""
    SELECT at, id, call, problem, coalesce(traceback, '') FROM calls WHERE state = {_FAILED} ORDER BY at DESC LIMIT ?"""
_LIST_OPEN = "SELECT at, id, call FROM calls WHERE state = ? ORDER BY at LIMIT ?"
_RETRY = f"""
    UPDATE calls SET state = {_READY}, at = ?, call = ?, losses = 0, problem = NULL, traceback = NULL
    WHERE id = ? AND state = {_FAILED}"""
_FORGET = f"""
    UPDATE calls SET state = {_ENDED}, at = ?, call = x'', problem = NULL, traceback = NULL
    WHERE id = ? AND state IN ({_READY}, {_DELAYED}, {_FAILED})"""
_COUNT_OPEN = f"SELECT count(*) FROM calls WHERE state IN ({_READY}, {_DELAYED}, {_RUNNING})"


class Claimed(NamedTuple):
    """A call that an owner has claimed.

    Args:
        at: When it was due, in Unix seconds.
        id: The id.
        data: The bytes of `Call.encode`, perhaps of another release.
    """

    at: float
    id: str
    data: bytes


class Ended(NamedTuple):
    """A claim that has ended.

    Args:
        id: The id of the call.
        owner: The owner.
        outcome: The outcome; None if the call did not run or was cancelled, an exception for a defect of the runner.
        expires: `Call.expires` of the call.
    """

    id: str
    owner: str
    outcome: Outcome | BaseException | None
    expires: float | None = None


class Claims(NamedTuple):
    """The calls that a consumer has claimed.

    Args:
        owner: The name of the consumer.
        claimed: The calls, in the order of their times.
        next_at: When the next delayed call is due, in Unix seconds; None if there is none.
    """

    owner: str
    claimed: Sequence[Claimed] = ()
    next_at: float | None = None


def put(calls: Sequence[Call], connection: sqlite3.Connection) -> None:
    """Add calls whose ids are not known."""
    if len(calls) > 1 and sqlite3.sqlite_version_info >= (3, 38):  # the first with json_each in every build
        # calls of schedules: other processes have put most of them already, and an INSERT costs more than a look
        ids = msgspec.json.encode([call.id for call in calls])
        unknown: list[tuple[int]] = connection.execute(_UNKNOWN, (ids,)).fetchall()
        calls = [calls[number] for (number,) in unknown]
    now = time.time()
    rows = [(call.id, _READY if call.due <= now else _DELAYED, call.due, call.encode()) for call in calls]
    connection.executemany(_PUT, rows)


def next_due(connection: sqlite3.Connection) -> tuple[bool, float | None]:
    """Return whether a call is ready, and when the next delayed one is due."""
    [is_ready, next_at] = connection.execute(_NEXT_DUE).fetchone()
    return bool(is_ready), next_at


def record_and_claim(
    ended: Sequence[Ended], owner: str, most: int, beats: bool, connection: sqlite3.Connection
) -> Claims:
    """Record the outcomes of claims, and claim calls that are due.

    Args:
        ended: The claims that have ended.
        owner: The name of the consumer; empty if it has none yet.
        most: The largest number of calls to claim.
        beats: Whether a claim counts up the beat. It must, except shortly after the last time.
        connection: The connection.
    """
    now = time.time()
    _record(ended, now, connection)
    if not most:
        return Claims(owner)
    is_ready, next_at = next_due(connection)
    if not is_ready and (next_at is None or next_at > now):
        return Claims(owner, next_at=next_at)
    is_registered = _beat(owner, connection) if beats else _has_owner(owner, connection)
    if not is_registered:
        owner = secrets.token_hex(8)
        connection.execute("INSERT INTO owners (owner, beat) VALUES (?, 0)", (owner,))
    taken = connection.execute(_CLAIM, {"owner": owner, "most": most, "now": now}).fetchall()
    return Claims(owner, [Claimed(*row) for row in sorted(taken)], next_at)


def _record(ended: Sequence[Ended], now: float, connection: sqlite3.Connection) -> None:
    done: list[tuple[float, str]] = []
    for claim in ended:
        ours = (claim.id, claim.owner)
        match claim.outcome:
            case Done():
                until = now + _ENDED_SECONDS if claim.expires is None else max(now, claim.expires) + _EXPIRED_SECONDS
                done.append((until, claim.id))
            case Again(call):
                state = _READY if call.due <= now else _DELAYED
                connection.execute(_AGAIN, (state, call.due, call.encode(), *ours))
            case Failed(problem, traceback):
                connection.execute(_FAIL, (now, problem, traceback, *ours))
            case None:
                connection.execute(_RETURN, ours)
            case _:
                lost = _lost(_DELAYED, now, at=now + _PAUSE_SECONDS)
                connection.execute(_LOST_OF_ONE, {**lost, "id": claim.id, "owner": claim.owner})
    if done:
        connection.executemany(_DONE, done)


def _lost(state: int, now: float, at: float | None = None) -> dict[str, Any]:
    text = f"the call was begun {_MOST_LOSSES} times, and its process ended each time before the call did"
    problem = msgspec.json.encode(InternalError(text).problem())
    return {"state": state, "at": at, "now": now, "problem": problem}


def _beat(owner: str, connection: sqlite3.Connection) -> bool:
    """Count up the beat of an owner, and return whether the owner is registered."""
    return connection.execute("UPDATE owners SET beat = beat + 1 WHERE owner = ?", (owner,)).rowcount > 0


def _has_owner(owner: str, connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM owners WHERE owner = ?", (owner,)).fetchone() is not None


def beat_and_recover(
    owner: str, has_calls: bool, seen: Mapping[str, tuple[int, int]], connection: sqlite3.Connection
) -> dict[str, tuple[int, int]]:
    """Count up the beat of an owner, and make the calls of dead owners ready again.

    Args:
        owner: The owner.
        has_calls: Whether it runs calls; without calls it needs no beat.
        seen: The last return value.
        connection: The connection.

    Returns:
        The beat of each other owner, and how often it has been the same.
    """
    if has_calls:
        _beat(owner, connection)
    found: dict[str, tuple[int, int]] = {}
    for other, beat in connection.execute("SELECT owner, beat FROM owners WHERE owner != ?", (owner,)).fetchall():
        last, times = seen.get(other, (None, 0))
        times = times + 1 if last == beat else 0
        if times >= _UNHEARD_BEATS:
            connection.execute("DELETE FROM owners WHERE owner = ?", (other,))
        else:
            found[other] = beat, times
    [has_orphans] = connection.execute(_ORPHANS).fetchone()
    if has_orphans:
        _give_back(connection)
    return found


def _give_back(connection: sqlite3.Connection) -> None:
    lost = connection.execute(_LOST_OF_DEAD_OWNERS, _lost(_READY, time.time())).fetchall()
    ids = ", ".join(id for id, _ in lost[:10])
    _log.warning("a process died while it ran %s, which run again: %s", count_of(len(lost), "call"), ids)
    for id, state in lost:
        if state == _FAILED:
            _log.error("the call %s has failed: its process ended %d times before the call did", id, _MOST_LOSSES)


def remove_owner(owner: str, connection: sqlite3.Connection) -> None:
    """Remove an owner without calls."""
    connection.execute("DELETE FROM owners WHERE owner = ?", (owner,))


def purge(connection: sqlite3.Connection) -> bool:
    """Delete some old rows of ended and failed calls, and return whether there may be more."""
    now = time.time()
    ended = connection.execute(_PURGE_CALLS, (_ENDED, now, _ROWS_AT_ONCE)).rowcount
    failed = connection.execute(_PURGE_CALLS, (_FAILED, now - _FAILED_SECONDS, _ROWS_AT_ONCE)).rowcount
    return ended == _ROWS_AT_ONCE or failed == _ROWS_AT_ONCE


def list_failed(limit: int, connection: sqlite3.Connection) -> list[FailedCall]:
    """Return the failed calls, the latest first."""
    return [
        FailedCall(_decoded(at, id, data), failed_at=at, problem=problem, traceback=traceback)
        for at, id, data, problem, traceback in connection.execute(_LIST_FAILED, (limit,)).fetchall()
    ]


def list_open(limit: int, connection: sqlite3.Connection) -> list[OpenCall]:
    """Return the running calls and then the waiting ones, in the order of their times."""
    running, ready, delayed = (
        connection.execute(_LIST_OPEN, (state, limit)).fetchall() for state in (_RUNNING, _READY, _DELAYED)
    )
    found = [OpenCall(_decoded(*row), is_running=True) for row in running]
    found += [OpenCall(_decoded(*row), is_running=False) for row in sorted(ready + delayed)]
    return found[:limit]


def count_open(connection: sqlite3.Connection) -> int:
    """Return the number of calls that have not ended."""
    [number] = connection.execute(_COUNT_OPEN).fetchone()
    return number


def retry(id: str, connection: sqlite3.Connection) -> bool:
    """Make a failed call ready again, with its first attempt and no expiry; return whether there is such a call."""
    row = connection.execute(f"SELECT at, id, call FROM calls WHERE id = ? AND state = {_FAILED}", (id,)).fetchone()
    if row is None:
        return False
    due, _, data = row
    with suppress(MalformedError):  # it fails again, unless another release reads it
        call = msgspec.structs.replace(Call.decode(data), attempt=1, postponed=0, expires=None)
        due, data = call.due, call.encode()
    connection.execute(_RETRY, (due, data, id))
    return True


def forget(id: str, connection: sqlite3.Connection) -> bool:
    """End a failed or a waiting call; its id stays known. Return whether there was such a call."""
    return connection.execute(_FORGET, (time.time() + _ENDED_SECONDS, id)).rowcount > 0


def _decoded(at: float, id: str, data: bytes) -> Call:
    """Return a call for a list. If this release cannot decode it, it has only its id and its time."""
    try:
        return Call.decode(data)
    except MalformedError:
        return Call(id=id, action="", arguments=msgspec.Raw(b"{}"), due=at, request_id="")
