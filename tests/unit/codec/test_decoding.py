import collections
import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import json
import threading
import time
import typing
import uuid
from typing import Annotated, Any, Literal, NamedTuple

import annotated_types as at
import attrs
import msgspec
import pydantic
import pytest

from servey.codec import Codec, explain
from servey.codec.type_adapter import TypeAdapter
from servey.errors import CallError, InvalidError, MalformedError, Problem


@dataclasses.dataclass
class Address:
    street: str
    zip: str | None = None


@dataclasses.dataclass
class User:
    name: str
    address: Address | None = None
    tags: list[str] = dataclasses.field(default_factory=list)
    scores: dict[int, float] = dataclasses.field(default_factory=dict)


class Page(pydantic.BaseModel):
    n: int


@dataclasses.dataclass
class Closed:
    inner: Address
    text: str


@dataclasses.dataclass
class Free:
    inner: dict[str, int]
    text: str


@dataclasses.dataclass(frozen=True)
class Place:
    x: int


@dataclasses.dataclass(frozen=True)
class Tagged:
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Positive:
    n: int

    def __post_init__(self) -> None:
        if self.n < 0:
            raise ValueError("negative")


@dataclasses.dataclass
class Chain:
    value: int
    next: list["Chain"] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Plus:
    left: "Plus | Times | int"
    right: "Plus | Times | int"


@dataclasses.dataclass
class Times:
    left: "Plus | Times | int"
    right: "Plus | Times | int"


def problems(tp: Any, text: bytes) -> list[Problem]:
    with pytest.raises(InvalidError) as caught:
        Codec(tp).decode_json(text)
    return list(caught.value.errors)


def paths(tp: Any, text: bytes) -> list[str]:
    return [problem.path for problem in problems(tp, text)]


def test_every_problem_is_told_with_its_pointer() -> None:
    text = b'{"nam": 1, "address": {"street": 5, "zip": false}, "tags": ["a", 2], "scores": {"x": 1, "2": "y"}}'
    assert paths(User, text) == [
        "/name",
        "/address/street",
        "/address/zip",
        "/tags/1",
        "/scores/x",
        "/scores/2",
        "/nam",
    ]


def test_an_unknown_name_is_told_with_the_nearest_known_one() -> None:
    assert ("/nam", "unknown, did you mean `name`?") in problems(User, b'{"nam": "x"}')
    assert ("/zzz", "unknown") in problems(User, b'{"name": "x", "zzz": 1}')


def test_pointers_escape_tildes_and_slashes() -> None:
    assert paths(dict[str, int], b'{"a/b~c": "x"}') == ["/a~1b~0c"]


def test_long_values_are_not_repeated_whole() -> None:
    (problem,) = problems(int, b'"' + b"x" * 10_000 + b'"')
    assert len(problem.message) < 200


def test_no_more_than_a_hundred_problems_are_told() -> None:
    assert len(problems(list[int], b"[" + b'"x",' * 500 + b"1]")) == 100


def test_a_long_key_is_not_repeated_by_every_problem_below_it() -> None:
    found = problems(dict[str, list[int]], b'{"' + b"/" * 100_000 + b'": [' + b'"x",' * 500 + b"1]}")
    assert len(found) == 100
    assert all(len(problem.path) < 1000 for problem in found)
    assert found[7].path.endswith(".../7")


def test_no_more_than_a_hundred_problems_are_told_of_a_large_body_either() -> None:
    body = b'{"n": 1, ' + b",".join(b'"k%060d": 1' % number for number in range(5000)) + b"}"
    assert len(body) > 256 * 1024
    assert len(problems(Page, body)) == 100


def test_nearest_names_are_looked_for_a_hundred_times_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def nearest(name: object, names: Any) -> str:
        nonlocal asked
        asked += 1
        return "unknown"

    monkeypatch.setattr(explain, "unknown", nearest)
    inner = b'{"inner": {' + b",".join(b'"k%d": 1' % number for number in range(90)) + b'}, "text": 1}'
    assert set(paths(list[Closed | Free], b"[" + b",".join([inner] * 80) + b"]")) == {f"/{n}/text" for n in range(80)}
    assert asked == 100


P = 2**61 - 1  # numbers that differ by it have the same hash


def array(items: Any) -> bytes:
    return msgspec.json.encode(list(items))


