"""What is kept of queries, and what answers to them say to caches."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from servey import (
    WEB_GET,
    WEB_POST,
    Authorization,
    BatchInvoker,
    ScopeAccessControl,
    WebTrigger,
    WebTriggerMethod,
)
from servey.action.action import action
from servey.cache_control.ttl_cache_control import TtlCacheControl
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Response, client_of
from servey.service import Service
from servey.settings import Settings

ACCEPT = {"accept": "application/graphql-response+json"}


class Site:
    """One service, for as long as a test asks it."""

    def __init__(self, actions: Sequence[Any], settings: Settings | None = None) -> None:
        self.app = create_app(Service(actions, settings=settings))
        self._client = client_of(self.app)

    async def __aenter__(self) -> Site:
        self._sends = await self._client.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self._client.__aexit__(*raised)

    async def get(self, query: str, authorization: Authorization | None = None, **headers: str) -> Response:
        given = ACCEPT | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._sends.request(
            "GET", "/graphql", query=f"query={quote(query)}", headers=given, authorization=authorization
        )

    async def post(
        self, query: str, variables: Mapping[str, Any] | None = None, authorization: Authorization | None = None
    ) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = ACCEPT | {"content-type": "application/json"}
        response = await self._sends.request(
            "POST", "/graphql", content=body, headers=headers, authorization=authorization
        )
        return response.json()

    async def rest(self, method: str, path: str) -> Response:
        return await self._sends.request(method, path)


def counting(**arguments: Any) -> tuple[Any, list[int]]:
    calls: list[int] = []

    @action(triggers=(WEB_GET,), cache_control=TtlCacheControl(30), **arguments)
    def count(start: int = 0) -> int:
        calls.append(start)
        return start + len(calls)

    return count, calls


async def test_a_query_is_answered_with_what_is_kept_and_a_mutation_never() -> None:
    count, calls = counting()

    @action(triggers=(WebTrigger(WebTriggerMethod.POST, "/change"),), cache_control=TtlCacheControl(30))
    def change() -> int:
        calls.append(0)
        return len(calls)

    async with Site([count, change]) as site:
        assert await site.post("{ count }") == {"data": {"count": 1}}
        assert await site.post("{ a: count b: count(start: 0) }") == {"data": {"a": 1, "b": 1}}
        assert (await site.rest("GET", "/actions/count")).json() == 1  # one result, whatever asks for it
        assert await site.post("mutation { change }") == {"data": {"change": 2}}
        assert await site.post("mutation { change }") == {"data": {"change": 3}}


async def test_a_kept_object_has_its_nested_actions() -> None:
    calls: list[str] = []

    @dataclass
    class Stats:
        value: int

        @action(cache_control=TtlCacheControl(30))
        async def doubled(self, times: int = 2) -> int:
            calls.append("doubled")
            return self.value * times

        @action
        async def again(self) -> int:
            calls.append("again")
            return self.value

    @action(triggers=(WEB_GET,), cache_control=TtlCacheControl(30))
    def stats() -> Stats:
        calls.append("stats")
        return Stats(3)

    async with Site([stats]) as site:
        for _ in range(2):
            assert await site.post("{ stats { value doubled again more: doubled(times: 3) } }") == {
                "data": {"stats": {"value": 3, "doubled": 6, "again": 3, "more": 9}}
            }
    assert sorted(calls) == ["again", "again", "doubled", "doubled", "stats"]


async def test_what_is_kept_of_a_batch_is_not_asked_for_again() -> None:
    calls: list[list[int]] = []

    def doubles(values: list[int]) -> list[int]:
        calls.append(values)
        return [value * 2 for value in values]

    @dataclass
    class Stats:
        value: int

        @action(
            batch_invoker=BatchInvoker(doubles, arg_extractor=lambda stats: stats.value),
            cache_control=TtlCacheControl(30),
        )
        def doubled(self) -> int:
            raise AssertionError("one by one")

    @action(triggers=(WEB_GET,))
    async def all_stats(many: int) -> list[Stats]:
        return [Stats(value) for value in range(many)]

    async with Site([all_stats]) as site:
        await site.post("{ allStats(many: 2) { doubled } }")
        found = await site.post("{ allStats(many: 4) { doubled } }")
    assert [item["doubled"] for item in found["data"]["allStats"]] == [0, 2, 4, 6]
    assert calls == [[0, 1], [2, 3]]


async def test_results_of_a_private_action_are_kept_for_each_caller_alone() -> None:
    @action(triggers=(WEB_GET,), cache_control=TtlCacheControl(30))
    def whoami(authorization: Authorization) -> str:
        return str(authorization.subject)

    async with Site([whoami]) as site:
        told = [await site.post("{ whoami }", authorization=Authorization(name)) for name in "abab"]
    assert [item["data"]["whoami"] for item in told] == ["a", "b", "a", "b"]


def actions_of(*ages: int | None, public: bool = False) -> list[Any]:
    made: list[Any] = []
    for number, age in enumerate(ages):

        @action(
            name=f"part{number}",
            triggers=(WEB_GET,),
            cache_control=None if age is None else TtlCacheControl(age, public=public),
        )
        def part() -> int:
            return 1

        made.append(part)
    return made


@pytest.mark.parametrize(
    ("ages", "query", "expected"),
    [
        ((60, 30), "{ part0 part1 }", "max-age=30"),
        ((60, 30), "{ part0 }", "max-age=60"),
        ((60, None), "{ part0 part1 }", "no-cache"),
        ((None,), "{ part0 }", "no-cache"),
        ((60,), "{ part0 _servey { name } }", "max-age=60"),
    ],
)
async def test_the_shortest_age_of_the_parts_is_that_of_the_answer(
    ages: Sequence[int | None], query: str, expected: str
) -> None:
    async with Site(actions_of(*ages)) as site:
        response = await site.get(query)
    assert (response.status, response.headers["cache-control"]) == (200, expected)
    assert response.headers["vary"] == "Accept, Authorization"


async def test_private_wins_and_so_does_a_caller_who_is_known() -> None:
    open_part, *_ = actions_of(60, public=True)

    @action(triggers=(WEB_GET,), cache_control=TtlCacheControl(60), access_control=ScopeAccessControl("root"))
    def guarded() -> int:
        return 1

    async with Site([open_part, guarded]) as site:
        shared = await site.get("{ part0 }")
        root = Authorization("me", frozenset({"root"}))
        both = await site.get("{ part0 guarded }", root)
        own = await site.get("{ part0 }", root)
    assert shared.headers["cache-control"] == "public, max-age=60"
    assert both.headers["cache-control"] == own.headers["cache-control"] == "private, max-age=60"


async def test_the_age_of_an_answer_is_what_is_left_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    count, _ = counting()
    async with Site([count]) as site:
        await site.get("{ count }")
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 10)
        response = await site.get("{ count }")
    assert response.headers["cache-control"] in ("max-age=20", "max-age=19")


async def test_an_answer_that_the_caller_has_is_not_sent_again() -> None:
    count, _ = counting()
    async with Site([count]) as site:
        first = await site.get("{ count }")
        again = await site.get("{ count }", if_none_match=first.headers["etag"])
        other = await site.get("{ count(start: 1) }", if_none_match=first.headers["etag"])
    assert (again.status, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["vary"] == "Accept, Authorization"
    assert other.status == 200


async def test_a_caller_may_ask_for_a_new_result() -> None:
    count, calls = counting()
    async with Site([count]) as site:
        await site.get("{ count }")
        response = await site.get("{ count }", cache_control="no-cache")
        assert response.json() == {"data": {"count": 2}}
        assert (await site.get("{ count }")).json() == {"data": {"count": 2}}
    assert len(calls) == 2


async def test_no_cache_keeps_errors_and_answers_to_post() -> None:
    @action(triggers=(WEB_GET,), cache_control=TtlCacheControl(30))
    def broken() -> int | None:
        raise RuntimeError

    count, _ = counting()
    async with Site([broken, count]) as site:
        assert (await site.get("{ count broken }")).headers["cache-control"] == "no-store"
        assert (await site.get("{ nothing }")).headers["cache-control"] == "no-store"


async def test_a_mutation_makes_what_is_kept_of_its_path_be_forgotten() -> None:
    stored = {"a": 1, "b": 1}

    @action(triggers=(WebTrigger(WebTriggerMethod.GET, "/things/{name}"),), cache_control=TtlCacheControl(60))
    def thing(name: str) -> int:
        return stored[name]

    @action(triggers=(WebTrigger(WebTriggerMethod.PUT, "/things/{key}"),))
    def put_thing(key: str, value: int) -> int:
        if value < 0:
            raise RuntimeError
        stored[key] = value
        return value

    both = '{ a: thing(name: "a") b: thing(name: "b") }'
    async with Site([thing, put_thing]) as site:
        assert await site.post(both) == {"data": {"a": 1, "b": 1}}
        stored.update(b=5)
        await site.post('mutation { putThing(key: "a", value: 2) }')
        assert await site.post(both) == {"data": {"a": 2, "b": 1}}  # of another path nothing is forgotten
        stored.update(a=7)
        await site.post('mutation { putThing(key: "a", value: -1) }')
        assert await site.post(both) == {"data": {"a": 2, "b": 1}}


async def test_without_a_store_every_query_runs_and_says_the_same_to_caches() -> None:
    count, calls = counting()
    async with Site([count], Settings(result_cache="off")) as site:
        for _ in range(2):
            assert (await site.get("{ count }")).headers["cache-control"] == "max-age=30"
    assert len(calls) == 2


async def test_what_cannot_be_read_again_is_called_each_time() -> None:
    @dataclass
    class OneWay:
        """Writes less than it needs to be made."""

        value: int

        def __post_init__(self) -> None:
            if self.value > 5:
                raise ValueError("too much")

    made: list[int] = []

    @action(triggers=(WEB_GET,), cache_control=TtlCacheControl(60))
    def one_way() -> OneWay:
        found = OneWay(1)
        found.value = 10 + len(made)
        made.append(1)
        return found

    @action(triggers=(WEB_POST,))
    def other() -> int:
        return 1

    async with Site([one_way, other]) as site:
        assert (await site.post("{ oneWay { value } }"))["data"]["oneWay"]["value"] >= 10


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

        @action(access_control=ScopeAccessControl("dogs"))
        async def sound(self) -> str:
            return "woof"

    made: list[int] = []

    @action(triggers=(WEB_GET,), cache_control=TtlCacheControl(60))
    async def pet() -> Cat | Dog:
        made.append(1)
        return Dog("Rex")

    query = "{ pet { __typename ... on Cat { cat: sound } ... on Dog { dog: sound } } }"
    async with Site([pet]) as site:
        for _ in range(2):
            response = await site.get(query, Authorization("joe", frozenset({"dogs"})))
            assert response.json()["data"] == {"pet": {"__typename": "Dog", "dog": "woof"}}
        assert (await site.get("{ pet { __typename } }")).headers["cache-control"] == "max-age=60"
        assert [error["extensions"]["code"] for error in (await site.get(query)).json()["errors"]] == ["unauthorized"]
    assert len(made) == 4
