"""Resources: declared, asked for by type, opened in order and closed whatever happens."""

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import suppress
from typing import Annotated, NewType

import pytest
import typing_extensions

from servey.action.action import action
from servey.action.context import CallContext, Origin
from servey.action.resource import resource
from servey.errors import ConflictError, DefinitionError, InternalError, ResourceError
from servey.plugin import Injector, Plugin
from servey.security.authorization import Authorization
from servey.servey_direct.direct import call
from servey.service import Service
from servey.settings import Settings

BOUND = 60.0
"""Seconds after which what should have happened did not."""


class Pool:
    pass


class Session:
    pass


class Cart:
    pass


def line_of(function):
    return function.__code__.co_firstlineno


def refused(*, actions=(), resources=()):
    with pytest.raises(DefinitionError) as caught:
        Service(actions, resources=resources)
    assert caught.value.fix
    return caught.value


def lines(error):
    return [int(place.rpartition(":")[2]) for place in error.where]


# --- declarations ---------------------------------------------------------------------------------------------------


def test_a_resource_stays_the_function_that_it_is():
    def session() -> Iterator[Session]:
        yield Session()

    assert resource(session) is session
    assert session.__servey_resource__.scope == "call"
    assert isinstance(next(session()), Session)


@pytest.mark.parametrize("hint", [Iterator, Generator, AsyncIterator, AsyncGenerator])
def test_a_resource_says_what_it_yields(hint):
    def sync():
        yield Session()

    async def asynchronous():
        yield Session()

    function = asynchronous if hint in (AsyncIterator, AsyncGenerator) else sync
    sent = {Generator: (None, None), AsyncGenerator: (None,)}.get(hint, ())
    function.__annotations__["return"] = hint[(Session, *sent)]
    assert resource(function).__servey_resource__.provides() is Session


ALIAS = typing_extensions.TypeAliasType("ALIAS", Session)
WHOLE = typing_extensions.TypeAliasType("WHOLE", Iterator[Session])


@pytest.mark.parametrize(
    "hint",
    [Iterator[ALIAS], WHOLE, Iterator[NewType("Renamed", Session)], Iterator[Annotated[Session, "the database"]]],
)
def test_an_alias_of_what_a_resource_yields_is_what_it_stands_for(hint):
    def session():
        yield Session()

    session.__annotations__["return"] = hint
    assert resource(session).__servey_resource__.provides() is Session


def test_only_generator_functions_are_resources():
    def session() -> Session:
        return Session()

    with pytest.raises(DefinitionError) as caught:
        resource(session)
    assert lines(caught.value) == [line_of(session)]
    with pytest.raises(DefinitionError, match="Session"):
        resource(Session)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "5", True])
def test_a_limit_is_a_number_of_at_least_one(limit):
    def session() -> Iterator[Session]:
        yield Session()

    with pytest.raises(DefinitionError, match="limit") as caught:
        resource(limit=limit)(session)
    assert lines(caught.value) == [line_of(session)]
    assert caught.value.fix


def test_a_resource_of_the_service_has_no_limit():
    def pool() -> Iterator[Pool]:
        yield Pool()

    with pytest.raises(DefinitionError, match="limit") as caught:
        resource(scope="service", limit=1)(pool)
    assert lines(caught.value) == [line_of(pool)]
    assert caught.value.fix


@pytest.mark.parametrize("scope", ["call", "request"])
def test_a_limit_is_kept_with_the_resource(scope):
    @resource(scope=scope, limit=3)
    def session() -> Iterator[Session]:
        yield Session()

    assert session.__servey_resource__.limit == 3


@pytest.mark.parametrize(
    ("asking", "asked"), [("service", "request"), ("service", "call"), ("request", "call")], ids=str
)
def test_a_resource_cannot_ask_for_one_that_lives_shorter(asking, asked):
    @resource(scope=asked)
    def session() -> Iterator[Session]:
        yield Session()

    @resource(scope=asking)
    def cart(session: Session) -> Iterator[Cart]:
        yield Cart()

    error = refused(resources=[session, cart])
    assert lines(error) == [line_of(cart)]
    assert f'"{asked}"' in error.fix


def test_a_scope_is_service_request_or_call():
    with pytest.raises(DefinitionError, match="'session'") as caught:

        @resource(scope="session")
        def session() -> Iterator[Session]:
            yield Session()

    assert caught.value.where
    assert caught.value.fix