@pytest.mark.parametrize(
    "tp",
    [
        set[int],
        frozenset[int],
        set[int | str],
        set[decimal.Decimal],
        set[uuid.UUID],
        set[tuple[int, str]],
        set[Place],
        list[set[int]],
        set[int] | None,
        dict[int, str],
        dict[decimal.Decimal, str],
        dict[uuid.UUID, str],
    ],
)
@pytest.mark.parametrize("count", [1000, 100_000])  # with every problem told, and with the first
def test_members_that_share_a_hash_are_refused_before_they_take_minutes(tp: Any, count: int) -> None:
    numbers: list[Any] = [number * P for number in range(1, count)]
    if "UUID" in str(tp):
        numbers = [str(uuid.UUID(int=number)) for number in numbers]
    if "tuple" in str(tp):
        numbers = [[number, ""] for number in numbers]
    if "Place" in str(tp):
        numbers = [{"x": number} for number in numbers]
    body = array(numbers)
    if typing.get_origin(tp) is dict:
        body = msgspec.json.encode({str(number): "" for number in numbers})
    if typing.get_origin(tp) is list:
        body = b"[[1]," + body + b"]"
    started = time.thread_time()
    with pytest.raises(InvalidError):
        Codec(tp).decode_json(body)
    assert time.thread_time() - started < 5


def test_large_sets_and_dicts_are_read() -> None:
    numbers = [*range(100_000)]
    assert Codec(set[int]).decode_json(array(numbers)) == set(numbers)
    assert Codec(set[int]).decode_json(array([P, 0] * 1000)) == {P, 0}
    uuids = [uuid.UUID(int=number) for number in range(1000)]
    assert Codec(set[uuid.UUID]).decode_json(array(uuids)) == set(uuids)
    counts = {str(number): 1 for number in uuids}
    assert Codec(dict[uuid.UUID, int]).decode_json(msgspec.json.encode(counts)) == dict.fromkeys(uuids, 1)


@pytest.mark.parametrize(
    ("tp", "text", "path", "message"),
    [
        (dict[int, str], b'{"9223372036854775808": ""}', "/9223372036854775808", "expected int <="),
        (dict[uuid.UUID, int], b'{"here": 1}', "/here", "key: expected UUID, got 'here'"),
        (dict[decimal.Decimal, int], b'{"nan": 1}', "/nan", "key: expected a finite decimal"),
        (dict[Annotated[decimal.Decimal, at.Gt(0)], int], b'{"-1": 1}', "/-1", "key: expected a value > 0"),
        (set[Any], b"[1, [2]]", "", "has a member that no set can hold"),
        (set[tuple[Any, ...]], b"[[1], [[2]]]", "", "has a member that no set can hold"),
        (set[Tagged], b"[{}]", "", "has a member that no set can hold"),
        (list[set[Any]], b"[[1], [[2]]]", "/1", "has a member that no set can hold"),
        (Annotated[set[int], at.Len(1, 2)], b"[1, 2, 3]", "", "expected a length <= 2, got 3"),
    ],
)
def test_what_a_set_or_a_dict_cannot_hold_is_a_problem(tp: Any, text: bytes, path: str, message: str) -> None:
    for padding in (b"", b" " * 300_000):
        (problem,) = problems(tp, padding + text)
        assert message in problem.message
        assert problem.path == path or (padding and tp == dict[int, str])  # msgspec does not say which key


@pytest.mark.parametrize("text", ["nan", "sNaN12", "-Infinity", "n_a_n", "_inf", " i_n_f ", "nan\u0663"])
def test_a_decimal_is_finite_however_it_is_written(text: str) -> None:
    for tp in (decimal.Decimal, Annotated[decimal.Decimal, at.Gt(-1)]):
        (problem,) = problems(tp, msgspec.json.encode(text))
        assert problem.path == ""
        assert paths(dict[str, list[tp]], msgspec.json.encode({"a": [1, text]})) == ["/a/1"]
    assert Codec(decimal.Decimal | str).decode_json(msgspec.json.encode(text)) == text
    assert Codec(list[decimal.Decimal] | list[str]).decode_json(msgspec.json.encode([text])) == [text]


def test_a_text_that_begins_like_one_that_is_not_finite_is_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "Explainer", None)
    codec = Codec(dict[str, decimal.Decimal] | list[str])
    assert codec.decode_json(b'["information", "Nancy"]') == ["information", "Nancy"]


