"""The schema: which actions it has, and what each type is in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from graphql import build_schema, print_schema
from msgspec import UNSET, UnsetType

from servey import WEB_DELETE, WEB_GET, WEB_POST, BigInt, DefinitionError, WebTrigger, WebTriggerMethod
from servey.action.action import action
from servey.servey_strawberry.schema import create_schema, printed
from servey.service import Service
from unit.servey_strawberry.asking import ask

T = TypeVar("T")


class Colour(Enum):
    """What it looks like."""

    RED = "red"
    DARK_BLUE = "dark-blue"


class Mixed(Enum):
    ONE = 1
    TWO = "two"


class Rights(Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: int = 0


class Options(TypedDict, total=False):
    is_fragile: bool


class Cat(msgspec.Struct, tag="cat", tag_field="kind"):
    lives_left: int = 9


class Dog(msgspec.Struct, tag="dog", tag_field="kind"):
    name: str


@attrs.define
class Box:
    width: int
    label: str = "none"


class Stamp(pydantic.BaseModel):
    at: datetime
    by_whom: str = pydantic.Field("", alias="byWhom", description="Who did it.")


@dataclass
class Page(Generic[T]):
    items: list[T]
    next_page: int | None = None


@dataclass
class Tree:
    name: str
    children: list[Tree] = field(default_factory=list)


UserId = NewType("UserId", BigInt)


def sdl(*actions: Callable[..., Any]) -> str:
    return printed(create_schema(Service(actions)))


def types_of(tp: Any) -> tuple[str, str]:
    """Return what a type is as an argument and as a result."""

    @action(triggers=(WEB_GET,))
    def echo(value: Any) -> Any:
        return value

    echo.__annotations__ = {"value": tp, "return": tp}
    echoed = create_schema(Service([echo])).core.query_type.fields["echo"]
    return str(echoed.args["value"].type), str(echoed.type)


@pytest.mark.parametrize(
    ("tp", "taken", "given"),
    [
        (str, "String!", "String!"),
        (int, "Int!", "Int!"),
        (BigInt, "BigInt!", "BigInt!"),
        (UserId, "BigInt!", "BigInt!"),
        (list[BigInt] | None, "[BigInt!]", "[BigInt!]"),
        (Annotated[BigInt, msgspec.Meta(ge=0)], "BigInt!", "BigInt!"),
        (float, "Float!", "Float!"),
        (bool, "Boolean!", "Boolean!"),
        (str | None, "String", "String"),
        (datetime, "DateTime!", "DateTime!"),
        (date, "Date!", "Date!"),
        (time, "Time!", "Time!"),
        (timedelta, "Duration!", "Duration!"),
        (UUID, "UUID!", "UUID!"),
        (Decimal, "Decimal!", "Decimal!"),
        (bytes, "Base64!", "Base64!"),
        (Path, "String!", "String!"),
        (IPv4Address, "String!", "String!"),
        (Any, "JSON", "JSON"),
        (dict[str, int], "JSON!", "JSON!"),
        (dict[str, int] | None, "JSON", "JSON"),
        (int | str, "JSON!", "JSON!"),
        (int | str | None, "JSON", "JSON"),
        (list[int | str], "JSON!", "JSON!"),
        (list[list[int]], "[[Int!]!]!", "[[Int!]!]!"),
        (set[str], "[String!]!", "[String!]!"),
        (tuple[int, ...], "[Int!]!", "[Int!]!"),
        (tuple[int, int], "[Int!]!", "[Int!]!"),
        (tuple[int, str], "JSON!", "JSON!"),
        (Colour, "Colour!", "Colour!"),
        (Mixed, "Mixed!", "Mixed!"),
        (Rights, "BigInt!", "BigInt!"),
        (Literal["a", "b"], "Value!", "EchoResult!"),
        (Literal[1, 2], "Int!", "Int!"),
        (Literal["a", None], "Value", "EchoResult"),
        (Literal["a b", "c"], "String!", "String!"),
        (Literal[1, "a"], "JSON!", "JSON!"),
        (Point, "PointInput!", "Point!"),
        (Options, "OptionsInput!", "Options!"),
        (Box, "BoxInput!", "Box!"),
        (Stamp, "StampInput!", "Stamp!"),
        (Page[Tree], "PageTreeInput!", "PageTree!"),
        (Tree, "TreeInput!", "Tree!"),
        (Cat | Dog, "CatOrDogInput!", "CatOrDog!"),
        (list[Cat | Dog | None], "[CatOrDogInput]!", "[CatOrDog]!"),
        (Cat | int, "JSON!", "JSON!"),
        (list[Tree] | None, "[TreeInput!]", "[Tree!]"),
        (Iterable[Tree], "[TreeInput!]!", "[Tree!]!"),
        (Sequence[Tree], "[TreeInput!]!", "[Tree!]!"),
    ],
)
def test_every_type_has_one_in_graphql(tp: Any, taken: str, given: str) -> None:
    found = types_of(tp)
    if "Literal" in str(tp) and "EchoResult" in given:  # called after their places
        assert found[0].rstrip("!") == taken.rstrip("!")
        assert found[1].endswith("!") == given.endswith("!")
        return
    assert found == (taken, given)


def test_the_schema_says_what_was_declared() -> None:
    @action(triggers=(WEB_GET,), deprecated=True)
    def find_box(box_id: int, colour: Colour = Colour.DARK_BLUE, since: date = date(2026, 1, 2)) -> Box | None:
        """Find a box.

        Args:
            box_id: What is on its label.
        """
        return None

    @action(triggers=(WEB_POST,))
    def put(box: Box, stamp: Stamp | None = None, at: Point = Point(1, 2)) -> None:  # noqa: B008
        """Put a box down."""

    assert (
        sdl(find_box, put)
        == '''type Box {
  width: Int!
  label: String!
}

input BoxInput {
  width: Int!
  label: String! = "none"
}

"""What it looks like."""
enum Colour {
  RED
  DARK_BLUE
}

"""A date: `2026-11-22`."""
scalar Date @specifiedBy(url: "https://www.rfc-editor.org/rfc/rfc3339")

"""A date with a time, and an offset where it is written."""
scalar DateTime @specifiedBy(url: "https://www.rfc-editor.org/rfc/rfc3339")

type Mutation {
  """Put a box down."""
  put(box: BoxInput!, stamp: StampInput = null, at: PointInput): Void
}

input PointInput {
  x: Int!
  y: Int! = 0
}

type Query {
  """Find a box."""
  findBox(
    """What is on its label."""
    boxId: Int!
    colour: Colour! = DARK_BLUE
    since: Date! = "2026-01-02"
  ): Box @deprecated

  """What serves this."""
  _servey: _Servey!
}

input StampInput {
  at: DateTime!

  """Who did it."""
  byWhom: String! = ""
}

"""Nothing: always null."""
scalar Void

"""What serves this."""
type _Servey {
  name: String!
  version: String!
}
'''
    )


def roots(*actions: Callable[..., Any]) -> tuple[list[str], list[str]]:
    schema = create_schema(Service(actions)).core
    return list(schema.query_type.fields), list(schema.mutation_type.fields) if schema.mutation_type else []


def test_get_is_a_query_and_everything_else_a_mutation_unless_the_first_trigger_says_otherwise() -> None:
    @action(triggers=(WEB_GET, WEB_POST))
    def look() -> int:
        return 1

    @action(triggers=(WEB_DELETE,))
    def drop() -> int:
        return 1

    @action(triggers=(WebTrigger(WebTriggerMethod.POST, "/search", graphql="query"),))
    def search() -> int:
        return 1

    @action(triggers=(WebTrigger(WebTriggerMethod.GET, "/count", graphql="mutation"),))
    def count() -> int:
        return 1

    @action(triggers=(WebTrigger(WebTriggerMethod.GET, "/rest", graphql=None),))
    def rest_only() -> int:
        return 1

    @action
    def not_on_the_web() -> int:
        return 1

    @action(triggers=(WEB_GET,), include_in_schema=False)
    def hidden() -> int:
        return 1

    assert roots(look, drop, search, count, rest_only, not_on_the_web, hidden) == (
        ["look", "search", "_servey"],
        ["drop", "count"],
    )


async def test_a_service_without_queries_has_a_schema() -> None:
    assert roots() == (["_servey"], [])
    assert await ask([], "{ _servey { name version } }") == {"_servey": {"name": "API", "version": "0.1.0"}}


def test_a_nested_action_is_a_field_of_its_class_and_may_be_left_out() -> None:
    @dataclass
    class Stats:
        value: int

        @action
        async def times_two(self) -> int:
            return self.value * 2

        @action(triggers=(WebTrigger(WebTriggerMethod.POST, "/half", graphql=None),))
        async def half(self) -> int:
            return self.value // 2

        @action
        async def others(self, most: int = 3) -> list[Stats]:
            return []

    @action(triggers=(WEB_GET,))
    def stats() -> Stats:
        return Stats(1)

    fields = create_schema(Service([stats])).core.type_map["Stats"].fields
    assert {name: str(found.type) for name, found in fields.items()} == {
        "value": "Int!",
        "timesTwo": "Int!",
        "others": "[Stats!]!",
    }


def test_a_member_that_may_be_left_out_may_be_null() -> None:
    @dataclass
    class Change:
        title: str | UnsetType = UNSET

    assert types_of(Change) == ("ChangeInput!", "Change!")

    @action(triggers=(WEB_GET,))
    def change(by: Change, due: date | UnsetType = UNSET) -> Change:
        return by

    written = sdl(change)
    assert "type Change {\n  title: String\n}" in written
    assert "input ChangeInput {\n  title: String\n}" in written
    assert "change(by: ChangeInput!, due: Date): Change!" in written


def test_two_classes_of_one_name_are_told_apart_by_a_number_and_reserved_names_are_kept() -> None:
    def made(name: str, **members: Any) -> Any:
        return dataclass(type(name, (), {"__annotations__": members}))

    first, second, query = made("Item", a=int), made("Item", b=int), made("Query", c=int)

    @action(triggers=(WEB_GET,))
    def take(one: Any) -> Any: ...

    take.__annotations__ = {"one": list[first], "return": tuple[first, ...]}

    @action(triggers=(WEB_GET,))
    def more() -> Any: ...

    more.__annotations__ = {"return": second}

    @action(triggers=(WEB_GET,))
    def asked() -> Any: ...

    asked.__annotations__ = {"return": query}
    fields = create_schema(Service([take, more, asked])).core.query_type.fields
    assert [str(fields[name].type) for name in ("take", "more", "asked")] == ["[Item!]!", "Item2!", "Query2!"]


def test_what_graphql_has_no_name_for_is_a_definition_error_with_its_place() -> None:
    @dataclass
    class Twice:
        a_b: int
        aB: int

    @action(triggers=(WEB_GET,))
    def twice() -> Twice:
        return Twice(1, 2)

    @action(triggers=(WEB_GET,))
    def clashes(first_name: str, firstName: str) -> str:
        return first_name

    with pytest.raises(DefinitionError) as caught:
        create_schema(Service([twice, clashes]))
    assert [error.message for error in caught.value.joined] == [
        "twice in GraphQL: Twice has two fields called 'aB'",
        "clashes in GraphQL: two arguments are called 'firstName'",
    ]
    assert all(__file__.rpartition("/")[2] in place for place in caught.value.where)


def test_a_class_without_fields_is_json() -> None:
    @dataclass
    class Empty:
        pass

    assert types_of(Empty) == ("JSON!", "JSON!")
    assert types_of(Empty | Box) == ("JSON!", "JSON!")


def test_a_model_with_a_serializer_of_its_own_is_json() -> None:
    class Shout(pydantic.BaseModel):
        word: str

        @pydantic.field_serializer("word")
        def loud(self, word: str) -> str:
            return word.upper()

    assert types_of(Shout) == ("JSON!", "JSON!")


def test_a_pydantic_model_has_its_computed_fields_on_the_way_out() -> None:
    class Area(pydantic.BaseModel):
        side: int
        secret: str = pydantic.Field("x", exclude=True)

        @pydantic.computed_field
        @property
        def size(self) -> int:
            return self.side**2

    @action(triggers=(WEB_GET,))
    def area(of: Area) -> Area:
        return of

    written = sdl(area)
    assert "type Area {\n  side: Int!\n  size: Int!\n}" in written
    assert 'input AreaInput {\n  side: Int!\n  secret: String! = "x"\n}' in written


def test_the_users_classes_are_not_touched() -> None:
    def members(cls: type) -> set[str]:
        return {name for name in vars(cls) if not name.startswith("__msgspec")}  # msgspec remembers what it has seen

    before = {cls: members(cls) for cls in (Tree, Cat, Dog, Box, Stamp, Colour, Point)}

    @action(triggers=(WEB_GET,))
    def echo(tree: Tree, pet: Cat | Dog, box: Box, stamp: Stamp, colour: Colour, point: Point) -> Tree:
        return tree

    create_schema(Service([echo]))
    assert {cls: members(cls) for cls in before} == before


SAME = """
import sys
from servey.servey_strawberry.schema import create_schema, printed
from servey.service import Service
from servey.settings import Settings
sys.stdout.write(printed(create_schema(Service.from_settings(Settings()))))
"""


def test_the_schema_is_the_same_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "actions.py").write_text(
        "from dataclasses import dataclass\n"
        "from servey import WEB_GET, ScopeAccessControl\n"
        "from servey.action.action import action\n"
        "@dataclass\nclass A:\n    tags: set[str] | None = None\n    kind: dict[str, int] | None = None\n"
        "@action(triggers=(WEB_GET,))\ndef a(x: A = A({'b', 'a', 'c'})) -> A:\n    return x\n"
    )
    written = [
        subprocess.run(
            [sys.executable, "-c", SAME],
            cwd=tmp_path,
            env={"PYTHONPATH": f"{tmp_path}", "PYTHONHASHSEED": seed, "PATH": ""},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert written[0] == written[1]
    assert b'tags: ["a", "b", "c"]' in written[0]


def test_graphql_reads_what_is_printed() -> None:
    @action(triggers=(WEB_GET,))
    def echo(pet: Cat | Dog, page: Page[Tree], colour: Colour = Colour.RED) -> Cat | Dog:
        return pet

    schema = create_schema(Service([echo]))
    read = build_schema(printed(schema))
    assert sorted(read.type_map) == sorted(schema.core.type_map)
    assert print_schema(read).count("Input @oneOf {") == printed(schema).count("Input @oneOf {") == 1


async def test_strawberry_itself_executes_the_schema() -> None:
    @action(triggers=(WEB_GET,))
    def tree(name: str) -> Tree:
        return Tree(name, [Tree("leaf")])

    service = Service([tree])
    async with service.running():
        result = await create_schema(service).execute('{ tree(name: "root") { name children { name } } }')
    assert (result.errors, result.data) == (None, {"tree": {"name": "root", "children": [{"name": "leaf"}]}})


async def test_plain_instances_subclasses_and_members_of_unions_resolve() -> None:
    @dataclass
    class Animal:
        name: str

    @dataclass
    class Whale(Animal):
        tons: int

    @dataclass
    class Blue(Whale):
        secret: str = "not declared"

    class Plan(TypedDict):
        step: int

    @action(triggers=(WEB_GET,))
    def zoo() -> list[Whale | Box | Point | Plan | Stamp]:
        return [
            Blue("b", 100),
            Whale("w", 10),
            Box(1),
            Point(1, 2),
            {"step": 3},
            Stamp(at=datetime(2026, 1, 1, tzinfo=UTC)),
        ]

    @action(triggers=(WEB_GET,))
    def animals() -> list[Animal]:
        return [Animal("a"), Blue("b", 1)]

    found = await ask(
        [zoo, animals],
        """{
          zoo { __typename ... on Whale { name tons } ... on Box { width } ... on Point { x y } ... on Plan { step }
                ... on Stamp { at } }
          animals { __typename name }
        }""",
    )
    assert found == {
        "zoo": [
            {"__typename": "Whale", "name": "b", "tons": 100},
            {"__typename": "Whale", "name": "w", "tons": 10},
            {"__typename": "Box", "width": 1},
            {"__typename": "Point", "x": 1, "y": 2},
            {"__typename": "Plan", "step": 3},
            {"__typename": "Stamp", "at": "2026-01-01T00:00:00Z"},
        ],
        "animals": [{"__typename": "Animal", "name": "a"}, {"__typename": "Animal", "name": "b"}],
    }


async def test_the_member_of_an_input_union_is_the_one_that_was_named() -> None:
    @dataclass
    class ByName:
        text: str

    @dataclass
    class ByCity:
        text: str

    seen: list[Any] = []

    @action(triggers=(WEB_GET,))
    def find(by: ByName | ByCity, also: list[ByName | ByCity] | None = None, pet: Cat | Dog | None = None) -> int:
        seen.append((by, also, pet))
        return 1

    await ask(
        [find],
        """query($by: ByNameOrByCityInput!) {
          find(by: $by, also: [{byName: {text: "a"}}, {byCity: {text: "b"}}], pet: {dog: {name: "rex"}})
        }""",
        {"by": {"byCity": {"text": "Bonn"}}},
    )
    assert seen == [(ByCity("Bonn"), [ByName("a"), ByCity("b")], Dog("rex"))]


async def test_defaults_are_those_of_the_function_whether_told_or_not() -> None:
    seen: list[Any] = []

    @action(triggers=(WEB_GET,))
    def look(
        colour: Colour = Colour.DARK_BLUE,
        box: Box = Box(1),  # noqa: B008
        trees: list[Tree] = [Tree("t", [Tree("u")])],  # noqa: B006, B008
        point: Point = Point(3, 4),  # noqa: B008
        rights: Rights = Rights.READ,
        mixed: Mixed = Mixed.TWO,
        due: date | UnsetType | None = UNSET,
    ) -> int:
        seen.append((colour, box, trees, point, rights, mixed, due))
        return 1

    await ask([look], "{ look }")
    await ask([look], "query($c: Colour = DARK_BLUE, $d: Date) { look(colour: $c, due: $d) }")
    await ask([look], "{ look(due: null) }")
    plain = (Colour.DARK_BLUE, Box(1), [Tree("t", [Tree("u")])], Point(3, 4), Rights.READ, Mixed.TWO)
    assert seen == [(*plain, UNSET), (*plain, UNSET), (*plain, None)]


async def test_values_go_in_and_out_as_elsewhere() -> None:
    rows: list[tuple[Any, str, Any]] = [
        (datetime, '"2026-01-02T03:04:05+02:00"', "2026-01-02T03:04:05+02:00"),
        (date, '"2026-01-02"', "2026-01-02"),
        (time, '"03:04:05"', "03:04:05"),
        (timedelta, '"PT1M"', "PT60S"),
        (UUID, '"12345678-1234-5678-1234-567812345678"', "12345678-1234-5678-1234-567812345678"),
        (Decimal, "1.10", "1.10"),
        (Decimal, '"1.100000000000000000000000001"', "1.100000000000000000000000001"),
        (BigInt, "123456789012345678901234567890", 123456789012345678901234567890),
        (bytes, '"AP8="', "AP8="),
        (Path, '"/a/b"', "/a/b"),
        (Colour, "DARK_BLUE", "DARK_BLUE"),
        (Mixed, "TWO", "TWO"),
        (Rights, "3", 3),
        (dict[str, list[int]], "{a: [1, 2], b: []}", {"a": [1, 2], "b": []}),
        (Any, '{a: [1, 2.5, "x", true, null]}', {"a": [1, 2.5, "x", True, None]}),
        (int | str, '"5"', "5"),
        (tuple[int, str], '[1, "x"]', [1, "x"]),
        (float, "5", 5.0),
    ]
    for tp, literal, expected in rows:

        @action(triggers=(WEB_GET,))
        def echo(value: Any) -> Any:
            return value

        echo.__annotations__ = {"value": tp, "return": tp}
        assert await ask([echo], f"{{ echo(value: {literal}) }}") == {"echo": expected}
        taken, _ = types_of(tp)
        if not taken.startswith(("JSON", "Decimal")) and not isinstance(expected, (dict, list)):
            assert await ask([echo], f"query($v: {taken}) {{ echo(value: $v) }}", {"v": expected}) == {"echo": expected}


def test_an_input_that_nobody_can_send_is_a_definition_error() -> None:
    @dataclass
    class Chain:
        after: Chain

    @action(triggers=(WEB_GET,))
    def pull(chain: Chain) -> int:
        return 1

    with pytest.raises(DefinitionError) as caught:
        create_schema(Service([pull]))
    assert caught.value.where
    assert "ChainInput" in caught.value.message

    @dataclass
    class Rope:
        parts: list[Rope]
        knot: Rope | None

    assert types_of(Rope) == ("RopeInput!", "Rope!")


async def test_what_has_no_plain_name_or_may_be_left_out_is_read_all_the_same() -> None:
    odd = pydantic.create_model("Odd", **{"class": (dict[str, int] | None, None), "plain": (int, 1)})

    class Parts(TypedDict, total=False):
        sizes: dict[str, int]

    @action(triggers=(WEB_GET,))
    def given() -> Parts:
        return {}

    @action(triggers=(WEB_GET,))
    def oddly() -> Any:
        return odd()

    oddly.__annotations__ = {"return": odd}
    assert await ask([given, oddly], "{ given { sizes } oddly { class plain } }") == {
        "given": {"sizes": None},
        "oddly": {"class": None, "plain": 1},
    }
