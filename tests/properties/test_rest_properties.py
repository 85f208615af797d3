"""Whatever a stranger sends, REST answers: never a 500, never an exception, always a problem with its parts."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from ipaddress import IPv4Address, IPv6Network
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servey import BigInt, WebTrigger, WebTriggerMethod
from servey.action.action import action
from servey.servey_starlette.app import create_app
from servey.servey_test.client import client_of
from servey.service import Service
from servey.settings import Settings
from support.length import FULL, length

pytestmark = pytest.mark.long


class Colour(Enum):
    RED = "red"
    BLUE = "dark-blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Grade(Enum):
    FIRST = 1
    SECOND = 2


class Rights(Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Tagged(TypedDict, total=False):
    name: str
    tags: list[str]


class Cat(msgspec.Struct, tag=True):
    lives: int = 9


class Dog(msgspec.Struct, tag=True):
    name: str


@dataclass
class Item:
    sku: Annotated[str, msgspec.Meta(min_length=1, max_length=8, pattern="^[a-z]+$")]
    quantity: Annotated[int, msgspec.Meta(gt=0, le=100)] = 1


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


@dataclass
class Span:
    first: datetime
    last: datetime

    def __post_init__(self) -> None:
        if self.last < self.first:  # a TypeError when one has an offset and the other has none
            raise ValueError("last comes before first")


EXAMPLES: list[tuple[Any, Any]] = [
    (int, 5),
    (BigInt, 2**70),
    (float, 1.5),
    (bool, True),
    (str, "text"),
    (bytes, "AP8="),
    (None, None),
    (Any, {"a": [1, None]}),
    (datetime, "2024-01-02T03:04:05Z"),
    (date, "2024-01-02"),
    (time, "03:04:05"),
    (timedelta, "PT90S"),
    (UUID, "00000000-0000-0000-0000-000000000001"),
    (Decimal, "1.10"),
    (PurePosixPath, "a/b"),
    (IPv4Address, "127.0.0.1"),
    (IPv6Network, "::/64"),
    (Colour, "red"),
    (Level, 1),
    (Grade, 2),
    (Rights, 3),
    (Literal["a", 1, True, None], "a"),
    (int | None, 5),
    (int | str, "x"),
    (str | list[int] | None, [1]),
    (Cat | Dog, {"type": "Cat", "lives": 3}),
    (list[int], [1, 2]),
    (set[str], ["a"]),
    (frozenset[int], [1]),
    (tuple[int, str], [1, "x"]),
    (tuple[float, ...], [1.0, 2.0]),
    (dict[str, int], {"a": 1}),
    (dict[int, Colour], {"1": "red"}),
    (dict[UUID, list[date]], {"00000000-0000-0000-0000-000000000001": ["2024-01-02"]}),
    (Annotated[int, msgspec.Meta(ge=0, multiple_of=3)], 9),
    (Annotated[list[int], msgspec.Meta(max_length=3)], [1]),
    (Annotated[Decimal, msgspec.Meta(gt=0)], "0.5"),
    (Annotated[datetime, msgspec.Meta(tz=True)], "2024-01-02T03:04:05Z"),
    (Point, [1, 2.0]),
    (Tagged, {"name": "a", "tags": ["x"]}),
    (Item, {"sku": "abc", "quantity": 3}),
    (list[Item], [{"sku": "abc"}, {"sku": "def", "quantity": 2}]),
    (Tree, {"value": 1, "children": [{"value": 2}]}),
    (Span, {"first": "2024-01-02T03:04:05Z", "last": "2024-01-02T03:04:06Z"}),
]

BODY, QUERY, PATH = WebTriggerMethod.POST, WebTriggerMethod.GET, WebTriggerMethod.GET


def service() -> Service:
    actions: list[Any] = []
    for number, (tp, _) in enumerate(EXAMPLES):

        def take(value: Any) -> Any:
            return value

        take.__annotations__ = {"value": tp, "return": tp}
        triggers = (WebTrigger(BODY), WebTrigger(QUERY))
        actions.append(action(triggers=triggers, name=f"take{number}", run_in="loop")(take))

    @action(triggers=(WebTrigger(PATH, "/files/{name}/{number}"), WebTrigger(BODY, "/files/{name}/{number}")))
    async def file(name: str, number: int, note: str = "") -> str:
        return name

    return Service([*actions, file], settings=Settings(max_body_size=10_000, max_query_size=5_000))


class Caller:
    """An application that is started once, in a loop that every example shares."""

    def __init__(self, runner: asyncio.Runner, app: Any) -> None:
        self.runner, self.app = runner, app

    def __call__(
        self,
        method: str,
        path: str,
        query: bytes = b"",
        headers: list[tuple[bytes, bytes]] | None = None,
        body: bytes = b"",
        raw_path: bytes | None = None,
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        return self.runner.run(self._exchange(method, path, query, headers or [], body, raw_path))

    async def _exchange(
        self, method: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes, raw: bytes | None
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode("utf-8", "replace") if raw is None else raw, "root_path": "",
            "query_string": query, "headers": headers, "client": None, "server": None,
        }  # fmt: skip
        messages = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Any] = []

        async def receive() -> Any:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        async with asyncio.timeout(10):
            await self.app(scope, receive, send)
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.fixture(scope="module")
def caller() -> Iterator[Caller]:
    with asyncio.Runner() as runner:
        app = create_app(service())
        started = client_of(app)
        runner.run(started.__aenter__())
        yield Caller(runner, app)
        runner.run(started.__aexit__(None, None, None))


POINTER = re.compile(r"(/([^/~]|~[01])*)*", re.DOTALL)
CODES = {400: "malformed", 401: "unauthorized", 404: "not_found", 405: "method_not_allowed", 413: "too_large",
         414: "uri_too_long", 415: "unsupported_media_type", 422: "invalid"}  # fmt: skip


def check(answer: tuple[int, dict[bytes, bytes], bytes], *, head: bool = False) -> int:
    """Hold an answer against what every answer is."""
    status, headers, body = answer
    request_id = headers[b"x-request-id"]
    assert re.fullmatch(rb"[\x21-\x7e]{1,128}", request_id)
    assert all(re.fullmatch(rb"[\x20-\x7e]*", value) for value in headers.values())
    assert status in {200, 204, *CODES}, (status, body)
    if status == 204 or head:
        return status
    assert int(headers[b"content-length"]) == len(body)
    answered = json.loads(body, parse_constant=pytest.fail)
    if status == 200:
        return status
    assert headers[b"content-type"] == b"application/problem+json"
    assert (answered["status"], answered["code"]) == (status, CODES[status])
    assert answered["request_id"].encode() == request_id
    assert (status == 422) is bool(answered.get("errors"))
    for problem in answered.get("errors", ()):
        assert POINTER.fullmatch(problem["path"]), problem
        assert problem["message"]
        assert len(problem["message"]) < 2_000, "a body is not told back"
    assert len(body) < 200_000
    return status


def examples(number: int) -> Any:
    """The full length has examples of chance; a quarter of it has the same ones each time."""
    return settings(max_examples=length(number // 4, number), derandomize=not FULL)


ACTIONS = st.integers(0, len(EXAMPLES) - 1).map(lambda number: f"/actions/take{number}")
JSON = [(b"content-type", b"application/json")]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**53, 2**63, 2**64, -(2**63) - 1, 10**400]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", "null", "red", "NaN", "1e999", "2024-13-45T99:99:99Z", "0001-01-01T00:00:00+23:59",
                     "9999-12-31T23:59:59-23:59", "P1Y", "\ud800", "\x00", "::1", "1/0", "=" * 50]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[int, Any]:
    """A type's number and a value that is nearly one of it."""
    number = draw(st.integers(0, len(EXAMPLES) - 1))

    def mutate(value: Any) -> Any:
        turn = draw(st.integers(0, 9))
        if turn == 0:
            return draw(VALUES)
        if isinstance(value, dict):
            members = {key: mutate(member) for key, member in value.items()}
            if turn == 1 and members:
                members.pop(draw(st.sampled_from(sorted(members))))
            if turn == 2:
                members[draw(st.text(max_size=8))] = draw(SCALARS)
            return members
        if isinstance(value, list):
            return [mutate(item) for item in value] * draw(st.integers(0, 3))
        if isinstance(value, str) and turn == 3 and value:
            at = draw(st.integers(0, len(value) - 1))
            return value[:at] + draw(st.characters()) + value[at + 1 :]
        if isinstance(value, int) and turn == 4:
            return draw(st.sampled_from([value + 1, -value, float(value), str(value), value * 10**30]))
        return value

    return number, mutate(EXAMPLES[number][1])