@pytest.mark.parametrize(
    ("divisor", "text", "is_multiple"),
    [
        (0.01, b"1", True),
        (0.01, b"1.0", True),
        (0.01, b"0.29", True),
        (0.01, b"1.13", True),
        (0.01, b"19.99", True),
        (0.01, b"-19.99", True),
        (-0.01, b"19.99", True),
        (0.01, b"0.295", False),
        (0.01, b"1e300", True),
        (0.1, b"0.3", True),
        (0.1, b"0.30000000000000004", True),  # what 0.1 + 0.2 is
        (0.1, b"0.35", False),
        (1e-300, b"1e300", True),
        (3, b"1e300", False),
        (3, b"9.0", True),
    ],
)
def test_a_float_is_a_multiple_of_what_it_is_written_as_one_of(divisor: float, text: bytes, is_multiple: bool) -> None:
    codec = Codec(Annotated[float, at.MultipleOf(divisor)])
    if not is_multiple:
        assert paths(codec.type, text) == [""]
        return
    value = codec.decode_json(text)
    assert value == float(text)
    assert codec.decode_json(codec.encode_json(value)) == value


@pytest.mark.parametrize(
    ("tp", "text", "is_multiple"),
    [
        (Annotated[decimal.Decimal, at.MultipleOf(decimal.Decimal("0.01"))], b'"1e999999"', True),
        (Annotated[decimal.Decimal, at.MultipleOf(decimal.Decimal("0.03"))], b'"1e999999"', False),
        (Annotated[decimal.Decimal, at.MultipleOf(decimal.Decimal("0.01"))], b'"1e-999999"', False),
        (Annotated[decimal.Decimal, at.MultipleOf(decimal.Decimal("0.01"))], b"1" * 100, True),
        (Annotated[decimal.Decimal, at.MultipleOf(decimal.Decimal("0.01"))], b"1" * 100 + b".001", False),
        (Annotated[int, at.MultipleOf(0.5)], b"1" * 1000, True),
        (Annotated[int, at.MultipleOf(1.5)], b"5", False),
    ],
)
def test_numbers_of_any_size_are_divided_exactly(tp: Any, text: bytes, is_multiple: bool) -> None:
    if is_multiple:
        Codec(tp).decode_json(text)
    else:
        assert paths(tp, text) == [""]


def test_the_length_of_a_set_is_counted_without_what_is_given_twice() -> None:
    assert Codec(Annotated[set[int], at.Len(1, 2)]).decode_json(b"[1, 2, 1]") == {1, 2}
    assert Codec(Annotated[set[str], at.Len(1, 2)]).decode_json(b'["a", "b", "a"]') == {"a", "b"}


def test_a_large_body_is_told_its_first_problem_only() -> None:
    body = b'[{"name": "' + b"x" * 300_000 + b'"}, {"name": 1, "tags": 5}, {"address": {"street": 5}}]'
    assert paths(list[User], body) == ["/1/name"]


def test_a_large_body_with_an_unknown_or_missing_member_points_at_it() -> None:
    padding = b'{"name": "' + b"x" * 300_000 + b'"}'
    assert problems(list[User], b"[" + padding + b', {"nome": "x"}]') == [("/1/nome", "unknown")]
    assert problems(list[User], b"[" + padding + b", {}]") == [("/1/name", "required")]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"NaN",
        b"[Infinity]",
        b"\xff",
        b'"\xff"',
        b'"\\ud800"',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"{} {}",
        b"'x'",
    ],
)
@pytest.mark.parametrize("tp", [Any, int, User, list[Any], Chain, Plus | None])
def test_what_is_no_json_is_malformed(tp: Any, text: bytes) -> None:
    with pytest.raises(CallError) as caught:
        Codec(tp).decode_json(text)
    assert isinstance(caught.value, (MalformedError, InvalidError))
    if text.startswith((b"[[", b'{"a":{')) or tp is Any:
        assert caught.value.status in (400, 422)
    if tp is Any:
        assert isinstance(caught.value, MalformedError)


@pytest.mark.parametrize("text", [b"1" * 5000, b"1e999", b"-1e999"])
@pytest.mark.parametrize("tp", [int, float, Any, list[int], decimal.Decimal, int | str])
def test_numbers_beyond_everything_never_crash(tp: Any, text: bytes) -> None:
    with contextlib.suppress(InvalidError, MalformedError):
        Codec(tp).decode_json(text)