@pytest.mark.parametrize("hint", [None, "Session", Session, "Iterator", "Iterator[Session | None]", "list[Session]"])
def test_a_resource_that_does_not_say_what_it_yields_is_refused(hint):
    def session():
        yield Session()

    if hint is not None:
        session.__annotations__["return"] = hint
    error = refused(resources=[resource(session)])
    assert lines(error) == [line_of(session)]
    assert "Iterator[TheType]" in error.fix


def test_an_annotation_that_cannot_be_resolved_is_told():
    @resource
    def session(pool: "Puul") -> Iterator[Session]:  # noqa: F821
        yield Session()

    error = refused(resources=[session])
    assert "Puul" in str(error)
    assert lines(error) == [line_of(session)]


def test_two_resources_of_one_type_are_refused_with_both_places():
    @resource
    def one() -> Iterator[Session]:
        yield Session()

    @resource
    def two() -> Iterator[Session]:
        yield Session()

    assert lines(refused(resources=[one, two])) == [line_of(one), line_of(two)]


def test_a_circle_of_resources_is_refused_with_every_place():
    @resource
    def one(cart: Cart) -> Iterator[Session]:
        yield Session()

    @resource
    def two(session: Session) -> Iterator[Cart]:
        yield Cart()

    @resource
    def apart(session: Session) -> Iterator[Pool]:
        yield Pool()

    error = refused(resources=[apart, one, two])
    assert "one -> two -> one" in str(error)
    assert lines(error) == [line_of(one), line_of(two)]


def test_a_resource_that_asks_for_what_nobody_provides_is_refused():
    @resource
    def session(pool: Pool, cart) -> Iterator[Session]:
        yield Session()

    error = refused(resources=[session])
    assert "'pool'" in str(error)
    assert lines(error) == [line_of(session)]


@pytest.mark.parametrize("asked", [Session, Authorization, Authorization | None, CallContext])
def test_a_resource_of_the_service_cannot_ask_for_what_is_a_calls(asked):
    @resource
    def session() -> Iterator[Session]:
        yield Session()

    def pool(it):
        yield Pool()

    pool.__annotations__.update({"it": asked, "return": Iterator[Pool]})
    error = refused(resources=[session, resource(scope="service")(pool)])
    assert lines(error) == [line_of(pool)]
    assert ("call" if asked is Session else "request") in error.fix


def test_a_resource_cannot_take_the_place_of_the_authorization():
    @resource
    def me() -> Iterator[Authorization]:
        yield Authorization("me")

    assert lines(refused(resources=[me])) == [line_of(me)]


def test_an_injector_cannot_take_the_place_of_the_authorization():
    class Me(Plugin):
        def injectors(self):
            return (Injector(Authorization, lambda context: Authorization("me")),)

    with pytest.raises(DefinitionError, match="Authorization"):
        Service(plugins=[Me()])


# --- injection ------------------------------------------------------------------------------------------------------


def test_the_users_injector_goes_first_and_the_first_user_first():
    class Tenant:
        def __init__(self, name):
            self.name = name

    def plugin(name):
        class Tenants(Plugin):
            def injectors(self):
                return (Injector(Tenant, lambda context: Tenant(name)),)

        return Tenants()

    @action
    def tenant(tenant: Tenant) -> str:
        return tenant.name

    service = Service([tenant], plugins=[plugin("one"), plugin("two")])
    assert asyncio.run(call(service, "tenant", {})) == "one"


def test_the_surroundings_of_a_call_reach_action_and_resource():
    seen = []

    @resource
    def session(context: CallContext, who: Authorization | None) -> Iterator[Session]:
        seen.append((context.request_id, who))
        yield Session()

    @action
    def act(session: Session, context: CallContext, x: int, *, who: Authorization | None = None) -> int:
        seen.append((type(session), context.request_id, who, x))
        return x

    me = Authorization("me")
    context = CallContext(Origin.NETWORK, "test", "r-1", me)
    assert asyncio.run(call(Service([act], resources=[session]), "act", {"x": 3}, context=context)) == 3
    assert seen == [("r-1", me), (Session, "r-1", me, 3)]


def test_an_injected_parameter_is_not_taken_from_the_caller():
    @action
    def act(x: int, context: CallContext, who: Authorization | None) -> int:
        return x

    operation = Service([act]).operation("act")
    assert list(operation.arguments.parameters) == ["x"]


# --- opening and closing --------------------------------------------------------------------------------------------


