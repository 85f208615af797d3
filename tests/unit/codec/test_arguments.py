import dataclasses
import datetime as dt
import enum
from typing import Annotated, Any, Literal, NamedTuple, NewType

import annotated_types as at
import msgspec
import pydantic
import pytest

from servey.codec import ArgumentsCodec, Parameter, ResultError
from servey.errors import InvalidError, MalformedError


@dataclasses.dataclass
class User:
    name: str


class Level(enum.IntEnum):
    HIGH = 2


def codec(**types: Any) -> ArgumentsCodec:
    return ArgumentsCodec([Parameter(name, tp) for name, tp in types.items()])


def refused(call: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidError) as caught:
        call()
    return [tuple(problem) for problem in caught.value.errors]


def test_arguments_are_a_struct_with_one_attribute_per_parameter() -> None:
    found = codec(user=User, n=int | None).decode_json(b'{"user": {"name": "a"}, "n": null}')
    assert (found.user, found.n) == (User("a"), None)
    assert codec().decode_json(b"{}") is not None


def test_a_body_that_is_no_object_is_refused_at_the_root() -> None:
    for body in (b"[]", b"null", b'"x"', b"1"):
        assert [path for path, _ in refused(lambda body=body: codec(n=int).decode_json(body))] == [""]
    with pytest.raises(MalformedError):
        codec(n=int).decode_json(b"")


def test_every_argument_has_its_problems() -> None:
    body = b'{"user": {"nam": 1}, "m": "x", "lvel": 2}'
    found = refused(lambda: codec(user=User, m=int, level=Level).decode_json(body))
    assert [path for path, _ in found] == ["/user/name", "/user/nam", "/m", "/level", "/lvel"]
    assert found[-1][1] == "unknown, did you mean `level`?"


def test_a_default_is_any_object_and_one_that_can_be_changed_is_copied() -> None:
    tags = ["a"]
    other = object()
    arguments = ArgumentsCodec(
        [Parameter("tags", list[str], tags), Parameter("n", int, other), Parameter("user", User, None)]
    )
    for found in (arguments.decode_json(b"{}"), arguments.decode_text([]), arguments.decode({})):
        assert found.tags == tags
        assert found.tags is not tags
        assert found.n is other
        assert found.user is None


def test_path_parameters_are_text_and_the_body_may_not_name_them() -> None:
    arguments = codec(id=int, user=User)
    found = arguments.decode_json(b'{"user": {"name": "a"}}', {"id": "5"})
    assert (found.id, found.user) == (5, User("a"))
    assert refused(lambda: arguments.decode_json(b'{"id": 6, "user": {}}', {"id": "x"})) == [
        ("/id", "unknown: it is given by the path"),
        ("/id", "expected int, got 'x'"),
        ("/user/name", "required"),
    ]
    assert refused(lambda: arguments.decode_json(b"[]", {"id": "5"}))[0][0] == ""
    with pytest.raises(MalformedError):
        arguments.decode_json(b"{", {"id": "5"})


def test_text_given_twice_or_unknown_is_a_problem() -> None:
    arguments = codec(name=str)
    assert refused(lambda: arguments.decode_text([("name", "a"), ("name", "b")])) == [("/name", "given more than once")]
    assert refused(lambda: arguments.decode_text([("nam", "a")])) == [
        ("/nam", "unknown, did you mean `name`?"),
        ("/name", "required"),
    ]
    assert arguments.decode_text([("name", "a"), ("utm", "b")], ignore_unknown=True).name == "a"


def test_no_more_than_a_hundred_problems_are_told_of_text() -> None:
    codec = ArgumentsCodec([Parameter("n", int), Parameter("m", int)])
    with pytest.raises(InvalidError) as caught:
        codec.decode_text([*((f"k{number}", "") for number in range(500)), ("n", "1"), ("m", "1")])
    assert {problem.path[:2] for problem in caught.value.errors} == {"/k"}
    assert len(caught.value.errors) == 100


def test_the_kind_of_text_follows_from_the_type() -> None:
    arguments = codec(
        a=int,
        b=list[str] | None,
        c=tuple[int, str],
        d=User,
        e=list[User],
        f=list[list[int]],
        g=int | str | None,
        h=dict[str, int],
        i=Any,
        j=Annotated[str, pydantic.AfterValidator(str.upper)],
        k=Annotated[dt.date, at.Ge(dt.date(2020, 1, 1))],
    )
    kinds = [arguments.text_kind(name) for name in arguments.parameters]
    assert kinds == ["scalar", "list", "list", "json", "json", "json", "scalar", "json", "json", "scalar", "scalar"]
    parameter, node = arguments.parameters["a"]
    assert (parameter.name, node.cls) == ("a", int)


@pytest.mark.parametrize(
    ("tp", "text", "value"),
    [
        (int | str, "5", 5),
        (int | str, "x", "x"),
        (int | float, "1.5", 1.5),
        (bool | int, "true", True),
        (bool | int, "1", 1),
        (int | None, "null", None),
        (dt.date | None, "null", None),
        (str | None, "null", "null"),
        (Level, "2", Level.HIGH),
        (Literal[True, "auto"], "true", True),
        (Annotated[Literal[True, "auto"], msgspec.Meta(description="How.")], "true", True),
        (NewType("Named", Literal[True, "auto"]), "true", True),  # type: ignore[valid-newtype]
        (Annotated[str, pydantic.AfterValidator(str.upper)], "a", "A"),
        (list[User], '[{"name": "a"}]', [User("a")]),
    ],
)
def test_text_is_read_by_its_type(tp: Any, text: str, value: Any) -> None:
    found = codec(v=tp).decode_text([("v", text)]).v
    assert (found, type(found)) == (value, type(value))