def test_a_nesting_bomb_in_builtins_is_malformed() -> None:
    value: Any = {"value": 1}
    for _ in range(200_000):
        value = {"value": 1, "next": [value]}
    try:
        with pytest.raises(MalformedError):
            Codec(Chain).decode(value)
    finally:
        while value.get("next"):  # Python's own deallocation of such a thing is deep as well
            value = value.pop("next")[0]


def test_a_duplicate_key_is_read_as_its_last_value() -> None:
    assert Codec(User).decode_json(b'{"name": "a", "name": "b"}') == User("b")


class Cat(msgspec.Struct, tag="cat"):
    lives: int


class Dog(msgspec.Struct, tag="dog"):
    lives: int


class Level(enum.IntEnum):
    LOW = 1


class Mixed(enum.Enum):
    ONE = 1
    TWO = "two"


@pytest.mark.parametrize(
    "text", [b"1.5", b"1e-2", b"4.9999999999999999", b"9007199254740993.5", b"1e400", b"1e99999999", b"true", b'"1"']
)
def test_an_int_is_strict(text: bytes) -> None:
    assert paths(int, text) == [""]


@pytest.mark.parametrize(("text", "value"), [(b"9007199254740993.0", 2**53 + 1), (b"1e300", 10**300), (b"0.5e1", 5)])
def test_a_whole_number_is_read_digit_by_digit(text: bytes, value: int) -> None:
    assert Codec(int).decode_json(text) == value
    assert Codec(dict[str, int] | None).decode_json(b'{"a": %b}' % text) == {"a": value}


@pytest.mark.parametrize(
    ("tp", "text", "value"),
    [
        (int, b"1.0", 1),
        (int | None, b"-2e1", -20),
        (Annotated[int, msgspec.Meta(ge=5)], b"5.0", 5),
        (list[int], b"[1, 2.0, 3]", [1, 2, 3]),
        (tuple[str, int], b'["a", 2.0]', ("a", 2)),
        (dict[str, int], b'{"a": 1.0}', {"a": 1}),
        (list[int] | str, b"[1.0]", [1]),
        (int, b"9007199254740991.0", 2**53 - 1),
        (Cat | Dog, b'{"type": "dog", "lives": 1.0}', Dog(1)),
        (list[Cat | Dog | None], b'[{"type": "cat", "lives": 1.0}]', [Cat(1)]),
        (Literal[1, 2], b"2.0", 2),
        (Literal[1, True], b"1.0", 1),
        (Level | None, b"1.0", Level.LOW),
        (Mixed, b"1.0", Mixed.ONE),
        (int | float, b"1.0", 1.0),
        (float, b"1.0", 1.0),
        (Any, b"1.0", 1.0),
    ],
)
def test_a_whole_number_is_an_int_however_it_is_written_where_no_float_is_taken(tp, text, value) -> None:
    found = Codec(tp).decode_json(text)
    assert (found, type(found)) == (value, type(value))
    assert Codec(tp).decode(json.loads(text)) == value


def test_other_problems_are_told_beside_a_whole_number() -> None:
    assert [problem.path for problem in problems(list[int], b'[1.0, "x", 2.5]')] == ["/1", "/2"]


def test_a_value_error_of_post_init_is_a_problem_with_its_path() -> None:
    assert problems(list[Positive], b'[{"n": 1}, {"n": -1}, {"n": "x"}]') == [
        ("/1", "negative"),
        ("/2/n", "expected int, got 'x'"),
    ]
    with pytest.raises(InvalidError) as caught:
        Codec(dict[str, Positive]).decode({"a": {"n": -2}})
    assert caught.value.errors == (("/a", "negative"),)


def test_a_decoder_that_fails_in_post_init_is_a_problem_too_and_no_malformed_body() -> None:
    @dataclasses.dataclass
    class Nested:
        text: str

        def __post_init__(self) -> None:
            msgspec.json.decode(self.text)

    for read in (Codec(list[Nested]).decode_json, lambda body: Codec(list[Nested]).decode(msgspec.json.decode(body))):
        with pytest.raises(InvalidError) as caught:
            read(b'[{"text": "1"}, {"text": "{"}]')
        assert [problem.path for problem in caught.value.errors] == ["/1"]


