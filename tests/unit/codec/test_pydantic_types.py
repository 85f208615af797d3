"""What pydantic's types do that no other does: places, constraints, exact numbers, serializers, rows."""

import contextlib
import dataclasses
import datetime as dt
import re
import sqlite3
import zoneinfo
from collections import UserDict
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Annotated, Any, Literal

import annotated_types as at
import msgspec
import pydantic
import pytest
from typing_extensions import TypedDict

from servey.codec import ArgumentsCodec, Codec, Parameter, ResultError
from servey.errors import DefinitionError, InvalidError, MalformedError


class Cat(pydantic.BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    name: str


class Owner(pydantic.BaseModel):
    pet: Cat | Dog | None = pydantic.Field(None, discriminator="kind")
    either: int | list[int] | Cat = 0
    counts: dict[int, int] = {}
    even: Annotated[list[int], pydantic.AfterValidator(lambda n: n)] | None = None
    cat: dict[str, int] = {}
    parsed: pydantic.Json[list[int]] = []


PLACES: list[tuple[Any, set[str]]] = [
    ({"pet": {"kind": "cat", "lives": "nine"}}, {"/pet/lives"}),
    ({"pet": {"kind": "cat"}}, {"/pet/lives"}),
    ({"pet": {"kind": "cat", "lives": 9, "cat": 1}}, {"/pet/cat"}),
    ({"pet": {"kind": "cat", "lives": "nine", "cat": {"lives": "nine"}}}, {"/pet/lives", "/pet/cat"}),
    ({"pet": {"kind": "cow"}}, {"/pet"}),
    ({"either": "x"}, {"/either"}),
    ({"either": ["x"]}, {"/either", "/either/0"}),
    ({"either": {"lives": "nine"}}, {"/either", "/either/lives"}),
    ({"counts": {"x": 1, "2": "two"}}, {"/counts/x", "/counts/2"}),
    ({"even": [1, "two"]}, {"/even/1"}),
    ({"cat": {"cat": "x", "a/b": "y"}}, {"/cat/cat", "/cat/a~1b"}),
    ({"parsed": '["one"]'}, {"/parsed"}),
]


@pytest.mark.parametrize(("value", "places"), PLACES)
def test_a_problem_has_a_json_pointer_into_what_was_sent(value: Any, places: set[str]) -> None:
    with pytest.raises(InvalidError) as caught:
        Codec(Owner).decode(value)
    assert {problem.path for problem in caught.value.errors} == places


def test_a_whole_number_is_an_int_inside_of_unions() -> None:
    sent = {"pet": {"kind": "cat", "lives": 9.0}, "either": [1.0, 2], "even": [4.0]}
    assert Codec(Owner).decode(sent) == Owner(pet=Cat(lives=9), either=[1, 2], even=[4])
    assert Codec(Owner).decode({"either": {"lives": 9.0}}).either == Cat(lives=9)
    with pytest.raises(InvalidError):
        Codec(Owner).decode({"either": 1.5})


class Priced(pydantic.BaseModel):
    price: Decimal
    size: float = 0
    count: int = 0
    parts: dict[str, list[Decimal | None]] = {}
    either: Decimal | str = Decimal(0)
    next: "Priced | None" = None


LONG = Decimal("12345678901234567.89")


def test_a_number_is_read_with_its_digits_where_a_decimal_is_declared() -> None:
    sent = {"price": LONG, "size": Decimal("1.10"), "count": Decimal("5.0"), "parts": {"a": [Decimal("1.10"), None]}}
    found = Codec(Priced).decode({"price": Decimal("1.10"), "next": sent})
    assert found.next == Priced(price=LONG, size=1.1, count=5, parts={"a": [Decimal("1.10"), None]})
    assert (str(found.price), str(found.next.parts["a"][0])) == ("1.10", "1.10")
    assert Codec(Annotated[Decimal, pydantic.AfterValidator(lambda n: n)]).decode(LONG) == LONG


def test_a_number_that_cannot_be_read_as_it_is_written_is_refused() -> None:
    for sent, path in (({"either": LONG}, "/either"), ({"size": Decimal("1e400")}, "/size")):
        with pytest.raises(InvalidError) as caught:
            Codec(Priced).decode({"price": 1, **sent})
        assert [problem.path for problem in caught.value.errors] == [path]


CONSTRAINED: list[tuple[Any, Any, Any, dict[str, Any]]] = [
    (Annotated[str, msgspec.Meta(min_length=8)], "abcdefgh", "abc", {"minLength": 8}),
    (Annotated[str, msgspec.Meta(pattern="^a", max_length=2)], "ab", "b", {"pattern": "^a", "maxLength": 2}),
    (Annotated[int, msgspec.Meta(ge=1)], 1, 0, {"minimum": 1}),
    (Annotated[int | None, msgspec.Meta(multiple_of=2)], None, 3, {}),
    (Annotated[list[Annotated[int, msgspec.Meta(lt=3)]], msgspec.Meta(min_length=1)], [2], [3], {"minItems": 1}),
    (Annotated[dt.datetime, msgspec.Meta(tz=True)], "2026-01-01T00:00:00Z", "2026-01-01T00:00:00", {}),
    (Annotated[dt.datetime, at.Timezone(None)], "2026-01-01T00:00:00", "2026-01-01T00:00:00Z", {}),
]


@pytest.mark.parametrize(("tp", "good", "bad", "keywords"), CONSTRAINED)
def test_a_constraint_of_msgspecs_holds_beside_a_validator_of_pydantics(
    tp: Any, good: Any, bad: Any, keywords: dict[str, Any]
) -> None:
    codec = Codec[Any](Annotated[tp, pydantic.AfterValidator(lambda value: value)])
    codec.decode(good)
    with pytest.raises(InvalidError):
        codec.decode(bad)
    assert keywords.items() <= codec.json_schema("input").items()


@dataclasses.dataclass
class Sized:
    n: Annotated[int, msgspec.Meta(ge=1)]


class Keyed(TypedDict):
    n: list[Annotated[str, msgspec.Meta(min_length=1)]]


class Plain(pydantic.BaseModel):
    n: Annotated[int, msgspec.Meta(ge=1)]


class Zoned(pydantic.BaseModel):
    n: Annotated[dt.datetime, at.Timezone(...)]


class Called(pydantic.BaseModel):
    n: int | Callable[[], int]


class Held(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    n: re.Match[str] | None = None


class Late(pydantic.BaseModel):
    n: "NoSuchClass"  # type: ignore[name-defined] # noqa: F821


@pytest.mark.parametrize("inner", [Sized, Keyed])
def test_a_constraint_that_pydantic_would_ignore_is_a_definition_error(inner: Any) -> None:
    holder = pydantic.create_model("Holder", v=(inner, ...))
    with pytest.raises(DefinitionError, match=rf"{inner.__name__}\.n"):
        Codec[Any](holder)


@pytest.mark.parametrize("tp", [Plain, Zoned, Called, Held, Late, pydantic.Secret, Annotated[Called, pydantic.Field()]])
def test_what_could_only_fail_when_it_is_called_is_a_definition_error(tp: Any) -> None:
    with pytest.raises(DefinitionError) as caught:
        Codec[Any](tp)
    assert caught.value.fix
    with pytest.raises(DefinitionError):
        ArgumentsCodec([Parameter("v", tp)])


def test_what_is_omitted_has_to_be_in_a_list() -> None:
    class Omitting(pydantic.BaseModel):
        v: pydantic.OnErrorOmit[int]

    for tp in (Omitting, pydantic.OnErrorOmit[int]):
        with pytest.raises(DefinitionError):
            ArgumentsCodec([Parameter("v", tp)])


def test_what_cannot_be_read_may_be_written() -> None:
    class Found(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
        match: Annotated[re.Match[str], pydantic.PlainSerializer(lambda found: found[0], str)]

    match = re.match("a+", "aab")
    assert match is not None
    codec = Codec(Found)
    assert codec.encode(Found(match=match)) == {"match": "aa"}
    assert codec.json_schema("output")["$defs"]["Found"]["properties"]["match"]["type"] == "string"
    with pytest.raises(DefinitionError):
        ArgumentsCodec([Parameter("v", Found)])


def test_what_can_be_read_once_only_is_neither_read_nor_written() -> None:
    class Pages(pydantic.BaseModel):
        numbers: Iterable[int]

    with pytest.raises(DefinitionError):
        Codec(Pages)
    with pytest.raises(DefinitionError):
        ArgumentsCodec([Parameter("v", Pages)])


def test_a_serializer_of_ones_own_goes_before_serveys_forms() -> None:
    class Event(pydantic.BaseModel):
        at: dt.datetime
        year: Annotated[dt.datetime, pydantic.PlainSerializer(lambda at: at.year, int, when_used="json")]
        lasts: dt.timedelta
        zone: zoneinfo.ZoneInfo
        local: pydantic.NaiveDatetime | None = None

    noon = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
    lasts = dt.timedelta(hours=1)
    value = Event(at=noon, year=noon, lasts=lasts, zone=zoneinfo.ZoneInfo("UTC"), local=noon.replace(tzinfo=None))
    wire = {"at": "2026-01-01T12:00:00Z", "year": 2026, "lasts": "PT3600S", "zone": "UTC"}
    assert Codec(Event).encode(value) == {**wire, "local": "2026-01-01T12:00:00"}


def test_a_member_is_documented_and_read_by_the_same_name() -> None:
    class Order(pydantic.BaseModel):
        price: Decimal = pydantic.Field(validation_alias=pydantic.AliasChoices("amount", "sum"))
        count: int = pydantic.Field(1, validation_alias=pydantic.AliasChoices(pydantic.AliasPath("a", "b"), "number"))

    codec = ArgumentsCodec([Parameter("v", Order)])
    assert [*codec.json_schema()["$defs"]["Order"]["properties"]] == ["amount", "number"]
    node = codec.root.fields[0].node
    assert node.custom is not None
    assert node.custom.members is not None
    assert [member.input_name for member in node.custom.members()] == ["amount", "number"]
    for name in ("amount", "sum"):
        order = codec.decode_json(b'{"v": {"%s": 1.10, "number": 2}}' % name.encode()).v
        assert (str(order.price), order.count) == ("1.10", 2)


def test_names_by_which_no_schema_can_say_that_a_member_is_read_are_refused() -> None:
    class Deep(pydantic.BaseModel):
        price: int = pydantic.Field(validation_alias=pydantic.AliasPath("order", "price"))

    class Named(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(validate_by_name=True, validate_by_alias=False)
        price: int = pydantic.Field(alias="amount")

    for model, member in ((Deep, "Deep.price"), (Named, "Named.price")):
        assert Codec(model).json_schema("output")
        with pytest.raises(DefinitionError, match=member):
            ArgumentsCodec([Parameter("v", model)])


def test_a_model_that_is_nested_too_deeply_is_malformed() -> None:
    class Tree(pydantic.BaseModel):
        below: list["Tree"] = []

    with pytest.raises(MalformedError):
        Codec(Tree).decode_json(b'{"below": [' * 300 + b"]}" * 300)


def test_a_schema_says_of_what_a_function_writes_no_more_than_the_function_does() -> None:
    class Person(pydantic.BaseModel):
        born: pydantic.Secret[dt.date]
        year: Annotated[dt.date, pydantic.PlainSerializer(lambda day: day.year)]
        month: Annotated[dt.date, pydantic.PlainSerializer(lambda day: day.month, int)]

    day = dt.date(2020, 5, 1)
    codec = Codec(Person)
    written = codec.json_schema("output")["$defs"]["Person"]["properties"]
    assert written == {
        "born": {"title": "Born", "type": "string"},
        "year": {"title": "Year"},
        "month": {"title": "Month", "type": "integer"},
    }
    value: Any = codec.encode(Person(born=pydantic.Secret(day), year=day, month=day))
    assert (value["year"], value["month"]) == (2020, 5)
    read = codec.json_schema("input")["$defs"]["Person"]["properties"]
    assert {member["format"] for member in read.values()} == {"date"}


class Account(pydantic.BaseModel):
    user_name: str = pydantic.Field(alias="userName")
    age: int = 0

    @pydantic.computed_field
    def initial(self) -> str:
        return self.user_name[0]


class Renamed(msgspec.Struct, rename="camel"):
    user_name: str
    user_age: int = 0


class Stored:
    def __init__(self, **members: Any) -> None:
        self.__dict__ |= members


def _row(**members: Any) -> sqlite3.Row:
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.row_factory = sqlite3.Row
        columns = ", ".join(f"? AS {name}" for name in members)
        return db.execute(f"SELECT {columns}", tuple(members.values())).fetchone()


@pytest.mark.parametrize("make", [dict, UserDict, _row, Stored])
def test_a_row_stands_for_an_object_by_the_names_of_its_class(make: Any) -> None:
    row = make(user_name="ada", user_age=3, secret="x")
    assert Codec(Renamed).encode_json(row) == b'{"userName":"ada","userAge":3}'
    assert Codec(Renamed).encode(row) == {"userName": "ada", "userAge": 3}
    assert Codec(list[Account]).encode([row]) == [{"userName": "ada", "age": 0, "initial": "a"}]
    assert Codec(Account | None).check(row) == Account(userName="ada")
    with pytest.raises(ResultError):
        Codec(Account).encode(make(user_name=5))
    with pytest.raises(ResultError):
        Codec(Renamed).encode(make(other=5))


@pytest.mark.parametrize("make", [dict, UserDict, _row])
def test_a_row_that_is_read_by_names_may_have_those_of_json(make: Any) -> None:
    row = make(userName="ada", userAge=3)
    assert Codec(Renamed).encode(row) == {"userName": "ada", "userAge": 3}
    assert Codec(Account).encode(row) == {"userName": "ada", "age": 0, "initial": "a"}


def test_the_names_of_json_go_first_in_a_dict() -> None:
    row: Any = {"userName": "wire", "user_name": "name", "user_age": 3}
    assert Codec(Renamed).encode(row) == {"userName": "wire", "userAge": 3}
    assert Codec(Account).encode(row) == {"userName": "wire", "age": 0, "initial": "w"}


def test_an_orms_object_stands_for_a_model_with_all_that_is_in_it() -> None:
    class Team(pydantic.BaseModel):
        name: str
        members: list[Account]

    team = Stored(name="t", members=[Stored(user_name="ada", secret="x")], secret="x")
    assert Codec(Team).encode(team) == {"name": "t", "members": [{"userName": "ada", "age": 0, "initial": "a"}]}
    for wrong in (None, 5, "t", ["t"], Stored(name="t")):
        with pytest.raises(ResultError):
            Codec(Team).encode(wrong)  # type: ignore[arg-type]


Split = Annotated[list[str], pydantic.BeforeValidator(lambda text: text.split(","), json_schema_input_type=str)]


@pytest.mark.parametrize(
    ("tp", "text", "value"),
    [
        (pydantic.AwareDatetime | None, "2026-01-01T00:00:00Z", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
        (pydantic.ByteSize, "1KiB", 1024),
        (pydantic.Json, '"[1]"', "[1]"),
        (list[pydantic.PastDate], "2020-01-01", [dt.date(2020, 1, 1)]),
        (pydantic.RootModel[int], "5", pydantic.RootModel[int](5)),
        (pydantic.RootModel[Decimal], "1.10", pydantic.RootModel[Decimal](Decimal("1.10"))),
        (
            Annotated[list[str], pydantic.BeforeValidator(lambda t: t.split(","), json_schema_input_type=str)],
            "a,b",
            ["a", "b"],
        ),
    ],
)
def test_what_is_a_string_in_json_is_written_plainly_as_text(tp: Any, text: str, value: Any) -> None:
    assert ArgumentsCodec([Parameter("v", tp)]).decode_text([("v", text)]).v == value
