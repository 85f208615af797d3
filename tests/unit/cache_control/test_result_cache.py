"""Results that the server keeps, in the process that calls the actions."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import pytest

from servey import (
    Authorization,
    CallContext,
    CallError,
    ConflictError,
    DeadlineError,
    Origin,
    OverloadedError,
    Reply,
    ScopeAccessControl,
)
from servey.action.action import action
from servey.action.context import CURRENT_CALL, new_request_id
from servey.cache_control import CacheHeader, SecureHashCacheControl, TimestampCacheControl, TtlCacheControl
from servey.cache_control.representation import Fetched
from servey.errors import MissingExtraError
from servey.service import Service
from servey.settings import Settings

BOUND = 60.0
TTL = TtlCacheControl(30)
ME = Authorization(subject="me", scopes=frozenset({"read"}))
YOU = Authorization(subject="you", scopes=frozenset({"read"}))


class Calls:
    """Counts the calls of an action, and holds each until it may go on."""

    def __init__(self, *, held: bool = False) -> None:
        self.count = 0
        self.cancelled = 0
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        if not held:
            self.go.set()

    async def __call__(self) -> int:
        self.count += 1
        number = self.count
        self.began.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return number


def run(service: Service, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def running() -> None:
        async with service.running():
            await main()

    asyncio.run(asyncio.wait_for(running(), BOUND))


def context(authorization: Authorization | None = None, within: float | None = None) -> CallContext:
    made = CallContext(Origin.NETWORK, "rest", new_request_id(), authorization)
    if within is not None:
        made.deadline = asyncio.get_running_loop().time() + within
    return made


async def fetch(
    service: Service,
    name: str = "f",
    /,
    *,
    as_: Authorization | None = None,
    within: float | None = None,
    max_age: int | None = None,
    store: bool = True,
    **arguments: Any,
) -> Fetched:
    operation = service.operations[name]
    decoded = operation.decode(arguments)
    return await service.cached[name].fetch(decoded, context(as_, within), max_age=max_age, store=store)


def told(*fetched: Fetched) -> list[tuple[bytes, str]]:
    """What was fetched, and how; without for how long it is fresh, which nobody knows to the second."""
    return [(item.representation.content, item.cache_status.partition("; ttl=")[0]) for item in fetched]


async def waiting_for(*tasks: asyncio.Task[Any]) -> None:
    """Return when every task has got as far as it gets by itself."""
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_the_second_call_of_the_same_arguments_is_answered_from_the_cache() -> None:
    calls = Calls()

    @action(cache_control=TTL)
    async def f(name: str, times: int = 1) -> str:
        return f"{name} {times} {await calls()}"

    service = Service([f])

    async def main() -> None:
        first = await fetch(service, name="a")
        again = await fetch(service, times=1, name="a")
        other = await fetch(service, name="a", times=2)
        assert told(first, again, other) == [
            (b'"a 1 1"', "fwd=uri-miss; stored"),
            (b'"a 1 1"', "hit"),
            (b'"a 2 2"', "fwd=uri-miss; stored"),
        ]
        assert first.age == 0
        assert again.representation == first.representation

    run(service, main)


def test_a_call_of_the_system_runs_always() -> None:
    calls = Calls()

    @action(cache_control=TTL)
    async def f() -> int:
        return await calls()

    service = Service([f])

    async def main() -> None:
        await fetch(service)
        operation = service.operations["f"]
        assert await operation.run(operation.decode({}), CallContext(Origin.SYSTEM, "cli", "1")) == 2
        assert told(await fetch(service)) == [(b"1", "hit")]

    run(service, main)


class Says:
    def __init__(self, header: CacheHeader) -> None:
        self.header = header

    def __repr__(self) -> str:
        return f"Says({self.header})"

    def cache_header(self, result: Any, content: bytes) -> CacheHeader:
        return self.header


@pytest.mark.parametrize(
    "header",
    [CacheHeader(), CacheHeader(max_age=0), CacheHeader(max_age=30, no_store=True), CacheHeader(etag="a")],
    ids=str,
)
def test_what_is_not_said_to_be_fresh_is_not_kept(header: CacheHeader) -> None:
    calls = Calls()

    @action(cache_control=Says(header))
    async def f() -> int:
        return await calls()

    service = Service([f])

    async def main() -> None:
        assert told(await fetch(service), await fetch(service)) == [(b"1", "fwd=uri-miss"), (b"2", "fwd=uri-miss")]

    run(service, main)


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        (Reply(1), True),
        (Reply(1, headers={"X-A": "b"}), True),
        (Reply(1, status=201), True),
        (Reply(1, status=204), True),
        (Reply(1, status=301), False),
        (Reply(1, headers={"Set-Cookie": "a=b"}), False),
        (Reply(1, headers={"set-cookie": "a=b"}), False),
        (Reply(1, headers={"Cache-Control": "no-store"}), False),
    ],
    ids=str,
)
def test_successes_that_set_no_cookie_are_kept(reply: Reply[int], kept: bool) -> None:
    @action(cache_control=TTL)
    async def f() -> Reply[int]:
        return reply

    service = Service([f])

    async def main() -> None:
        first, second = await fetch(service), await fetch(service)
        assert first.cache_status.endswith("; stored") is kept
        assert second.cache_status.startswith("hit") is kept
        assert second.representation.status == reply.status
        assert dict(second.representation.headers) == dict(reply.headers)

    run(service, main)


@pytest.mark.parametrize("error", [ConflictError("no"), RuntimeError("broken"), ValueError("no")])
def test_errors_are_not_kept(error: Exception) -> None:
    count = 0

    @action(cache_control=TTL, errors=(ValueError,))
    async def f() -> int:
        nonlocal count
        count += 1
        raise error

    service = Service([f])

    async def main() -> None:
        for _ in range(2):
            with pytest.raises(CallError):
                await fetch(service)
        assert count == 2

    run(service, main)


def test_an_action_without_a_cache_control_keeps_nothing() -> None:
    @action
    async def f() -> int:
        return 1

    assert dict(Service([f]).cached) == {}


@pytest.mark.parametrize(
    ("control", "kept"),
    [
        (TtlCacheControl(1), True),
        (TtlCacheControl(0), False),
        (SecureHashCacheControl(), False),
        (SecureHashCacheControl(1), True),
        (TimestampCacheControl("changed"), False),
        (TimestampCacheControl("changed") & SecureHashCacheControl(), False),
        (TimestampCacheControl("changed") & SecureHashCacheControl(1), True),
    ],
    ids=repr,
)
def test_the_cache_is_not_asked_where_nothing_is_ever_fresh(control: Any, kept: bool) -> None:
    @action(cache_control=control)
    def count() -> int:
        return 1

    assert (Service([count]).cached["count"].results is not None) is kept


def test_the_cache_can_be_off() -> None:
    @action(cache_control=TTL)
    async def f() -> int:
        return 1

    service = Service([f], settings=Settings(result_cache="off"))

    async def main() -> None:
        assert told(await fetch(service), await fetch(service)) == [(b"1", "")] * 2

    run(service, main)


def test_without_cachetools_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cachetools", None)
    with pytest.raises(MissingExtraError, match=r"servey\[server\]"):
        _ = Service().stores.results


# --- whose it is ------------------------------------------------------------------------------------------------------


def test_the_results_of_a_private_action_are_their_callers_alone() -> None:
    calls = Calls()

    @action(cache_control=TTL)
    async def f(caller: Authorization | None) -> str:
        return f"{caller and caller.subject} {await calls()}"

    @action(cache_control=TTL, access_control=ScopeAccessControl("read"))
    async def g() -> int:
        return await calls()

    service = Service([f, g])
    later = Authorization(
        subject="me", scopes=ME.scopes, expires_at=dt.datetime(2099, 1, 1, tzinfo=dt.UTC), claims={"jti": "2", "iat": 3}
    )

    async def main() -> None:
        found = [await fetch(service, as_=who) for who in (None, ME, YOU, None, ME, YOU, later)]
        assert [item.representation.content for item in found] == [
            *(b'"None 1"', b'"me 2"', b'"you 3"') * 2,
            b'"me 2"',
        ]
        found = [await fetch(service, "g", as_=who) for who in (ME, YOU, ME)]
        assert [item.representation.content for item in found] == [b"4", b"5", b"4"]

    run(service, main)


def test_the_results_of_an_open_action_are_everybodys() -> None:
    calls = Calls()

    @action(cache_control=TTL)
    async def f() -> int:
        return await calls()

    service = Service([f])

    async def main() -> None:
        found = [await fetch(service, as_=who) for who in (None, ME, YOU)]
        assert [item.representation.content for item in found] == [b"1"] * 3

    run(service, main)


def test_the_results_of_nested_actions_are_kept_apart_by_whatever_their_objects_hold() -> None:
    @dataclass
    class Box:
        size: int

        @action(cache_control=TTL)
        async def content(self) -> str:
            return vars(self).get("_content", "nothing")

    class Full(Box):
        pass

    @action
    def box() -> Box:
        return Box(1)

    service = Service([box])
    operation = service.operations["box_content"]

    async def main() -> None:
        full, other = Full(1), Box(1)
        vars(full)["_content"], vars(other)["_content"] = "gold", "silver"
        found = [
            await service.cached["box_content"].fetch(operation.decode_for(owner, {}), context())
            for owner in (Box(1), full, other, Box(1))
        ]
        assert told(*found) == [
            (b'"nothing"', "fwd=uri-miss; stored"),
            (b'"gold"', "fwd=uri-miss; stored"),
            (b'"silver"', "fwd=uri-miss; stored"),
            (b'"nothing"', "hit"),
        ]

    run(service, main)


def test_what_depends_on_more_of_the_call_than_its_caller_is_not_kept() -> None:
    @action(cache_control=TTL)
    async def f(call: CallContext) -> str:
        return call.request_id

    service = Service([f])

    async def main() -> None:
        first, second = await fetch(service), await fetch(service)
        assert first.representation.content != second.representation.content
        assert first.cache_status == ""

    run(service, main)


# --- what a request says ----------------------------------------------------------------------------------------------


def test_a_caller_may_ask_for_a_new_result_which_is_kept() -> None:
    calls = Calls()

    @action(cache_control=TTL)
    async def f() -> int:
        return await calls()

    service = Service([f])

    async def main() -> None:
        found = [
            await fetch(service, max_age=0),
            await fetch(service, max_age=0),
            await fetch(service),
            await fetch(service, max_age=10),
        ]
        assert told(*found) == [
            (b"1", "fwd=uri-miss; stored"),
            (b"2", "fwd=request; stored"),
            (b"2", "hit"),
            (b"2", "hit"),
        ]

    run(service, main)


def test_a_caller_may_ask_for_a_result_that_is_not_too_old() -> None:
    calls = Calls()

    @action(cache_control=TTL)
    async def f() -> int:
        return await calls()

    service = Service([f])

    async def main() -> None:
        first = await fetch(service)

        async def second_has_passed() -> bool:
            return time.time() - first.representation.made_at > 1.0

        while not await second_has_passed():  # noqa: ASYNC110 - the clock on the wall has no events
            await asyncio.sleep(0.05)
        hit = await fetch(service)
        assert 1 <= hit.age < 25
        assert hit.cache_status in (f"hit; ttl={29 - hit.age}", f"hit; ttl={30 - hit.age}")
        assert told(await fetch(service, max_age=1)) == [(b"2", "fwd=request; stored")]

    run(service, main)


def test_a_caller_may_ask_that_nothing_is_kept() -> None:
    calls = Calls()

    @action(cache_control=TTL)
    async def f() -> int:
        return await calls()

    service = Service([f])

    async def main() -> None:
        found = [await fetch(service, store=False), await fetch(service), await fetch(service, store=False)]
        assert told(*found) == [(b"1", "fwd=uri-miss"), (b"2", "fwd=uri-miss; stored"), (b"2", "hit")]

    run(service, main)


# --- one run for all who ask at once ----------------------------------------------------------------------------------


@pytest.mark.parametrize("callers", [2, 50])
def test_calls_at_the_same_time_are_one_run(callers: int) -> None:
    calls = Calls(held=True)

    @action(cache_control=TTL)
    async def f(name: str) -> int:
        return await calls()

    service = Service([f])

    async def main() -> None:
        asking = [asyncio.create_task(fetch(service, name="a")) for _ in range(callers)]
        await waiting_for(*asking)
        calls.go.set()
        found = told(*await asyncio.gather(*asking))
        assert found == [(b"1", "fwd=uri-miss; stored")] + [(b"1", "fwd=uri-miss; stored; collapsed")] * (callers - 1)
        assert calls.count == 1

    run(service, main)


def test_calls_at_the_same_time_of_a_plain_function_are_one_run() -> None:
    began, go = threading.Event(), threading.Event()
    count = 0

    @action(cache_control=TTL)
    def f() -> int:
        nonlocal count
        count += 1
        began.set()
        assert go.wait(BOUND)
        return count

    service = Service([f])

    async def main() -> None:
        asking = [asyncio.create_task(fetch(service)) for _ in range(5)]
        await asyncio.to_thread(began.wait, BOUND)
        await waiting_for(*asking)
        go.set()
        assert [item.representation.content for item in await asyncio.gather(*asking)] == [b"1"] * 5

    run(service, main)


def test_calls_of_other_arguments_and_other_callers_have_runs_of_their_own() -> None:
    calls = Calls(held=True)

    @action(cache_control=TTL)
    async def f(name: str, caller: Authorization | None) -> str:
        await calls()
        return f"{name} of {caller and caller.subject}"

    service = Service([f])

    async def main() -> None:
        asking = [
            asyncio.create_task(fetch(service, name=name, as_=who)) for name in ("a", "b") for who in (ME, YOU, None)
        ]
        await waiting_for(*asking)
        assert calls.count == 6
        calls.go.set()
        found = [item.representation.content for item in await asyncio.gather(*asking)]
        assert found == [b'"%s of %s"' % (name, who) for name in (b"a", b"b") for who in (b"me", b"you", b"None")]

    run(service, main)


def test_an_error_is_told_to_all_who_waited_for_it_and_to_nobody_later() -> None:
    calls = Calls(held=True)

    @action(cache_control=TTL)
    async def f() -> int:
        if await calls() == 1:
            raise ConflictError("not now")
        return 2

    service = Service([f])

    async def main() -> None:
        asking = [asyncio.create_task(fetch(service)) for _ in range(3)]
        await waiting_for(*asking)
        calls.go.set()
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ConflictError] * 3
        assert told(await fetch(service)) == [(b"2", "fwd=uri-miss; stored")]

    run(service, main)


def test_the_others_get_their_result_when_the_one_who_began_it_leaves() -> None:
    calls = Calls(held=True)

    @action(cache_control=TTL)
    async def f() -> int:
        return await calls()

    service = Service([f])

    async def main() -> None:
        asking = [asyncio.create_task(fetch(service)) for _ in range(3)]
        await waiting_for(*asking)
        asking[0].cancel()
        await waiting_for(*asking[1:])
        assert asking[0].cancelled()
        asking[1].cancel()
        await waiting_for(asking[2])
        calls.go.set()
        assert told(await asking[2]) == [(b"1", "fwd=uri-miss; stored; collapsed")]
        assert (calls.count, calls.cancelled) == (1, 0)

    run(service, main)


@pytest.mark.parametrize("callers", [1, 3])
def test_a_run_that_nobody_waits_for_is_cancelled(callers: int) -> None:
    calls = Calls(held=True)

    @action(cache_control=TTL)
    async def f() -> int:
        return await calls()

    service = Service([f])

    async def main() -> None:
        before = asyncio.all_tasks()
        asking = [asyncio.create_task(fetch(service)) for _ in range(callers)]
        await waiting_for(*asking)
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert calls.cancelled == 1
        calls.go.set()
        assert told(await fetch(service)) == [(b"2", "fwd=uri-miss; stored")]
        assert asyncio.all_tasks() == before

    run(service, main)


def test_who_leaves_alone_waits_until_the_action_has_cleaned_up() -> None:
    cleaned: list[str] = []
    began = asyncio.Event()

    @action(cache_control=TTL)
    async def f() -> int:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            cleaned.append("f")
        return 1

    service = Service([f])

    async def main() -> None:
        asking = asyncio.create_task(fetch(service))
        await began.wait()
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        assert cleaned == ["f"]

    run(service, main)


def test_the_deadline_of_the_one_who_began_it_does_not_fail_the_others() -> None:
    calls = Calls(held=True)

    @action(cache_control=TTL)
    async def f() -> int:
        return await calls()

    service = Service([f])

    async def main() -> None:
        first = asyncio.create_task(fetch(service, within=0.2))
        await calls.began.wait()
        others = [asyncio.create_task(fetch(service, within=BOUND)) for _ in range(2)]
        with pytest.raises(DeadlineError):
            await first
        while calls.count < 2:  # noqa: ASYNC110 - one of them begins it soon
            await asyncio.sleep(0)
        await waiting_for(*others)
        calls.go.set()
        assert [item.representation.content for item in await asyncio.gather(*others)] == [b"2"] * 2
        assert calls.count == 2

    run(service, main)


def test_a_deadline_of_ones_own_is_kept_while_the_run_goes_on_for_others() -> None:
    calls = Calls(held=True)

    @action(cache_control=TTL)
    async def f() -> int:
        return await calls()

    service = Service([f])

    async def main() -> None:
        patient = asyncio.create_task(fetch(service))
        await calls.began.wait()
        with pytest.raises(DeadlineError):
            await fetch(service, within=0.1)
        calls.go.set()
        assert told(await patient) == [(b"1", "fwd=uri-miss; stored")]

    run(service, main)


def test_an_action_that_says_it_is_overloaded_is_asked_once() -> None:
    calls = Calls(held=True)

    @action(cache_control=TTL)
    async def f() -> int:
        await calls()
        raise OverloadedError

    service = Service([f])

    async def main() -> None:
        asking = [asyncio.create_task(fetch(service)) for _ in range(3)]
        await waiting_for(*asking)
        calls.go.set()
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [OverloadedError] * 3
        assert calls.count == 1

    run(service, main)


def test_who_asks_for_a_new_result_is_given_no_older_run() -> None:
    calls = Calls(held=True)

    @action(cache_control=TTL)
    async def f() -> int:
        return await calls()

    service = Service([f])

    async def main() -> None:
        first = asyncio.create_task(fetch(service))
        await waiting_for(first)
        second = asyncio.create_task(fetch(service, max_age=0))
        third = asyncio.create_task(fetch(service))
        await waiting_for(first, second, third)
        calls.go.set()
        found = await asyncio.gather(first, second, third)
        assert [item.representation.content for item in found] == [b"1", b"2", b"2"]

    run(service, main)


def test_what_one_of_them_wants_kept_is_kept() -> None:
    calls = Calls(held=True)

    @action(cache_control=TTL)
    async def f() -> int:
        return await calls()

    service = Service([f])

    async def main() -> None:
        asking = [asyncio.create_task(fetch(service, store=store)) for store in (False, True, False)]
        await waiting_for(*asking)
        calls.go.set()
        await asyncio.gather(*asking)
        assert told(await fetch(service)) == [(b"1", "hit")]

    run(service, main)


@pytest.mark.parametrize("threaded", [False, True])
def test_a_run_has_the_context_of_whoever_began_it(threaded: bool) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="")
    seen: list[tuple[str, str]] = []

    def look() -> int:
        seen.append((variable.get(), CURRENT_CALL.get().request_id))
        return 1

    if threaded:

        @action(cache_control=TTL)
        def f() -> int:
            return look()
    else:

        @action(cache_control=TTL)
        async def f() -> int:
            return look()

    service = Service([f])

    async def main() -> None:
        variable.set("set")
        operation = service.operations["f"]
        mine = context()
        await service.cached["f"].fetch(operation.decode({}), mine)
        assert seen == [("set", mine.request_id)]
        assert CURRENT_CALL.get(None) is None

    run(service, main)


def test_calls_in_several_event_loops_do_not_wait_for_each_other() -> None:
    barrier = threading.Barrier(3)
    count = 0

    @action(cache_control=TTL, run_in="loop")
    def f() -> int:
        nonlocal count
        count += 1
        barrier.wait(BOUND)  # passed only by three runs at once
        return count

    service = Service([f])
    found: list[bytes] = []

    async def main() -> None:
        found.append((await fetch(service)).representation.content)

    threads = [threading.Thread(target=run, args=(service, main)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert len(found) == count == 3


def test_an_event_loop_that_ended_in_the_middle_is_nobodys_leader() -> None:
    calls = 0

    @action(cache_control=TTL)
    async def f() -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.Event().wait()
        return calls

    service = Service([f])

    async def abandoned() -> None:
        task = asyncio.create_task(fetch(service))
        await waiting_for(task)

    async def main() -> None:
        assert told(await fetch(service)) == [(b"2", "fwd=uri-miss; stored")]

    loop = asyncio.new_event_loop()
    loop.run_until_complete(abandoned())
    loop.call_soon(loop.stop)
    loop.run_forever()
    run(service, main)
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()