def test_another_exception_of_post_init_is_a_defect() -> None:
    @dataclasses.dataclass
    class Broken:
        n: int

        def __post_init__(self) -> None:
            raise KeyError("oops")

    with pytest.raises(KeyError):
        Codec(Broken).decode_json(b'{"n": 1}')


def test_defaults_are_the_classes_own_even_when_they_are_not_of_their_type() -> None:
    @dataclasses.dataclass
    class Odd:
        n: int = None  # type: ignore[assignment]
        ratio: float = float("nan")
        tags: list[str] = None  # type: ignore[assignment]
        address: Address = dataclasses.field(default_factory=lambda: Address("s"))

    found = Codec(Odd).decode_json(b"{}")
    assert (found.n, found.tags, found.address) == (None, None, Address("s"))
    assert found.ratio != found.ratio
    assert Codec(Odd).decode_json(b'{"n": 3}').n == 3


def test_unknown_members_are_refused_in_typed_dicts_and_structs_too() -> None:
    class Movie(typing.TypedDict):
        title: str
        year: typing.NotRequired[int]

    class Lax(msgspec.Struct, forbid_unknown_fields=False):
        x: int

    assert Codec(Movie).decode_json(b'{"title": "t"}') == {"title": "t"}
    assert paths(Movie, b'{"title": "t", "yaer": 1}') == ["/yaer"]
    assert paths(list[Lax], b'[{"x": 1, "y": 2}]') == ["/0/y"]


def test_an_empty_tuple_has_no_members() -> None:
    assert Codec(tuple[()]).decode_json(b"[]") == ()
    assert problems(tuple[()], b"[1]") == [("", "expected array of length 0, got 1")]
    assert Codec(tuple).decode_json(b"[1]") == (1,)


def test_a_named_tuple_is_an_array_with_its_defaults() -> None:
    class Pair(NamedTuple):
        a: int
        b: Address = Address("d")

    assert Codec(Pair).decode_json(b'[1, {"street": "s"}]') == Pair(1, Address("s"))
    assert Codec(Pair).decode_json(b"[1]") == Pair(1, Address("d"))
    assert paths(Pair, b"[]") == [""]
    assert paths(Pair, b'["x", {"street": 1}]') == ["/0", "/1/street"]


def test_attrs_run_their_converters_and_validators() -> None:
    @attrs.define
    class Sized:
        _size: int = attrs.field(converter=lambda n: n * 2, validator=attrs.validators.lt(10))
        made: int = attrs.field(default=attrs.Factory(lambda self: self._size + 1, takes_self=True))

    assert Codec(Sized).decode_json(b'{"_size": 2}') == Sized(2)
    assert Codec(Sized).decode_json(b'{"_size": 2}').made == 5
    assert paths(list[Sized], b'[{"_size": 2}, {"_size": 5}]') == ["/1"]


def test_structs_keep_their_renames_and_tags() -> None:
    class Cat(msgspec.Struct, tag="cat", tag_field="kind", rename="camel"):
        pet_name: str

    class Dog(msgspec.Struct, tag="dog", tag_field="kind"):
        name: str

    codec = Codec(list[Cat | Dog])
    assert codec.decode_json(b'[{"kind": "cat", "petName": "a"}, {"kind": "dog", "name": "b"}]') == [Cat("a"), Dog("b")]
    assert paths(Cat | Dog, b'{"kind": "cow"}') == ["/kind"]
    assert paths(Cat | Dog, b'{"petName": "a"}') == ["/kind"]
    assert paths(Cat | Dog, b'{"kind": "cat", "pet_name": "a"}') == ["/petName", "/pet_name"]
    assert codec.encode([Dog("b")]) == [{"kind": "dog", "name": "b"}]


def test_an_untagged_union_takes_the_first_member_that_fits_exactly() -> None:
    @dataclasses.dataclass
    class A:
        x: int

    @dataclasses.dataclass
    class B:
        x: int
        y: int = 0

    codec = Codec(A | B)
    assert codec.decode_json(b'{"x": 1}') == A(1)
    assert codec.decode_json(b'{"x": 1, "y": 2}') == B(1, 2)
    assert paths(A | B, b'{"x": 1, "y": "2"}') == ["/y"]


