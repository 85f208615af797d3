"""Resources of scope "request": what the calls of one request share, where requests are many calls."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from behaviour.conftest import BOUND
from servey import (
    WEB_GET,
    WEB_POST,
    Authorization,
    BatchInvoker,
    CallContext,
    ConflictError,
    NotFoundError,
    Origin,
    WebTrigger,
    WebTriggerMethod,
    cache,
    resource,
)
from servey.action.action import action
from servey.action.batch_loader import BatchLoader
from servey.action.request_scope import RequestScope
from servey.cache_control.ttl_cache_control import TtlCacheControl
from servey.errors import InternalError
from servey.servey_direct import direct
from servey.servey_starlette.app import create_app
from servey.servey_test.client import client_of
from servey.service import Service
from support.served import served_by_uvicorn

KINDS = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
MANY = pytest.mark.parametrize("asked", ["query", "mutation", "include"])
"""The requests that are many calls."""


@dataclass
class Session:
    """What one request does; says when two calls use it at a time."""

    events: list[str]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def use(self, what: str) -> None:
        assert self.lock.acquire(blocking=False), "two calls at a time"
        self.events.append(what)
        self.lock.release()


def session_of(
    events: list[str], *, asynchronous: bool, commit: Callable[[], None] = lambda: None, limit: int | None = None
) -> Any:
    """Return a resource that says what becomes of it."""

    def closed(error: BaseException | None) -> None:
        if error is None:
            commit()
        events.append("commit" if error is None else f"rollback {type(error).__name__}")

    if asynchronous:

        @resource(scope="request", limit=limit)
        async def session() -> AsyncIterator[Session]:
            events.append("begin")
            opened_in = asyncio.current_task()
            try:
                yield Session(events)
            except BaseException as error:
                closed(error)
                raise
            assert asyncio.current_task() is opened_in
            closed(None)

    else:

        @resource(scope="request", limit=limit)
        def session() -> Iterator[Session]:
            events.append("begin")
            try:
                yield Session(events)
            except BaseException as error:
                closed(error)
                raise
            closed(None)

    return session


def parts(items: list[Part], session: Session) -> list[Any]:
    session.use("batch")
    return [NotFoundError("no such part") if item.number == 13 else item.number for item in items]


@dataclass
class Part:
    number: int

    @action
    def plain(self, session: Session) -> int | None:
        session.use("plain")
        if self.number == 13:
            raise NotFoundError("no such part")
        if self.number == 14:
            raise RuntimeError("a bug")
        if self.number == 15:
            return "no number"  # type: ignore[return-value]
        return self.number

    @action
    async def looping(self, session: Session) -> int | None:
        session.use("looping")
        await asyncio.sleep(0)
        return self.number

    @action(batch_invoker=BatchInvoker(parts))
    def batched(self, session: Session) -> int | None:
        raise AssertionError("the batch function is called")

    @action
    def free(self) -> int | None:
        """Needs no session."""
        if self.number == 13:
            raise NotFoundError("no such part")
        return self.number


class Asker:
    """Asks for nested actions of the parts of some numbers, in one way."""

    def __init__(self, client: Any, how: str) -> None:
        self._client, self._how = client, how

    async def ask(self, numbers: list[int], *names: str) -> dict[str, Any]:
        """Return the codes of the errors, by their paths (those of `?include=` have none), and the data."""
        if self._how == "include":
            query = [("numbers", str(number)) for number in numbers] + [("include", ",".join(names))]
            response = await self._client.request("GET", "/actions/list-parts", query=query)
            told = json.loads(response.content)
            if response.status >= 400:
                return {"errors": {"": told["code"]}, "data": None}
            return {"data": [{name: item[name] for name in names} for item in told]}
        listed = {"query": "listParts", "mutation": "makeParts"}[self._how]
        return await graphql(self._client, f"{self._how} {{ {listed}(numbers: {numbers}) {{ {' '.join(names)} }} }}")


async def graphql(client: Any, query: str) -> dict[str, Any]:
    """Return what a document comes to: the data of its only field, and the codes of its errors."""
    content = json.dumps({"query": query}).encode()
    headers = {"content-type": "application/json"}
    response = await client.request("POST", "/graphql", content=content, headers=headers)
    told = json.loads(response.content)
    data = told["data"]
    found = {"data": next(iter(data.values())) if data is not None and len(data) == 1 else data}
    if "errors" in told:
        found["errors"] = {
            ".".join(map(str, error.get("path", ()))): error["extensions"]["code"] for error in told["errors"]
        }
    return found


def asking(service: Service, how: str, test: Callable[[Asker], Coroutine[Any, Any, None]]) -> None:
    """Run a test with the service open."""

    async def main() -> None:
        async with asyncio.timeout(BOUND), client_of(create_app(service)) as client:
            await test(Asker(client, how))

    asyncio.run(main())


def service_of(session: Any) -> Service:
    """Return a service that lists parts by a query and a GET, and makes them by a mutation."""

    @action(triggers=(WEB_GET,))
    def list_parts(numbers: list[int], session: Session) -> list[Part] | None:
        session.use("list")
        return [Part(number) for number in numbers]

    @action(triggers=(WEB_POST,))
    def make_parts(numbers: list[int], session: Session) -> list[Part] | None:
        session.use("list")
        return [Part(number) for number in numbers]

    return Service([list_parts, make_parts], resources=[session])


# --- what is shared ---------------------------------------------------------------------------------------------------


@KINDS
@MANY
def test_all_calls_of_a_request_share_one_that_is_closed_after_them(asked: str, asynchronous: bool) -> None:
    events: list[str] = []

    async def test(asker: Asker) -> None:
        told = await asker.ask([1, 2, 3], "plain", "looping", "batched", "free")
        assert [(item["plain"], item["looping"], item["batched"], item["free"]) for item in told["data"]] == [
            (number,) * 4 for number in (1, 2, 3)
        ]
        assert (events[:2], events[-1]) == (["begin", "list"], "commit")
        assert sorted(events[2:-1]) == ["batch", *["looping"] * 3, *["plain"] * 3]

    asking(service_of(session_of(events, asynchronous=asynchronous)), asked, test)


@MANY
def test_a_request_whose_calls_need_none_opens_none(asked: str) -> None:
    events: list[str] = []

    @action(name="list_parts", triggers=(WEB_GET,))
    def listed(numbers: list[int]) -> list[Part]:
        return [Part(number) for number in numbers]

    @action(name="make_parts", triggers=(WEB_POST,))
    def made(numbers: list[int]) -> list[Part]:
        return [Part(number) for number in numbers]

    async def test(asker: Asker) -> None:
        assert "errors" not in await asker.ask([1, 2], "free")
        assert events == []

    asking(Service([listed, made], resources=[session_of(events, asynchronous=False)]), asked, test)


def test_each_root_field_of_a_mutation_has_one_of_its_own_and_all_of_a_query_have_one() -> None:
    events: list[str] = []

    async def test(asker: Asker) -> None:
        fields = "{0}(numbers: [1]) {{ plain }} b: {0}(numbers: [2]) {{ plain }}"
        await graphql(asker._client, f"{{ {fields.format('listParts')} }}")
        assert sorted(events) == ["begin", "commit", "list", "list", "plain", "plain"]
        events.clear()
        await graphql(asker._client, f"mutation {{ {fields.format('makeParts')} }}")
        assert events == ["begin", "list", "plain", "commit"] * 2

    asking(service_of(session_of(events, asynchronous=False)), "query", test)


def test_calls_that_need_none_do_not_wait_for_those_that_do() -> None:
    """The call that has the session ends when one that has none comes."""
    came = threading.Event()

    @dataclass
    class Thing:
        number: int

        @action
        def holding(self, session: Session) -> bool:
            return came.wait(BOUND)

        @action
        async def free(self) -> bool:
            came.set()
            return True

    @action(triggers=(WEB_GET,))
    def things() -> list[Thing]:
        return [Thing(1), Thing(2)]

    async def test(asker: Asker) -> None:
        told = await graphql(asker._client, "{ things { holding free } }")
        assert told == {"data": [{"holding": True, "free": True}] * 2}

    asking(Service([things], resources=[session_of([], asynchronous=False)]), "query", test)


def test_resources_of_all_scopes_ask_for_those_that_live_longer() -> None:
    events: list[str] = []

    class Pool:
        pass

    class Who(str):
        pass

    class Cart(str):
        pass

    @resource(scope="service")
    def pool() -> Iterator[Pool]:
        yield Pool()
        events.append("close pool")

    @resource(scope="request")
    async def who(pool: Pool, caller: Authorization | None, context: CallContext) -> AsyncIterator[Who]:
        yield Who(f"{caller.subject if caller else 'nobody'} by {context.transport}")
        events.append("close who")

    @resource(scope="request")
    def session(who: Who) -> Iterator[Session]:
        yield Session(events)
        events.append("close session")

    @resource
    def cart(session: Session, who: Who) -> Iterator[Cart]:
        yield Cart(f"cart of {who}")
        events.append("close cart")

    @dataclass
    class Shop:
        name: str

        @action
        def cart(self, cart: Cart) -> str:
            return cart

        @action
        async def who(self, who: Who) -> str:
            return who

    @action(triggers=(WEB_GET,))
    def shop() -> Shop:
        return Shop("corner")

    async def test(asker: Asker) -> None:
        told = await graphql(asker._client, "{ shop { cart again: cart who } }")
        expected = "cart of nobody by graphql"
        assert told == {"data": {"cart": expected, "again": expected, "who": "nobody by graphql"}}
        assert events == ["close cart", "close cart", "close session", "close who"]

    service = Service([shop], resources=[cart, session, who, pool])
    asking(service, "query", test)
    assert events[-1] == "close pool"


# --- failures ---------------------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize(
    ("number", "name", "raised", "code"),
    [
        (13, "plain", "NotFoundError", "not_found"),
        (14, "plain", "RuntimeError", "internal_error"),
        (15, "plain", "ResultError", "internal_error"),
        (13, "batched", "NotFoundError", "not_found"),
    ],
)
@MANY
def test_it_sees_the_first_error_of_a_call_that_used_it(
    asked: str, number: int, name: str, raised: str, code: str, asynchronous: bool
) -> None:
    """A query answers what else there is; a mutation and an ?include= say that nothing was done."""
    events: list[str] = []

    async def test(asker: Asker) -> None:
        told = await asker.ask([1, number], name)
        assert events[-1] == f"rollback {raised}"
        assert events.count("begin") == 1
        if asked == "query":
            assert told == {"errors": {f"listParts.1.{name}": code}, "data": [{name: 1}, {name: None}]}
        elif asked == "mutation":
            assert told == {"errors": {f"makeParts.1.{name}": code, "makeParts": code}, "data": None}
        else:
            assert told == {"errors": {"": code}, "data": None}

    asking(service_of(session_of(events, asynchronous=asynchronous)), asked, test)


@pytest.mark.parametrize(("asked", "closed"), [("query", "commit"), ("mutation", "commit")])
def test_an_error_of_a_call_that_did_not_use_it_undoes_nothing(asked: str, closed: str) -> None:
    events: list[str] = []

    async def test(asker: Asker) -> None:
        told = await asker.ask([1, 13], "free", "plain: looping")
        assert list(told["errors"].values()) == ["not_found"]
        assert told["data"] == [{"free": 1, "plain": 1}, {"free": None, "plain": 13}]
        assert events[-1] == closed

    asking(service_of(session_of(events, asynchronous=False)), asked, test)


@KINDS
@pytest.mark.parametrize(
    ("error", "code"), [(ConflictError("too late"), "conflict"), (OSError("disk"), "internal_error")]
)
@MANY
def test_what_cannot_be_committed_is_no_success(asked: str, error: Exception, code: str, asynchronous: bool) -> None:
    events: list[str] = []

    def commit() -> None:
        raise error

    async def test(asker: Asker) -> None:
        told = await asker.ask([1, 2], "plain")
        assert told == {"errors": {"makeParts" if asked == "mutation" else "": code}, "data": None}

    asking(service_of(session_of(events, asynchronous=asynchronous, commit=commit)), asked, test)


def test_the_next_root_field_of_a_mutation_is_not_undone_with_the_one_before() -> None:
    events: list[str] = []

    async def test(asker: Asker) -> None:
        told = await graphql(
            asker._client, "mutation { a: makeParts(numbers: [13]) { plain } b: makeParts(numbers: [2]) { plain } }"
        )
        assert told["data"] == {"a": None, "b": [{"plain": 2}]}
        assert [item for item in events if item not in ("list", "plain")] == [
            "begin",
            "rollback NotFoundError",
            "begin",
            "commit",
        ]

    asking(service_of(session_of(events, asynchronous=False)), "mutation", test)


@KINDS
@MANY
def test_what_cannot_be_opened_is_tried_once_for_all_calls_of_a_request(
    asked: str, asynchronous: bool, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[str] = []

    def broken() -> None:
        tried.append("tried")
        raise OSError("no database")

    if asynchronous:

        @resource(scope="request")
        async def session() -> AsyncIterator[Session]:
            broken()
            yield Session([])

    else:

        @resource(scope="request")
        def session() -> Iterator[Session]:
            broken()
            yield Session([])

    @action(name="list_parts", triggers=(WEB_GET,))
    def listed(numbers: list[int]) -> list[Part] | None:
        return [Part(number) for number in numbers]

    @action(name="make_parts", triggers=(WEB_POST,))
    def made(numbers: list[int]) -> list[Part] | None:
        return [Part(number) for number in numbers]

    async def test(asker: Asker) -> None:
        told = await asker.ask([1, 2, 3], "plain")
        assert set(told["errors"].values()) == {"internal_error"}
        assert tried == ["tried"]

    with caplog.at_level(logging.ERROR, "servey.operation"):
        asking(Service([listed, made], resources=[session]), asked, test)
    assert len([record for record in caplog.records if record.exc_info]) == 1


# --- deadlines and callers that leave ---------------------------------------------------------------------------------


@KINDS
def test_waiting_for_ones_turn_ends_at_the_deadline(asynchronous: bool) -> None:
    """What is used in a thread that nobody waits for is closed when that has ended, and not before."""
    events: list[str] = []
    may_end = threading.Event()

    class Pool:
        pass

    @resource(scope="service")
    def pool() -> Iterator[Pool]:
        yield Pool()
        events.append("close pool")

    @dataclass
    class Thing:
        number: int

        @action(timeout=0.2)
        def slow(self, session: Session) -> int | None:
            events.append("slow")
            may_end.wait(BOUND)
            events.append("ended")
            return 1

        @action(timeout=0.2)
        async def waiting(self, session: Session) -> int | None:
            raise AssertionError("it never has its turn")

    @action(triggers=(WEB_GET,))
    def thing() -> Thing:
        return Thing(1)

    async def test(asker: Asker) -> None:
        told = await graphql(asker._client, "{ thing { slow waiting } }")
        assert told == {
            "errors": {"thing.slow": "timeout", "thing.waiting": "timeout"},
            "data": {"slow": None, "waiting": None},
        }
        await _settled()
        assert events == ["begin", "slow"]
        asyncio.get_running_loop().call_soon(may_end.set)  # when the service is about to stop

    service = Service([thing], resources=[session_of(events, asynchronous=asynchronous), pool])
    asking(service, "query", test)
    assert events == ["begin", "slow", "ended", "rollback DeadlineError", "close pool"]


@KINDS
@pytest.mark.parametrize("asked", ["query", "mutation"])
def test_a_request_that_is_cancelled_closes_it_once(asked: str, asynchronous: bool) -> None:
    events: list[str] = []
    is_there = asyncio.Event()

    @dataclass
    class Thing:
        number: int

        @action
        async def waiting(self, session: Session) -> int:
            is_there.set()
            await asyncio.Event().wait()
            return 1

    @action(triggers=(WebTrigger(WebTriggerMethod.GET, graphql=asked),))  # type: ignore[arg-type]
    async def thing() -> list[Thing]:
        return [Thing(1), Thing(2)]

    async def test(asker: Asker) -> None:
        asking = asyncio.create_task(graphql(asker._client, f"{asked} {{ thing {{ waiting }} }}"))
        await is_there.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert events == ["begin", "rollback CancelledError"]

    asking(Service([thing], resources=[session_of(events, asynchronous=asynchronous)]), "query", test)


# --- kept results -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["query", "include"])
def test_a_result_that_others_may_get_is_made_with_one_of_its_own(asked: str) -> None:
    """It is committed before it is kept, and does not end with the request that asked for it first."""
    events: list[str] = []

    @dataclass
    class Thing:
        number: int

        @action(cache_control=TtlCacheControl(30))
        def kept(self, session: Session) -> int:
            session.use("kept")
            return self.number

        @action
        def plain(self, session: Session) -> int:
            session.use("plain")
            return self.number

    @action(name="list_parts", triggers=(WEB_GET,))
    def things(numbers: list[int]) -> list[Thing]:
        return [Thing(number) for number in numbers]

    async def test(asker: Asker) -> None:
        for _ in range(2):
            told = await asker.ask([1], "kept", "plain")
            assert told["data"] == [{"kept": 1, "plain": 1}]
        assert sorted(events) == ["begin"] * 3 + ["commit"] * 3 + ["kept"] + ["plain"] * 2

    asking(Service([things], resources=[session_of(events, asynchronous=False)]), asked, test)


def test_what_a_call_invalidates_is_forgotten_again_after_the_commit() -> None:
    """Whoever reads before the commit makes a result of what there was; it does not stay."""
    committed, read_as = [1], list[int]()

    @resource(scope="request")
    async def session() -> AsyncIterator[Session]:
        yield Session([])
        committed[0] = 2

    @action(cache_control=TtlCacheControl(30), triggers=(WEB_GET,))
    def number() -> int:
        return committed[0]

    @dataclass
    class Thing:
        number: int

        @action
        async def early(self, context: CallContext) -> int:
            read_as.append(await direct.call(context.service, "number", {}, cached=True))
            return read_as[-1]

    @action(triggers=(WEB_POST,))
    def change(session: Session) -> Thing:
        cache.invalidate("number")
        return Thing(1)

    async def test(asker: Asker) -> None:
        assert await graphql(asker._client, "mutation { change { early } }") == {"data": {"early": 1}}
        assert await graphql(asker._client, "{ number }") == {"data": 2}

    asking(Service([number, change], resources=[session]), "mutation", test)


def test_results_are_forgotten_after_the_commit_and_what_fails_there_is_the_fields_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[str] = []
    path = "/number"

    @action(cache_control=TtlCacheControl(30), triggers=(WebTrigger(WebTriggerMethod.GET, path),))
    def number() -> int:
        return 1

    @action(triggers=(WebTrigger(WebTriggerMethod.PUT, path),))
    def change(session: Session) -> int | None:
        return 2

    service = Service([number, change], resources=[session_of(events, asynchronous=False)])

    async def forget(arguments: Any = None) -> bool:
        events.append("forget")
        raise SystemExit(1)

    monkeypatch.setattr(service.cached["number"].results, "ainvalidate", forget)

    async def test(asker: Asker) -> None:
        told = await graphql(asker._client, "mutation { a: change b: change }")
        assert told == {"errors": {"a": "internal_error", "b": "internal_error"}, "data": {"a": None, "b": None}}
        assert events == ["begin", "commit", "forget"] * 2

    asking(service, "mutation", test)


@pytest.mark.parametrize("asked", ["query", "include"])
def test_a_request_that_has_a_limited_one_does_not_wait_for_a_second(asked: str) -> None:
    """A new result is made with the one that the request has, and not kept; one that is kept is used."""
    events: list[str] = []

    @dataclass
    class Thing:
        number: int

        @action(cache_control=TtlCacheControl(30), triggers=(WEB_POST,))
        def kept(self, session: Session) -> int:
            session.use("kept")
            return self.number

    @action(name="list_parts", triggers=(WEB_GET,))
    def things(numbers: list[int], session: Session) -> list[Thing]:
        return [Thing(number) for number in numbers]

    async def test(asker: Asker) -> None:
        for _ in range(2):
            assert await asker.ask([1], "kept") == {"data": [{"kept": 1}]}
        assert events == ["begin", "kept", "commit"] * 2
        events.clear()
        content = json.dumps({"self": {"number": 1}}).encode()
        headers = {"content-type": "application/json"}
        for _ in range(2):
            response = await asker._client.request("POST", "/actions/thing-kept", content=content, headers=headers)
            assert json.loads(response.content) == 1
        assert await asker.ask([1], "kept") == {"data": [{"kept": 1}]}
        assert events == ["begin", "kept", "commit", "begin", "commit"]

    asking(Service([things], resources=[session_of(events, asynchronous=False, limit=1)]), asked, test)


# --- limits -----------------------------------------------------------------------------------------------------------


class Gauge:
    """How many are open, and how many were at most."""

    def __init__(self) -> None:
        self.open = self.most = 0
        self._lock = threading.Lock()

    def resource(self, scope: Any, limit: int, *, asynchronous: bool) -> Any:
        if asynchronous:

            @resource(scope=scope, limit=limit)
            async def session() -> AsyncIterator[Session]:
                self._opened()
                try:
                    yield Session([])
                finally:
                    self.open -= 1

        else:

            @resource(scope=scope, limit=limit)
            def session() -> Iterator[Session]:
                with self._lock:
                    self._opened()
                try:
                    yield Session([])
                finally:
                    with self._lock:
                        self.open -= 1

        return session

    def _opened(self) -> None:
        self.open += 1
        self.most = max(self.most, self.open)


@KINDS
@pytest.mark.parametrize("scope", ["call", "request"])
@pytest.mark.parametrize("action_asynchronous", [False, True], ids=["def", "async-def"])
def test_no_more_are_open_than_the_limit_says(
    concurrent_transport: Any, scope: str, asynchronous: bool, action_asynchronous: bool
) -> None:
    gauge = Gauge()

    async def later(session: Session) -> int:
        await asyncio.sleep(0)
        return 1

    def act(session: Session) -> int:
        return 1

    acting = action(name="act", triggers=(WEB_GET, WEB_POST))(later if action_asynchronous else act)
    service = Service([acting], resources=[gauge.resource(scope, 2, asynchronous=asynchronous)])
    outcomes = concurrent_transport.call_all(service, [[concurrent_transport.Call("act")]] * 8)
    assert [lane[0].result for lane in outcomes] == [1] * 8
    assert gauge.open == 0
    assert 1 <= gauge.most <= 2


@pytest.mark.parametrize("scope", ["call", "request"])
def test_who_gets_none_before_the_deadline_is_told_to_come_again(concurrent_transport: Any, scope: str) -> None:
    """The call with the only session ends when the other one has been refused; the session is free then."""
    gauge = Gauge()
    held, refused = asyncio.Event(), asyncio.Event()

    @action(triggers=(WEB_GET, WEB_POST), timeout=BOUND)
    async def holding(session: Session) -> bool:
        held.set()
        return await refused.wait()

    @action(triggers=(WEB_GET, WEB_POST), timeout=BOUND)
    async def until_held() -> None:
        await held.wait()

    @action(triggers=(WEB_GET, WEB_POST), timeout=0.15)
    async def asking(session: Session) -> int:
        return 1

    @action(triggers=(WEB_GET, WEB_POST))
    async def let_go() -> None:
        refused.set()

    Call = concurrent_transport.Call
    service = Service([holding, until_held, asking, let_go], resources=[gauge.resource(scope, 1, asynchronous=True)])
    lanes = [[Call("holding")], [Call("until_held"), Call("asking"), Call("let_go")]]
    (holder,), (_, asked, _) = concurrent_transport.call_all(service, lanes)
    assert holder.result is True
    assert (asked.code, asked.status) == ("overloaded", 503)
    if concurrent_transport.http:
        assert asked.headers["retry-after"] == "1"
    assert (gauge.open, gauge.most) == (0, 1)


@pytest.mark.parametrize("scope", ["call", "request"])
def test_whoever_waits_longest_is_first_and_who_leaves_takes_no_place(scope: Any) -> None:
    gauge = Gauge()
    order: list[int] = []

    async def main() -> None:
        gates = [asyncio.Event() for _ in range(5)]

        @action
        async def act(number: int, session: Session) -> None:
            order.append(number)
            await gates[number].wait()

        service = Service([act], resources=[gauge.resource(scope, 1, asynchronous=True)])
        async with service.running(), asyncio.timeout(BOUND):
            calls = []
            for number in range(5):
                calls.append(asyncio.create_task(direct.call(service, "act", {"number": number})))
                await _settled()
            calls[1].cancel()  # one that waits
            await _settled()
            calls[0].cancel()  # the one that is open
            await _settled()
            assert order == [0, 2]
            gates[2].set()
            await calls[2]
            await _settled()
            calls[4].cancel()
            gates[3].set()
            await calls[3]
            await direct.call(service, "act", {"number": 2})
        assert order == [0, 2, 3, 2]

    asyncio.run(main())
    assert (gauge.open, gauge.most) == (0, 1)


async def _settled() -> None:
    """Let everything go on that waits for nothing outside."""
    for _ in range(20):
        await asyncio.sleep(0)


# --- advice -----------------------------------------------------------------------------------------------------------


def test_the_log_says_once_which_nested_action_opens_one_for_every_object(caplog: pytest.LogCaptureFixture) -> None:
    class Shared:
        pass

    @resource
    def session() -> Iterator[Session]:
        yield Session([])

    @resource(scope="request")
    def shared() -> Iterator[Shared]:
        yield Shared()

    def batch(items: list[Thing], session: Session) -> list[int]:
        return [1 for _ in items]

    @dataclass
    class Thing:
        number: int

        @action
        def costly(self, session: Session) -> int:
            return 1

        @action
        def shares(self, shared: Shared) -> int:
            return 1

        @action(batch_invoker=BatchInvoker(batch))
        def batched(self, session: Session) -> int:
            return 1

    @action(triggers=(WEB_GET,))
    def things(session: Session) -> list[Thing]:
        return []

    service = Service([things], resources=[session, shared])
    with caplog.at_level(logging.WARNING, "servey.service"):
        create_app(service)
        create_app(service)
    (record,) = caplog.records
    assert getattr(record, "action", "") == "thing_costly"
    told = record.getMessage()
    for line in (Thing.costly.__code__.co_firstlineno, session.__code__.co_firstlineno):
        assert f"test_request_scope.py:{line}" in told
    assert '@resource(scope="request")' in told
    assert "batch_invoker" in told


# --- under load -------------------------------------------------------------------------------------------------------


def test_a_query_for_a_thousand_objects_keeps_no_other_request_waiting_for_a_session() -> None:
    """The query holds one of five sessions; others go on, though each object takes its time with it."""
    gauge = Gauge()
    began, may_end = threading.Event(), threading.Event()

    @dataclass
    class Row:
        number: int

        @action(timeout=2 * BOUND)
        def slow(self, session: Session) -> int:
            began.set()
            assert may_end.wait(BOUND)
            return self.number

    @action(triggers=(WEB_GET,))
    def rows() -> list[Row]:
        return [Row(number) for number in range(1000)]

    @action(triggers=(WEB_GET,))
    def unrelated(session: Session) -> str:
        return "at once"

    async def main(base: str) -> None:
        async with httpx.AsyncClient(base_url=base, timeout=2 * BOUND) as client:
            asked = asyncio.create_task(client.post("/graphql", json={"query": "{ rows { slow } }"}))
            assert await asyncio.to_thread(began.wait, BOUND)
            for _ in range(20):
                assert (await client.get("/actions/unrelated")).json() == "at once"
                assert not asked.done()
            assert gauge.most == 2  # that of the query, and one at a time for the others
            may_end.set()
            answer = (await asked).json()
            assert answer == {"data": {"rows": [{"slow": number} for number in range(1000)]}}

    service = Service([rows, unrelated], resources=[gauge.resource("request", 5, asynchronous=False)])
    with served_by_uvicorn(create_app(service)) as port:
        asyncio.run(main(f"http://127.0.0.1:{port}"))
    assert (gauge.open, gauge.most) == (0, 2)


# --- together with other waits and failures ---------------------------------------------------------------------------


class Other:
    """A second thing that calls ask for."""


def test_a_call_that_comes_alone_never_keeps_what_a_request_waits_for_while_it_waits_for_the_request() -> None:
    async def main() -> None:
        opened, may_end = asyncio.Event(), asyncio.Event()

        @resource(limit=1)  # declared first: the order of the declarations decides nothing
        async def own() -> AsyncIterator[Other]:
            yield Other()

        @dataclass
        class Row:
            number: int

            @action
            async def told(self, other: Other) -> int:
                return self.number

        @action(triggers=(WEB_GET,))
        async def rows(session: Session) -> list[Row]:
            opened.set()
            await may_end.wait()
            return [Row(1)]

        @action(triggers=(WEB_GET,))
        async def alone(other: Other, session: Session) -> int:
            return 2

        service = Service([rows, alone], resources=[own, session_of([], asynchronous=True, limit=1)])
        async with asyncio.timeout(BOUND), client_of(create_app(service)) as client:
            query = asyncio.ensure_future(client.request("POST", "/graphql", json={"query": "{ rows { told } }"}))
            await opened.wait()
            waiting = asyncio.ensure_future(client.request("GET", "/actions/alone"))
            for _ in range(50):
                await asyncio.sleep(0)
            assert not waiting.done()
            may_end.set()
            assert ((await query).json(), (await waiting).json()) == ({"data": {"rows": [{"told": 1}]}}, 2)

    asyncio.run(main())


@KINDS
@pytest.mark.parametrize("alone", [False, True], ids=["query", "alone"])
@pytest.mark.parametrize("asked", ["told", "batched"])
def test_a_call_with_one_of_so_many_places_never_waits_for_a_request(
    asked: str, alone: bool, asynchronous: bool
) -> None:
    """The request that has the session asks for the place last; whoever else wants both must not have it by then."""

    def all_told(rows: list[Row], session: Session) -> list[int]:
        return [row.number for row in rows]

    @dataclass
    class Row:
        number: int

        @action(max_running=1)
        def told(self, session: Session) -> int:
            return self.number

        @action(max_running=1, batch_invoker=BatchInvoker(all_told))
        def batched(self, session: Session) -> int:
            raise AssertionError("the batch function is called")

    async def main() -> None:
        opened, may_end = asyncio.Event(), asyncio.Event()

        @action(triggers=(WEB_GET,))
        async def rows(session: Session) -> list[Row]:
            opened.set()
            await may_end.wait()
            return [Row(1), Row(2)]

        @action(triggers=(WEB_GET,))
        async def others() -> list[Row]:
            return [Row(3)]

        service = Service([rows, others], resources=[session_of([], asynchronous=asynchronous, limit=1)])
        operation = service.operation(f"row_{asked}")
        async with asyncio.timeout(BOUND), client_of(create_app(service)) as client:

            async def query(what: str) -> Any:
                return (await client.request("POST", "/graphql", json={"query": f"{{ {what} {{ {asked} }} }}"})).json()

            async def call() -> Any:
                context = CallContext(Origin.SYSTEM, "direct", "1")
                return await operation.run(operation.decode({"self": {"number": 3}}), context)

            async def batched() -> Any:
                context = CallContext(Origin.SYSTEM, "direct", "1", batch_loader=BatchLoader())
                return await operation.run(operation.decode({"self": {"number": 3}}), context)

            first = asyncio.ensure_future(query("rows"))
            await opened.wait()
            made = query("others") if not alone else batched() if asked == "batched" else call()
            second = asyncio.ensure_future(made)
            for _ in range(50):
                await asyncio.sleep(0)
            assert not second.done()
            may_end.set()
            assert await first == {"data": {"rows": [{asked: 1}, {asked: 2}]}}
            assert await second == (3 if alone else {"data": {"others": [{asked: 3}]}})

    asyncio.run(main())


@KINDS
@pytest.mark.parametrize("of", ["function", "batch"])
def test_a_def_that_returns_something_awaitable_does_the_same_in_a_request_and_alone(
    of: str, asynchronous: bool
) -> None:
    """Where all that is open is open in the thread, it cannot be awaited, and the caller is told of a defect."""

    async def later(value: Any) -> Any:
        return value

    def all_told(rows: list[Row], session: Session) -> list[int]:
        return later([row.number for row in rows])  # type: ignore[return-value]

    @dataclass
    class Row:
        number: int

        @action
        def function(self, session: Session) -> int:
            return later(self.number)  # type: ignore[return-value]

        @action(batch_invoker=BatchInvoker(all_told))
        def batch(self, session: Session) -> int:
            raise AssertionError("the batch function is called")

    @action(triggers=(WEB_GET,))
    def rows() -> list[Row]:
        return [Row(1)]

    async def main() -> list[Any]:
        service = Service([rows], resources=[session_of([], asynchronous=asynchronous)])
        operation = service.operation(f"row_{of}")
        got: list[Any] = []
        async with asyncio.timeout(BOUND), service.running():
            for scope in (None, RequestScope()):
                context = CallContext(Origin.SYSTEM, "direct", "1", batch_loader=BatchLoader(), request_scope=scope)
                try:
                    async with scope or RequestScope():
                        got.append(await operation.run(operation.decode({"self": {"number": 1}}), context))
                except InternalError as error:
                    got.append(error.code)
        return got

    assert asyncio.run(main()) == ([1, 1] if asynchronous else ["internal_error"] * 2)


@KINDS
@pytest.mark.parametrize("asked", ["query", "mutation"])
@pytest.mark.parametrize("at", ["opening", "call", "closing"])
@pytest.mark.parametrize(
    "raised", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, BaseException]
)
def test_whatever_is_raised_where_calls_share_is_answered(
    raised: type[BaseException], at: str, asked: str, asynchronous: bool
) -> None:
    def fail(here: str) -> None:
        if here == at:
            raise raised

    if asynchronous:

        @resource(scope="request")
        async def session() -> AsyncIterator[Session]:
            fail("opening")
            yield Session([])
            fail("closing")

    else:

        @resource(scope="request")
        def session() -> Iterator[Session]:
            fail("opening")
            yield Session([])
            fail("closing")

    @action(triggers=(WEB_GET if asked == "query" else WEB_POST,))
    async def work(session: Session) -> int:
        fail("call")
        return 1

    @action(triggers=(WEB_GET,))
    async def lives() -> bool:
        return True

    async def main() -> list[Any]:
        service = Service([work, lives], resources=[session])
        async with asyncio.timeout(BOUND), client_of(create_app(service)) as client:
            answer = (await client.request("POST", "/graphql", json={"query": f"{asked} {{ work }}"})).json()
            codes = [error["extensions"]["code"] for error in answer["errors"]]
            return [answer["data"], codes, (await client.request("GET", "/actions/lives")).json()]

    assert asyncio.run(main()) == [None, ["internal_error"], True]


@pytest.mark.parametrize("raised", [RuntimeError, SystemExit, asyncio.CancelledError])
def test_what_cannot_be_forgotten_after_a_field_of_a_mutation_fails_that_field(
    raised: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    @action(triggers=(WebTrigger(WebTriggerMethod.GET, "/things/{number}"),), cache_control=TtlCacheControl(60))
    async def read(number: int) -> int:
        return number

    @action(triggers=(WebTrigger(WebTriggerMethod.PUT, "/things/{number}"),))
    async def write(number: int) -> int | None:
        return number

    @action(triggers=(WEB_POST,))
    async def other() -> int:
        return 2

    async def broken(arguments: Any = None) -> bool:
        raise raised

    async def main() -> Any:
        service = Service([read, write, other])
        monkeypatch.setattr(service.cached["read"].results, "ainvalidate", broken)
        async with client_of(create_app(service)) as client:
            body = {"query": "mutation { write(number: 1) other }"}
            answer = (await client.request("POST", "/graphql", json=body)).json()
            return answer["data"], [(error["path"], error["extensions"]["code"]) for error in answer["errors"]]

    assert asyncio.run(main()) == ({"write": None, "other": 2}, [(["write"], "internal_error")])
