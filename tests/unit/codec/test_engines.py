import dataclasses
import tracemalloc
from typing import Annotated, Any, Union

import annotated_types as at
import pydantic
import pytest
from marshy.marshaller.marshaller_abc import MarshallerABC
from schemey.schema import Schema

from servey.codec import Codec, CustomType, ResultError
from servey.errors import DefinitionError, InvalidError, Problem


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    __hash__ = None  # type: ignore[assignment]


class MoneyEngine:
    def claim(self, tp: Any, /) -> CustomType | None:
        if tp is not Money:
            return None

        def decode(wire: Any) -> Money:
            if not isinstance(wire, dict):
                raise ValueError("expected money")
            if "cents" not in wire:
                raise InvalidError(errors=[Problem("/cents", "required"), Problem("/currency", "required")])
            return Money(wire["cents"])

        def encode(value: Any) -> Any:
            if not isinstance(value, Money):
                raise ValueError("expected money")
            return {"cents": value.cents}

        return CustomType(decode, encode, lambda mode: {"type": "object", "title": f"money {mode}"}, (Money,))


@dataclasses.dataclass
class Order:
    total: Money
    parts: list[Money | None]
    name: str = ""
    mixed: Money | int | None = None


def codec() -> Codec[Order]:
    return Codec(Order, engines=[MoneyEngine()])


def test_a_plugins_engine_reads_and_writes_its_type_anywhere() -> None:
    text = b'{"total":{"cents":1},"parts":[null,{"cents":2}],"name":"n","mixed":{"cents":3}}'
    order = Order(Money(1), [None, Money(2)], "n", Money(3))
    assert codec().decode_json(text) == order
    assert codec().encode_json(order) == text
    assert codec().classes() == (Order, Money)


def test_a_plugins_problems_have_their_place() -> None:
    with pytest.raises(InvalidError) as caught:
        codec().decode_json(b'{"total": {}, "parts": [5], "name": 1, "mixed": "x"}')
    assert [problem.path for problem in caught.value.errors] == [
        "/total/cents",
        "/total/currency",
        "/parts/0",
        "/name",
        "/mixed",
    ]
    with pytest.raises(ResultError) as told:
        codec().encode_json(Order(5, [Money(1), "x"]))  # type: ignore[arg-type, list-item]
    assert [problem.path for problem in told.value.errors] == ["/total", "/parts/1"]


def test_a_large_bodys_problem_in_a_foreign_part_has_its_place() -> None:
    body = b'{"name": "' + b"x" * 300_000 + b'", "total": {"cents": 1}, "parts": [null, {}]}'
    with pytest.raises(InvalidError) as caught:
        codec().decode_json(body)
    assert caught.value.errors[0].path == "/parts/1/cents"


def test_a_plugins_schema_is_used_for_each_mode() -> None:
    assert codec().json_schema("input")["$defs"]["Money"]["title"] == "money input"
    assert codec().json_schema("output")["$defs"]["Money"]["title"] == "money output"


def test_a_plugin_comes_before_serveys_own() -> None:
    class Text:
        def claim(self, tp: Any, /) -> CustomType | None:
            if tp not in (Model, Annotated[str, "shout"]):
                return None
            return CustomType(str.upper, str.lower, lambda mode: {"type": "string"}, text=True)

    class Model(pydantic.BaseModel):
        pass

    assert Codec(list[Annotated[str, "shout"]], engines=[Text()]).decode_json(b'["a"]') == ["A"]
    assert Codec(list[Annotated[str, "shout"]]).decode_json(b'["a"]') == ["a"]
    assert Codec[Any](Model, engines=[Text()]).decode_json(b'"a"') == "A"
    assert Codec(Model).decode_json(b"{}") == Model()


@pytest.mark.parametrize("others", [(), (None,), (int,)])
def test_a_constraint_on_a_model_is_never_silently_ignored(others: tuple[Any, ...]) -> None:
    class Model(pydantic.BaseModel):
        n: int

        def __gt__(self, other: int) -> bool:
            return self.n > other

    either = Union[(Model, *others)]
    codec = Codec[Any](Annotated[either, at.Gt(3)])
    assert codec.decode_json(b'{"n": 4}') == Model(n=4)
    with pytest.raises(InvalidError):
        codec.decode_json(b'{"n": 3}')