def test_text_is_tried_last_in_a_union() -> None:
    assert Codec(str | dt.date).decode_json(b'"2026-11-22"') == dt.date(2026, 11, 22)
    assert Codec(str | dt.date).decode_json(b'"2026"') == "2026"
    assert Codec(list[int] | set[str]).decode_json(b'["a"]') == {"a"}


def test_a_deep_ambiguous_union_is_read_and_refused_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = 0
    attempt = TypeAdapter.attempt

    def counted(adapter: TypeAdapter, builtins: Any) -> Any:
        nonlocal attempts
        attempts += 1
        return attempt(adapter, builtins)

    monkeypatch.setattr(TypeAdapter, "attempt", counted)
    text = b"1"
    for _ in range(16):
        text = b'{"left": 1, "right": ' + text + b"}"
    assert isinstance(Codec(Plus | Times).decode_json(text), Plus)
    innermost = text.rfind(b"1")
    (problem,) = problems(Plus | Times, text[:innermost] + b'"x"' + text[innermost + 1 :])
    assert problem.path == "/right" * 16
    assert attempts < 2000, "a trial for every way that leads to a part would be 2 ** 16"


def test_explaining_a_long_list_is_linear() -> None:
    body = b"[" + b'{"n": 1},' * 20_000 + b'{"n": "x"}]'
    codec = Codec(list[Positive])
    started = time.thread_time()
    with pytest.raises(InvalidError) as caught:
        codec.decode_json(body)
    assert [problem.path for problem in caught.value.errors] == ["/20000/n"]
    assert time.thread_time() - started < 2


def test_constraints_of_every_library_mean_the_same() -> None:
    for tp in (
        Annotated[int, at.Gt(3)],
        Annotated[int, msgspec.Meta(gt=3)],
        Annotated[int, pydantic.Field(gt=3)],
        Annotated[int, at.Interval(gt=3)],
        Annotated[Annotated[int, at.Gt(3)], at.Gt(1)],
    ):
        assert Codec(tp).decode_json(b"4") == 4
        assert problems(tp, b"3") == [("", "expected a value > 3, got 3")]
        assert Codec(tp).root.constraints.gt == 3


def test_a_constraint_on_an_optional_means_its_value() -> None:
    tp = Annotated[int | None, at.Gt(3)]
    assert (Codec(tp).decode_json(b"4"), Codec(tp).decode_json(b"null")) == (4, None)
    assert problems(tp, b"3") == [("", "expected a value > 3 or null, got 3")]


@pytest.mark.parametrize(
    ("tp", "good", "bad"),
    [
        (Annotated[decimal.Decimal, at.Gt(0)], b'"1"', b'"0"'),
        (Annotated[dt.date, at.Ge(dt.date(2026, 1, 1))], b'"2026-01-01"', b'"2025-12-31"'),
        (Annotated[dt.datetime, at.Timezone(...)], b'"2026-01-01T00:00:00Z"', b'"2026-01-01T00:00:00"'),
        (Annotated[dt.datetime, at.Timezone(None)], b'"2026-01-01T00:00:00"', b'"2026-01-01T00:00:00Z"'),
        (Annotated[int, at.Lt(2**70)], b"1", str(2**70).encode()),
        (Annotated[int, at.MultipleOf(3)], b"9", b"10"),
        (Annotated[list[int], at.Len(1, 2)], b"[1]", b"[]"),
        (Annotated[str, pydantic.StringConstraints(pattern="^a+$")], b'"aa"', b'"ab"'),
        (Annotated[str, pydantic.StringConstraints(to_upper=True, max_length=2)], b'"aa"', b'"aaa"'),
        (Annotated[str, at.Predicate(str.islower)], b'"a"', b'"A"'),
        (Annotated[dict[str, int], at.MinLen(1)], b'{"a": 1}', b"{}"),
    ],
)
def test_a_constraint_is_never_ignored(tp: Any, good: bytes, bad: bytes) -> None:
    @dataclasses.dataclass
    class Holder:
        v: tp  # type: ignore[valid-type]

    Codec(tp).decode_json(good)
    assert paths(tp, bad) == [""]
    assert paths(list[tp], b"[" + bad + b"]") == ["/0"]
    assert Codec(Holder).decode_json(b'{"v": ' + good + b"}").v is not None
    assert paths(Holder, b'{"v": ' + bad + b"}") == ["/v"]