def test_json_in_text_is_a_problem_of_its_parameter() -> None:
    for text in ("{", '{"name": NaN}', "[" * 100_000, '"\ud800"', '"\\ud800"'):
        assert [path for path, _ in refused(lambda text=text: codec(user=User).decode_text([("user", text)]))] == [
            "/user"
        ]
    assert refused(lambda: codec(user=User).decode_text([("user", '{"name": 1}')])) == [
        ("/user/name", "expected str, got 1")
    ]


def test_a_lists_members_have_their_own_places() -> None:
    arguments = codec(n=list[Annotated[int, at.Gt(0)]])
    assert refused(lambda: arguments.decode_text([("n", "1"), ("n", "0")])) == [("/n/1", "expected a value > 0, got 0")]
    assert [path for path, _ in refused(lambda: arguments.decode_text([("n", "1"), ("n", "x")]))] == ["/n/1"]


def test_the_schema_has_defaults_descriptions_and_closed_objects() -> None:
    arguments = ArgumentsCodec(
        [
            Parameter("user", User, description="Who."),
            Parameter("day", dt.date, dt.date(2026, 1, 1)),
            Parameter("odd", int, object()),
        ]
    )
    schema = arguments.json_schema("input")
    assert schema["required"] == ["user"]
    assert schema["additionalProperties"] is False
    assert schema["properties"] == {
        "user": {"$ref": "#/$defs/User", "description": "Who."},
        "day": {"type": "string", "format": "date", "default": "2026-01-01"},
        "odd": {"type": "integer"},
    }


class Pair(NamedTuple):
    x: int
    y: int = 0


def test_a_named_tuple_in_a_text_may_lack_what_has_a_default() -> None:
    arguments = codec(pair=Pair)
    assert arguments.decode_text([("pair", "1")]).pair == Pair(1)
    assert arguments.decode_text([("pair", "1"), ("pair", "2")]).pair == Pair(1, 2)
    assert refused(lambda: arguments.decode_text([("pair", "a")])) == [("/pair/0", "expected int, got 'a'")]
    assert [path for path, _ in refused(lambda: arguments.decode_text([("pair", "1")] * 3))] == ["/pair"]


@pytest.mark.parametrize(
    ("tp", "text", "told"),
    [
        (int | None, "null", "expected int, got 'null'"),
        (bool | None, "null", "expected true or false, got 'null'"),
        (int | bool | None, "null", "expected true or false or int, got 'null'"),
    ],
)
def test_a_text_cannot_say_null_where_leaving_it_out_does(tp: Any, text: str, told: str) -> None:
    arguments = ArgumentsCodec([Parameter("v", tp, None)])
    assert refused(lambda: arguments.decode_text([("v", text)])) == [("/v", told)]
    assert arguments.decode_text([]).v is None
    assert arguments.decode_text([("v", "1" if tp != bool | None else "true")]).v == 1
    assert arguments.decode_json(b'{"v": null}').v is None
    assert ArgumentsCodec([Parameter("v", tp, msgspec.UNSET)]).decode_text([("v", "null")]).v is None
    assert ArgumentsCodec([Parameter("v", tp)]).decode_text([("v", "null")]).v is None


def test_defaults_are_written_unless_json_cannot_say_them() -> None:
    arguments = ArgumentsCodec(
        [
            Parameter("n", int, 5),
            Parameter("user", User, None),
            Parameter("other", int, object()),
            Parameter("tags", tuple[str, ...], ["a"]),
        ]
    )
    found = arguments.decode({})
    assert arguments.encode_json(found) == b'{"n":5}'
    again = arguments.decode_json(arguments.encode_json(found))
    assert (again.n, again.user, again.other, again.tags) == (5, None, found.other, ["a"])
    given = arguments.decode({"user": {"name": "a"}, "tags": ["a"]})
    assert arguments.encode(given) == {"n": 5, "user": {"name": "a"}, "tags": ["a"]}


def test_sorted_arguments_have_one_text() -> None:
    arguments = codec(table=dict[str, int], names=set[str], pairs=frozenset[tuple[int, int | None]])
    texts = {
        arguments.encode_json(arguments.decode(sent), is_sorted=True)
        for sent in (
            {"table": {"a": 1, "b": 2}, "names": ["x", "y", "z"], "pairs": [[1, 2], [1, None]]},
            {"pairs": [[1, None], [1, 2]], "names": ["z", "y", "x"], "table": {"b": 2, "a": 1}},
        )
    }
    assert texts == {b'{"names":["x","y","z"],"pairs":[[1,2],[1,null]],"table":{"a":1,"b":2}}'}


def test_arguments_of_which_json_would_say_something_else_are_not_written() -> None:
    class Login(pydantic.BaseModel):
        password: pydantic.SecretStr

    @dataclasses.dataclass
    class Animal:
        name: str

    secret = codec(login=Login)
    with pytest.raises(ResultError) as caught:
        secret.encode_json(secret.decode({"login": {"password": "abc"}}))
    assert [problem.path for problem in caught.value.errors] == ["/login"]
    assert "abc" not in str(caught.value)
    alike = codec(who=User | Animal)
    assert alike.encode(alike.decode({"who": {"name": "a"}})) == {"who": {"name": "a"}}
    with pytest.raises(ResultError):
        alike.encode(alike.struct(who=Animal("a")))


def test_an_object_that_was_never_json_is_projected_on_its_class() -> None:
    @dataclasses.dataclass
    class Row(User):
        secret: str

    arguments = codec(self=User)
    assert arguments.encode_json(arguments.struct(self=Row("a", "b"))) == b'{"self":{"name":"a"}}'
    with pytest.raises(ResultError):
        arguments.encode_json(arguments.struct(self="no user"))
