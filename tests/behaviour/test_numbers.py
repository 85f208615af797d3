"""Numbers: their digits are kept until the declared type is known, whole ones are ints, and none is infinite."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import Annotated, Any, Literal

import annotated_types as at
import msgspec
import pydantic
import pytest

from behaviour.conftest import CliEvent, DirectJson, DirectValues, RestPost
from servey import WEB_GET, WEB_POST, InvalidError, WebTrigger, WebTriggerMethod
from servey.action.action import action
from servey.errors import MalformedError
from servey.servey_starlette.app import create_app
from servey.servey_test.client import client_of
from servey.service import Service

WEB = (WEB_GET, WEB_POST)
LONG = Decimal("12345678901234567.89")
SCALED = Decimal("1.10")


@dataclass
class Line:
    price: Decimal


class Card(msgspec.Struct, tag="card"):
    amount: Decimal


class Cash(msgspec.Struct, tag="cash"):
    amount: Decimal


class Sum(pydantic.BaseModel):
    amount: Decimal


@dataclass
class Circle:
    radius: int


@dataclass
class Box:
    width: int


class Level(IntEnum):
    LOW = 1


@action(triggers=WEB)
def plain(price: Decimal) -> str:
    return str(price)


@action(triggers=WEB)
def bounded(price: Annotated[Decimal, at.Gt(0)]) -> str:
    return str(price)


@action(triggers=WEB)
def optional(price: Decimal | None = None) -> str:
    return str(price)


@action(triggers=WEB)
def tried(price: int | Decimal) -> str:
    return str(price)


@action(triggers=WEB)
def counted(price: Decimal, count: int = 1) -> str:
    return f"{price} {count}"


@action(triggers=WEB)
def listed(prices: list[Decimal]) -> str:
    return str(prices[0])


@action(triggers=WEB)
def keyed(prices: dict[str, Decimal]) -> str:
    return str(prices["a"])


@action(triggers=WEB)
def in_class(line: Line) -> str:
    return str(line.price)


@action(triggers=WEB)
def in_classes(lines: list[Line]) -> str:
    return str(lines[0].price)


@action(triggers=WEB)
def in_model(line: Sum) -> str:
    return str(line.amount)


@action(triggers=WEB)
def in_tagged(by: Card | Cash) -> str:
    return str(by.amount)


PLACES: dict[str, Any] = {
    "plain": lambda number: {"price": number},
    "bounded": lambda number: {"price": number},
    "optional": lambda number: {"price": number},
    "tried": lambda number: {"price": number},
    "listed": lambda number: {"prices": [number]},
    "keyed": lambda number: {"prices": {"a": number}},
    "in_class": lambda number: {"line": {"price": number}},
    "in_classes": lambda number: {"lines": [{"price": number}]},
    "in_model": lambda number: {"line": {"amount": number}},
    "in_tagged": lambda number: {"by": {"type": "card", "amount": number}},
}
ACTIONS = (plain, bounded, optional, tried, listed, keyed, in_class, in_classes, in_model, in_tagged, counted)


@pytest.mark.parametrize("number", [LONG, SCALED, -LONG, Decimal("1E-30")], ids=str)
def test_a_decimal_keeps_its_digits_wherever_it_stands(transport: Any, number: Decimal) -> None:
    places = {name: params for name, params in PLACES.items() if number > 0 or name != "bounded"}
    if transport.graphql:  # a union of two inputs is told apart in another way there
        del places["in_tagged"], places["tried"]
    lane = [transport.Call(name, params(number)) for name, params in places.items()]
    outcomes = transport.call_all(ACTIONS, [lane])[0]
    assert {name: outcome.result for name, outcome in zip(places, outcomes, strict=True)} == dict.fromkeys(
        places, str(number)
    )


def test_a_decimal_keeps_its_digits_beside_a_whole_number_with_a_fraction(transport: Any) -> None:
    outcome = transport.call(ACTIONS, "counted", {"price": LONG, "count": Decimal("2.0")})
    assert outcome.result == f"{LONG} 2"


def test_a_decimal_keeps_its_digits_beside_a_path_parameter() -> None:
    @action(triggers=(WebTrigger(WebTriggerMethod.PUT, "/prices/{id}"),))
    def put_price(id: int, price: Decimal) -> str:
        return f"{id} {price}"

    async def main() -> bytes:
        async with client_of(create_app(Service([put_price]))) as client:
            headers = {"content-type": "application/json"}
            return (await client.request("PUT", "/prices/7", content=b'{"price": 1.10}', headers=headers)).content

    assert asyncio.run(main()) == b'"7 1.10"'


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-inf", "sNaN", "n_a_n"])
def test_no_decimal_is_infinite_or_no_number_wherever_it_stands(transport: Any, number: str) -> None:
    places = dict(PLACES)
    if transport.graphql:
        del places["in_tagged"], places["tried"]
    lane = [transport.Call(name, params(number)) for name, params in places.items()]
    for name, outcome in zip(places, transport.call_all(ACTIONS, [lane])[0], strict=True):
        assert outcome.is_error(InvalidError), (name, outcome)
        assert outcome.paths == {pointer_of(places[name]("NaN"))}, name


def pointer_of(params: Any, path: str = "") -> str:
    """Return the place of the number; a union tells its own place where no member accepts the value."""
    if isinstance(params, dict):
        name = "amount" if "amount" in params else next(iter(params))
        return pointer_of(params[name], f"{path}/{name}")
    return pointer_of(params[0], f"{path}/0") if isinstance(params, list) else path


@pytest.mark.parametrize(
    "transport", [DirectJson(), DirectValues(), RestPost(), CliEvent()], ids=lambda item: item.name
)
def test_a_result_is_never_infinite_or_no_number(transport: Any) -> None:
    @action(triggers=WEB)
    def in_list() -> list[Line]:
        return [Line(Decimal("NaN"))]

    @action(triggers=WEB)
    def in_union() -> int | Decimal:
        return Decimal("Infinity")

    @action(triggers=WEB)
    def number() -> float:
        return float("inf")

    @action(triggers=WEB)
    def anything() -> Any:
        return [float("nan")]

    actions = [in_list, in_union, number, anything]
    outcomes = transport.call_all(actions, [[transport.Call(item.__name__) for item in actions]])[0]
    assert [outcome.code for outcome in outcomes] == ["internal_error"] * len(actions)


def test_a_whole_number_is_a_float_beside_some_ints(transport: Any) -> None:
    @action(triggers=WEB)
    def wait(seconds: Literal[-1] | float) -> str:
        return repr(seconds)

    @action(triggers=WEB)
    def level(value: float | Level) -> str:
        return repr(value)

    @action(triggers=WEB)
    def few(value: Annotated[int, at.Lt(10)] | float) -> str:
        return repr(value)

    calls = [("wait", "seconds", 30), ("wait", "seconds", -1), ("wait", "seconds", Decimal("30.5"))]
    calls += [("level", "value", 7), ("few", "value", 30), ("few", "value", 3)]
    lane = [transport.Call(name, {parameter: value}) for name, parameter, value in calls]
    outcomes = transport.call_all([wait, level, few], [lane])[0]
    assert [outcome.result for outcome in outcomes] == ["30.0", "-1", "30.5", "7.0", "30.0", "3"]


def test_a_whole_number_with_a_fraction_is_an_int_in_unions_too(transport: Any) -> None:
    @action(triggers=WEB)
    def draw(shapes: list[Circle | Box]) -> str:
        return repr(shapes)

    @action(triggers=WEB)
    def points(points: dict[str, list[int] | list[str]]) -> str:
        return repr(points)

    five = Decimal("5.0")
    results = {"points": "{'a': [5]}", "draw": "[Circle(radius=5), Box(width=2)]"}
    params: dict[str, Any] = {"points": {"points": {"a": [five]}}, "draw": {"shapes": [{"radius": five}, {"width": 2}]}}
    if transport.graphql:  # which has no input unions of classes without a name for each
        del params["draw"], results["draw"]
    lane = [transport.Call(name, given) for name, given in params.items()]
    outcomes = transport.call_all([draw, points], [lane])[0]
    assert [outcome.result for outcome in outcomes] == list(results.values())


@pytest.mark.parametrize(
    ("number", "is_multiple"),
    [("1", True), ("0.29", True), ("19.99", True), ("-1.13", True), ("1E+20", True), ("0.295", False)],
)
def test_a_multiple_is_one_of_the_number_that_is_written(transport: Any, number: str, is_multiple: bool) -> None:
    @action(triggers=WEB)
    def price(amount: Annotated[float, at.MultipleOf(0.01)]) -> Annotated[float, msgspec.Meta(multiple_of=0.01)]:
        return amount

    outcome = transport.call([price], "price", {"amount": Decimal(number)})
    if is_multiple:
        assert outcome.result == float(number)
    else:
        assert outcome.is_error(InvalidError)
        assert outcome.paths == {"/amount"}


def test_free_json_has_plain_numbers(json_transport: Any) -> None:
    @action(triggers=WEB)
    def kinds(value: Any, price: Decimal | None = None) -> str:
        return repr(value)

    value = {"a": [Decimal("1.50"), 2, {"b": Decimal("2e3")}]}
    outcome = json_transport.call([kinds], "kinds", {"value": value})
    assert outcome.result == "{'a': [1.5, 2, {'b': 2000.0}]}"


def test_free_json_has_a_hundred_levels_at_most(json_transport: Any) -> None:
    @action(triggers=WEB)
    def echo(value: Any) -> Any:
        return value

    def levels(count: int) -> Any:
        return json.loads("[" * count + "]" * count)

    deep, deeper = json_transport.call_all(
        [echo], [[json_transport.Call("echo", {"value": levels(count)}) for count in (95, 110)]]
    )[0]
    assert deep.result == levels(95)
    assert deeper.is_error(MalformedError)
