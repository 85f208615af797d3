import dataclasses
import datetime
import enum
import sys
import typing
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar

import annotated_types as at
import attrs
import fastapi
import msgspec
import pydantic
import pytest
import typing_extensions

from servey.codec import ArgumentsCodec, Codec, Parameter
from servey.errors import DefinitionError, InvalidError

T = TypeVar("T")
BigInt = NewType("BigInt", int)


class Plain:
    pass


@dataclasses.dataclass
class HoldsPlain:
    things: list[Plain]


@dataclasses.dataclass
class OwnInit:
    x: int

    def __init__(self) -> None:
        self.x = 1


@dataclasses.dataclass
class NoInit:
    x: int = dataclasses.field(init=False, default=3)


@dataclasses.dataclass
class HasInitVar:
    x: dataclasses.InitVar[int]


@dataclasses.dataclass
class PydanticDefault:
    x: int = pydantic.Field(3)


@dataclasses.dataclass
class Unresolved:
    x: "Nowhere"  # type: ignore[name-defined]  # noqa: F821


@dataclasses.dataclass
class Unhashable:
    x: int


@dataclasses.dataclass
class Generic_(Generic[T]):
    value: T
    next: "Generic_[T] | None" = None


@dataclasses.dataclass
class Bound(Generic_[int]):
    extra: str = ""


class ArrayLike(msgspec.Struct, array_like=True):
    x: int


class ModelWithBytes(pydantic.BaseModel):
    data: bytes


class Untyped:
    x = attrs.field()


class Huge(enum.Enum):
    HUGE = 2**70
    SMALL = 1


class NotFinite(enum.Enum):
    NAN = float("nan")


class Pair(enum.Enum):
    PAIR = (1, 2)


Dashed = TypedDict("Dashed", {"content-type": str})
Private = TypedDict("Private", {"__slots__": str})
Keyword = TypedDict("Keyword", {"class": str, "self": int})


WRONG: list[tuple[Any, str]] = [
    (Dashed, "Dashed.content-type"),
    (Private, "Private.__slots__"),
    (Literal[b"x"], "Literal"),
    (Literal[Pair.PAIR], "Literal"),
    (NotFinite, "NotFinite"),
    (Plain, "Plain"),
    (HoldsPlain, "HoldsPlain.things[]"),
    (list[dict[str, HoldsPlain]], "HoldsPlain.things[]"),
    (PydanticDefault, "PydanticDefault.x"),
    (Unresolved, "Unresolved"),
    (Generic_, "Generic_.value"),
    (T, "~T"),
    (Callable[[int], int], "Callable[[int], int]"),
    (Iterator[int], "Iterator[int]"),
    (type[int], "type[int]"),
    (complex, "complex"),
    (OrderedDict[str, int], "OrderedDict[str, int]"),
    (list["Nowhere"], "list['Nowhere'][]"),  # type: ignore[name-defined]  # noqa: F821
    (set[Unhashable], "Unhashable"),
    (dict[Unhashable, int], ".key"),
    (dict[bytes, int], ".key"),
    (tuple[int, *tuple[str, ...]], "tuple["),
    (ArrayLike, "ArrayLike"),
    (ModelWithBytes, "ModelWithBytes"),
    (Annotated[str, at.Gt(3)], "gt=3"),
    (Annotated[Generic_[int], at.Gt(3)], "gt=3"),
    (Annotated[int, msgspec.Meta(pattern="x")], "pattern"),
    (Annotated[Plain, at.Predicate(bool)], "Predicate"),
    (Annotated[int, pydantic.Field(default=3)], "Field(default"),
    (Annotated[int, fastapi.Query(ge=1)], "Query of FastAPI"),
    (Annotated[str, fastapi.Header()], "Header of FastAPI"),
    (Annotated[Plain, fastapi.Depends(Plain)], "Depends of FastAPI"),
    (typing.Final, "Final"),
]


