"""Batch invokers: one call of a function for many calls of a nested action."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from servey import WEB_GET, BatchInvoker, Reply, cache, resource
from servey.action.action import action, get_action
from servey.action.batch_loader import BatchLoader
from servey.action.context import CURRENT_CALL, CallContext, Origin
from servey.cache_control.ttl_cache_control import TtlCacheControl
from servey.errors import (
    ConflictError,
    DeadlineError,
    DefinitionError,
    ErrorMapping,
    InternalError,
    NotFoundError,
    OverloadedError,
    UnauthorizedError,
)
from servey.security.authorization import Authorization
from servey.service import Service
from servey.settings import Settings

BOUND = 60.0
ME = Authorization("me")


@dataclass
class Stats:
    value: int


def service_of(batch_invoker, fn=None, resources=(), settings=None, **arguments):
    """A service with the nested action ``stats_f`` of a class of its own."""

    @dataclass
    class Stats:
        value: int

        @action(batch_invoker=batch_invoker, **arguments)
        async def f(self) -> int:
            return -self.value

    if fn is not None:
        Stats.f = action(batch_invoker=batch_invoker, **arguments)(fn)

    @action
    def stats() -> Stats:
        return Stats(1)

    service = Service([stats], resources=resources, settings=settings)
    return service, service.operations["stats_f"], Stats


def together(service, operation, owners, arguments=None, finish=None, **given):
    """The results or errors of one call for each of the owners, in one request."""

    async def main():
        group = BatchLoader()

        async def call(owner):
            context = CallContext(Origin.NETWORK, "test", f"r-{owner.value}", batch_loader=group, **given)
            await operation.authorize(context)
            decoded = operation.decode_for(owner, arguments or {})
            return await operation.run(decoded, context, finish or operation.check)

        async with service.running(), asyncio.timeout(BOUND):
            return await asyncio.gather(*map(call, owners), return_exceptions=True)

    return asyncio.run(main())


def defects(caplog):
    return [
        (record.action, record.request_id)
        for record in caplog.records
        if record.name == "servey.operation" and record.levelno == logging.ERROR
    ]


def kinds(outcomes):
    return [type(outcome) if isinstance(outcome, Exception) else outcome for outcome in outcomes]


# --- declarations -----------------------------------------------------------------------------------------------------


def test_an_action_has_the_batch_invoker_that_it_was_declared_with():
    def fn(items):
        return items

    invoker = BatchInvoker(fn, 5, lambda item: item)

    @action(batch_invoker=invoker)
    def f() -> None:
        pass

    assert get_action(f).batch_invoker is invoker
    assert (invoker.fn, invoker.max_batch_size) == (fn, 5)
    assert BatchInvoker(fn).max_batch_size == 100


def generator(items):
    yield items


class Generating:
    def __call__(self, items):
        yield items


def empty():
    pass


def keywords(*, items):
    pass


async def asynchronous(item):
    return item


def good(items):
    return items


@pytest.mark.parametrize(
    "arguments",
    [
        (5,),
        (print,),
        (Stats,),
        (generator,),
        (Generating(),),
        (empty,),
        (keywords,),
        (good, 0),
        (good, True),
        (good, 1.5),
        (good, 100, 5),
        (good, 100, empty),
        (good, 100, generator),
        (good, 100, asynchronous),
    ],
)
def test_what_is_no_batch_invoker_is_refused(arguments):
    with pytest.raises(DefinitionError):
        BatchInvoker(*arguments)


def test_an_action_takes_a_batch_invoker_and_nothing_else_for_one():
    with pytest.raises(DefinitionError) as caught:

        @action(batch_invoker=good)
        def f() -> None:
            pass

    assert caught.value.where


def test_an_action_that_is_not_nested_has_no_batch_invoker():
    @action(batch_invoker=BatchInvoker(good))
    def f() -> None:
        pass

    with pytest.raises(DefinitionError) as caught:
        Service([f])
    assert caught.value.where == (get_action(f).where,)


def test_what_a_batch_function_asks_for_is_injected_or_refused_by_name():
    def fn(items, limit: int = 5):
        return items

    with pytest.raises(DefinitionError) as caught:
        service_of(BatchInvoker(fn))
    assert "'limit'" in str(caught.value)
    assert caught.value.where == (BatchInvoker(fn).where,)

    def many(items, *more):
        return items

    with pytest.raises(DefinitionError):
        service_of(BatchInvoker(many))


def test_an_action_with_arguments_of_its_own_needs_an_extractor():
    async def f(self, other: int) -> int:
        return other

    with pytest.raises(DefinitionError) as caught:
        service_of(BatchInvoker(good), f)
    assert "other" in str(caught.value)


# --- calls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_hundred_calls_are_one(asynchronous):
    seen = []

    def fn(items):
        seen.append(([item.value for item in items], threading.current_thread() is threading.main_thread()))
        return [item.value * 2 for item in items]

    async def afn(items):
        return fn(items)

    service, operation, cls = service_of(BatchInvoker(afn if asynchronous else fn))
    assert together(service, operation, map(cls, range(100))) == [n * 2 for n in range(100)]
    assert seen == [(list(range(100)), asynchronous)]


@pytest.mark.parametrize(("size", "sizes"), [(2, [2, 2, 1]), (5, [5]), (None, [5])])
def test_a_batch_has_so_many_items_at_most(size, sizes):
    seen = []

    async def fn(items):
        seen.append(len(items))
        return [item.value for item in items]

    service, operation, cls = service_of(BatchInvoker(fn, size))
    assert together(service, operation, map(cls, range(5))) == list(range(5))
    assert seen == sizes


def test_a_call_that_comes_alone_is_one_of_the_method():
    _service, operation, cls = service_of(BatchInvoker(good))
    context = CallContext(Origin.NETWORK, "test", "r")
    assert asyncio.run(operation.run(operation.decode_for(cls(5), {}), context)) == -5
    assert asyncio.run(operation.run(operation.decode({"self": {"value": 6}}), context)) == -6


def test_an_extractor_makes_the_items_and_its_error_is_its_items():
    async def f(self, n: int, times: int = 2) -> int:
        raise AssertionError

    def extract(self, n, times):
        if self.value == 2:
            raise NotFoundError("no such thing")
        return (self.value + n) * times

    seen = []

    async def fn(items):
        seen.append(items)
        return items

    service, operation, cls = service_of(BatchInvoker(fn, arg_extractor=extract), f)
    outcomes = together(service, operation, map(cls, (1, 2, 3)), {"n": 10})
    assert kinds(outcomes) == [22, NotFoundError, 26]
    assert seen == [[22, 26]]


def test_an_exception_in_place_of_a_result_is_the_error_of_its_item(caplog):
    class MineError(Exception):
        pass

    def fn(items):
        return [1, NotFoundError("gone"), MineError("mine"), ValueError("a defect"), 5]

    service, operation, cls = service_of(BatchInvoker(fn), errors=(ErrorMapping(MineError, 409),))
    outcomes = together(service, operation, map(cls, range(5)))
    assert kinds(outcomes)[:2] == [1, NotFoundError]
    assert (outcomes[2].status, type(outcomes[3]), outcomes[4]) == (409, InternalError, 5)
    assert defects(caplog) == [("stats_f", "r-3")]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("error", "kind", "logged"), [(ConflictError("no"), ConflictError, 0), (KeyError("x"), InternalError, 1)]
)
def test_what_a_batch_function_raises_fails_all_calls_and_is_told_once(asynchronous, error, kind, logged, caplog):
    def fn(items):
        raise error

    async def afn(items):
        raise error

    service, operation, cls = service_of(BatchInvoker(afn if asynchronous else fn))
    assert kinds(together(service, operation, map(cls, range(3)))) == [kind] * 3
    assert len(defects(caplog)) == logged


@pytest.mark.parametrize("returned", [[], [1], [1, 2, 3], None, "ab", b"ab", {1: 2, 3: 4}, 5])
def test_other_than_one_result_for_each_item_is_a_defect_that_is_told_once(returned, caplog):
    async def fn(items):
        return returned

    service, operation, cls = service_of(BatchInvoker(fn))
    assert kinds(together(service, operation, map(cls, range(2)))) == [InternalError] * 2
    assert defects(caplog) == [("stats_f", "r-0")]


def test_a_result_that_is_not_as_declared_fails_its_call_alone(caplog):
    def fn(items):
        return (1, "x", 3)

    service, operation, cls = service_of(BatchInvoker(fn))
    assert kinds(together(service, operation, map(cls, range(3)))) == [1, InternalError, 3]
    assert defects(caplog) == [("stats_f", "r-1")]


def test_a_cancellation_that_nobody_asked_for_is_a_defect(caplog):
    async def fn(items):
        raise asyncio.CancelledError

    service, operation, cls = service_of(BatchInvoker(fn))
    assert kinds(together(service, operation, map(cls, range(2)))) == [InternalError] * 2
    assert len(defects(caplog)) == 1


def test_replies_of_a_batch_are_replies():
    async def f(self) -> Reply[int]:
        raise AssertionError

    async def fn(items):
        return [Reply(1), Reply(2)]

    service, operation, cls = service_of(BatchInvoker(fn), f)
    assert together(service, operation, map(cls, range(2))) == [1, 2]


# --- surroundings -----------------------------------------------------------------------------------------------------


def test_a_batch_function_is_told_of_the_call_and_its_caller():
    seen = []

    async def fn(items, authorization: Authorization, *, context: CallContext):
        seen.append((authorization, context.request_id, CURRENT_CALL.get() is context, context.deadline))
        return [item.value for item in items]

    service, operation, cls = service_of(BatchInvoker(fn))
    assert together(service, operation, map(cls, range(2)), authorization=ME, started=1e9) == [0, 1]
    assert seen == [(ME, "r-0", True, 1e9 + 15)]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_batch_function_has_the_context_variables_of_its_first_call_and_leaves_them_alone(asynchronous):
    variable = ContextVar("variable", default="nobody's")
    seen = []

    def fn(items):
        seen.append(variable.get())
        variable.set("changed")
        return [item.value for item in items]

    async def afn(items):
        return fn(items)

    service, operation, cls = service_of(BatchInvoker(afn if asynchronous else fn))

    async def main():
        group = BatchLoader()

        async def call(n):
            variable.set(f"v-{n}")
            context = CallContext(Origin.NETWORK, "test", "r", batch_loader=group)
            return await operation.run(operation.decode_for(cls(n), {}), context), variable.get()

        async with service.running():
            return await asyncio.gather(*map(call, range(2)))

    assert asyncio.run(main()) == [(0, "v-0"), (1, "v-1")]
    assert seen == ["v-0"]


def test_a_batch_function_that_needs_a_caller_makes_the_action_private():
    def fn(items, authorization: Authorization):
        return items

    _, operation, _cls = service_of(BatchInvoker(fn))
    assert operation.is_private
    with pytest.raises(UnauthorizedError):
        asyncio.run(operation.authorize(CallContext(Origin.NETWORK, "test", "r")))


def test_an_action_is_private_whose_batch_function_may_look_at_the_caller():
    def fn(items, authorization: Authorization | None):
        return items

    _, operation, _ = service_of(BatchInvoker(fn))
    assert (operation.is_open, operation.is_private) == (True, True)


def test_a_batch_starts_the_service_whose_resources_it_needs():
    @resource(scope="service")
    def session() -> Iterator[Session]:
        yield Session(5)

    async def fn(items, session: Session):
        return [session.number for _ in items]

    _, operation, cls = service_of(BatchInvoker(fn), resources=[session])

    async def main():
        context = CallContext(Origin.NETWORK, "test", "r", batch_loader=BatchLoader())
        return await operation.run(operation.decode_for(cls(1), {}), context)

    assert asyncio.run(main()) == 5


def test_callers_are_not_mixed_in_one_batch():
    seen = []

    async def fn(items, authorization: Authorization | None):
        seen.append((authorization and authorization.subject, [item.value for item in items]))
        return [item.value for item in items]

    _service, operation, cls = service_of(BatchInvoker(fn))

    async def main():
        group = BatchLoader()
        contexts = [CallContext(Origin.NETWORK, "test", "r", who, batch_loader=group) for who in (ME, None, ME)]
        calls = [operation.run(operation.decode_for(cls(n), {}), c) for n, c in enumerate(contexts)]
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [0, 1, 2]
    assert seen == [("me", [0, 2]), (None, [1])]


@dataclass
class Session:
    number: int


@pytest.mark.parametrize("fn_async", [False, True])
@pytest.mark.parametrize("resource_async", [False, True])
def test_resources_are_opened_once_for_a_batch_and_closed_after_its_results_are_finished(fn_async, resource_async):
    events = []

    if resource_async:

        @resource(scope="call")
        async def session() -> AsyncIterator[Session]:
            events.append("open")
            yield Session(5)
            events.append("close")
    else:

        @resource(scope="call")
        def session() -> Iterator[Session]:
            events.append("open")
            yield Session(5)
            events.append("close")

    def fn(items, session: Session):
        events.append(len(items))
        return [item.value + session.number for item in items]

    async def afn(items, session: Session):
        return fn(items, session)

    def finish(value):
        events.append("finish")
        return value

    service, operation, cls = service_of(BatchInvoker(afn if fn_async else fn, 2), resources=[session])
    assert together(service, operation, map(cls, range(2)), finish=finish) == [5, 6]
    assert events == ["open", 2, "finish", "finish", "close"]


def test_a_resource_that_fails_when_it_is_closed_fails_all(caplog):
    undone = []

    @resource(scope="call")
    async def session() -> AsyncIterator[Session]:
        try:
            yield Session(5)
        except ValueError:
            undone.append(True)
            raise
        raise ConflictError("cannot commit")

    async def fn(items, session: Session):
        if items[0].value == 7:
            raise ValueError
        return [1 for _ in items]

    service, operation, cls = service_of(BatchInvoker(fn), resources=[session])
    assert kinds(together(service, operation, map(cls, range(2)))) == [ConflictError] * 2
    assert undone == []
    assert kinds(together(service, operation, [cls(7)])) == [InternalError]
    assert undone == [True]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_results_are_finished_each_in_the_surroundings_of_its_own_call(asynchronous):
    variable = ContextVar("variable", default="nobody's")
    seen = []

    def fn(items):
        return [item.value for item in items]

    async def afn(items):
        return fn(items)

    def finish(value):
        seen.append((value, CURRENT_CALL.get().request_id, variable.get()))
        return value

    variable.set("caller's")
    service, operation, cls = service_of(BatchInvoker(afn if asynchronous else fn))
    assert together(service, operation, map(cls, range(2)), finish=finish) == [0, 1]
    assert seen == [(0, "r-0", "caller's"), (1, "r-1", "caller's")]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_batch_that_is_too_slow_is_given_up(asynchronous):
    let_go = threading.Event()

    def fn(items):
        assert let_go.wait(BOUND)
        return items

    async def afn(items):
        await asyncio.Event().wait()

    service, operation, cls = service_of(BatchInvoker(afn if asynchronous else fn), timeout=0.05)
    threading.Timer(0.5, let_go.set).start()
    assert kinds(together(service, operation, map(cls, range(3)))) == [DeadlineError] * 3


def test_a_batch_that_finds_no_thread_until_its_deadline_is_not_made():
    let_go, begun, made = threading.Event(), threading.Event(), []

    @action
    def hold() -> None:
        begun.set()
        assert let_go.wait(BOUND)

    def fn(items):
        made.append(items)
        return items

    @dataclass
    class Stats:
        value: int

        @action(batch_invoker=BatchInvoker(fn), timeout=0.05)
        async def f(self) -> int:
            return 1

    @action
    def stats() -> Stats:
        return Stats(1)

    service = Service([stats, hold], settings=Settings(threads=1))

    async def main():
        held = asyncio.create_task(service.operations["hold"].run(None, CallContext(Origin.SYSTEM, "test", "h")))
        await asyncio.to_thread(begun.wait, BOUND)
        operation = service.operations["stats_f"]
        context = CallContext(Origin.NETWORK, "test", "r", batch_loader=BatchLoader())
        try:
            with pytest.raises(OverloadedError):
                await operation.run(operation.decode_for(Stats(1), {}), context)
        finally:
            let_go.set()
        await held

    asyncio.run(main())
    assert made == []


def test_who_leaves_does_not_disturb_the_others_and_the_last_one_ends_the_batch():
    cancelled = []

    async def main(leaving):
        began, go = asyncio.Event(), asyncio.Event()

        async def fn(items):
            began.set()
            try:
                await go.wait()
            except asyncio.CancelledError:
                for _ in range(20):
                    await asyncio.sleep(0)
                cancelled.append(True)
                raise
            return [item.value for item in items]

        _service, operation, cls = service_of(BatchInvoker(fn))
        group = BatchLoader()
        tasks = [
            asyncio.create_task(
                operation.run(
                    operation.decode_for(cls(n), {}), CallContext(Origin.NETWORK, "test", "r", batch_loader=group)
                )
            )
            for n in range(3)
        ]
        async with asyncio.timeout(BOUND):
            await began.wait()
            for task in tasks[:leaving]:
                task.cancel()
            await asyncio.wait(tasks[:leaving])
            before = list(cancelled)
            go.set()
            return before, await asyncio.gather(*tasks, return_exceptions=True)

    before, outcomes = asyncio.run(main(2))
    assert (before, [type(item) for item in outcomes]) == ([], [asyncio.CancelledError] * 2 + [int])
    before, outcomes = asyncio.run(main(3))
    assert (before, [type(item) for item in outcomes]) == ([True], [asyncio.CancelledError] * 3)


def test_who_left_before_the_batch_is_no_item_of_it():
    seen = []

    async def fn(items):
        seen.append([item.value for item in items])
        return [item.value for item in items]

    _service, operation, cls = service_of(BatchInvoker(fn))

    async def main():
        group = BatchLoader()
        tasks = [
            asyncio.create_task(
                operation.run(
                    operation.decode_for(cls(n), {}), CallContext(Origin.NETWORK, "test", "r", batch_loader=group)
                )
            )
            for n in range(3)
        ]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = asyncio.run(main())
    assert [outcomes[0], outcomes[2], seen] == [0, 2, [[0, 2]]]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_a_batch_invalidates_is_forgotten_again_when_its_resources_are_closed(asynchronous):
    runs = []

    @action(cache_control=TtlCacheControl(30))
    async def count() -> int:
        runs.append(True)
        return len(runs)

    fetched = []

    @resource(scope="call")
    def session() -> Iterator[Session]:
        yield Session(1)
        fetched.append(True)

    def fn(items, session: Session):
        cache.invalidate(count)
        return [1 for _ in items]

    async def afn(items, session: Session):
        return fn(items, session)

    @dataclass
    class Stats:
        value: int

        @action(batch_invoker=BatchInvoker(afn if asynchronous else fn))
        async def f(self) -> int:
            return 1

    @action
    def stats() -> Stats:
        return Stats(1)

    service = Service([stats, count], resources=[session])

    async def main():
        counted = service.cached["count"]
        context = CallContext(Origin.NETWORK, "test", "r")
        put = []

        store = service.stores.results
        invalidate = store.invalidate

        def seen(*key):
            put.append(len(fetched))
            return invalidate(*key)

        store.invalidate = seen
        await counted.fetch(counted.operation.decode({}), context)
        operation = service.operations["stats_f"]
        given = CallContext(Origin.NETWORK, "test", "r", batch_loader=BatchLoader())
        async with service.running():
            await operation.run(operation.decode_for(Stats(1), {}), given)
            again = await counted.fetch(counted.operation.decode({}), context)
        return put, again.cache_status

    put, status = asyncio.run(main())
    assert put[0] == 0
    assert put[-1] == 1
    assert status.startswith("fwd=uri-miss")


def test_what_a_batch_invalidates_after_its_deadline_is_forgotten_again_all_the_same():
    let_go, events = threading.Event(), []

    @action(cache_control=TtlCacheControl(30))
    async def count() -> int:
        return 1

    @resource(scope="call")
    def session() -> Iterator[Session]:
        yield Session(1)
        events.append("closed")

    def fn(items, session: Session):
        assert let_go.wait(BOUND)
        cache.invalidate(count)
        return [1 for _ in items]

    @dataclass
    class Stats:
        value: int

        @action(batch_invoker=BatchInvoker(fn), timeout=0.5)
        async def f(self) -> int:
            return 1

    @action
    def stats() -> Stats:
        return Stats(1)

    service = Service([stats, count], resources=[session])

    async def main():
        store = service.stores.results
        invalidate = store.invalidate
        store.invalidate = lambda *key: (events.append("invalidated"), invalidate(*key))
        operation = service.operations["stats_f"]
        given = CallContext(Origin.NETWORK, "test", "r", batch_loader=BatchLoader())
        async with service.running():
            with pytest.raises(DeadlineError):
                await operation.run(operation.decode_for(Stats(1), {}), given)
            let_go.set()
            assert await service.runtime.workers.drain(BOUND) == 0

    asyncio.run(main())
    assert events == ["invalidated", "closed", "invalidated"]


def test_a_batch_invoker_cannot_be_changed():
    with pytest.raises(AttributeError):
        BatchInvoker(good).max_batch_size = 5
    assert msgspec.structs.asdict(BatchInvoker(good)) == {"fn": good, "max_batch_size": 100, "arg_extractor": None}


def numbers_as_dict(items: list[Any]) -> dict[int, int]:
    return {}


def one_number(item: int) -> list[int]:
    return [item]


@pytest.mark.parametrize(
    "invoker",
    [
        BatchInvoker(numbers_as_dict),
        BatchInvoker(one_number),
        BatchInvoker(lambda items: items, arg_extractor=lambda item, other: item),
    ],
)
def test_a_batch_function_or_an_extractor_that_cannot_fit_is_refused_at_start(invoker: BatchInvoker) -> None:
    @dataclass
    class Box:
        width: int

        @action(batch_invoker=invoker)
        def doubled(self) -> int:
            return self.width * 2

    @action(triggers=(WEB_GET,))
    def box() -> Box:
        return Box(1)

    with pytest.raises(DefinitionError) as caught:
        Service([box])
    assert __file__.rpartition("/")[2] in str(caught.value)