def test_what_pydantic_would_change_is_changed() -> None:
    tp = Annotated[str, pydantic.StringConstraints(to_upper=True)]
    assert Codec(list[tp]).decode_json(b'["a"]') == ["A"]


def test_metadata_that_constrains_nothing_is_let_be() -> None:
    assert Codec(Annotated[int, "a doc", object()]).decode_json(b"1") == 1


def test_an_enum_of_mixed_values_tells_true_from_one() -> None:
    class Mixed(enum.Enum):
        ONE = 1
        TRUE = True.__class__(0)
        TEXT = "x"

    codec = Codec(Mixed)
    assert codec.decode_json(b"1") is Mixed.ONE
    assert codec.decode_json(b"false") is Mixed.TRUE
    assert paths(Mixed, b"true") == [""]
    assert codec.encode_json(Mixed.TRUE) == b"false"


def test_a_flag_takes_combinations_of_its_bits_only() -> None:
    class Access(enum.IntFlag):
        READ = 1
        WRITE = 2

    assert Codec(Access).decode_json(b"3") == Access.READ | Access.WRITE
    assert paths(Access, b"4") == [""]
    assert Codec(Access).encode_json(Access(3)) == b"3"


def test_islands_leave_their_neighbours_alone_and_hold_the_real_value() -> None:
    class Model(pydantic.BaseModel):
        n: int

    @dataclasses.dataclass
    class Holder:
        model: Model
        queue: collections.deque[Address]
        many: list[Model | None]
        name: str

    text = b'{"model": {"n": 1}, "queue": [{"street": "s"}], "many": [null, {"n": 2}], "name": "x"}'
    assert Codec(Holder).decode_json(text) == Holder(
        Model(n=1), collections.deque([Address("s")]), [None, Model(n=2)], "x"
    )
    bad = b'{"model": {"n": "1", "m": 2}, "queue": [{"street": 1}], "many": [{}], "name": 1}'
    assert paths(Holder, bad) == ["/model/n", "/model/m", "/queue/0/street", "/many/0/n", "/name"]


def test_threads_do_not_see_each_others_trials() -> None:
    codec = Codec(Plus | Times)
    text = b'{"left": {"left": 1, "right": 2}, "right": 3}'
    expected = codec.decode_json(text)
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.extend(codec.decode_json(text) for _ in range(50))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [expected] * 400


@pytest.mark.parametrize("tp", [dt.time, Annotated[dt.time, at.Gt(dt.time(5))], dt.time | int])
@pytest.mark.parametrize("digits", ["9999995", "9999999", "99999949", "999999"])
def test_the_last_moment_of_a_day_stays_in_the_day(tp: Any, digits: str) -> None:
    assert Codec[Any](tp).decode_json(f'"23:59:59.{digits}"'.encode()) == dt.time(23, 59, 59, 999999)
    assert Codec(dict[dt.time, int]).decode({f"23:59:59.{digits}Z": 1}) == {
        dt.time(23, 59, 59, 999999, tzinfo=dt.UTC): 1
    }
    with pytest.raises(InvalidError):
        Codec[Any](tp).decode(f"23:59:59.{digits}!")


def test_the_last_moment_of_the_last_year_is_refused() -> None:
    with pytest.raises(InvalidError):
        Codec(dt.datetime).decode("9999-12-31T23:59:59.9999999Z")


@pytest.mark.parametrize("key", ["True", "TRUE", "1", "yes", ""])
def test_a_bool_that_is_a_key_is_true_or_false(key: str) -> None:
    codec = Codec(dict[bool, int])
    assert codec.decode_json(b'{"true": 1, "false": 0}') == {True: 1, False: 0}
    with pytest.raises(InvalidError) as caught:
        codec.decode({key: 1})
    assert [problem.path for problem in caught.value.errors] == [f"/{key}"]
    assert codec.json_schema()["propertyNames"] == {"enum": ["true", "false"]}


class Shelf(typing.NamedTuple):
    size: int
    labels: list[str] = []  # noqa: RUF012 - servey copies it


def test_a_whole_number_does_not_let_calls_share_the_defaults_of_a_class() -> None:
    Codec(Shelf).decode_json(b"[1.0]").labels.append("mine")
    assert Codec(Shelf).decode_json(b"[1.0]") == (1, [])
    assert Codec(Shelf).decode_json(b"[1]") == (1, [])
