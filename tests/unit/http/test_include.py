"""``?include=``: results of nested actions in the answer of a GET."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pydantic
import pytest

from servey import (
    WEB_DELETE,
    WEB_GET,
    WEB_POST,
    Authorization,
    BatchInvoker,
    CallContext,
    ErrorMapping,
    NotFoundError,
    Reply,
    ScopeAccessControl,
)
from servey.action.action import action
from servey.cache_control.ttl_cache_control import TtlCacheControl
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client
from servey.service import Service
from servey.settings import Settings

ROOT = Authorization("root", frozenset({"root"}))
TTL = TtlCacheControl(30)


@dataclass
class Writer:
    name: str

    @action
    def initial(self) -> str:
        return self.name[:1]


@dataclass
class Book:
    title: str
    writer_name: str = "Ursula"
    editors: list[Writer] = field(default_factory=list)
    reviewer: Writer | None = None
    by_language: dict[str, Writer] = field(default_factory=dict)

    @action
    async def writer(self) -> Writer:
        return Writer(self.writer_name)

    @action(name="length_of_title")
    def length(self) -> int:
        return len(self.title)

    @action
    async def page(self, number: int) -> str:
        return str(number)

    @action
    async def cover(self, size: str = "small") -> str:
        return f"{size} cover"


@action(triggers=(WEB_GET,))
async def book(title: str = "Solaris") -> Book:
    return Book(title, "Stanislaw", [Writer("Ada"), Writer("Bob")], None, {"en": Writer("Eve")})


@action(triggers=(WEB_GET, WEB_POST, WEB_DELETE))
async def books() -> list[Book | None]:
    return [Book("Momo"), None, Book("Emil", reviewer=Writer("Rita"))]


def client(*actions: Any, **options: Any) -> Client:
    return Client(create_app(Service(actions, **options)))


async def got(*actions: Any, query: str, path: str | None = None, **options: Any) -> Any:
    """The content of a successful answer."""
    name = path or f"/actions/{actions[0].__name__.replace('_', '-')}"
    response = await client(*actions, **options).request("GET", name, query=query)
    assert response.status == 200, response.json()
    return response.json()


async def refused(*actions: Any, query: str, **options: Any) -> Any:
    """The status of an answer, and the paths of its problems."""
    name = f"/actions/{actions[0].__name__.replace('_', '-')}"
    response = await client(*actions, **options).request("GET", name, query=query)
    problem = response.json()
    return response.status, [item["path"] for item in problem.get("errors", ())]


PLAIN = {
    "title": "Solaris",
    "writer_name": "Stanislaw",
    "editors": [{"name": "Ada"}, {"name": "Bob"}],
    "reviewer": None,
    "by_language": {"en": {"name": "Eve"}},
}


# --- what is included -------------------------------------------------------------------------------------------------


async def test_without_it_an_answer_is_the_result_alone() -> None:
    assert await got(book, query="") == PLAIN
    assert await got(book, query="title=Solaris") == PLAIN


@pytest.mark.parametrize("query", ["include=length&include=writer", "include=writer,length", "in%63lude=writer,length"])
async def test_nested_actions_are_included_under_the_names_of_their_functions(query: str) -> None:
    assert await got(book, query=query) == {**PLAIN, "writer": {"name": "Stanislaw"}, "length": 7}


async def test_a_path_leads_through_members_lists_optionals_and_results() -> None:
    found = await got(
        book, query="include=writer.initial,editors.initial,reviewer.initial,by_language.initial&title=Momo"
    )
    assert found == {
        **PLAIN,
        "title": "Momo",
        "writer": {"name": "Stanislaw", "initial": "S"},
        "editors": [{"name": "Ada", "initial": "A"}, {"name": "Bob", "initial": "B"}],
        "by_language": {"en": {"name": "Eve", "initial": "E"}},
    }


async def test_what_is_not_there_is_left_out() -> None:
    found = await got(books, query="include=length,reviewer.initial")
    assert [item and (item["length"], item["reviewer"]) for item in found] == [
        (4, None),
        None,
        (4, {"name": "Rita", "initial": "R"}),
    ]


async def test_arguments_of_an_included_action_have_their_defaults() -> None:
    assert (await got(book, query="include=cover"))["cover"] == "small cover"


@dataclass
class Shelf:
    label: str

    @action
    def stickers(self, given: list[str] = []) -> list[str]:  # noqa: B006 - each call gets a list of its own
        given.append(self.label)
        return given


async def test_two_objects_share_no_default_of_an_included_action() -> None:
    @action(triggers=(WEB_GET,))
    def shelves() -> list[Shelf]:
        return [Shelf("a"), Shelf("b")]

    assert [shelf["stickers"] for shelf in await got(shelves, query="include=stickers")] == [["a"], ["b"]]


async def test_a_subclass_has_what_its_bases_declare_and_what_it_hides_is_hidden() -> None:
    @dataclass
    class Base:
        n: int

        @action
        async def twice(self) -> int:
            return self.n * 2

        @action(name="hidden")
        async def thrice(self) -> int:
            return self.n * 3

    @dataclass
    class Sub(Base):
        @action(name="shown")
        async def thrice(self) -> int:
            return self.n * 30

    @action(triggers=(WEB_GET,))
    async def sub() -> Sub:
        return Sub(1)

    assert await got(sub, query="include=twice,thrice") == {"n": 1, "twice": 2, "thrice": 30}


async def test_a_pydantic_model_has_nested_actions_too() -> None:
    class Model(pydantic.BaseModel):
        n: int

        @action
        def twice(self) -> int:
            return self.n * 2

    @action(triggers=(WEB_GET,))
    async def models() -> list[Model]:
        return [Model(n=1), Model(n=2)]

    assert await got(models, query="include=twice") == [{"n": 1, "twice": 2}, {"n": 2, "twice": 4}]


async def test_what_can_be_read_only_once_is_read_as_a_list() -> None:
    @action(triggers=(WEB_GET,))
    async def some() -> Iterable[Writer]:
        return (Writer(name) for name in "ab")

    assert await got(some, query="include=initial") == [
        {"name": "a", "initial": "a"},
        {"name": "b", "initial": "b"},
    ]


async def test_a_generator_inside_of_an_object_is_a_defect() -> None:
    @action(triggers=(WEB_GET,), errors=(ErrorMapping(ValueError, 409),))
    async def odd() -> Book:
        return Book("x", editors=(Writer(name) for name in "ab"))  # type: ignore[arg-type]

    assert await refused(odd, query="include=editors.initial") == (500, [])
    assert (await got(odd, query="include=length"))["length"] == 1


async def test_members_of_sets_are_told_apart_when_their_result_was_kept() -> None:
    @dataclass(frozen=True)
    class Item:
        name: str

        @action
        async def same(self) -> str:
            return self.name

    @action(triggers=(WEB_GET,), cache_control=TTL)
    async def items() -> frozenset[Item]:
        return frozenset(Item(f"n{n}") for n in range(50))

    http = client(items)
    for _ in range(2):
        response = await http.request("GET", "/actions/items", query="include=same")
        assert len(response.json()) == 50
        assert all(item["name"] == item["same"] for item in response.json())


async def test_a_reply_keeps_its_status_and_headers() -> None:
    @action(triggers=(WEB_GET,))
    async def replied() -> Reply[Writer]:
        return Reply(Writer("Ada"), status=203, headers={"X-Own": "1", "ETag": '"alone"'})

    response = await client(replied).request("GET", "/actions/replied", query="include=initial")
    assert (response.status, response.json()) == (203, {"name": "Ada", "initial": "A"})
    assert (response.headers["x-own"], response.headers.get("etag")) == ("1", None)


async def test_head_has_the_headers_of_get() -> None:
    http = client(book)
    head = await http.request("HEAD", "/actions/book", query="include=length")
    get = await http.request("GET", "/actions/book", query="include=length")
    assert (head.status, head.content, head.headers["content-length"]) == (200, b"", get.headers["content-length"])


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "include",
    [
        "lenght",
        "",
        "writer,",
        "title",
        "editors",
        "writer.name",
        "writer.initial.x",
        "page",
        "length_of_title",
        "*",
        ".",
    ],
)
async def test_what_cannot_be_included_is_refused(include: str) -> None:
    assert await refused(book, query=f"include={include}") == (422, ["/include"])


async def test_the_nearest_name_is_told() -> None:
    response = await client(book).request("GET", "/actions/book", query="include=writr.initial&include=writer.initail")
    told = [item["message"] for item in response.json()["errors"]]
    assert ["`writer`" in told[0], "`initial`" in told[1]] == [True, True]


async def test_wrong_arguments_and_wrong_inclusions_are_told_together() -> None:
    assert await refused(book, query="titel=x&include=lenght") == (422, ["/titel", "/include"])


async def test_only_get_takes_it_and_only_where_there_is_something_to_include() -> None:
    @action(triggers=(WEB_GET,))
    async def plain() -> int:
        return 1

    @action(triggers=(WEB_GET,))
    async def own(include: str) -> Writer:
        return Writer(include)

    assert await refused(plain, query="include=x") == (422, ["/include"])
    assert await got(own, query="include=initial") == {"name": "initial"}
    for method in ("DELETE", "POST"):
        response = await client(books).request(method, "/actions/books", query="include=length")
        assert response.status == 422


async def test_a_member_of_the_name_of_a_nested_action_stays_what_it_is() -> None:
    @dataclass
    class Row:
        total: int = 1

    def total(self: Row) -> int:
        return 5

    Row.total = action(total)  # type: ignore[assignment, method-assign]

    @action(triggers=(WEB_GET,))
    async def row() -> Row:
        return Row(1)

    assert await refused(row, query="include=total", settings=Settings(graphql=False)) == (422, ["/include"])


@dataclass
class Chain:
    n: int

    @action
    async def next(self) -> Chain:
        return Chain(self.n + 1)

    @action
    async def many(self) -> list[Chain]:
        return [Chain(n) for n in range(150)]


@action(triggers=(WEB_GET,))
async def chain() -> Chain:
    return Chain(0)


async def test_the_limits_are_those_of_graphql() -> None:
    settings = Settings(max_depth=3, max_fields=4)
    assert await got(chain, query="include=next.next.next", settings=settings)
    assert await refused(chain, query="include=next.next.next.next", settings=settings) == (422, ["/include"])
    assert await got(chain, query="include=next.next.next,many", settings=settings)
    assert await refused(chain, query="include=next.next.next,many,many.next", settings=settings) == (422, ["/include"])
    settings = Settings(max_cost=30)
    assert await got(chain, query="include=next.next.next", settings=settings)
    assert await refused(chain, query="include=many.next", settings=settings) == (422, ["/include"])


async def test_so_many_calls_are_made_for_one_request_at_most() -> None:
    assert await refused(chain, query="include=many.many.next") == (422, ["/include"])


# --- each is a call of its own ----------------------------------------------------------------------------------------


def guarded(**of_nested: Any) -> Any:
    @dataclass
    class Account:
        n: int

        @action(**of_nested)
        async def balance(self, context: CallContext) -> list[Any]:
            return [context.transport, context.request_id, context.origin.value, context.deadline]

    @action(triggers=(WEB_GET,))
    async def account() -> Account:
        return Account(1)

    return account


async def test_a_nested_action_has_its_own_access_control() -> None:
    http = client(guarded(access_control=ScopeAccessControl("root")))
    assert (await http.request("GET", "/actions/account")).status == 200
    assert (await http.request("GET", "/actions/account", query="include=balance")).status == 401
    nobody = await http.request(
        "GET", "/actions/account", query="include=balance", authorization=Authorization("me", frozenset())
    )
    assert nobody.status == 403
    found = await http.request("GET", "/actions/account", query="include=balance", authorization=ROOT)
    assert found.status == 200
    assert found.headers["cache-control"] == "private"
    assert "Authorization" in found.headers["vary"]


async def test_a_nested_action_is_called_as_a_part_of_its_request() -> None:
    @dataclass
    class Account:
        told: list[Any]

        @action
        async def nested(self, context: CallContext) -> list[Any]:
            return about(context)

    def about(context: CallContext) -> list[Any]:
        return [context.transport, context.request_id, context.origin.value, context.client, context.deadline]

    @action(triggers=(WEB_GET,))
    async def account(context: CallContext) -> Account:
        return Account(about(context))

    given = {"x-request-id": "the-request"}
    response = await client(account).request("GET", "/actions/account", query="include=nested", headers=given)
    found = response.json()
    assert found["told"][:4] == ["rest", "the-request", "network", "127.0.0.1"]
    assert found["nested"] == found["told"]  # until the same moment, too


async def test_a_rate_limit_of_a_nested_action_counts_its_calls() -> None:
    http = client(guarded(rate_limit="1/hour"))
    statuses = [
        (await http.request("GET", "/actions/account", query=query)).status
        for query in ("include=balance", "", "include=balance")
    ]
    assert statuses == [200, 200, 429]


async def test_the_rate_limit_of_the_action_itself_is_told() -> None:
    @action(triggers=(WEB_GET,), rate_limit="5/hour")
    async def limited() -> Writer:
        return Writer("Ada")

    found = await client(limited).request("GET", "/actions/limited", query="include=initial")
    assert found.json() == {"name": "Ada", "initial": "A"}
    assert "r=4" in found.headers["ratelimit"]


async def test_the_error_of_one_is_the_error_of_all_and_the_others_do_not_go_on() -> None:
    ended = []

    @dataclass
    class Item:
        n: int

        @action(timeout=math.inf)
        async def check(self) -> int:
            if self.n == 1:
                raise NotFoundError("no such thing")
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(self.n)
            return 1

    @action(triggers=(WEB_GET,))
    async def items() -> list[Item]:
        return [Item(0), Item(1), Item(2)]

    async with asyncio.timeout(20):
        assert await refused(items, query="include=check") == (404, [])
    assert sorted(ended) == [0, 2]


async def test_calls_of_one_level_are_made_together() -> None:
    batches, threads = [], set()

    async def fn(items: list[Any]) -> list[int]:
        batches.append(len(items))
        return [item.n for item in items]

    @dataclass
    class Item:
        n: int

        @action(batch_invoker=BatchInvoker(fn))
        async def batched(self) -> int:
            raise AssertionError

        @action
        def threaded(self) -> int:
            threads.add(threading.current_thread().name)
            return self.n

    @action(triggers=(WEB_GET,))
    async def items() -> list[Item]:
        return [Item(n) for n in range(100)]

    found = await got(items, query="include=batched,threaded")
    assert found == [{"n": n, "batched": n, "threaded": n} for n in range(100)]
    assert batches == [100]
    assert len(threads) < 9


# --- caching ----------------------------------------------------------------------------------------------------------


def cached(of_whole: Any, of_nested: Any, **more: Any) -> Any:
    counts = {"whole": 0, "nested": 0}

    @dataclass
    class Page:
        n: int

        @action(cache_control=of_nested, **more)
        async def visits(self) -> int:
            counts["nested"] += 1
            return 5

    @action(triggers=(WEB_GET,), cache_control=of_whole)
    async def page() -> Page:
        counts["whole"] += 1
        return Page(1)

    return page, counts


async def test_an_answer_is_fresh_while_all_of_its_parts_are() -> None:
    page, counts = cached(TtlCacheControl(30, public=True), TtlCacheControl(20, public=True))
    http = client(page)
    first = await http.request("GET", "/actions/page", query="include=visits")
    again = await http.request("GET", "/actions/page", query="include=visits")
    assert first.json() == again.json() == {"n": 1, "visits": 5}
    assert counts == {"whole": 1, "nested": 1}
    assert first.headers["cache-control"] == "public, max-age=20"
    alone = await http.request("GET", "/actions/page")
    assert alone.headers["cache-control"] == "public, max-age=30"
    assert alone.headers["etag"] != first.headers["etag"] == again.headers["etag"]
    kept = await http.request(
        "GET", "/actions/page", query="include=visits", headers={"if-none-match": first.headers["etag"]}
    )
    assert (kept.status, kept.content) == (304, b"")


async def test_the_age_of_its_parts_is_taken_off_the_time_that_an_answer_is_fresh(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page, counts = cached(TtlCacheControl(30), TtlCacheControl(25))
    http = client(page)
    first = await http.request("GET", "/actions/page", query="include=visits")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 10)
    later = await http.request("GET", "/actions/page", query="include=visits")
    assert (first.headers["cache-control"], later.headers["cache-control"]) == ("max-age=25", "max-age=15")
    assert counts == {"whole": 1, "nested": 1}


async def test_an_answer_is_private_when_a_part_is() -> None:
    page, _ = cached(TtlCacheControl(30, public=True), TtlCacheControl(30), access_control=ScopeAccessControl("root"))
    found = await client(page).request("GET", "/actions/page", query="include=visits", authorization=ROOT)
    assert found.headers["cache-control"] == "private, max-age=30"
    assert "Authorization" in found.headers["vary"]


async def test_nobody_knows_how_long_a_part_without_a_cache_control_is_fresh() -> None:
    page, _ = cached(TTL, None)
    found = await client(page).request("GET", "/actions/page", query="include=visits")
    assert found.headers["cache-control"] == "no-cache"
    page, _ = cached(None, TTL)
    found = await client(page).request("GET", "/actions/page", query="include=visits")
    assert [name for name in found.headers if name in ("cache-control", "etag", "expires")] == []


async def test_a_reply_that_must_not_be_kept_makes_the_whole_so() -> None:
    @dataclass
    class Page:
        n: int

        @action
        async def secret(self) -> Reply[int]:
            return Reply(1, headers={"Cache-Control": "no-store"})

    @action(triggers=(WEB_GET,), cache_control=TTL)
    async def page() -> Page:
        return Page(1)

    found = await client(page).request("GET", "/actions/page", query="include=secret")
    assert (found.json(), found.headers["cache-control"]) == ({"n": 1, "secret": 1}, "no-store")


@pytest.mark.parametrize(
    ("own", "told"), [("no-store", "no-store"), ("public, max-age=60", "no-cache"), ("max-age=60", "no-cache")]
)
async def test_what_a_reply_says_of_its_own_value_is_said_of_the_whole_if_it_is_true_of_it(own: str, told: str) -> None:
    @action(triggers=(WEB_GET,))
    async def replied() -> Reply[Writer]:
        return Reply(Writer("Ada"), headers={"Cache-Control": own})

    http = client(replied)
    assert (await http.request("GET", "/actions/replied")).headers["cache-control"] == own
    found = await http.request("GET", "/actions/replied", query="include=initial")
    assert found.headers["cache-control"] == told


async def test_what_no_object_can_be_made_of_again_is_not_taken_from_what_was_kept() -> None:
    @dataclass
    class Even:
        n: int

        def __post_init__(self) -> None:
            if self.n % 2:
                raise ValueError("odd")

        @action
        async def half(self) -> float:
            return self.n / 2

    @action(triggers=(WEB_GET,), cache_control=TTL)
    async def even() -> Even:
        found = Even(2)
        found.n = 3
        return found

    http = client(even)
    for _ in range(2):
        response = await http.request("GET", "/actions/even", query="include=half")
        assert (response.status, response.json()) == (200, {"n": 3, "half": 1.5})


async def test_a_caller_may_ask_for_new_results() -> None:
    page, counts = cached(TTL, TTL)
    http = client(page)
    await http.request("GET", "/actions/page", query="include=visits")
    await http.request("GET", "/actions/page", query="include=visits", headers={"cache-control": "no-cache"})
    assert counts == {"whole": 2, "nested": 2}


async def test_of_classes_that_look_alike_in_json_none_is_taken_for_another() -> None:
    @dataclass
    class Cat:
        name: str

        @action
        async def sound(self) -> str:
            return "meow"

    @dataclass
    class Dog:
        name: str

        @action(access_control=ScopeAccessControl("root"), cache_control=TTL)
        async def sound(self) -> str:
            return "woof"

    @action(triggers=(WEB_GET,), cache_control=TTL)
    async def pet() -> Cat | Dog:
        return Dog("Rex")

    told = client(pet)
    for _ in range(2):
        response = await told.request("GET", "/actions/pet", query="include=sound", authorization=ROOT)
        assert response.json() == {"name": "Rex", "sound": "woof"}
        assert response.headers["cache-control"] == "private, max-age=30"
    assert (await told.request("GET", "/actions/pet", query="include=sound")).status == 401


async def test_what_documents_leave_out_is_named_by_no_message() -> None:
    @dataclass
    class Safe:
        number: int

        @action
        async def weight(self) -> int:
            return 3

        @action(include_in_schema=False)
        async def code(self) -> int:
            return 1234

    @action(triggers=(WEB_GET,))
    async def safe() -> Safe:
        return Safe(1)

    assert await got(safe, query="include=code") == {"number": 1, "code": 1234}
    response = await client(safe).request("GET", "/actions/safe", query="include=cod")
    (problem,) = response.json()["errors"]
    assert problem["message"] == "'cod': unknown; you can include: weight"
