"""Submitting: the arguments and the caller are checked at once, and nothing gets lost at the end of calls."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import functools
import threading
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from types import MappingProxyType
from typing import Any

import pytest

from servey.action.action import action
from servey.action.batch_invoker import BatchInvoker
from servey.action.context import CallContext, Origin
from servey.action.current import CURRENT_REQUEST
from servey.action.request_scope import RequestScope
from servey.action.resource import resource
from servey.background_call.background import background
from servey.background_call.call import ARGUMENTS_LIMIT, Call
from servey.cache_control.ttl_cache_control import TtlCacheControl
from servey.errors import CallError, NoServiceError, NotFoundError, OverloadedError, SettingsError
from servey.plugin import Plugin
from servey.security.authorization import Authorization
from servey.servey_direct import direct
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client, client_of
from servey.servey_test.submitted_calls import SubmittedCalls, collecting
from servey.service import Service
from servey.settings import Settings
from servey.trigger.web_trigger import WEB_GET, WEB_POST, WebTrigger, WebTriggerMethod

WEB = (WEB_GET, WEB_POST)


class Refusing(SubmittedCalls):
    """Takes no calls."""

    def put_now(self, calls: Sequence[Call], /) -> None:
        raise OverloadedError("full")


@action
def note(what: str) -> None: ...


def words(submitted: SubmittedCalls) -> list[str]:
    return [bytes(call.arguments).decode() for call in submitted.waiting]


def a_note(what: str) -> str:
    return f'{{"what":"{what}"}}'


def bounded(test: Any) -> Any:
    """Run an async test in a new event loop, with a time limit."""

    @functools.wraps(test)
    def limited(*args: Any, **kwargs: Any) -> None:
        async def main() -> None:
            async with asyncio.timeout(30):
                await test(*args, **kwargs)

        asyncio.run(main())

    return limited


# --- arguments ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Parcel:
    to: str
    since: dt.datetime | None = None


@action
def send(
    parcel: Parcel, at: dt.date | None = None, weight: float = 1.0, *, tags: frozenset[str] = frozenset()
) -> None: ...


def cached_value() -> tuple[Any, Any]:
    """Return two actions of a value: one reads it, with cached results; one writes it, and submits a call."""
    value = [1]

    @action(triggers=(WebTrigger(WebTriggerMethod.GET, "/value"),), cache_control=TtlCacheControl(60))
    async def read() -> int:
        return value[0]

    @action(triggers=(WebTrigger(WebTriggerMethod.PUT, "/value"),))
    async def write(to: int) -> None:
        value[0] = to
        background.submit(note, what="written")

    return read, write


def refused(kind: type[Exception], submit: Any) -> str:
    """Return the message of the error."""
    service = Service([send, note])
    messages: list[str] = []

    @bounded
    async def main() -> None:
        with collecting(service) as submitted:
            async with service.running():
                with pytest.raises(kind) as caught:
                    await submit()
                messages.append(str(caught.value))
            assert submitted.waiting == ()

    main()
    return messages[0]


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({}, ["parcel must be given"]),
        ({"parcel": {"to": 1}, "pracel": 2, "weight": "x"}, ["'pracel'", "'parcel'", "/parcel/to", "/weight"]),
        ({"parcel": object(), "weight": "x"}, ["/parcel", "/weight"]),
        ({"parcel": Parcel("caf\udce9")}, [""]),
        ({"parcel": Parcel("x" * ARGUMENTS_LIMIT)}, ["262", str(ARGUMENTS_LIMIT)]),
        ({"parcel": Parcel("you"), "weight": float("nan")}, ["/weight"]),
        ({"parcel": deep()}, ["send"]),
    ],
    ids=["missing", "all", "object", "surrogate", "large", "nan", "deep"],
)
def test_wrong_arguments_are_refused_at_once_with_all_problems(arguments: dict[str, Any], parts: list[str]) -> None:
    message = refused(ValueError, lambda: background.asubmit(send, **arguments))
    assert [part for part in parts if part not in message] == []


def test_arguments_of_every_type_arrive() -> None:
    got: list[Any] = []

    @action
    def take(action: str, self: int, parcel: Parcel, at: dt.date, tags: frozenset[str]) -> None:
        got.append((action, self, parcel, at, tags))

    given = {
        "action": "a",
        "self": 2,
        "parcel": Parcel("you", dt.datetime(2026, 1, 1)),
        "at": dt.date(2026, 1, 2),
        "tags": frozenset({"x", "y"}),
    }
    service = Service([take])

    @bounded
    async def main() -> None:
        with collecting(service) as submitted:
            async with service.running():
                await background.asubmit(take, **given)
                await submitted.run_all()

    main()
    assert got == [tuple(given.values())]


def test_a_nested_action_is_submitted_with_its_object() -> None:
    got: list[str] = []

    @dataclasses.dataclass
    class Owner:
        name: str

        @action
        def greet(self, word: str) -> None:
            got.append(f"{word} {self.name}")

    @action
    def owner() -> Owner:
        return Owner("a")

    service = Service([owner])

    @bounded
    async def main() -> None:
        with collecting(service) as submitted:
            async with service.running():
                await background.asubmit(Owner.greet, self=Owner("b"), word="hello")
                await submitted.run_all()

    main()
    assert got == ["hello b"]


@pytest.mark.parametrize(
    ("made", "part"),
    [
        (lambda: background.after(901), "SERVEY_MAX_DELAY"),
        (lambda: background.after(-1), "delay"),
        (lambda: background.after(True), "delay"),
        (lambda: background.after(float("inf")), "delay"),
        (lambda: background.once(""), "id"),
        (lambda: background.once("x" * 201), "id"),
        (lambda: background.once("a\nb"), "id"),
        (lambda: background.once(1), "id"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_delay_or_id_is_refused(made: Any, part: str) -> None:
    async def submit() -> None:
        await made().asubmit(note, what="x")

    assert part in refused(ValueError, submit)


def test_an_unknown_action_is_refused() -> None:
    assert "did you mean 'note'" in refused(LookupError, lambda: background.asubmit("noet", what="x"))


@bounded
async def test_an_id_names_the_action_and_a_delay_is_its_due() -> None:
    service = Service([note, send])
    with collecting(service) as submitted:
        async with service.running():
            later = background.after(900).once("7")
            ids = [
                await later.asubmit(note, what="x"),
                await later.asubmit(note, what="y"),
                await background.once("7").after(0).asubmit(send, parcel=Parcel("you")),
                await background.asubmit(note, what="z"),
            ]
    assert ids[:3] == ["note#7", "note#7", "send#7"]
    assert [call.id for call in submitted.waiting] == ["note#7", "send#7", ids[3]]
    first, second, _ = submitted.waiting
    assert 890 < first.due - second.due <= 900


# --- the caller -----------------------------------------------------------------------------------------------------


class Employee(Authorization, frozen=True):
    department: str = ""


@pytest.mark.parametrize(
    "caller",
    [
        Employee("me"),
        Authorization("me", claims={"id": uuid.UUID(int=1)}),
        Authorization("me", claims={"at": (1, 2)}),
        Authorization("me", claims={"what": object()}),
        Authorization("me", claims=MappingProxyType({"a": 1})),
    ],
    ids=["subclass", "uuid", "tuple", "object", "mapping"],
)
@bounded
async def test_a_caller_who_would_arrive_as_another_one_is_not_sent(caller: Authorization) -> None:
    @action
    async def order() -> None:
        with pytest.raises(TypeError, match="claims"):
            background.submit(note, what="x")

    service = Service([order, note])
    with collecting(service) as submitted:
        await direct.call(service, "order", context=CallContext(Origin.NETWORK, "test", "r", caller))
    assert submitted.waiting == ()


@bounded
async def test_a_caller_arrives_with_all_fields() -> None:
    zone = dt.timezone(dt.timedelta(hours=2))
    caller = Authorization(
        "me", frozenset({"a", "b"}), "https://issuer", None, dt.datetime(2026, 1, 1, tzinfo=zone), {"org": {"id": [1]}}
    )

    @action
    async def order() -> None:
        background.submit(note, what="x")

    service = Service([order, note])
    with collecting(service) as submitted:
        await direct.call(service, "order", context=CallContext(Origin.NETWORK, "test", "r", caller))
    assert [call.caller for call in submitted.waiting] == [caller]


# --- outside of calls -----------------------------------------------------------------------------------------------


def test_without_a_service_nothing_can_be_submitted() -> None:
    with pytest.raises(NoServiceError):
        background.submit(note, what="x")


@bounded
async def test_outside_of_calls_a_thread_submits_at_once_and_an_event_loop_awaits() -> None:
    service = Service([note])
    with collecting(service) as submitted:
        async with service.running():
            with pytest.raises(RuntimeError, match="asubmit"):
                background.submit(note, what="loop")
            await asyncio.to_thread(background.submit, note, what="thread")
            await background.asubmit(note, what="awaited")
    assert words(submitted) == [a_note("thread"), a_note("awaited")]
    assert service.stores.submitted == 2


@bounded
async def test_outside_of_calls_a_queue_that_refuses_is_an_error() -> None:
    service = Service([note])
    service.stores.calls = Refusing(service)
    async with service.running():
        with pytest.raises(OverloadedError, match="full"):
            await background.asubmit(note, what="x")
        with pytest.raises(OverloadedError, match="full"):
            await asyncio.to_thread(background.submit, note, what="x")
    assert service.stores.submitted == 0


@bounded
async def test_a_queue_that_hangs_is_an_error_after_its_time() -> None:
    class Hanging(SubmittedCalls):
        async def put(self, calls: Sequence[Call], /) -> None:
            await asyncio.Event().wait()

    service = Service([note], settings=Settings(queue_timeout=0.01))
    service.stores.calls = Hanging(service)
    async with service.running():
        with pytest.raises(OverloadedError, match="does not answer"):
            await background.asubmit(note, what="x")


@bounded
async def test_a_thread_of_a_route_does_not_lose_its_caller() -> None:
    service = Service([note])

    class Request:
        request_id, traceparent, client = "r", "00-a-b-01", ""

        async def caller(self) -> Authorization:
            return Authorization("me")

    with collecting(service) as submitted:
        async with service.running():
            token = CURRENT_REQUEST.set(Request())
            with pytest.raises(RuntimeError, match="caller"):
                await asyncio.to_thread(background.submit, note, what="x")
            await background.asubmit(note, what="x")
            CURRENT_REQUEST.reset(token)
    [call] = submitted.waiting
    assert (call.caller, call.request_id, call.traceparent) == (Authorization("me"), "r", "00-a-b-01")


@bounded
async def test_access_controls_await_asubmit() -> None:
    class Auditing:
        def __init__(self, at_once: bool) -> None:
            self.at_once = at_once

        async def check(self, authorization: Authorization | None, /) -> None:
            if self.at_once:
                await background.asubmit(note, what="audited")
            else:
                background.submit(note, what="lost")

    @action(triggers=WEB, access_control=Auditing(True))
    async def awaits() -> None: ...

    @action(triggers=WEB, access_control=Auditing(False))
    async def collects() -> None: ...

    service = Service([awaits, collects, note])
    async with client_of(create_app(service)) as client:
        assert (await client.request("POST", "/actions/awaits", json={})).status == 200
        assert (await client.request("POST", "/actions/collects", json={})).status == 500
        assert [bytes(call.arguments).decode() for call in await client.run_submitted()] == [a_note("audited")]


# --- the end of calls -----------------------------------------------------------------------------------------------


@bounded
async def test_what_outlives_a_call_that_has_succeeded_is_outside_of_it() -> None:
    ended = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []

    async def later_on_loop() -> None:
        await ended.wait()
        background.submit(note, what="loop")

    async def later_in_thread() -> str:
        await ended.wait()
        return await asyncio.to_thread(background.submit, note, what="thread")

    @action
    async def order() -> None:
        background.submit(note, what="inside")
        tasks.extend([asyncio.create_task(later_on_loop()), asyncio.create_task(later_in_thread())])

    service = Service([order, note])
    with collecting(service) as submitted:
        async with service.running():
            await direct.call(service, "order", {})
            ended.set()
            on_loop, in_thread = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(on_loop, RuntimeError)
    assert "asubmit" in str(on_loop)
    assert isinstance(in_thread, str)
    assert words(submitted) == [a_note("inside"), a_note("thread")]


@bounded
async def test_what_outlives_a_call_that_has_failed_submits_nothing() -> None:
    ended, left = threading.Event(), asyncio.Event()
    found: list[BaseException] = []
    loop = asyncio.get_running_loop()

    @action(timeout=0.05)
    def order() -> None:
        background.submit(note, what="in time")
        ended.wait(30)
        try:
            background.submit(note, what="late")
        except RuntimeError as error:
            found.append(error)
        loop.call_soon_threadsafe(left.set)

    service = Service([order, note])
    with collecting(service) as submitted:
        async with service.running():
            with pytest.raises(CallError):
                await direct.call(service, "order", {})
            ended.set()
            await left.wait()
    assert ["order has failed" in str(error) for error in found] == [True]
    assert submitted.waiting == ()


@bounded
async def test_threads_of_a_call_submit_with_it() -> None:
    @action
    async def order() -> None:
        await asyncio.gather(*(asyncio.to_thread(background.submit, note, what=str(n)) for n in range(50)))
        assert submitted.waiting == ()

    service = Service([order, note])
    with collecting(service) as submitted:
        await direct.call(service, "order", {})
    assert sorted(words(submitted)) == sorted(a_note(str(n)) for n in range(50))


@bounded
async def test_a_context_of_two_calls_at_the_same_time_submits_for_each_by_itself() -> None:
    failing = asyncio.Event()

    @action
    async def good() -> None:
        background.submit(note, what="good")
        await asyncio.sleep(0)
        failing.set()

    @action
    async def bad() -> None:
        background.submit(note, what="bad")
        await failing.wait()
        raise NotFoundError

    service = Service([good, bad, note])
    context = CallContext(Origin.SYSTEM, "test", "r")
    with collecting(service) as submitted:
        calls = [direct.call(service, name, {}, context=context) for name in ("bad", "good", "good")]
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[0], NotFoundError)
    assert words(submitted) == [a_note("good")] * 2


@bounded
async def test_without_a_queue_a_call_fails_before_its_changes_are_made(caplog: pytest.LogCaptureFixture) -> None:
    class Session: ...

    ended: list[str] = []

    @resource
    def session() -> Iterator[Session]:
        try:
            yield Session()
        except BaseException:
            ended.append("rolled back")
            raise
        ended.append("committed")

    @action
    def order(session: Session) -> None:
        background.submit(note, what="x")

    service = Service([order, note], resources=[session], settings=Settings(store="redis://me:secret@host"))
    with pytest.raises(OverloadedError):  # the caller cannot change the settings
        await direct.call(service, "order", {})
    assert ended == ["rolled back"]
    assert "CELERY_BROKER" in caplog.text, "but the developer can"
    assert "secret" not in caplog.text
    with pytest.raises(SettingsError, match="SERVEY_STORE"):
        _ = service.stores.calls


def test_two_threads_open_one_queue() -> None:
    made: list[Any] = []
    both = threading.Barrier(2)

    class Slow(Plugin):
        def call_queue(self, service: Service) -> Any:
            made.append(object())
            threading.Event().wait(0.05)
            return made[-1]

    service = Service([note], plugins=[Slow()])
    found: list[Any] = []

    def look() -> None:
        both.wait(10)
        found.append(service.stores.calls)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == made * 2


# --- caches ---------------------------------------------------------------------------------------------------------


def in_client(*actions: Any, resources: Sequence[Any] = (), refuses: bool = False) -> Any:
    """Return a decorator for a test with a client and the submitted calls of a service of `actions`."""

    def decorate(test: Any) -> None:
        @bounded
        async def main() -> None:
            service = Service([*actions, note], resources=resources)
            if refuses:
                service.stores.calls = Refusing(service)
            with collecting(service) as submitted:
                async with client_of(create_app(service)) as client:
                    await test(client, submitted)

        main()

    return decorate


def test_a_cached_result_submits_once() -> None:
    @action(triggers=WEB, cache_control=TtlCacheControl(60))
    async def find(id: int) -> int:
        background.submit(note, what=f"find {id}")
        return id

    @in_client(find)
    async def _(client: Client, submitted: SubmittedCalls) -> None:
        both = await asyncio.gather(*(client.request("GET", "/actions/find?id=1") for _ in range(2)))
        hit = await client.request("GET", "/actions/find?id=1")
        assert [response.status for response in (*both, hit)] == [200] * 3
        tag = hit.headers["etag"]
        same = await client.request("GET", "/actions/find?id=1", headers={"if-none-match": tag})
        head = await client.request("HEAD", "/actions/find?id=2")
        assert (same.status, head.status) == (304, 200)
        assert words(submitted) == [a_note("find 1"), a_note("find 2")]


def test_a_write_whose_submission_is_not_taken_invalidates_the_cached_results() -> None:
    read, write = cached_value()

    @in_client(read, write, refuses=True)
    async def _(client: Client, submitted: SubmittedCalls) -> None:
        assert (await client.request("GET", "/value")).json() == 1
        assert (await client.request("PUT", "/value", json={"to": 2})).status == 503
        assert (await client.request("GET", "/value")).json() == 2
        query = {"query": "mutation { write(to: 3) }"}
        answer = (await client.request("POST", "/graphql", json=query)).json()
        assert [error["extensions"]["status"] for error in answer["errors"]] == [503]
        assert (await client.request("GET", "/value")).json() == 3


@pytest.mark.parametrize("by_graphql", [False, True])
def test_a_write_that_is_cancelled_while_it_submits_invalidates_the_cached_results(by_graphql: bool) -> None:
    read, write = cached_value()
    putting = asyncio.Event()

    class Hanging(SubmittedCalls):
        async def put(self, calls: Sequence[Call], /) -> None:
            putting.set()
            await asyncio.sleep(60)

    service = Service([read, write, note])
    service.stores.calls = Hanging(service)

    @bounded
    async def main() -> None:
        async with client_of(create_app(service)) as client:
            assert (await client.request("GET", "/value")).json() == 1
            query = {"query": "mutation { write(to: 2) }"}
            request = ("POST", "/graphql", query) if by_graphql else ("PUT", "/value", {"to": 2})
            writing = asyncio.create_task(client.request(*request[:2], json=request[2]))
            await putting.wait()
            writing.cancel()
            await asyncio.wait((writing,))
            assert (await client.request("GET", "/value")).json() == 2

    main()


# --- requests of many calls -----------------------------------------------------------------------------------------


class Session:
    def __init__(self) -> None:
        self.events: list[str] = []


def session_of(events: list[str], *, scope: Any = "request") -> Any:
    @resource(scope=scope)
    async def session() -> AsyncIterator[Session]:
        background.submit(note, what="opened")
        try:
            yield Session()
        except BaseException:
            background.submit(note, what="failed")
            events.append("rolled back")
            raise
        background.submit(note, what="closed")
        events.append("committed")

    return session


@action(triggers=(WEB_POST,))
async def good(session: Session, name: str) -> str:
    background.submit(note, what=f"good {name}")
    return name


@action(triggers=(WEB_POST,))
async def bad(session: Session, name: str) -> str | None:
    background.submit(note, what=f"bad {name}")
    raise NotFoundError


@action(triggers=(WEB_POST,))
async def plain(name: str) -> str:
    background.submit(note, what=f"plain {name}")
    return name


async def graphql(client: Client, query: str) -> tuple[Any, list[int]]:
    answer = (await client.request("POST", "/graphql", json={"query": query})).json()
    return answer.get("data"), [error["extensions"]["status"] for error in answer.get("errors", ())]


def test_each_field_of_a_mutation_submits_by_itself() -> None:
    events: list[str] = []

    @in_client(good, bad, plain, resources=[session_of(events)])
    async def _(client: Client, submitted: SubmittedCalls) -> None:
        query = 'mutation { a: good(name: "1") b: bad(name: "2") c: plain(name: "3") }'
        data, statuses = await graphql(client, query)
        assert (data, statuses) == ({"a": "1", "b": None, "c": "3"}, [404])
        assert events == ["committed", "rolled back"]
        assert words(submitted) == [a_note(word) for word in ("good 1", "opened", "closed", "plain 3")]


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_query_shares_submits_together_or_not_at_all(fails: bool) -> None:
    events: list[str] = []

    @action(triggers=(WEB_GET,))
    async def shared(session: Session) -> str | None:
        background.submit(note, what="shared")
        return "x"

    @action(triggers=(WEB_GET,))
    async def other(session: Session) -> str | None:
        background.submit(note, what="other")
        if fails:
            raise NotFoundError
        return "y"

    @action(triggers=(WEB_GET,))
    async def alone() -> str:
        background.submit(note, what="alone")
        return "z"

    @in_client(shared, other, alone, resources=[session_of(events)])
    async def _(client: Client, submitted: SubmittedCalls) -> None:
        data, statuses = await graphql(client, "{ shared other alone }")
        assert data == {"shared": "x", "other": None if fails else "y", "alone": "z"}
        assert statuses == ([404] if fails else [])
        assert events == (["rolled back"] if fails else ["committed"])
        expected = ["alone"] if fails else ["alone", "closed", "opened", "other", "shared"]
        assert sorted(words(submitted)) == [a_note(word) for word in expected]


def test_a_queue_that_refuses_is_one_error_of_the_field_or_of_the_query() -> None:
    @action(triggers=(WEB_GET,))
    async def read() -> str:
        background.submit(note, what="x")
        return "x"

    @in_client(good, read, resources=[session_of([])], refuses=True)
    async def _(client: Client, submitted: SubmittedCalls) -> None:
        assert await graphql(client, 'mutation { a: good(name: "1") b: good(name: "2") }') == (None, [503])
        assert await graphql(client, "{ a: read b: read }") == (None, [503])


@dataclasses.dataclass
class Author:
    name: str

    @action
    async def books(self) -> list[str]:
        background.submit(note, what=f"books of {self.name}")
        if self.name == "nobody":
            raise NotFoundError
        return ["a", "b"]


@pytest.mark.parametrize("name", ["somebody", "nobody"])
def test_a_request_with_included_results_submits_all_or_nothing(name: str) -> None:
    @action(triggers=(WEB_GET,))
    async def author(session: Session, name: str) -> Author:
        background.submit(note, what="author")
        return Author(name)

    events: list[str] = []

    @in_client(author, resources=[session_of(events)])
    async def _(client: Client, submitted: SubmittedCalls) -> None:
        response = await client.request("GET", f"/actions/author?name={name}&include=books")
        if name == "nobody":
            assert (response.status, events, words(submitted)) == (404, ["rolled back"], [])
            return
        assert (response.status, events) == (200, ["committed"])
        expected = ["author", "books of somebody", "closed", "opened"]
        assert sorted(words(submitted)) == [a_note(word) for word in expected]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["def", "async"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_batch_function_submits_once_for_all(asynchronous: bool, fails: bool) -> None:
    def of_all(authors: list[Any]) -> list[int]:
        background.submit(note, what=f"{len(authors)} authors")
        if fails:
            raise NotFoundError
        return [len(author.name) for author in authors]

    async def of_all_async(authors: list[Any]) -> list[int]:
        return of_all(authors)

    @dataclasses.dataclass
    class Writer:
        name: str

        @action(batch_invoker=BatchInvoker(of_all_async if asynchronous else of_all))
        async def length(self) -> int | None:
            return None

    @action(triggers=(WEB_GET,))
    async def writers() -> list[Writer]:
        return [Writer("a"), Writer("bb")]

    @in_client(writers)
    async def _(client: Client, submitted: SubmittedCalls) -> None:
        data, statuses = await graphql(client, "{ writers { length } }")
        assert data == {"writers": [{"length": None if fails else 1}, {"length": None if fails else 2}]}
        assert statuses == ([404, 404] if fails else [])
        assert words(submitted) == ([] if fails else [a_note("2 authors")])


@bounded
async def test_many_defs_of_one_query_submit_each() -> None:
    @dataclasses.dataclass
    class Item:
        number: int

        @action
        def noted(self) -> int:
            background.submit(note, what=str(self.number))
            return self.number

    @action(triggers=(WEB_GET,))
    async def items() -> list[Item]:
        return [Item(number) for number in range(50)]

    service = Service([items, note])
    async with client_of(create_app(service)) as client:
        _, statuses = await graphql(client, "{ items { noted } }")
        assert statuses == []
        ran = [bytes(call.arguments).decode() for call in await client.run_submitted()]
    assert sorted(ran) == sorted(a_note(str(number)) for number in range(50))


@bounded
async def test_the_trace_of_a_request_goes_with_what_it_submits() -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"

    @action(triggers=(WEB_POST,))
    async def order() -> str:
        background.submit(note, what="x")
        await direct.call(service, "inner", {})
        return ""

    @action
    async def inner() -> None:
        background.submit(note, what="y")

    service = Service([order, inner, note])
    headers = {"traceparent": trace}
    with collecting(service) as submitted:
        async with client_of(create_app(service)) as client:
            await client.request("POST", "/actions/order", json={}, headers=headers)
            await client.request("POST", "/graphql", json={"query": "mutation { order }"}, headers=headers)
            await client.request("POST", "/actions/order", json={}, headers={"traceparent": "x" + trace})
    assert [call.traceparent for call in submitted.waiting] == [trace] * 4 + [""] * 2


@bounded
async def test_a_call_that_ends_after_its_request_submits_by_itself() -> None:
    @action
    async def order() -> None:
        background.submit(note, what="late")

    service = Service([order, note])
    async with RequestScope() as scope:
        pass
    context = CallContext(Origin.NETWORK, "test", "r", request_scope=scope)
    with collecting(service) as submitted:
        await direct.call(service, "order", {}, context=context)
    assert words(submitted) == [a_note("late")]


@bounded
async def test_a_task_of_a_shared_resource_submits_nothing_after_its_rollback() -> None:
    ended = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []

    async def later() -> None:
        await ended.wait()
        background.submit(note, what="late")

    @resource(scope="request")
    async def session() -> AsyncIterator[Session]:
        tasks.append(asyncio.create_task(later()))
        yield Session()

    service = Service([bad, note], resources=[session])
    with collecting(service) as submitted:
        async with client_of(create_app(service)) as client:
            assert await graphql(client, 'mutation { bad(name: "1") }') == ({"bad": None}, [404])
            ended.set()
            with pytest.raises(RuntimeError, match="failed"):
                await tasks[0]
    assert submitted.waiting == ()


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("by_graphql", [True, False])
@bounded
async def test_authorizers_await_asubmit(by_graphql: bool, at_once: bool) -> None:
    class Own:
        async def authorize(self, token: str, /) -> Authorization | None:
            if at_once:
                await background.asubmit(note, what="authorized")
            else:
                background.submit(note, what="lost")
            return Authorization("me")

    class OwnPlugin(Plugin):
        def authorizers(self) -> Sequence[Any]:
            return (Own(),)

    @action(triggers=(WEB_POST,))
    async def order() -> str:
        return "x"

    service = Service([order, note], plugins=[OwnPlugin()])
    with collecting(service) as submitted:
        async with client_of(create_app(service)) as client:
            path, body = ("/graphql", {"query": "mutation { order }"}) if by_graphql else ("/actions/order", {})
            response = await client.request("POST", path, json=body, headers={"authorization": "Bearer x"})
    assert response.status == (200 if at_once else 500)
    assert words(submitted) == ([a_note("authorized")] if at_once else [])


@bounded
async def test_an_operation_that_runs_twice_with_one_context_submits_twice() -> None:
    @action
    async def order() -> None:
        background.submit(note, what="x")

    service = Service([order, note])
    operation, context = service.operation("order"), CallContext(Origin.SYSTEM, "test", "r")
    with collecting(service) as submitted:
        async with service.running():
            for _ in range(2):
                await operation.run(operation.decode({}), context)
    assert words(submitted) == [a_note("x")] * 2


@bounded
async def test_a_write_of_a_direct_call_invalidates_too_if_its_submission_is_not_taken() -> None:
    read, write = cached_value()

    service = Service([read, write, note])
    service.stores.calls = Refusing(service)
    async with service.running():
        assert await direct.call(service, "read", {}, cached=True) == 1
        with pytest.raises(OverloadedError):
            await direct.call(service, "write", {"to": 2})
        assert await direct.call(service, "read", {}, cached=True) == 2


@bounded
async def test_each_other_call_has_its_own_id() -> None:
    ids: list[str] = []

    @action
    async def remember(context: CallContext) -> None:
        ids.append(context.call_id)

    service = Service([remember])
    async with service.running():
        for _ in range(2):
            await direct.call(service, "remember", {})
        await direct.call(service, "remember", {}, context=CallContext(Origin.SYSTEM, "direct", "r", call_id="mine"))
    assert len(set(ids)) == 3
    assert (all(ids), ids[2]) == (True, "mine")


@bounded
async def test_a_delay_is_seconds_or_a_timedelta() -> None:
    service = Service([note])
    with collecting(service) as submitted:
        async with service.running():
            for delay in (90, dt.timedelta(minutes=1.5)):
                await background.after(delay).asubmit(note, what="later")
    first, second = submitted.waiting
    assert 0 <= second.due - first.due < 60
