"""The OpenAPI document: what a declaration says, nothing that is not so, and the same each time."""

import dataclasses
import datetime as dt
import enum
import functools
import json
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

import pydantic
import pytest
from msgspec import Meta
from openapi_spec_validator import validate

from servey import (
    WEB_DELETE,
    WEB_GET,
    WEB_POST,
    WEB_PUT,
    Authorization,
    CallContext,
    Example,
    NotFoundError,
    Reply,
    WebTrigger,
    WebTriggerMethod,
)
from servey.action.action import action
from servey.codec import Codec
from servey.schema.openapi import openapi_document
from servey.security.access_control import ScopeAccessControl
from servey.service import Service
from servey.settings import Settings


class Color(enum.Enum):
    """A colour."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    """A place.

    Args:
        x: To the right.
        y: Upwards.
    """

    x: int
    y: int


@dataclass
class Line:
    points: list[Point]
    color: Color = Color.RED


def document(*actions: Any, version: Any = "3.1", root_path: str = "", **settings: Any) -> dict[str, Any]:
    found = openapi_document(Service(actions, settings=Settings(**settings)), version=version, root_path=root_path)
    validate(json.loads(json.dumps(found)))
    return found


def only(found: dict[str, Any]) -> dict[str, Any]:
    """The one operation of a document."""
    ((_, methods),) = found["paths"].items()
    ((_, operation),) = methods.items()
    return operation


def parameters(found: dict[str, Any]) -> dict[str, Any]:
    return {item["name"]: item for item in only(found)["parameters"]}


def body(found: dict[str, Any]) -> dict[str, Any]:
    return only(found)["requestBody"]["content"]["application/json"]


@pytest.mark.parametrize(
    ("module", "path", "tags"),
    [
        ("actions", "actions", ["actions"]),
        ("actions.orders", "actions", ["orders"]),
        ("actions.shop.orders", "actions", ["shop.orders"]),
        ("my.shop", "actions, my.shop", ["shop"]),
        ("my.shop.orders", "my.shop,actions", ["orders"]),
        ("actionsless", "actions", ["actionsless"]),
        ("other.place", "actions", ["other.place"]),
        ("other.place", "", ["other.place"]),
        ("__main__", "actions", None),
    ],
)
def test_what_has_no_tag_has_the_name_of_its_module(module, path, tags):
    def f() -> None:
        """Do."""

    def g() -> None:
        """Do."""

    f.__module__ = g.__module__ = module
    tagged = action(triggers=(WEB_GET,), tags=("mine",))(g)
    found = document(action(triggers=(WEB_GET,))(f), tagged, action_path=path)
    assert found["paths"]["/actions/f"]["get"].get("tags") == tags
    assert found["paths"]["/actions/g"]["get"]["tags"] == ["mine"]
    assert found["tags"] == [{"name": name} for name in [*(tags or []), "mine"]]


def test_a_partial_action_and_an_object_have_the_module_of_their_function():
    def add(number: int, more: int) -> int:
        """Add."""
        return number + more

    class Doubled:
        def __call__(self, number: int) -> int:
            """Double."""
            return number * 2

    add.__module__ = Doubled.__call__.__module__ = "shop.sums"
    partly = action(triggers=(WEB_GET,), name="partly")(functools.partial(add, more=1))
    found = document(partly, action(triggers=(WEB_GET,))(Doubled()), action_path="shop")
    assert {tuple(path["get"]["tags"]) for path in found["paths"].values()} == {("sums",)}


def test_the_smallest_action_is_described_whole():
    @action(triggers=(WEB_GET,), tags=("greetings",), deprecated=True)
    def say_hello(name: str, times: int = 1) -> str:
        """Greet a user!

        As often as wanted.

        Args:
            name: Whom.
            times: How often.

        Returns:
            The greeting.
        """
        return f"Hello {name}!" * times

    found = document(say_hello, api_title="Greetings", api_version="7", api_description="All of *them*")
    assert found.pop("components")["schemas"].keys() == {"Problem"}
    responses = only(found).pop("responses")
    assert found == {
        "openapi": "3.1.1",
        "info": {"title": "Greetings", "version": "7", "description": "All of *them*"},
        "servers": [{"url": "/"}],
        "security": [],
        "tags": [{"name": "greetings"}],
        "paths": {
            "/actions/say-hello": {
                "get": {
                    "operationId": "say_hello",
                    "summary": "Greet a user!",
                    "description": "As often as wanted.",
                    "tags": ["greetings"],
                    "deprecated": True,
                    "parameters": [
                        {
                            "name": "name",
                            "in": "query",
                            "required": True,
                            "description": "Whom.",
                            "schema": {"type": "string"},
                        },
                        {
                            "name": "times",
                            "in": "query",
                            "required": False,
                            "description": "How often.",
                            "schema": {"type": "integer", "default": 1},
                        },
                    ],
                }
            }
        },
    }
    assert responses.pop("200") == {
        "description": "The greeting.",
        "content": {"application/json": {"schema": {"type": "string"}}},
    }
    assert responses == {
        status: {
            "description": meaning,
            "content": {
                "application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {
                        code: {
                            "value": {"type": f"/docs/errors#{code}", "title": title, "status": number, "code": code}
                        }
                    },
                }
            },
        }
        for status, code, number, title, meaning in (
            (
                "400",
                "malformed",
                400,
                "Bad Request",
                "`malformed`: The request cannot be read: its syntax or its encoding is wrong.",
            ),
            (
                "422",
                "invalid",
                422,
                "Unprocessable Content",
                "`invalid`: The input is well-formed, but not valid for the action; `errors` lists all problems.",
            ),
            ("default", "internal_error", 500, "Internal Server Error", "Any other error."),
        )
    }


def test_a_body_holds_what_the_path_does_not():
    @action(triggers=(WebTrigger(WebTriggerMethod.PUT, "/lines/{id}"),))
    def put_line(line: Line, id: int, note: str | None = None) -> Line:
        return line

    found = document(put_line)
    assert parameters(found) == {"id": {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}}
    assert only(found)["requestBody"]["required"] is True
    assert body(found)["schema"] == {
        "type": "object",
        "properties": {
            "line": {"$ref": "#/components/schemas/LineInput"},
            "note": {"type": ["string", "null"], "default": None},
        },
        "required": ["line"],
        "additionalProperties": False,
    }


def test_a_class_has_one_schema_where_both_sides_agree_and_two_where_not():
    @action(triggers=(WEB_POST,))
    def draw(line: Line) -> Line:
        return line

    schemas = document(draw)["components"]["schemas"]
    assert list(schemas) == ["Color", "Line", "LineInput", "Point", "Problem"]
    assert schemas["Color"] == {"type": "string", "enum": ["red", "blue"], "description": "A colour."}
    assert "color" not in schemas["LineInput"]["required"]
    assert "color" in schemas["Line"]["required"]
    assert schemas["Point"]["description"] == "A place."
    assert schemas["Point"]["properties"]["x"] == {"type": "integer", "description": "To the right."}
    assert schemas["Line"]["properties"]["points"]["items"] == {"$ref": "#/components/schemas/Point"}


def test_what_contains_a_class_of_two_schemas_has_two_itself():
    @dataclass
    class Drawing:
        lines: list[Line]

    @action(triggers=(WEB_POST,))
    def frame(drawing: Drawing) -> Drawing:
        return drawing

    schemas = document(frame)["components"]["schemas"]
    assert schemas["Drawing"]["properties"]["lines"]["items"] == {"$ref": "#/components/schemas/Line"}
    assert schemas["DrawingInput"]["properties"]["lines"]["items"] == {"$ref": "#/components/schemas/LineInput"}


def test_a_model_of_pydantics_is_one_schema_however_often_it_is_met():
    class Item(pydantic.BaseModel):
        name: str

    class Order(pydantic.BaseModel):
        items: list[Item]

    @action(triggers=(WEB_POST,))
    def order(order: Order) -> Item:
        return order.items[0]

    @action(triggers=(WEB_POST,))
    def again(item: Item) -> Order:
        return Order(items=[item])

    assert list(document(order, again)["components"]["schemas"]) == ["Item", "Order", "Problem"]


def test_classes_of_one_name_and_a_class_called_problem_keep_apart():
    def twin(member: str) -> type:
        return dataclasses.make_dataclass("Problem", [(member, int)])

    one, two = twin("a"), twin("b")

    @action(triggers=(WEB_POST,))
    def first(value: one) -> one:  # type: ignore[valid-type]
        return value

    @action(triggers=(WEB_POST,))
    def second(value: two) -> two:  # type: ignore[valid-type]
        return value

    found = document(first, second)
    schemas = found["components"]["schemas"]
    assert "title" in schemas["Problem"]["properties"]
    used = [
        found["paths"][f"/actions/{name}"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
        for name in ("first", "second")
    ]
    assert [list(schemas[name.rpartition("/")[2]]["properties"]) for name in used] == [["a"], ["b"]]


def test_members_that_are_called_as_schema_words_are_described_like_others():
    @dataclass
    class Odd:
        default: Line
        enum: Line
        examples: Line
        properties: Line

    @action(triggers=(WEB_POST,))
    def odd(odd: Odd) -> Odd:
        return odd

    schemas = document(odd)["components"]["schemas"]
    assert {item["$ref"] for item in schemas["OddInput"]["properties"].values()} == {"#/components/schemas/LineInput"}
    assert {item["$ref"] for item in schemas["Odd"]["properties"].values()} == {"#/components/schemas/Line"}


def test_a_query_says_how_each_parameter_is_written():
    @action(triggers=(WEB_GET,))
    def search(
        words: list[str],
        colors: list[Color] | None = None,
        near: Point | None = None,
        name: str | None = None,
        count: int | None = None,
        other: int | None = 5,
        weight: Annotated[Decimal, Meta(gt=0)] | None = None,
    ) -> None: ...

    found = parameters(document(search))
    assert found["words"]["schema"] == {"type": "array", "items": {"type": "string"}, "minItems": 1}
    assert found["colors"]["schema"] == {"type": "array", "items": {"$ref": "#/components/schemas/Color"}}
    assert found["near"]["content"] == {
        "application/json": {
            "schema": {"anyOf": [{"$ref": "#/components/schemas/Point"}, {"type": "null"}], "default": None}
        }
    }
    assert found["name"]["schema"] == {"type": "string"}  # "null" would be a text
    assert found["count"]["schema"] == {"type": "integer"}  # null is said by leaving it out
    assert found["other"]["schema"] == {"type": ["integer", "null"], "default": 5}
    assert (found["weight"]["schema"]["type"], found["weight"]["schema"]["format"]) == ("string", "decimal")


def test_what_is_injected_is_no_parameter():
    @action(triggers=(WEB_GET,))
    def whoami(authorization: Authorization | None, context: CallContext) -> str:
        return "you"

    assert "parameters" not in only(document(whoami))


def test_errors_are_documented_by_declaration_by_example_and_by_access_control():
    class SoldOutError(Exception):
        """There is nothing left.

        Not even for you.
        """

        status, code = 409, "sold_out"

    @action(
        triggers=(WEB_GET,),
        access_control=ScopeAccessControl("shop"),
        errors=(SoldOutError,),
        examples=(
            Example(name="unknown", params={"id": 0}, error="not_found"),
            Example(name="wrong", params={"id": "x"}, error="invalid"),
            Example(name="gone", params={"id": 1}, error="sold_out"),
        ),
    )
    def buy(id: int) -> str:
        raise NotFoundError

    responses = only(document(buy))["responses"]
    assert list(responses) == ["200", "400", "401", "403", "404", "409", "422", "default"]
    assert responses["409"]["description"] == "`sold_out`: There is nothing left."
    shown = {
        name: example["value"]
        for status in ("404", "409", "422")
        for name, example in responses[status]["content"]["application/problem+json"]["examples"].items()
    }
    assert shown == {
        "unknown": {"type": "/docs/errors#not_found", "title": "Not Found", "status": 404, "code": "not_found"},
        "gone": {"type": "/docs/errors#sold_out", "title": "Conflict", "status": 409, "code": "sold_out"},
        "wrong": {
            "type": "/docs/errors#invalid",
            "title": "Unprocessable Content",
            "status": 422,
            "code": "invalid",
            "errors": [{"path": "/id", "message": "expected int, got 'x'"}],
        },
    }


def test_examples_are_shown_for_requests_and_for_responses():
    @action(
        triggers=(WEB_POST,),
        examples=(
            Example(name="up", description="One step", params={"point": Point(0, 0)}, result=Point(0, 1)),
            Example(name="wrong", params={"point": {}}, error="invalid"),
            Example(name="hidden", params={"point": Point(5, 5)}, include_in_schema=False),
        ),
    )
    def move(point: Point, by: int = 1) -> Point:
        return Point(point.x, point.y + by)

    found = document(move)
    assert body(found)["examples"] == {"up": {"summary": "One step", "value": {"point": {"x": 0, "y": 0}}}}
    response = only(found)["responses"]["200"]["content"]["application/json"]
    assert response["examples"] == {"up": {"summary": "One step", "value": {"x": 0, "y": 1}}}


def test_only_what_has_to_be_given_is_filled_in_beforehand():
    @action(
        triggers=(WEB_GET,),
        examples=(
            Example(name="red", params={"name": "a", "color": Color.RED}),
            Example(name="also_red", params={"name": "b", "color": Color.RED}),
        ),
    )
    def paint(name: str, color: Color | None = None) -> None: ...

    found = parameters(document(paint))
    assert found["name"]["examples"] == {"red": {"value": "a"}, "also_red": {"value": "b"}}
    assert "examples" not in found["color"]
    assert found["color"]["schema"]["examples"] == ["red"]


def test_defaults_that_are_empty_are_told():
    @action(triggers=(WEB_GET,))
    def find(count: Annotated[int, Meta(ge=0)] = 0, text: str = "", all: bool = False, scale: float = 0.0) -> None: ...

    assert {name: item["schema"] for name, item in parameters(document(find)).items()} == {
        "count": {"type": "integer", "minimum": 0, "default": 0},
        "text": {"type": "string", "default": ""},
        "all": {"type": "boolean", "default": False},
        "scale": {"type": "number", "default": 0.0},
    }


def test_an_action_chooses_its_status():
    @action(triggers=(WEB_POST,), status=201)
    def make() -> str:
        return ""

    @action(triggers=(WEB_DELETE,), status=204)
    def remove() -> None: ...

    @action(triggers=(WEB_PUT,))
    def put() -> Reply[str]:
        return Reply("", status=201)

    assert next(iter(only(document(make))["responses"])) == "201"
    assert only(document(remove))["responses"]["204"] == {"description": "Done."}
    assert list(only(document(put))["responses"])[:2] == ["200", "2XX"]


def test_a_reply_shows_the_status_that_is_declared_and_no_other_of_success():
    @action(triggers=(WEB_POST,), status=201)
    def make() -> Reply[str]:
        return Reply("", headers={"Location": "/1"})

    assert [status for status in only(document(make))["responses"] if status.startswith("2")] == ["201"]


def test_every_operation_has_an_id_of_its_own():
    @action(triggers=(WEB_GET, WEB_POST))
    def greet() -> str:
        return ""

    @action(triggers=(WEB_GET,))
    def greet_post() -> str:
        return ""

    for order in ((greet, greet_post), (greet_post, greet)):
        found = document(*order)["paths"]
        assert found["/actions/greet"]["get"]["operationId"] == "greet"
        assert found["/actions/greet-post"]["get"]["operationId"] == "greet_post"
        assert found["/actions/greet"]["post"]["operationId"] == "greet_post2"


def test_what_is_not_for_the_document_is_not_in_it():
    @action(triggers=(WEB_GET,), include_in_schema=False)
    def secret(line: Line) -> Line:
        return line

    @action
    def internal() -> str:
        return ""

    found = document(secret, internal)
    assert found["paths"] == {}
    assert found["components"] == {"schemas": {}}


@pytest.mark.parametrize(
    ("settings", "root_path", "servers"),
    [
        ({}, "", ["/"]),
        ({}, "/api", ["/api"]),
        (
            {"api_servers": ("https://a.example", "https://b.example/v1")},
            "/api",
            ["https://a.example", "https://b.example/v1"],
        ),
    ],
)
def test_the_servers_are_those_of_the_settings_or_where_the_document_is(settings, root_path, servers):
    assert [item["url"] for item in document(root_path=root_path, **settings)["servers"]] == servers


def test_version_3_0_says_the_same_in_its_own_dialect():
    @dataclass
    class All:
        nothing: None
        maybe: int | None
        maybe_line: Line | None
        exact: Annotated[int, Meta(gt=0, lt=10)]
        data: bytes
        pair: tuple[int, str]
        mixed: int | str | None
        names: dict[Annotated[str, Meta(min_length=1)], int]
        described: Annotated[Point, Meta(description="Where it is.")]

    @action(triggers=(WEB_POST,), examples=(Example(name="none", params={"count": None}),))
    def everything(all: All | None = None, count: int | None = None) -> All | None:
        return all

    found = document(everything, version="3.0")
    null = {"type": "string", "nullable": True, "enum": [None]}
    assert found["openapi"] == "3.0.4"
    assert found["components"]["schemas"]["All"]["properties"] == {
        "nothing": null,
        "maybe": {"type": "integer", "nullable": True},
        "maybe_line": {"anyOf": [{"$ref": "#/components/schemas/Line"}, null]},
        "exact": {
            "type": "integer",
            "minimum": 0,
            "exclusiveMinimum": True,
            "maximum": 10,
            "exclusiveMaximum": True,
        },
        "data": {"type": "string", "format": "byte"},
        "pair": {
            "type": "array",
            "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "minItems": 2,
            "maxItems": 2,
        },
        "mixed": {"anyOf": [{"type": "integer"}, {"type": "string"}, null]},
        "names": {"type": "object", "additionalProperties": {"type": "integer"}},
        "described": {"allOf": [{"$ref": "#/components/schemas/Point"}], "description": "Where it is."},
    }
    assert body(found)["examples"] == {"none": {"value": {"count": None}}}


PROGRAM = """
import dataclasses, sys
from servey import WEB_GET, WEB_POST
from servey.action.action import action
from servey.codec import Codec
from servey.schema.openapi import openapi_document
from servey.service import Service
import msgspec