def test_the_examples_themselves_are_accepted(caller: Caller) -> None:
    for number, (tp, value) in enumerate(EXAMPLES):
        answer = caller("POST", f"/actions/take{number}", headers=JSON, body=json.dumps({"value": value}).encode())
        assert check(answer) == 200, (tp, answer)


@examples(800)
@given(mutated())
def test_a_body_that_is_nearly_right(caller: Caller, case: tuple[int, Any]) -> None:
    number, value = case
    body = json.dumps({"value": value}).encode()
    assert check(caller("POST", f"/actions/take{number}", headers=JSON, body=body)) in (200, 400, 413, 422)


@examples(350)
@given(
    ACTIONS,
    VALUES,
    st.dictionaries(st.sampled_from(["value", "valu", "", "a/b", "~"]), VALUES, max_size=3),
    st.booleans(),
)
def test_a_body_of_any_json(caller: Caller, path: str, value: Any, members: dict[str, Any], whole: bool) -> None:
    body = json.dumps(value if whole else members).encode()
    assert check(caller("POST", path, headers=JSON, body=body)) in (200, 400, 413, 422)


@examples(300)
@given(
    ACTIONS,
    st.binary(max_size=200)
    | st.text(max_size=50).map(lambda text: b'{"value":"' + text.encode("utf-8", "surrogatepass") + b'"}'),
)
def test_a_body_of_any_bytes(caller: Caller, path: str, body: bytes) -> None:
    assert check(caller("POST", path, headers=JSON, body=body)) in (200, 400, 422)