@pytest.mark.parametrize(("tp", "part"), WRONG, ids=[part for _, part in WRONG])
def test_what_cannot_be_served_is_a_definition_error_with_owner_place_and_fix(tp: Any, part: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Codec(tp, where="app.py:7", label="the result of c")
    result = caught.value
    assert result.message.startswith("the result of c: ")
    assert part in result.message
    assert (result.where, bool(result.fix)) == (("app.py:7",), True)

    with pytest.raises(DefinitionError) as caught:
        ArgumentsCodec([Parameter("v", tp)], where="app.py:7", label="the arguments of c")
    arguments = caught.value
    name = part.partition(".")[0].partition("[")[0]
    assert arguments.message.startswith(("the arguments of c: v", f"the arguments of c: {name}"))
    assert arguments.where == result.where
    assert arguments.fix.startswith(result.fix)


@pytest.mark.parametrize("name", ["__x", "__slots__", "__post_init__", "__dict__", "__module__"])
def test_a_parameter_begins_with_no_two_underscores(name: str) -> None:
    with pytest.raises(DefinitionError, match=f"{name}: begins with two underscores"):
        ArgumentsCodec([Parameter(name, int)], where="app.py:7", label="the arguments of c")


def test_an_alias_that_cannot_be_resolved_is_a_definition_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Alias:
        """As the type statement of Python 3.12 makes them: evaluated when asked."""

        @property
        def __value__(self) -> Any:
            raise ZeroDivisionError("of the annotation")

        def __repr__(self) -> str:
            return "Wrong"

    monkeypatch.setattr(typing, "TypeAliasType", Alias, raising=False)
    with pytest.raises(DefinitionError, match="the alias Wrong cannot be resolved: of the annotation") as caught:
        Codec(list[Alias()], where="app.py:7")  # type: ignore[misc]
    assert caught.value.where == ("app.py:7",)


def test_keywords_are_names_of_members() -> None:
    assert Codec(Keyword).decode_json(b'{"class": "a", "self": 1}') == {"class": "a", "self": 1}


@pytest.mark.parametrize("tp", [Huge, Literal[1180591620717411303424, 1]])
def test_an_enum_or_a_literal_may_have_ints_of_any_size(tp: Any) -> None:
    codec: Codec[Any] = Codec(tp)
    for text in (b"1180591620717411303424", b"1"):
        assert codec.encode_json(codec.decode_json(text)) == text
    with pytest.raises(InvalidError):
        codec.decode_json(b"1180591620717411303425")


def test_an_alias_keeps_its_name_on_the_node() -> None:
    assert Codec(BigInt).root.alias == "BigInt"
    assert Codec(BigInt | None).root.items[0].alias == "BigInt"
    assert Codec(Annotated[BigInt, at.Gt(0)]).root.alias == "BigInt"
    assert Codec(list[BigInt]).root.items[0].alias == "BigInt"
    assert Codec(int).root.alias == ""


def test_generic_classes_are_read_with_their_arguments() -> None:
    codec = Codec(Generic_[str])
    assert codec.decode_json(b'{"value": "a", "next": {"value": "b"}}') == Generic_("a", Generic_("b"))
    bound = Codec(Bound)
    assert bound.decode_json(b'{"value": 1, "extra": "e"}') == Bound(1, None, "e")
    assert bound.root.fields[0].node.cls is int


def test_classes_are_met_in_order() -> None:
    @dataclasses.dataclass
    class Inner:
        x: int

    @dataclasses.dataclass
    class Outer:
        inner: dict[str, list[Inner] | None]
        self: "Outer | None" = None

    Outer.__annotations__["inner"] = dict[str, list[Inner] | None]
    assert Codec(tuple[Outer, ...]).classes() == (Outer, Inner)


def test_pydantic_marshy_and_attrs_are_not_imported_without_need() -> None:
    import subprocess
    import sys

    code = (
        "import sys, dataclasses\n"
        "from servey.codec import Codec\n"
        "@dataclasses.dataclass\n"
        "class A:\n    x: int\n"
        "assert Codec(A).decode_json(b'{\"x\": 1}') == A(1)\n"
        "print([m for m in ('pydantic', 'marshy', 'schemey', 'attrs', 'attr', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


X = TypeVar("X")
D = typing_extensions.TypeVar("D", default=int)
E = typing_extensions.TypeVar("E", default=str)


@dataclasses.dataclass
class Growing(Generic[X]):
    value: X
    inner: "Growing[list[X]] | None" = None


@dataclasses.dataclass
class Doubling(Generic[X]):
    value: X
    inner: "Doubling[tuple[X, X, X, X, X, X, X, X, X, X]] | None" = None


@dataclasses.dataclass
class Noted(Generic[X]):
    value: X
    inner: "Noted[Annotated[X, 'a note']] | None" = None


class GrowingStruct(msgspec.Struct, Generic[X]):
    value: X
    inner: "GrowingStruct[list[X]] | None" = None


class GrowingDict(TypedDict, Generic[X]):
    value: X
    inner: "GrowingDict[list[X]]"


class GrowingTuple(NamedTuple, Generic[X]):
    value: X
    inner: "GrowingTuple[list[X]] | None" = None


@attrs.define
class One(Generic[X]):
    other: "Another[list[X]] | None" = None


@dataclasses.dataclass
class Another(Generic[X]):
    one: "One[X] | None" = None


@dataclasses.dataclass
class Holder:
    growing: Growing[str]


@pytest.mark.parametrize(
    "tp",
    [
        Growing[int],
        Doubling[int],
        Noted[int],
        GrowingStruct[int],
        GrowingDict[int],
        GrowingTuple[int],
        One[int],
        Another[int],
        Holder,
        list[Growing[int]],
    ],
)
def test_a_class_that_names_itself_with_ever_larger_arguments_is_a_definition_error(tp: Any) -> None:
    with pytest.raises(DefinitionError) as caught:
        Codec(tp, where="shop.py:7")
    assert caught.value.where == ("shop.py:7",)
    assert caught.value.fix


@dataclasses.dataclass
class Turning(Generic[X]):
    value: X
    others: "Turning[int] | Turning[list[str]] | None" = None


@pytest.mark.parametrize("tp", [Turning[float], Turning[Turning[Turning[Turning[Turning[Turning[int]]]]]]])
def test_a_class_may_name_itself_with_other_arguments(tp: Any) -> None:
    assert Codec(tp).root.cls is Turning


@dataclasses.dataclass
class Crate(Generic[D]):
    value: D


class CrateStruct(msgspec.Struct, Generic[D]):
    value: D


class CrateDict(typing_extensions.TypedDict, Generic[D]):
    value: D


class CrateTuple(NamedTuple, Generic[D]):
    value: D


@attrs.define
class CrateAttrs(Generic[D]):
    value: D


@dataclasses.dataclass
class BigCrate(Crate):
    pass


@dataclasses.dataclass
class Both(Generic[X, D, E]):
    first: X
    second: D
    third: E


@pytest.mark.parametrize("tp", [Crate, CrateStruct, CrateDict, CrateTuple, CrateAttrs, BigCrate])
def test_a_type_parameter_that_is_not_given_has_its_default(tp: Any) -> None:
    """PEP 696."""
    assert [field.node.type for field in Codec(tp).root.fields] == [int]


def test_a_bare_class_is_the_class_with_its_defaults() -> None:
    schema = Codec(tuple[Crate, Crate[int]]).json_schema()
    assert list(schema["$defs"]) == ["Crate_int"]


def test_parameters_that_are_given_go_before_defaults() -> None:
    given = Both[bool] if sys.version_info >= (3, 13) else Both[bool, int, str]
    assert [field.node.type for field in Codec(given).root.fields] == [bool, int, str]
    assert [field.node.type for field in Codec(Both[bool, float, bytes]).root.fields] == [bool, float, bytes]


def test_type_parameters_of_an_alias_have_defaults() -> None:
    alias: Any = typing_extensions.TypeAliasType("alias", tuple[X, D], type_params=(X, D))
    assert [item.type for item in Codec(alias[str]).root.items] == [str, int]
    with pytest.raises(DefinitionError):
        Codec(alias)
    bare: Any = typing_extensions.TypeAliasType("bare", list[D], type_params=(D,))
    assert [item.type for item in Codec(bare).root.items] == [int]


NAIVE = datetime.datetime(2020, 1, 1)
AWARE = NAIVE.replace(tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    "tp",
    [
        Annotated[datetime.datetime, at.Gt(NAIVE)],
        Annotated[datetime.datetime, at.Interval(gt=AWARE, lt=NAIVE)],
        Annotated[datetime.datetime | None, pydantic.Field(lt=NAIVE)],
        Annotated[datetime.datetime, at.Gt(NAIVE.date())],
        Annotated[datetime.date, at.Gt(AWARE)],
        Annotated[datetime.time, at.Gt(AWARE)],
        Annotated[datetime.timedelta, at.Gt(5)],
    ],
)
def test_a_bound_that_no_value_compares_with_is_a_definition_error(tp: Any) -> None:
    """A datetime that is written has an offset, so a bound needs one as well."""
    with pytest.raises(DefinitionError) as caught:
        Codec(tp)
    assert caught.value.fix


def test_a_bound_with_an_offset_wants_values_with_one() -> None:
    codec = Codec[Any](Annotated[datetime.datetime, at.Gt(AWARE)])
    assert codec.decode("2020-01-01T00:00:01Z") == AWARE + datetime.timedelta(seconds=1)
    for refused in ("2021-01-01T00:00:00", "2020-01-01T00:00:00Z"):
        with pytest.raises(InvalidError):
            codec.decode(refused)
    assert codec.decode(codec.encode(datetime.datetime(2021, 1, 1))) > AWARE


def test_a_time_has_an_offset_where_its_bound_has_one() -> None:
    plain = Codec[Any](Annotated[datetime.time, at.Gt(datetime.time(5))])
    aware = Codec[Any](Annotated[datetime.time, at.Gt(datetime.time(5, tzinfo=datetime.UTC))])
    assert plain.decode("06:00:00") == datetime.time(6)
    assert aware.decode("06:00:00Z") == datetime.time(6, tzinfo=datetime.UTC)
    for codec, refused in ((plain, "06:00:00Z"), (aware, "06:00:00")):
        with pytest.raises(InvalidError):
            codec.decode(refused)


@dataclasses.dataclass(init=False)
class Made:
    x: int


@dataclasses.dataclass
class HoldsMade:
    made: Made | None = None


@attrs.define
class AttrsMade:
    x: int = attrs.field(init=False, default=3)


def made(cls: Any) -> Any:
    value = cls.__new__(cls)
    value.x = 3
    return value


@pytest.mark.parametrize(
    ("tp", "part", "value", "wire"),
    [
        (Made, "Made", made(Made), {"x": 3}),
        (OwnInit, "OwnInit", made(OwnInit), {"x": 3}),
        (NoInit, "NoInit.x", NoInit(), {"x": 3}),
        (HasInitVar, "HasInitVar.x", HasInitVar(3), {}),
        (AttrsMade, "AttrsMade.x", AttrsMade(), {"x": 3}),
        (list[HoldsMade], "Made", [HoldsMade(made(Made))], [{"made": {"x": 3}}]),
        (dict[str, Made | int], "Made", {"a": made(Made)}, {"a": {"x": 3}}),
    ],
)
def test_a_class_that_a_decoder_cannot_make_is_written_and_not_read(tp: Any, part: str, value: Any, wire: Any) -> None:
    codec = Codec[Any](tp, where="app.py:7")
    assert codec.encode(value) == msgspec.json.decode(codec.encode_json(value)) == wire
    assert codec.json_schema("output")
    refused: list[DefinitionError] = []
    for read in (
        lambda: codec.decode(wire),
        lambda: codec.decode_json(msgspec.json.encode(wire)),
        lambda: ArgumentsCodec([Parameter("v", tp)], where="app.py:7"),
    ):
        with pytest.raises(DefinitionError) as caught:
            read()
        refused.append(caught.value)
    for error in refused:
        assert part in error.message
        assert (error.where, bool(error.fix)) == (("app.py:7",), True)
