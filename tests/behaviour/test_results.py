"""What callers get: the declared type, and nothing else."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from enum import Enum
from typing import Any, NamedTuple

import msgspec
import pytest

from servey import WEB_GET, WEB_POST, BigInt, Reply
from servey.action.action import action
from servey.errors import InternalError

WEB = (WEB_GET, WEB_POST)


@dataclass
class User:
    name: str
    friend: User | None = None


@dataclass
class Account(User):
    password: str = "swordfish"


class Point(NamedTuple):
    x: int
    y: int


class Level(Enum):
    LOW = 1
    HIGH = 2


def returning(tp: Any, value: Any, name: str = "give") -> Any:
    def give() -> Any:
        return value

    give.__annotations__ = {"return": tp}
    return action(triggers=WEB, name=name)(give)


def each(transport: Any, rows: Sequence[tuple[Any, Any]]) -> list[Any]:
    """Call an action that returns the value, for each type."""
    actions: list[Any] = []
    for number, (tp, value) in enumerate(rows):
        actions.append(returning(tp, value, name=f"give{number}"))
    return transport.call_all(actions, [[transport.Call(f"give{number}") for number in range(len(rows))]])[0]


def test_none_is_null(transport: Any) -> None:
    outcome = transport.call([returning(None, None)], "give")
    assert (outcome.ok, outcome.result) == (True, None)
    assert outcome.status in (None, 200)
    if transport.http:
        assert outcome.seen.startswith("null")


PROJECTED: list[tuple[Any, Any, Any]] = [
    (
        list[User],
        [Account("a"), User("b", Account("c"))],
        [{"name": "a", "friend": None}, {"name": "b", "friend": {"name": "c", "friend": None}}],
    ),
    (dict[str, User], {"x": Account("a")}, {"x": {"name": "a", "friend": None}}),
    (User | None, Account("a"), {"name": "a", "friend": None}),
    (tuple[User, int], (Account("a"), 1), [{"name": "a", "friend": None}, 1]),
]


def test_a_subclass_leaves_as_the_declared_class(transport: Any) -> None:
    outcomes = each(transport, [row[:2] for row in PROJECTED])
    assert [item.result for item in outcomes] == [expected for _, _, expected in PROJECTED]
    assert all("swordfish" not in item.seen for item in outcomes)


WRONG: list[tuple[Any, Any]] = [
    (int, "forty-two"),
    (int, None),
    (int, 1.5),
    (str, b"forty-two"),
    (User, Point(1, 2)),
    (User, User(name=object())),  # type: ignore[arg-type]
    (User, User("a", friend="forty-two")),  # type: ignore[arg-type]
    (list[int], [1, "forty-two"]),
    (list[int], 5),
    (None, "forty-two"),
    (Level, "forty-two"),
    (float, math.nan),
    (float, math.inf),
    (list[float], [1.0, -math.inf]),
    (Any, {"x": math.nan}),
    (Any, object()),
    (str, "\ud800"),
]


def test_a_result_of_another_type_is_a_masked_defect(transport: Any, caplog: pytest.LogCaptureFixture) -> None:
    outcomes = each(transport, WRONG)
    assert [row for row, item in zip(WRONG, outcomes, strict=True) if not item.is_error(InternalError)] == []
    assert [item.errors for item in outcomes] == [()] * len(WRONG)
    assert all("forty-two" not in item.seen for item in outcomes)
    records = [record for record in caplog.records if record.name == "servey.operation"]
    assert [(record.levelno, record.action) for record in records] == [  # type: ignore[attr-defined]
        (logging.ERROR, f"give{number}") for number in range(len(WRONG))
    ]


def test_a_circular_result_is_a_masked_defect(transport: Any) -> None:
    user = User("a")
    user.friend = user
    assert transport.call([returning(User, user)], "give").is_error(InternalError)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), "2024-01-02T03:04:05Z"),
        (datetime(2024, 1, 2, 3, 4, 5, 6, timezone(timedelta(hours=-3))), "2024-01-02T03:04:05.000006-03:00"),
    ],
)
def test_a_datetime_is_written_with_its_offset(transport: Any, value: datetime, expected: str) -> None:
    assert transport.call([returning(datetime, value)], "give").result == expected


def test_a_naive_datetime_is_written_as_local_time(transport: Any) -> None:
    value = datetime(2024, 7, 2, 3, 4, 5)
    written = transport.call([returning(list[datetime], [value])], "give").result[0]
    assert datetime.fromisoformat(written) == value.astimezone()
    assert datetime.fromisoformat(written).tzinfo is not None


WRITTEN: list[tuple[Any, Any, Any]] = [
    (BigInt, 2**200, 2**200),
    (int, -(2**64), -(2**64)),
    (Level, Level.HIGH, 2),
    (dict[Level, int], {Level.LOW: 1}, {"1": 1}),
    (Point, Point(1, 2), [1, 2]),
    (frozenset[str], frozenset({"x"}), ["x"]),
    (bool, False, False),
    (int, True, 1),
    (bytes, b"\x00\xff", "AP8="),
    (str, "ä€😀\x00", "ä€😀\x00"),
    (float, 5.0, 5.0),
    (list[int], [], []),
]


def test_results_are_written_by_the_declared_type(transport: Any) -> None:
    # GraphQL's Int has 32 bits, and says so
    rows = [row for row in WRITTEN if not transport.graphql or row[0] is not int or abs(row[1]) < 2**31]
    outcomes = each(transport, [row[:2] for row in rows])
    assert [item.result for item in outcomes] == [expected for _, _, expected in rows]
    assert [type(item.result) for item in outcomes] == [type(expected) for _, _, expected in rows]


def test_a_reply_has_a_status_and_headers_where_there_are_any(transport: Any) -> None:
    @action(triggers=WEB)
    def make(name: str) -> Reply[User]:
        return Reply(Account(name), status=201, headers={"Location": f"/users/{name}", "X-Count": "1"})

    outcome = transport.call([make], "make", {"name": "a"})
    assert outcome.result == {"name": "a", "friend": None}
    assert "swordfish" not in outcome.seen
    if transport.http:
        assert outcome.status == 201
        assert (outcome.headers["location"], outcome.headers["x-count"]) == ("/users/a", "1")


def test_a_reply_without_a_status_has_the_actions(transport: Any) -> None:
    @action(triggers=WEB, status=202)
    def make() -> Reply[None]:
        return Reply(None)

    outcome = transport.call([make], "make")
    assert (outcome.ok, outcome.result) == (True, None)
    assert outcome.status == (202 if transport.http else None)


def test_an_action_has_a_status_of_its_own(http_transport: Any) -> None:
    @action(triggers=WEB, status=201)
    def make() -> str:
        return "made"

    outcome = http_transport.call([make], "make")
    assert (outcome.status, outcome.result) == (201, "made")


def test_what_is_no_reply_where_one_was_declared_is_a_masked_defect(transport: Any) -> None:
    @action(triggers=WEB)
    def make() -> Reply[str]:
        return "forty-two"  # type: ignore[return-value]

    outcome = transport.call([make], "make")
    assert outcome.is_error(InternalError)
    assert "forty-two" not in outcome.seen


@pytest.mark.parametrize("asynchronous", [False, True], ids=["def", "async"])
def test_a_nested_action_is_called_on_the_self_that_is_sent(self_transport: Any, asynchronous: bool) -> None:
    @dataclass
    class NumberStats:
        value: int

        if asynchronous:

            @action(triggers=WEB)
            async def times(self, factor: int = 2) -> int:
                return self.value * factor

        else:

            @action(triggers=WEB)
            def times(self, factor: int = 2) -> int:
                return self.value * factor

    @action(triggers=WEB)
    def number_stats(value: int) -> NumberStats:
        return NumberStats(value)

    actions = [number_stats]
    assert self_transport.call(actions, "number_stats", {"value": 5}).result == {"value": 5}
    assert self_transport.call(actions, "number_stats_times", {"self": {"value": 5}, "factor": 3}).result == 15
    assert self_transport.call(actions, "number_stats_times", {"self": {"value": 5}}).result == 10
    assert self_transport.call(actions, "times", {"self": {"value": 7}}).result == 14
    assert self_transport.call(actions, "number_stats_times", {"self": {"value": "x"}}).paths == {"/self/value"}
    assert self_transport.call(actions, "number_stats_times", {"factor": 3}).paths == {"/self"}


class Both(msgspec.Struct):
    """What Python's compiler reads as `fi` (NFKC) is another name to the class."""

    @property
    def fi(self) -> str:
        return "another"


Ligature: Any = msgspec.defstruct("Ligature", [("ﬁ", str), ("µ", time)], bases=(Both,))


def test_a_member_is_the_one_of_that_name_and_no_other(transport: Any) -> None:
    outcomes = each(transport, [(Ligature, Ligature("its own", time(12)))])
    assert [outcome.result for outcome in outcomes] == [{"ﬁ": "its own", "µ": "12:00:00"}]