@examples(60)
@given(ACTIONS, st.sampled_from([b"[", b'{"value":', b'{"a":', b'[{"value":[']), st.integers(1, 3000))
def test_a_nesting_bomb(caller: Caller, path: str, opening: bytes, depth: int) -> None:
    assert check(caller("POST", path, headers=JSON, body=(opening * depth)[:9_000])) in (400, 422)


@examples(500)
@given(mutated(), st.sampled_from(["value", "value", "value", "valu", ""]), st.integers(1, 2))
def test_a_query_that_is_nearly_right(caller: Caller, case: tuple[int, Any], name: str, times: int) -> None:
    from urllib.parse import quote

    number, value = case
    items = value if isinstance(value, list) else [value]
    texts = [item if isinstance(item, str) else json.dumps(item) for item in items * times]
    query = "&".join(f"{name}={quote(text, errors='surrogatepass')}" for text in texts)
    assert check(caller("GET", f"/actions/take{number}", query.encode())) in (200, 400, 414, 422)


QUERY_BYTES = st.lists(
    st.sampled_from(
        [b"value", b"=", b"&", b"%", b"%2", b"%20", b"%FF", b"%00", b"+", b";", b"[]", b"{", b"\xff", b"\x00"]
    )
    | st.binary(max_size=4),
    max_size=12,
).map(b"".join)


@examples(350)
@given(ACTIONS, QUERY_BYTES, st.sampled_from(["GET", "HEAD"]))
def test_a_query_of_any_bytes(caller: Caller, path: str, query: bytes, method: str) -> None:
    assert check(caller(method, path, query), head=method == "HEAD") in (200, 400, 422)


PATHS = st.lists(
    st.sampled_from(
        ["/", "/files", "/actions", "/take1", "name", "%2F", "%", "%zz", "%FF", "..", ".", "//", "7", "%00", "*"]
    )
    | st.text(max_size=3),
    max_size=6,
).map("".join)


@examples(350)
@given(PATHS, st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "PUT", "BREW", ""]), st.booleans())
def test_any_path_and_method(caller: Caller, rest: str, method: str, slash: bool) -> None:
    from urllib.parse import unquote

    raw = ("/" if slash else "") + rest
    answer = caller(method, unquote(raw), raw_path=raw.encode("utf-8", "surrogatepass"))
    assert check(answer, head=method == "HEAD") in (200, 204, 400, 404, 405, 422)


HEADER_NAMES = st.sampled_from(
    [b"content-type", b"content-length", b"content-encoding", b"authorization", b"x-request-id", b"origin", b"host",
     b"transfer-encoding", b"expect", b"if-match", b"accept", b"cookie"]
) | st.binary(min_size=1, max_size=8).map(bytes.lower)  # fmt: skip
HEADER_VALUES = st.binary(max_size=30) | st.sampled_from(
    [b"application/json", b"application/json; charset=utf-8", b"text/plain", b"gzip", b"Bearer x", b"Bearer",
     b"Basic x", b"9" * 400, b"-1", b"0", b"1e9", b"a" * 129, b"ok", b"application/json;charset", b";", b"=;=;"]
)  # fmt: skip


@examples(350)
@given(st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=5), st.sampled_from(["GET", "POST", "OPTIONS"]))
def test_any_headers(caller: Caller, headers: list[tuple[bytes, bytes]], method: str) -> None:
    answer = caller(method, "/actions/take4", b"value=x" if method == "GET" else b"", headers, b'{"value": "x"}')
    assert check(answer) in (200, 204, 400, 401, 413, 415)