@dataclasses.dataclass
class Bag:
    tags: set[str] = dataclasses.field(default_factory=lambda: {"a", "b", "c"})
    names: frozenset[str] = frozenset("abcdefgh")

@action(triggers=(WEB_POST,))
def one(bag: Bag) -> Bag: return bag
@action(triggers=(WEB_POST,))
def two(bag: Bag, letters: frozenset[str] = frozenset("xyz")) -> list[Bag]: return [bag]

sys.stdout.buffer.write(msgspec.json.encode(openapi_document(Service([one, two]))))
"""


def test_two_runs_give_the_same_bytes():
    runs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True, timeout=60
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    validate(json.loads(runs[0]))


class Circle(pydantic.BaseModel):
    kind: Literal["circle"]
    radius: Decimal = Decimal(1)


class Square(pydantic.BaseModel):
    kind: Literal["square"]
    side: Decimal = Decimal(1)


class Drawing(pydantic.BaseModel):
    shape: Annotated[Circle | Square, pydantic.Field(discriminator="kind")]


def references(value: Any) -> list[str]:
    """Every reference in a document, those of discriminators included."""
    if isinstance(value, list):
        return [found for item in value for found in references(item)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if "$ref" in value else list(value.get("mapping", {}).values())
    return own + [found for item in value.values() for found in references(item)]


@pytest.mark.parametrize("version", ["3.1", "3.0"])
def test_every_reference_is_resolved_a_discriminators_as_well(version: str) -> None:
    @action(triggers=(WEB_POST,))
    def draw(
        drawing: Drawing, shapes: list[Annotated[Circle | Square, pydantic.Field(discriminator="kind")]]
    ) -> Drawing:
        return drawing

    found = document(draw, version=version)
    schemas = found["components"]["schemas"]
    names = [reference.removeprefix("#/components/schemas/") for reference in references(found)]
    assert set(names) <= schemas.keys()
    mapping = schemas["DrawingInput"]["properties"]["shape"]["discriminator"]["mapping"]
    assert mapping == {
        "circle": "#/components/schemas/CircleInput",
        "square": "#/components/schemas/SquareInput",
    }
    assert schemas["Drawing"]["properties"]["shape"]["discriminator"]["mapping"]["circle"].endswith("/Circle")


def test_a_lone_surrogate_in_a_text_of_the_users_does_no_harm() -> None:
    @action(triggers=(WEB_POST,))
    def broken(name: Annotated[str, Meta(description="odd \ud800")] = "\ud800") -> str:
        return name

    found = document(broken, api_title="\udcff é")
    assert found["info"]["title"] == "\ufffd é"
    assert json.dumps(found, ensure_ascii=False).encode()
    assert body(found)["schema"]["properties"]["name"] == {"type": "string", "description": "odd \ufffd"}


def test_a_list_that_must_be_empty_has_no_least_length() -> None:
    @action(triggers=(WEB_GET,))
    def nothing(empty: tuple[()]) -> int:
        return len(empty)

    schema = parameters(document(nothing))["empty"]["schema"]
    assert schema["minItems"] == schema["maxItems"] == 0


def test_what_tools_would_make_up_from_a_pattern_has_a_sample():
    @dataclass
    class Offer:
        price: Decimal
        weight: Annotated[Decimal, Meta(gt=5000, le=6000)]
        debt: Annotated[Decimal, Meta(lt=0)]
        at: dt.time
        takes: dt.timedelta

    @action(triggers=(WEB_POST,))
    def make(offer: Offer, best: Decimal | None = None) -> Offer:
        return offer

    found = document(make)
    members = found["components"]["schemas"]["OfferInput"]["properties"]
    samples = {name: (item.get("anyOf", [item])[0])["examples"][0] for name, item in members.items()}
    Codec(Offer).decode(samples)
    assert (samples["price"], samples["at"], samples["takes"]) == ("1.50", "09:30:00", "PT1H30M")
    got = found["components"]["schemas"]["Offer"]["properties"]
    assert got["price"]["examples"] == ["1.50"]
    assert body(document(make, version="3.0"))["schema"]["properties"]["best"]["anyOf"][0]["example"] == "1.50"