def chain(events, kinds):
    """A pool (service), a session that needs it, a cart that needs both; `kinds` says which are asynchronous."""

    def made(name, cls, needs, asynchronous, scope):
        def closed(error):
            events.append(f"close {name}" if error is None else f"undo {name} {type(error).__name__}")

        if asynchronous:

            async def fn(*args, **kwargs):
                events.append(f"open {name}")
                try:
                    yield cls()
                except BaseException as error:
                    closed(error)
                    raise
                closed(None)
        else:

            def fn(*args, **kwargs):
                events.append(f"open {name}")
                try:
                    yield cls()
                except BaseException as error:
                    closed(error)
                    raise
                closed(None)

        # the signature as a user would write it
        fn.__name__ = name
        fn.__signature__ = inspect.Signature(
            [inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, annotation=value) for key, value in needs.items()]
        )
        fn.__annotations__ = {**needs, "return": (AsyncIterator if asynchronous else Iterator)[cls]}
        return resource(scope=scope)(fn)

    return [
        made("cart", Cart, {"session": Session, "pool": Pool}, kinds[2], "call"),
        made("session", Session, {"pool": Pool}, kinds[1], "call"),
        made("pool", Pool, {}, kinds[0], "service"),
    ]


KINDS = [(a, b, c) for a in (False, True) for b in (False, True) for c in (False, True)]


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_resources_open_after_what_they_need_and_close_before_it(kinds, asynchronous):
    events = []

    def act(cart: Cart) -> str:
        events.append("act")
        return "done"

    async def act_async(cart: Cart) -> str:
        return act(cart)

    act_async.__name__ = "act"
    service = Service([action(act_async if asynchronous else act)], resources=chain(events, kinds))
    assert asyncio.run(call(service, "act", {})) == "done"
    assert events == [
        "open pool",
        "open session",
        "open cart",
        "act",
        "close cart",
        "close session",
        "close pool",
    ]


@pytest.mark.parametrize("kinds", KINDS)
def test_the_error_of_a_call_is_raised_at_every_yield(kinds):
    events = []

    @action
    def act(cart: Cart) -> str:
        raise ConflictError

    with pytest.raises(ConflictError):
        asyncio.run(call(Service([act], resources=chain(events, kinds)), "act", {}))
    assert events[3:] == ["undo cart ConflictError", "undo session ConflictError", "close pool"]


def test_only_what_an_action_needs_is_opened():
    events = []

    @action
    def act(session: Session) -> str:
        return "done"

    asyncio.run(call(Service([act], resources=chain(events, (False, False, False))), "act", {}))
    assert events == ["open pool", "open session", "close session", "close pool"]


def swallowing(asynchronous):
    """A resource whose author forgot to raise the error again, and the one below it."""
    events = []

    @resource
    def below() -> Iterator[Pool]:
        try:
            yield Pool()
        except BaseException as error:
            events.append(type(error).__name__)
            raise
        events.append("commit")

    if asynchronous:

        @resource
        async def session(pool: Pool) -> AsyncIterator[Session]:
            with suppress(Exception):
                yield Session()
    else:

        @resource
        def session(pool: Pool) -> Iterator[Session]:
            with suppress(Exception):
                yield Session()

    return events, [below, session]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("action_asynchronous", [False, True])
def test_a_resource_that_swallows_the_error_does_not_hide_it(asynchronous, action_asynchronous):
    events, resources = swallowing(asynchronous)
    calls = []

    def act(session: Session) -> str:
        calls.append(1)
        raise ConflictError("taken")

    async def act_async(session: Session) -> str:
        return act(session)

    act_async.__name__ = "act"
    service = Service([action(act_async if action_asynchronous else act)], resources=resources)
    with pytest.raises(ConflictError, match="taken"):
        asyncio.run(call(service, "act", {}))
    assert (calls, events) == ([1], ["ConflictError"])


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_result_that_cannot_be_encoded_is_raised_at_the_yield(asynchronous):
    events = []

    @action
    def act(session: Session) -> int:
        return "no int"

    service = Service([act], resources=chain(events, (False, asynchronous, False)))
    with pytest.raises(InternalError):
        asyncio.run(call(service, "act", {}))
    assert events == ["open pool", "open session", "undo session ResultError", "close pool"]