class Celsius:
    """A type of marshy's: its own factories say how it is read, written and described."""

    def __init__(self, degrees: float) -> None:
        self.degrees = degrees

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Celsius) and other.degrees == self.degrees

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def __marshaller_factory__(cls, context: Any) -> Any:
        class CelsiusMarshaller(MarshallerABC[Celsius]):
            marshalled_type = Celsius

            def load(self, item: Any) -> Celsius:
                return Celsius(item["c"])

            def dump(self, item: Celsius) -> Any:
                return {"c": item.degrees}

        return CelsiusMarshaller()

    @classmethod
    def __schema_factory__(cls, context: Any, path: str, ref_schemas: Any) -> Schema:
        schema = {
            "type": "object",
            "properties": {"c": {"type": "number", "minimum": -273.15}},
            "required": ["c"],
            "additionalProperties": False,
        }
        return Schema(schema, Celsius)


@dataclasses.dataclass
class Weather:
    now: Celsius
    later: list[Celsius] = dataclasses.field(default_factory=list)


def test_a_marshy_type_is_read_written_and_checked_by_its_factories() -> None:
    codec = Codec(Weather)
    assert codec.decode_json(b'{"now": {"c": 20.5}}') == Weather(Celsius(20.5))
    assert codec.encode_json(Weather(Celsius(1.0), [Celsius(2.0)])) == b'{"now":{"c":1.0},"later":[{"c":2.0}]}'
    with pytest.raises(InvalidError) as caught:
        codec.decode_json(b'{"now": {"c": -300}, "later": [{}, {"c": 1, "d": 2}, {"c": "x"}]}')
    assert [problem.path for problem in caught.value.errors] == ["/now/c", "/later/0/c", "/later/1/d", "/later/2/c"]
    with pytest.raises(ResultError):
        codec.encode_json(Weather(5))  # type: ignore[arg-type]
    assert codec.json_schema("input")["$defs"]["Celsius"]["required"] == ["c"]


def test_a_marshy_type_that_marshy_does_not_know_is_a_definition_error() -> None:
    class Half:
        @classmethod
        def __schema_factory__(cls, context: Any, path: str, ref_schemas: Any) -> Schema:
            return Schema({"type": "object"}, cls)

    with pytest.raises(DefinitionError):
        Codec(Half, where="app.py:1")


def test_a_pydantic_dataclass_keeps_its_constraints() -> None:
    @pydantic.dataclasses.dataclass
    class Sized:
        n: int = pydantic.Field(gt=3)

    @dataclasses.dataclass
    class Holder:
        sized: Sized

    assert Codec(Holder).decode_json(b'{"sized": {"n": 4}}') == Holder(Sized(4))
    for body, path in ((b'{"sized": {"n": 3}}', "/sized/n"), (b'{"sized": {"n": 4, "m": 1}}', "/sized/m")):
        with pytest.raises(InvalidError) as caught:
            Codec(Holder).decode_json(body)
        assert [problem.path for problem in caught.value.errors] == [path]


def test_millions_of_a_models_problems_are_counted_only() -> None:
    class Row(pydantic.BaseModel):
        a: int
        b: int

    class Table(pydantic.BaseModel):
        rows: list[Row]

    codec = Codec(Table)
    tracemalloc.start()
    with pytest.raises(InvalidError) as caught:
        codec.decode_json(b'{"rows": [' + b", ".join([b'{"a": 1.0, "b": ""}'] * 50_000) + b"]}")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.errors == (Problem("", "100000 problems, too many to list"),)
    assert most < 50_000_000  # telling all of them takes 140 MB
    with pytest.raises(InvalidError) as caught:
        codec.decode_json(b'{"rows": [' + b", ".join([b'{"a": 1.0, "b": ""}'] * 200) + b"]}")
    assert len(caught.value.errors) == 100
    assert caught.value.errors[0] == Problem("/rows/0/b", "input should be a valid integer, got ''")


def test_a_models_schema_is_closed_even_where_the_model_allows_more() -> None:
    class Open(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        a: int = 1

    codec = Codec(Open)
    assert codec.json_schema("input")["$defs"]["Open"]["additionalProperties"] is False
    with pytest.raises(InvalidError):
        codec.decode_json(b'{"b": 1}')
