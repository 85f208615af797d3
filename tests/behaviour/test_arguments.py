"""What callers send: mapping, types, unknown names, all problems at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import msgspec
import pytest

from servey import WEB_GET, WEB_POST, BigInt, InvalidError
from servey.action.action import action
from servey.errors import DefinitionError, MalformedError
from servey.service import Service
from servey.settings import Settings

WEB = (WEB_GET, WEB_POST)

Positive = Annotated[int, msgspec.Meta(gt=0)]


class Colour(Enum):
    RED = "red"
    DARK_BLUE = "dark-blue"


@dataclass
class Item:
    sku: str
    quantity: Positive = 1


@dataclass
class Order:
    items: list[Item]
    note: str | None = None
    tags: set[str] = field(default_factory=set)


@dataclass
class Span:
    first: int
    last: int

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError("last comes before first")


def is_usage_error(transport: Any, outcome: Any) -> bool:
    """Whether click itself refused a flag that there is not."""
    return transport.name == "cli-flags" and (outcome.code, outcome.exit_code) == ("usage", 64)


def each(transport: Any, rows: Sequence[tuple[Any, Any]]) -> list[Any]:
    """Call an echo of each type with its value."""
    actions: list[Any] = []
    for number, (tp, _) in enumerate(rows):

        def echo(value: Any) -> Any:
            return value

        echo.__annotations__ = {"value": tp, "return": tp}
        actions.append(action(triggers=WEB, name=f"echo{number}")(echo))
    calls = [transport.Call(f"echo{number}", {"value": value}) for number, (_, value) in enumerate(rows)]
    return transport.call_all(actions, [calls])[0]


# --- unknown, missing, all problems --------------------------------------------------------------------------------


def test_an_unknown_argument_is_refused_with_the_nearest_name(transport: Any) -> None:
    @action(triggers=WEB)
    def greet(name: str = "you") -> str:
        return f"Hello {name}!"

    outcome = transport.call([greet], "greet", {"nmae": "World"})
    if is_usage_error(transport, outcome):
        assert "--name" in outcome.detail
        return
    assert outcome.is_error(InvalidError)
    assert outcome.paths == {"/nmae"}
    assert "name" in outcome.errors[0][1].replace("nmae", "")


def test_an_unknown_field_is_refused_at_every_depth(transport: Any) -> None:
    @action(triggers=WEB)
    def place(order: Order) -> None:
        raise AssertionError("accepted")

    params = {"order": {"items": [{"sku": "a", "quantty": 2}], "nite": "x"}}
    outcome = transport.call([place], "place", params)
    assert outcome.is_error(InvalidError)
    assert outcome.paths == {"/order/items/0/quantty", "/order/nite"}


def test_unknown_query_parameters_may_be_ignored_by_a_setting(http_transport: Any) -> None:
    @action(triggers=WEB)
    def greet(name: str = "you") -> str:
        return f"Hello {name}!"

    service = Service([greet], settings=Settings(unknown_query="ignore"))
    outcome = http_transport.call(service, "greet", {"utm_source": "letter", "name": "World"})
    if http_transport.text:
        assert outcome.result == "Hello World!"
    else:
        assert outcome.paths == {"/utm_source"}  # it is a setting for links, not for bodies


def test_a_missing_argument_is_named(transport: Any) -> None:
    @action(triggers=WEB)
    def add(left: int, right: int, scale: int = 1) -> int:
        return (left + right) * scale

    outcome = transport.call([add], "add", {"scale": 2})
    assert outcome.is_error(InvalidError)
    assert outcome.paths == {"/left", "/right"}


def test_every_problem_is_told_at_once(transport: Any) -> None:
    @action(triggers=WEB)
    def place(order: Order, count: int, ratio: float, colour: Colour) -> None:
        raise AssertionError("accepted")

    params = {
        "order": {"items": [{"sku": "a"}, {"sku": 5, "quantity": 0}, {}], "note": 7},
        "count": "many",
        "colour": "green",
    }
    outcome = transport.call([place], "place", params)
    assert outcome.is_error(InvalidError)
    # in GraphQL limits are looked at when everything is of its type
    assert outcome.paths | ({"/order/items/1/quantity"} if transport.graphql else set()) == {
        "/order/items/1/sku",
        "/order/items/1/quantity",
        "/order/items/2/sku",
        "/order/note",
        "/count",
        "/ratio",
        "/colour",
    }
    assert all(message for _, message in outcome.errors)


def test_a_path_is_a_json_pointer_whatever_the_name(json_transport: Any) -> None:
    @action(triggers=WEB)
    def count(prices: dict[str, int]) -> int:
        return len(prices)

    outcome = json_transport.call([count], "count", {"prices": {"a/b": "x", "c~d": "y", "": "z", "é": None}})
    assert outcome.paths == {"/prices/a~1b", "/prices/c~0d", "/prices/", "/prices/é"}


def test_a_value_error_of_post_init_is_a_problem_with_its_path(transport: Any) -> None:
    @action(triggers=WEB)
    def width(spans: list[Span]) -> int:
        return sum(span.last - span.first for span in spans)

    assert transport.call([width], "width", {"spans": [{"first": 1, "last": 3}]}).result == 2
    outcome = transport.call([width], "width", {"spans": [{"first": 1, "last": 3}, {"first": 3, "last": 1}]})
    assert outcome.is_error(InvalidError)
    assert outcome.errors == (("/spans/1", "last comes before first"),)


# --- JSON is strict -------------------------------------------------------------------------------------------------


STRICT: list[tuple[Any, Any]] = [
    (int, "5"),
    (int, 5.5),
    (int, True),
    (int, None),
    (float, "1.5"),
    (float, False),
    (bool, 1),
    (bool, "true"),
    (bool, None),
    (str, 5),
    (str, None),
    (str, ["a"]),
    (list[int], 1),
    (list[int], {"0": 1}),
    (list[int], [1, "2"]),
    (datetime, 0),
    (Colour, "RED"),
    (Literal["a", "b"], "c"),
    (Order, []),
    (dict[str, int], []),
    (UUID, "not-a-uuid"),
    (Decimal, True),
    (Positive, 0),
]


def test_json_types_are_strict(json_transport: Any) -> None:
    # in GraphQL one value stands for a list of it (§3.11), and enums are called by their names
    rows = [row for row in STRICT if not json_transport.graphql or row not in ((list[int], 1), (Colour, "RED"))]
    outcomes = each(json_transport, rows)
    assert [row for row, item in zip(rows, outcomes, strict=True) if not item.is_error(InvalidError)] == []
    assert [{path.split("/")[1] for path in item.paths} for item in outcomes] == [{"value"}] * len(rows)


NO_JSON = [b" ", b"{", b"nope", b'{"value": 1,}', b'{"value": 1} x', b"\xff\xfe", b'{"value": 01}']


@pytest.mark.parametrize("body", NO_JSON)
def test_what_is_no_json_is_malformed(raw_transport: Any, body: bytes) -> None:
    @action(triggers=WEB)
    def take(value: int) -> int:
        return value

    outcome = raw_transport.call([take], "take", body)
    assert outcome.is_error(MalformedError)


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"', b"[1]"])
def test_arguments_are_one_json_object(raw_transport: Any, body: bytes) -> None:
    @action(triggers=WEB)
    def take(value: int = 1) -> int:
        return value

    outcome = raw_transport.call([take], "take", body)
    assert outcome.is_error(InvalidError)


def test_of_a_duplicated_key_the_last_wins(raw_transport: Any) -> None:
    @action(triggers=WEB)
    def take(value: int) -> int:
        return value

    assert raw_transport.call([take], "take", b'{"value": 1, "value": 2}').result == 2


@pytest.mark.parametrize("bomb", [b'{"value":' + b"[" * 100_000, b'{"value":' * 100_000, b"[" * 100_000])
def test_a_nesting_bomb_is_refused(raw_transport: Any, bomb: bytes) -> None:
    @action(triggers=WEB)
    def take(value: Any) -> None:
        raise AssertionError("accepted")

    assert raw_transport.call([take], "take", bomb).is_error(MalformedError)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"nan"])
def test_nan_and_infinity_are_refused(raw_transport: Any, number: bytes) -> None:
    @action(triggers=WEB)
    def take(value: float) -> None:
        raise AssertionError("accepted")

    outcome = raw_transport.call([take], "take", b'{"value": %s}' % number)
    assert outcome.is_error(MalformedError) or outcome.is_error(InvalidError)


@pytest.mark.parametrize("text", ["NaN", "nan", "Infinity", "-inf", "1e999"])
def test_nan_and_infinity_are_refused_as_text(text_transport: Any, text: str) -> None:
    @action(triggers=WEB)
    def take(value: float, price: Decimal = Decimal(1)) -> None:
        raise AssertionError("accepted")

    outcome = text_transport.call([take], "take", {"value": text})
    assert outcome.is_error(InvalidError)
    assert outcome.paths == {"/value"}
    if text != "1e999":
        assert text_transport.call([take], "take", {"value": "1", "price": text}).paths == {"/price"}


# --- text is lax ----------------------------------------------------------------------------------------------------


LAX: list[tuple[Any, str, Any]] = [
    (int, "5", 5),
    (int, "-5", -5),
    (int, "5.0", 5),
    (int | None, "5.0", 5),
    (float, "5", 5.0),
    (float, "1e3", 1000.0),
    (str, "5", "5"),
    (str, "", ""),
    (str, "null", "null"),
    (int | None, "null", None),
    (int | None, "5", 5),
    (str | None, "null", "null"),
    (Colour, "dark-blue", "dark-blue"),
    (Literal["a", 1], "1", 1),
    (BigInt, str(2**70), 2**70),
    (UUID, "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001"),
    (Decimal, "1.10", "1.10"),
    (datetime, "2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
    (timedelta, "PT90S", "PT90S"),
]


def test_text_is_read_by_the_declared_type(text_transport: Any) -> None:
    outcomes = each(text_transport, [(tp, text) for tp, text, _ in LAX])
    assert [(item.errors, item.result) for item in outcomes] == [((), expected) for _, _, expected in LAX]
    assert [type(item.result) for item in outcomes] == [type(expected) for _, _, expected in LAX]


NOT_OF_THE_TYPE: list[tuple[Any, str]] = [
    (int, ""),
    (int, "5.1"),
    (int, " 5"),
    (int, "\u0665"),
    (int, "1_000"),
    (float, ""),
    (float, "0x10"),
    (Colour, "RED"),
    (int | None, "none"),
    (UUID, "1"),
    (datetime, "0"),
    (datetime, "yesterday"),
]


class Low(IntEnum):
    ONE = 1


class High(IntEnum):
    TWO = 2


class Bits(IntFlag):
    A = 1
    B = 2


UNIONS: list[tuple[Any, list[tuple[Any, str]]]] = [
    (Literal["x"] | Low, [(1, "<Low.ONE: 1>"), (1.0, "<Low.ONE: 1>"), ("x", "'x'")]),
    (
        Colour | High | None | Low,
        [(1, "<Low.ONE: 1>"), (2, "<High.TWO: 2>"), (None, "None"), ("red", repr(Colour.RED))],
    ),
    (date | Low, [("2026-01-01", "datetime.date(2026, 1, 1)"), (1, "<Low.ONE: 1>")]),
    (Bits | Literal["all"], [(3, "<Bits.A|B: 3>"), ("all", "'all'")]),
    (Low | int, [(1.0, "<Low.ONE: 1>"), (2.0, "2")]),
    (int | date, [(5.0, "5")]),
    (Low | Decimal, [("1.10", "Decimal('1.10')")]),
    (Literal[1, 2] | None, [(2.0, "2"), (None, "None")]),
]


@pytest.mark.parametrize(("tp", "rows"), UNIONS, ids=lambda part: str(part) if not isinstance(part, list) else "")
def test_a_member_of_a_union_is_found_by_what_is_sent_as_json_or_as_text(
    self_transport: Any, tp: Any, rows: list[tuple[Any, str]]
) -> None:
    def show(value: Any) -> str:
        return repr(value)

    show.__annotations__["value"] = tp
    shown = action(triggers=WEB)(show)
    outcomes = self_transport.call_all([shown], [[self_transport.Call("show", {"value": sent}) for sent, _ in rows]])
    assert [outcome.result for outcome in outcomes[0]] == [expected for _, expected in rows]


def test_a_text_that_is_no_value_of_the_others_is_a_str(text_transport: Any) -> None:
    @action(triggers=WEB)
    def show(value: Literal[1, 2] | Low | str) -> str:
        return repr(value)

    calls = [text_transport.Call("show", {"value": sent}) for sent in (1, 3, "1.0", "soon")]
    assert [outcome.result for outcome in text_transport.call_all([show], [calls])[0]] == [
        "1",
        "'3'",
        "'1.0'",
        "'soon'",
    ]


def test_text_that_is_not_of_the_type_is_refused(text_transport: Any) -> None:
    outcomes = each(text_transport, NOT_OF_THE_TYPE)
    assert [row for row, item in zip(NOT_OF_THE_TYPE, outcomes, strict=True) if not item.is_error(InvalidError)] == []
    assert [item.paths for item in outcomes] == [{"/value"}] * len(NOT_OF_THE_TYPE)


@pytest.mark.parametrize(("text", "expected"), [("true", True), ("false", False), ("TRUE", True)])
def test_a_bool_is_true_or_false_in_a_query(http_transport: Any, text: str, expected: bool) -> None:
    @action(triggers=WEB)
    def take(value: bool) -> bool:
        return value

    if http_transport.text:
        assert http_transport.call([take], "take", {"value": text}).result is expected
        for other in ("1", "0", "yes", "on", ""):
            assert http_transport.call([take], "take", {"value": other}).paths == {"/value"}


# --- every transport ------------------------------------------------------------------------------------------------


ECHOED: list[tuple[Any, Any]] = [
    (int, -7),
    (int, 2**31),
    (BigInt, 2**53 + 1),
    (BigInt, 10**40),
    (float, 0.1),
    (float, 5),
    (bool, True),
    (bool, False),
    (str, ""),
    (str, "null"),
    (str, "5"),
    (str, "ä€😀 &=+%/?#\"'\\ \t\n\x01"),
    (str, "-x"),
    (int | None, None),
    (Colour, "dark-blue"),
    (Literal["a", 1, None], 1),
    (list[int], [3, 1, 2]),
    (list[str], ["a", "", "b,c", "a"]),
    (list[bool], [True, False]),
    (list[Colour], ["red", "red"]),
    (set[int], [5]),
    (tuple[int, str], [1, "x"]),
    (list[list[int]], [[1], [], [2, 3]]),
    (dict[str, float], {"a": 1.5, "": 2.0}),
    (dict[str, int] | None, {"null": 0}),
    (Order, {"items": [{"sku": "a", "quantity": 2}], "note": None, "tags": ["x"]}),
    (Any, {"a": [1, "2", None, True, 1.5]}),
    (datetime, "2024-01-02T03:04:05.000006+02:00"),
    (Decimal, "1.10"),
    (bytes, "AP8="),
]


def test_what_is_sent_comes_back(transport: Any) -> None:
    # on a command line a bool has the flags --value and --no-value
    rows = [row for row in ECHOED if transport.name != "cli-flags" or row[0] is not bool]
    if transport.graphql:
        rows.remove((int, 2**31))  # GraphQL's Int has 32 bits
    outcomes = each(transport, rows)
    assert [(item.errors, item.result) for item in outcomes] == [((), value) for _, value in rows]


def test_a_float_may_be_sent_as_an_integer_and_an_int_never_as_a_float(json_transport: Any) -> None:
    @action(triggers=WEB)
    def take(ratio: float, count: int = 0) -> str:
        return f"{ratio!r} {count!r}"

    assert json_transport.call([take], "take", {"ratio": 1}).result == "1.0 0"
    assert json_transport.call([take], "take", {"ratio": 1, "count": 1.5}).paths == {"/count"}


def test_defaults_are_the_functions_own(transport: Any) -> None:
    marker = object()
    seen: list[Any] = []

    @action(triggers=WEB)
    def take(first: int = 7, second: Any = marker, third: list[int] | None = None, *, fourth: str = "four") -> str:
        seen.append((first, second is marker, third, fourth))
        return f"{first} {second is marker} {third} {fourth}"

    assert transport.call([take], "take").result == "7 True None four"
    assert transport.call([take], "take", {"fourth": "4", "third": [1, 2]}).result == "7 True [1, 2] 4"
    assert seen == [(7, True, None, "four"), (7, True, [1, 2], "4")]


def test_a_mutable_default_of_a_class_is_not_shared_between_calls(transport: Any) -> None:
    @action(triggers=WEB)
    def take(order: Order) -> int:
        order.tags.add("seen")
        return len(order.tags)

    params = {"order": {"items": []}}
    assert [transport.call([take], "take", params).result for _ in range(2)] == [1, 1]


@dataclass(eq=False)
class Basket:
    skus: list[str]


class Row(NamedTuple):
    number: int
    tags: list[str] = []  # noqa: RUF012
    basket: Basket = Basket(["row"])


@dataclass
class Shop:
    name: str
    basket: Basket = Basket([])  # noqa: RUF009


@dataclass
class Kiosk(Shop):
    def __post_init__(self) -> None:
        self.basket.skus.append(self.name)


def test_each_call_gets_defaults_of_its_own(transport: Any) -> None:
    """Whatever a default is made of: what a call does to it is not seen by the next call."""
    kept = {"by": ["id"]}

    @action(triggers=WEB)
    def take(
        number: int = 1,
        tags: list[str] = [],  # noqa: B006 - the rule
        seen: set[str] = set(),  # noqa: B006
        free: Any = kept,
        nested: dict[str, list[int]] = {"a": [1]},  # noqa: B006
        basket: Basket = Basket(["one"]),  # noqa: B008
        row: Row = Row(1),  # noqa: B008
        pair: tuple[Basket, int] = (Basket([]), 1),
    ) -> str:
        found = repr((tags, seen, free, nested, basket.skus, row.tags, row.basket.skus, pair[0].skus))
        for held in (tags, free["by"], nested["a"], basket.skus, row.tags, row.basket.skus, pair[0].skus):
            held.append("another caller's")
        seen.add("another caller's")
        return found

    outcomes = transport.call_all([take], [[transport.Call("take")] * 3])[0]
    assert {outcome.result for outcome in outcomes} == {
        repr(([], set(), {"by": ["id"]}, {"a": [1]}, ["one"], [], ["row"], []))
    }
    assert kept == {"by": ["id"]}


def test_each_object_gets_the_defaults_of_its_class_for_itself(json_transport: Any) -> None:
    @action(triggers=WEB)
    def take(shop: Shop, kiosk: Kiosk, rows: list[Row]) -> str:
        found = repr((shop.basket.skus, kiosk.basket.skus, [(row.tags, row.basket.skus) for row in rows]))
        for basket in (shop.basket, kiosk.basket, *(row.basket for row in rows)):
            basket.skus.append("another caller's")
        rows[0].tags.append("another caller's")
        return found

    if json_transport.graphql:
        rows: Any = [{"number": 1}, {"number": 2}]
    else:
        rows = [[1], [2]]
    call = json_transport.Call("take", {"shop": {"name": "s"}, "kiosk": {"name": "k"}, "rows": rows})
    outcomes = json_transport.call_all([take], [[call] * 3])[0]
    assert {outcome.result for outcome in outcomes} == {repr(([], ["k"], [([], ["row"]), ([], ["row"])]))}


def test_a_default_that_can_be_changed_and_not_be_copied_is_refused() -> None:
    @action
    def lock(mutex: Any = threading.Lock()) -> int:  # noqa: B008
        return 1

    with pytest.raises(DefinitionError) as refused:
        Service([lock])
    assert "mutex" in str(refused.value)


def test_an_incoming_datetime_without_offset_stays_naive(transport: Any) -> None:
    @action(triggers=WEB)
    def kind(at: datetime) -> str:
        return "naive" if at.tzinfo is None else str(at.utcoffset())

    assert transport.call([kind], "kind", {"at": "2024-01-02T03:04:05"}).result == "naive"
    assert transport.call([kind], "kind", {"at": "2024-01-02T03:04:05Z"}).result == "0:00:00"
    assert transport.call([kind], "kind", {"at": "2024-01-02T03:04:05+02:00"}).result == "2:00:00"


def test_an_action_gets_values_of_the_declared_types(transport: Any) -> None:
    seen: list[Any] = []

    @action(triggers=WEB)
    async def take(order: Order, colour: Colour, at: datetime, price: Decimal, key: UUID) -> None:
        seen.append((order, colour, at, price, key))

    key = UUID(int=5)
    params = {
        "order": {"items": [{"sku": "a"}], "tags": ["t"]},
        "colour": "red",
        "at": "2024-01-02T03:04:05+02:00",
        "price": "1.10",
        "key": str(key),
    }
    assert transport.call([take], "take", params).ok
    zone = timezone(timedelta(hours=2))
    assert seen == [
        (Order([Item("a")], None, {"t"}), Colour.RED, datetime(2024, 1, 2, 3, 4, 5, tzinfo=zone), Decimal("1.10"), key)
    ]
    assert datetime(2024, 1, 2, 1, 4, 5, tzinfo=UTC) == seen[0][2]