def test_a_resource_that_cannot_be_opened_undoes_those_before_it():
    events = []

    @resource
    def cart(session: Session) -> Iterator[Cart]:
        raise OSError("no cart")
        yield Cart()

    @action
    def act(cart: Cart) -> str:
        raise AssertionError("called")

    resources = [*chain(events, (False, False, False))[1:], cart]
    with pytest.raises(InternalError):
        asyncio.run(call(Service([act], resources=resources), "act", {}))
    assert events == ["open pool", "open session", "undo session OSError", "close pool"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_service_resource_that_cannot_be_opened_stops_the_start_and_undoes_the_others(asynchronous):
    events = []
    pool = chain(events, (asynchronous, False, False))[2]

    @resource(scope="service")
    def cart(pool: Pool) -> Iterator[Cart]:
        raise OSError("no cart")
        yield Cart()

    service = Service(resources=[pool, cart])

    async def main():
        for _ in range(2):
            with pytest.raises(ResourceError, match="'cart' cannot be opened: OSError: no cart") as caught:
                async with service.running():
                    raise AssertionError("ran")
            assert isinstance(caught.value.__cause__, OSError)
            first = cart.__code__.co_firstlineno
            assert [place.rpartition(":")[2] for place in caught.value.where] == [str(first), str(first + 2)]
            assert not service.ready

    asyncio.run(main())
    assert events == ["open pool", "undo pool ResourceError"] * 2


def test_a_sync_resource_and_a_sync_action_share_one_thread():
    threads = []

    @resource
    def session() -> Iterator[Session]:
        threads.append(threading.current_thread())
        yield Session()
        threads.append(threading.current_thread())

    @action
    def act(session: Session) -> None:
        threads.append(threading.current_thread())

    asyncio.run(call(Service([act], resources=[session]), "act", {}))
    assert len(threads) == 3
    assert len(set(threads)) == 1
    assert threads[0] is not threading.main_thread()


def test_a_sync_resource_of_an_async_action_never_runs_on_the_loop():
    threads = []

    @resource
    def session() -> Iterator[Session]:
        threads.append(threading.current_thread())
        yield Session()
        threads.append(threading.current_thread())

    @action
    async def act(session: Session) -> None:
        assert threading.current_thread() is threading.main_thread()

    asyncio.run(call(Service([act], resources=[session]), "act", {}))
    assert len(threads) == 2
    assert threading.main_thread() not in threads


def test_a_call_that_is_cancelled_while_its_resource_waits_for_a_thread_to_close_leaks_nothing():
    events, blocked, go = [], threading.Event(), threading.Event()

    @resource
    def session() -> Iterator[Session]:
        events.append("open")
        yield Session()
        events.append("close")

    @action
    def block() -> None:
        blocked.set()
        go.wait(BOUND)

    async def main():
        inside, leave = asyncio.Event(), asyncio.Event()

        @action
        async def act(session: Session) -> None:
            inside.set()
            await leave.wait()

        service = Service([act, block], resources=[session], settings=Settings(threads=1))
        async with service.running():
            task = asyncio.ensure_future(call(service, "act", {}))
            await inside.wait()
            blocking = asyncio.ensure_future(call(service, "block", {}))
            await asyncio.to_thread(blocked.wait, BOUND)
            leave.set()
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert events == ["open"]
            go.set()
            await blocking

    asyncio.run(asyncio.wait_for(main(), BOUND))
    assert events == ["open", "close"]


@pytest.mark.parametrize("when", ["while it opens", "before it has a thread", "while it is open", "while it closes"])
def test_a_cancelled_call_leaks_no_sync_resource(when):
    events, opening, go = [], threading.Event(), threading.Event()
    inside = threading.Event()

    @resource
    def session() -> Iterator[Session]:
        opening.set()
        if when == "while it opens":
            go.wait(BOUND)
        events.append("open")
        try:
            yield Session()
        finally:
            inside.set()
            if when == "while it closes":
                go.wait(BOUND)
            events.append("close")

    @action
    async def act(session: Session) -> None:
        if when == "while it is open":
            inside.set()
            await asyncio.Event().wait()

    @action
    def block() -> None:
        opening.set()
        go.wait(BOUND)

    service = Service([act, block], resources=[session], settings=Settings(threads=1))

    async def until(event):
        for _ in range(int(BOUND / 0.005)):
            if event.is_set():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("nothing happened")

    async def main():
        async with service.running():
            blocked = None
            if when == "before it has a thread":
                blocked = asyncio.ensure_future(call(service, "block", {}))
                await until(opening)
            task = asyncio.ensure_future(call(service, "act", {}))
            await asyncio.sleep(0.01)
            await until(inside if when in ("while it is open", "while it closes") else opening)
            task.cancel()
            await asyncio.sleep(0.01)
            go.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            if blocked is not None:
                await blocked

    asyncio.run(asyncio.wait_for(main(), BOUND))
    assert events == ([] if when == "before it has a thread" else ["open", "close"])
