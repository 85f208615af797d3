import dataclasses
import datetime as dt
import decimal
import enum
import functools
import logging
import pathlib
import time
import zoneinfo
from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict

import annotated_types as at
import msgspec
import pydantic
import pytest

from servey.codec import Codec, ResultError, jsonable, to_jsonable


@dataclasses.dataclass
class User:
    name: str
    age: int = 0


@dataclasses.dataclass
class Admin(User):
    password: str = "secret"


class Name(str):
    __slots__ = ()


class Level(enum.IntEnum):
    HIGH = 2


class Tone(enum.StrEnum):
    LOUD = "loud"


def test_a_subclass_is_projected_on_the_declared_class() -> None:
    assert Codec(User).encode_json(Admin("a")) == b'{"name":"a","age":0}'
    assert Codec(list[User]).encode([Admin("a")]) == [{"name": "a", "age": 0}]


@pytest.mark.parametrize(
    ("tp", "value"),
    [
        (User, None),
        (User, 5),
        (User, User(5)),  # type: ignore[arg-type]
        (User, object()),
        (list[User], [User("a"), None]),
        (str, None),
        (str, 5),
        (int, "5"),
        (bool, 1),
        (type(None), 5),
        (float, float("nan")),
        (dict[str, float], {"a": float("inf")}),
        (Any, [float("nan")]),
        (Any, object()),
        (decimal.Decimal, decimal.Decimal("NaN")),
        (list[decimal.Decimal], [decimal.Decimal("Infinity")]),
        (str, "\ud800"),
        (int, 10**5000),
        (dict[str, int], {1: 2}),
        (pathlib.PurePath, "x"),
        (User | int, "x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_the_declared_type_is_a_result_error(tp: Any, value: Any) -> None:
    with pytest.raises(ResultError) as caught:
        Codec(tp, label="the result of f").encode_json(value)
    assert caught.value.errors
    assert "the result of f" in str(caught.value)


def test_every_problem_of_a_result_is_told() -> None:
    with pytest.raises(ResultError) as caught:
        Codec(list[User]).encode_json([User(1), User("a", "b"), User("c"), 5])  # type: ignore[arg-type]
    assert [problem.path for problem in caught.value.errors] == ["/0/name", "/1/age", "/3"]


def test_a_circular_result_is_a_result_error() -> None:
    @dataclasses.dataclass
    class Loop:
        next: "Loop | None" = None

    loop = Loop()
    loop.next = loop
    with pytest.raises(ResultError):
        Codec(Loop).encode_json(loop)


@pytest.mark.parametrize(
    ("tp", "value", "text"),
    [
        (str, Name("x"), b'"x"'),
        (list[str], [Name("x"), Tone.LOUD], b'["x","loud"]'),
        (int, Level.HIGH, b"2"),
        (int, True, b"1"),
        (list[int], [True, Level.HIGH], b"[1,2]"),
        (float, 3, b"3.0"),
        (Iterable[int], (n for n in range(2)), b"[0,1]"),
        (list[int], {1: 2}.values(), b"[2]"),
        (dict[Level, int], {Level.HIGH: 1}, b'{"2":1}'),
        (User, {"name": "a", "age": 1}, b'{"name":"a","age":1}'),
        (dt.date, dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC), b'"2026-01-02"'),
        (dt.date | str, "x", b'"x"'),
        (User | Admin, Admin("a"), b'{"name":"a","age":0,"password":"secret"}'),
        (Any, {"a": User("a"), 3: [Level.HIGH, {1}]}, b'{"a":{"name":"a","age":0},"3":[2,[1]]}'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_python_takes_for_the_declared_type_is_written_as_it(tp: Any, value: Any, text: bytes) -> None:
    assert Codec(tp).encode_json(value) == text


def test_a_naive_datetime_is_written_as_local_time_and_warned_about_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonable, "_warned", False)
    moment = dt.datetime(2026, 11, 22, 12, 30)
    with caplog.at_level(logging.WARNING, "servey"):
        for tp, value in ((dt.datetime, moment), (list[dt.datetime], [moment]), (Any, moment)):
            read = Codec(tp).decode_json(Codec(tp).encode_json(value))
            found = read[0] if isinstance(read, list) else read
            found = dt.datetime.fromisoformat(found) if isinstance(found, str) else found
            assert found.tzinfo is not None
            assert found == moment.astimezone()
    assert len(caplog.records) == 1


def test_a_pydantic_model_is_written_with_serveys_wire_rules() -> None:
    class Model(pydantic.BaseModel):
        price: decimal.Decimal
        at: dt.datetime
        every: dt.timedelta
        user_name: str = pydantic.Field(alias="userName")

    value = Model(
        price=decimal.Decimal("1.10"),
        at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        every=dt.timedelta(hours=1),
        userName="u",
    )
    expected = {"price": "1.10", "at": "2026-01-01T00:00:00Z", "every": "PT3600S", "userName": "u"}
    assert Codec(Model).encode(value) == expected
    assert Codec(list[Model]).decode([expected]) == [value]
    with pytest.raises(ResultError):
        Codec(Model).encode(User("a"))  # type: ignore[arg-type]
    value.price = "x"  # type: ignore[assignment]
    with pytest.raises(ResultError):
        Codec(Model).encode(value)


def test_unset_members_are_left_out() -> None:
    class Patch(msgspec.Struct):
        name: str | msgspec.UnsetType = msgspec.UNSET
        age: int | msgspec.UnsetType | None = msgspec.UNSET

    codec = Codec(Patch)
    assert codec.encode_json(Patch(age=None)) == b'{"age":null}'
    assert codec.decode_json(b'{"age": null}') == Patch(age=None)
    assert codec.decode_json(b"{}").name is msgspec.UNSET


def test_to_wire_writes_any_value_and_refuses_what_has_no_json() -> None:
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert to_jsonable(
        [User("a"), Level.HIGH, moment, decimal.Decimal("1.0"), b"ab", (1, {2}), pathlib.PurePosixPath("/a")]
    ) == [
        {"name": "a", "age": 0},
        2,
        "2026-01-01T00:00:00Z",
        "1.0",
        "YWI=",
        [1, [2]],
        "/a",
    ]
    for bad in (float("nan"), [float("inf")], decimal.Decimal("NaN"), object(), {("a",): 1}, {None: 1}):
        with pytest.raises(ValueError):
            to_jsonable(bad)


@pytest.mark.parametrize(
    ("tp", "value"),
    [
        (str, "ä"),
        (int, 5),
        (User, Admin("a")),
        (list[User], [Admin("a"), User("b")]),
        (list[str], [Name("x"), Tone.LOUD]),
        (dt.datetime, dt.datetime(2026, 1, 2)),
        (User | None, None),
        (Any, {"a": User("a")}),
        (list[decimal.Decimal], [decimal.Decimal("1.5")]),
        (list[int], {1: 2}.values()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_checked_value_is_the_value_itself(tp: Any, value: Any) -> None:
    assert Codec(tp).check(value) is value


@pytest.mark.parametrize(
    ("tp", "value"),
    [
        (User, None),
        (list[User], [User("a"), None]),
        (dict[str, float], {"a": float("nan")}),
        (list[str], ["\ud800"]),
        (str, "\ud800"),
        (int, 10**5000),
        (list[decimal.Decimal], [decimal.Decimal("NaN")]),
        (User | int, "x"),
        (Iterable[int], (n for n in ("x",))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_check_refuses_what_cannot_be_encoded(tp: Any, value: Any) -> None:
    with pytest.raises(ResultError) as caught:
        Codec(tp, label="the result of f").check(value)
    assert caught.value.errors
    assert "the result of f" in str(caught.value)


@pytest.mark.parametrize("tp", [Iterable[int], list[int], Iterable[int] | None])
def test_what_can_be_read_only_once_is_checked_as_a_list_which_is_returned(tp: Any) -> None:
    assert Codec(tp).check(n for n in range(3)) == [0, 1, 2]


def test_a_check_leaves_a_generator_inside_of_an_object_to_who_reads_it() -> None:
    @dataclasses.dataclass
    class Page:
        numbers: Iterable[int]
        more: list[int]
        other: list[int] | str = "none"

    page = Page((n for n in range(2)), (n for n in range(3)), (n for n in range(4)))  # type: ignore[arg-type]
    assert Codec(list[Page]).check([page])[0] is page
    assert [list(page.numbers), list(page.more), list(page.other)] == [[0, 1], [0, 1, 2], [0, 1, 2, 3]]
    with pytest.raises(ResultError) as caught:
        Codec(Page).check(Page((n for n in range(2)), ["x"]))  # type: ignore[list-item]
    assert [problem.path for problem in caught.value.errors] == ["/more/0"]


ODD = dt.timezone(dt.timedelta(minutes=-44, seconds=-30))
NOON = dt.datetime(1930, 1, 1, 12, tzinfo=ODD)
MONROVIA = dt.datetime(1930, 1, 1, 12, tzinfo=zoneinfo.ZoneInfo("Africa/Monrovia"))


@dataclasses.dataclass
class Visit:
    at: dt.datetime
    opens: dt.time | None = None


class Stop(NamedTuple):
    at: dt.datetime


class Shown(pydantic.BaseModel):
    at: dt.datetime


@dataclasses.dataclass
class Tree:
    at: dt.datetime
    below: list["Tree"] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Trip:
    first: Visit
    last: Visit | Stop


Odd = TypedDict("Odd", {"the_time": NotRequired[dt.datetime], "class": Stop})
NEW, Z = dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "2026-01-01T00:00:00Z"
DEEP: Any = functools.reduce(lambda tp, _: list[tp], range(30), dt.datetime)


def deep(value: Any) -> Any:
    return functools.reduce(lambda inner, _: [inner], range(30), value)


LATER = Annotated[dt.datetime, at.Gt(dt.datetime(1900, 1, 1, tzinfo=dt.UTC))]


@pytest.mark.parametrize("noon", [NOON, MONROVIA])
def test_an_offset_with_seconds_is_written_as_the_same_instant(noon: dt.datetime) -> None:
    """RFC 3339 has whole minutes."""
    wire = "1930-01-01T12:44:30Z"
    rows: list[tuple[Any, Any, Any]] = [
        (dt.datetime, noon, wire),
        (LATER, noon, wire),
        (list[dt.datetime], [noon], [wire]),
        (set[dt.datetime], {noon}, [wire]),
        (dict[dt.datetime, int], {noon: 1}, {wire: 1}),
        (dict[str, list[dt.datetime]], {"a": [noon]}, {"a": [wire]}),
        (tuple[dt.datetime, int], (noon, 1), [wire, 1]),
        (dt.datetime | int, noon, wire),
        (dt.datetime | dt.date, noon, wire),
        (Stop, Stop(noon), [wire]),
        (Visit, Visit(noon), {"at": wire, "opens": None}),
        (list[Visit | Stop], [Visit(noon), Stop(noon)], [{"at": wire, "opens": None}, [wire]]),
        (Shown, Shown(at=noon), {"at": wire}),
        (
            Tree,
            Tree(NEW, [Tree(NEW), Tree(noon)]),
            {"at": Z, "below": [{"at": Z, "below": []}, {"at": wire, "below": []}]},
        ),
        (Trip, Trip(Visit(NEW), Stop(noon)), {"first": {"at": Z, "opens": None}, "last": [wire]}),
        (Odd, {"the_time": noon, "class": Stop(NEW)}, {"the_time": wire, "class": [Z]}),
        (Odd, {"class": Stop(noon)}, {"class": [wire]}),
        (DEEP, deep(noon), deep(wire)),
        (Any, {noon: [noon]}, {wire: [wire]}),
    ]
    for tp, value, expected in rows:
        codec = Codec[Any](tp)
        assert codec.check(value) == value
        assert codec.encode(value) == expected
        assert msgspec.json.decode(codec.encode_json(value)) == expected
        if tp is not Any and tp is not Shown:
            assert codec.decode(expected) == value


@pytest.mark.parametrize("hour", [dt.time(0), dt.time(0, 0, 5), dt.time(12, 30), dt.time(23, 59, 59, 999999)])
@pytest.mark.parametrize("seconds", [-2670, -1, 1, 3599])
def test_a_time_with_seconds_in_its_offset_is_the_same_time_with_whole_minutes(hour: dt.time, seconds: int) -> None:
    value = hour.replace(tzinfo=dt.timezone(dt.timedelta(seconds=seconds)))
    codec = Codec(dt.time)
    assert codec.decode_json(codec.encode_json(value)) == value
    assert to_jsonable(value) == codec.encode(value)


def test_the_first_and_the_last_moment_are_local_as_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert Codec(dt.datetime).encode(dt.datetime.max) == "9999-12-31T23:59:59.999999-05:00"
        assert Codec(dt.datetime).encode(dt.datetime.min) == "0001-01-01T04:56:02Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_naive_datetime_where_the_zone_has_seconds_is_written_as_its_instant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Africa/Monrovia")
    time.tzset()
    try:
        assert Codec(dt.datetime).encode(dt.datetime(1930, 1, 1, 12)) == "1930-01-01T12:44:30Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("tp", [dt.datetime, Any])
def test_an_offset_with_seconds_at_the_end_of_time_is_refused(tp: Any) -> None:
    with pytest.raises(ResultError):
        Codec(tp).encode_json(dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(seconds=1))))


@dataclasses.dataclass
class Preset:
    at: int = 0


@pytest.mark.parametrize("cls", [Preset, Shown, Stop, int])
def test_a_class_is_no_value(cls: type) -> None:
    for tp, value in ((Any, cls), (list[Any], [cls]), (dict[str, Any], {"a": cls})):
        with pytest.raises(ResultError):
            Codec(tp).encode_json(value)


def test_no_member_is_lost_to_another_of_its_name() -> None:
    assert Codec(Any).encode_json({1: "a", "2": "b"}) == b'{"1":"a","2":"b"}'
    with pytest.raises(ResultError):
        Codec(Any).encode_json({"within": {1: "a", "1": "b"}})
