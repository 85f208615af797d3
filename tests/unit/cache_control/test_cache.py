"""Forgetting results: `servey.cache`."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import threading
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import pydantic
import pytest

from servey import Authorization, WebTrigger, WebTriggerMethod, cache
from servey.action.action import action
from servey.action.context import CallContext, Origin, new_request_id
from servey.cache_control import TtlCacheControl
from servey.cache_control.representation import Fetched
from servey.errors import NoServiceError
from servey.service import Service
from servey.settings import Settings

BOUND = 60.0
TTL = TtlCacheControl(30)


@pytest.fixture(params=["memory", "shared"])
def settings(request: pytest.FixtureRequest) -> Settings:
    """Keeps results in each kind of store."""
    if request.param == "memory":
        return Settings()
    valkey = request.getfixturevalue("valkey")
    valkey.client().flushall()
    return Settings(result_cache=valkey.connection_url, store_timeout=BOUND)


def run(service: Service, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def running() -> None:
        async with service.running():
            await main()

    asyncio.run(asyncio.wait_for(running(), BOUND))


async def fetch(service: Service, name: str, /, who: Authorization | None = None, **arguments: Any) -> Fetched:
    operation = service.operations[name]
    return await service.cached[name].fetch(
        operation.decode(arguments), CallContext(Origin.NETWORK, "rest", new_request_id(), who)
    )


async def call(service: Service, name: str, /, **arguments: Any) -> Any:
    operation = service.operations[name]
    return await operation.run(operation.decode(arguments), CallContext(Origin.NETWORK, "rest", new_request_id()))


async def hits(*fetching: Coroutine[Any, Any, Fetched]) -> list[bool]:
    return [(await item).cache_status.startswith("hit") for item in fetching]


@dataclasses.dataclass
class Place:
    x: float
    when: dt.date | None = None


@action(cache_control=TTL)
async def find(place: Place, id: uuid.UUID | str = "", limit: float = 10) -> str:
    return "found"


@action(cache_control=TTL)
async def mine(number: int, caller: Authorization | None) -> str:
    return "mine"


@action
async def uncached(number: int) -> str:
    return "always"


ME, YOU = Authorization(subject="me"), Authorization(subject="you")


def test_one_set_of_arguments_is_forgotten_or_all_are(settings: Settings) -> None:
    service = Service([find], settings=settings)
    id_ = uuid.uuid4()
    wire = {"place": {"x": 1, "when": "2026-01-01"}, "id": str(id_)}
    other = {"place": {"x": 1}, "limit": 10}

    async def main() -> None:
        for arguments in (wire, other):
            await fetch(service, "find", **arguments)
        assert await hits(fetch(service, "find", **wire), fetch(service, "find", **other)) == [True, True]
        assert await cache.ainvalidate(find, place=Place(1, dt.date(2026, 1, 1)), id=id_)
        assert await hits(fetch(service, "find", **wire), fetch(service, "find", **other)) == [False, True]
        assert await cache.ainvalidate("find", place=Place(1.0), limit=10)
        assert await hits(fetch(service, "find", **wire), fetch(service, "find", **other)) == [True, False]
        assert await cache.ainvalidate(find)
        assert await hits(fetch(service, "find", **wire), fetch(service, "find", **other)) == [False, False]

    run(service, main)


class Filter(pydantic.BaseModel):
    text: str = ""
    limit: int = 10


@dataclasses.dataclass
class Since:
    when: dt.datetime


@pytest.mark.parametrize(
    ("tp", "sent", "named"),
    [
        (dt.datetime, "2026-07-01T10:00:00", dt.datetime(2026, 7, 1, 10)),
        (list[dt.datetime], ["2026-07-01T10:00:00"], [dt.datetime(2026, 7, 1, 10)]),
        (Since, {"when": "2026-07-01T10:00:00"}, Since(dt.datetime(2026, 7, 1, 10))),
        (
            dt.datetime,
            "2026-07-01T10:00:00+02:00",
            dt.datetime(2026, 7, 1, 10, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        ),
        (Filter, {"text": "a"}, Filter(text="a")),
        (Filter, {"text": "a", "limit": 10}, Filter(text="a")),
        (
            set[frozenset[int]],
            [[1], [2], [1, 2], [3]],
            {frozenset({3}), frozenset({1, 2}), frozenset({2}), frozenset({1})},
        ),
    ],
    ids=str,
)
def test_what_was_called_with_is_forgotten_by_naming_it(settings: Settings, tp: Any, sent: Any, named: Any) -> None:
    async def of(value: Any) -> int:
        return 1

    of.__annotations__["value"] = tp
    service = Service([action(cache_control=TTL)(of)], settings=settings)

    async def main() -> None:
        await fetch(service, "of", value=sent)
        assert await hits(fetch(service, "of", value=sent)) == [True]
        assert await cache.ainvalidate("of", value=named)
        assert await hits(fetch(service, "of", value=sent)) == [False]

    run(service, main)


def test_results_are_forgotten_whosever_they_are(settings: Settings) -> None:
    service = Service([mine], settings=settings)

    async def main() -> None:
        for who in (None, ME, YOU):
            await fetch(service, "mine", who, number=1)
            await fetch(service, "mine", who, number=2)
        await cache.ainvalidate(mine, number=1)
        assert await hits(*(fetch(service, "mine", who, number=1) for who in (None, ME, YOU))) == [False] * 3
        assert await hits(*(fetch(service, "mine", who, number=2) for who in (None, ME, YOU))) == [True] * 3

    run(service, main)


@pytest.mark.parametrize("threaded", [False, True])
def test_an_action_that_changes_something_forgets_what_was_made_of_it(settings: Settings, threaded: bool) -> None:
    names = {1: "old"}

    @action(cache_control=TTL)
    async def get_name(number: int) -> str:
        return names[number]

    def change(number: int, name: str) -> None:
        names[number] = name
        cache.invalidate(get_name, number=number)

    @action
    def in_a_thread(number: int, name: str) -> None:
        change(number, name)

    @action
    async def on_the_loop(number: int, name: str) -> None:
        change(number, name)

    service = Service([get_name, in_a_thread, on_the_loop], settings=settings)

    async def main() -> None:
        for name in ("one", "two"):
            await fetch(service, "get_name", number=1)
            await call(service, "in_a_thread" if threaded else "on_the_loop", number=1, name=name)
            assert (await fetch(service, "get_name", number=1)).representation.content == f'"{name}"'.encode()

    run(service, main)


@pytest.mark.parametrize("arguments", [{"number": 1}, {}])
def test_a_result_that_is_being_made_is_not_kept_and_given_to_nobody_who_calls_later(
    settings: Settings, arguments: dict[str, int]
) -> None:
    began, go = asyncio.Event(), asyncio.Event()
    value = "old"

    @action(cache_control=TTL)
    async def get_value(number: int) -> str:
        read = value
        began.set()
        await go.wait()
        return read

    service = Service([get_value], settings=settings)

    async def main() -> None:
        nonlocal value
        first = asyncio.create_task(fetch(service, "get_value", number=1))
        await began.wait()
        began.clear()
        value = "new"
        assert await cache.ainvalidate(get_value, **arguments)
        second = asyncio.create_task(fetch(service, "get_value", number=1))
        await began.wait()
        go.set()
        assert (await first).representation.content == b'"old"'
        assert (await first).cache_status == "fwd=uri-miss"
        assert (await second).representation.content == b'"new"'
        assert (await fetch(service, "get_value", number=1)).representation.content == b'"new"'

    run(service, main)


def test_nested_actions_have_a_self() -> None:
    @dataclasses.dataclass
    class Owner:
        name: str

        @action(cache_control=TTL)
        async def pets(self) -> list[str]:
            return [self.name]

    @action
    async def owner() -> Owner:
        return Owner("a")

    service = Service([owner])

    async def main() -> None:
        await fetch(service, "owner_pets", self={"name": "a"})
        cache.invalidate(Owner.pets, self=Owner("b"))
        assert await hits(fetch(service, "owner_pets", self={"name": "a"})) == [True]
        cache.invalidate("pets", self=Owner("a"))
        assert await hits(fetch(service, "owner_pets", self={"name": "a"})) == [False]

    run(service, main)


@pytest.mark.parametrize(
    ("which", "arguments", "error", "words"),
    [
        ("fnd", {}, LookupError, ["no action 'fnd'", "did you mean 'find'"]),
        (dataclasses.field, {}, LookupError, ["field is not an action", "@action"]),
        (uncached, {}, ValueError, ["uncached", "no cache_control"]),
        (mine, {"numbr": 1}, ValueError, ["mine has no parameter 'numbr'", "did you mean 'number'"]),
        (mine, {"caller": ME}, ValueError, ["mine has no parameter 'caller'"]),
        (find, {"limit": 1}, ValueError, ["place must be given, too", "give no arguments"]),
        (mine, {"number": "x"}, ValueError, ["mine cannot have these arguments", "/number"]),
        (mine, {"number": object()}, ValueError, ["mine cannot have these arguments"]),
    ],
)
def test_a_mistake_is_told(which: Any, arguments: dict[str, Any], error: type[Exception], words: list[str]) -> None:
    service = Service([find, mine, uncached])

    async def main() -> None:
        with pytest.raises(error) as caught:
            cache.invalidate(which, **arguments)
        assert [word for word in words if word not in str(caught.value)] == []
        with pytest.raises(error):
            await cache.ainvalidate(which, **arguments)

    run(service, main)


def test_an_action_of_another_service_is_a_mistake() -> None:
    service = Service([find])

    async def main() -> None:
        with pytest.raises(LookupError, match="does not serve mine"):
            cache.invalidate(mine)

    run(service, main)


def test_with_the_cache_off_there_is_nothing_to_forget() -> None:
    service = Service([mine], settings=Settings(result_cache="off"))

    async def main() -> None:
        cache.invalidate(mine, number=1)
        assert await cache.ainvalidate(mine)

    run(service, main)


def test_without_a_service_the_error_says_what_to_do() -> None:
    caught: list[str] = []

    def attempt() -> None:
        try:
            cache.invalidate("f")
        except NoServiceError as error:
            caught.append(str(error))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join(BOUND)
    assert len(caught) == 1
    assert "service.running()" in caught[0]


def test_a_write_by_the_service_itself_invalidates_as_over_http() -> None:
    texts = {1: "first"}

    @action(triggers=(WebTrigger(WebTriggerMethod.GET, "/notes/{id}"),), cache_control=TtlCacheControl(300))
    def read(id: int) -> str:
        return texts[id]

    @action(triggers=(WebTrigger(WebTriggerMethod.PUT, "/notes/{id}"),))
    def write(id: int, text: str) -> None:
        texts[id] = text

    service = Service([read, write])

    async def call(name: str, **arguments: Any) -> Any:
        return await service.call(name, arguments, CallContext(Origin.SYSTEM, "test", "1"), cached=True)

    async def main() -> None:
        async with service.running():
            assert await call("read", id=1) == "first"
            texts[1] = "changed behind the back of the service"
            assert await call("read", id=1) == "first"
            await call("write", id=1, text="second")
            assert await call("read", id=1) == "second"

    asyncio.run(main())
