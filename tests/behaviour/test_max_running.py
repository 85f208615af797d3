"""An action says how many calls of it run at a time; the others wait, take no thread, and go at their deadline."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest

from servey import WEB_GET, WEB_POST, Authorization, BatchInvoker, CallContext, Origin, OverloadedError
from servey.action.action import action
from servey.action.capacity_limiter import CapacityLimiter
from servey.cache_control.ttl_cache_control import TtlCacheControl
from servey.errors import DeadlineError, DefinitionError
from servey.plugin import Plugin
from servey.servey_direct import direct
from servey.servey_starlette.app import create_app
from servey.servey_test.client import client_of
from servey.service import Service
from servey.settings import Settings

WEB = (WEB_GET, WEB_POST)
BOUND = 20.0


class Running:
    """Counts who runs; two have to meet, however slowly requests come in."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.met = threading.Event()
        self.now = self.most = self.all = 0

    def __enter__(self) -> None:
        with self.lock:
            self.now += 1
            self.all += 1
            self.most = max(self.most, self.now)
            if self.now == 2:
                self.met.set()

    def __exit__(self, *_: Any) -> None:
        with self.lock:
            self.now -= 1


def counted_async(running: Running) -> Any:
    @action(triggers=WEB, max_running=2)
    async def work() -> int:
        with running:
            await asyncio.to_thread(running.met.wait, BOUND)
            for _ in range(5):
                await asyncio.sleep(0)
        return 1

    return work


def counted_def(running: Running) -> Any:
    @action(triggers=WEB, max_running=2)
    def work() -> int:
        with running:
            running.met.wait(BOUND)
            time.sleep(0.02)  # for a third one, if it was let in
        return 1

    return work


@pytest.mark.parametrize("make", [counted_async, counted_def], ids=["async", "def"])
def test_no_more_run_at_a_time_than_it_says(concurrent_transport: Any, make: Any) -> None:
    running = Running()
    lanes = [[concurrent_transport.Call("work")] for _ in range(8)]
    outcomes = concurrent_transport.call_all([make(running)], lanes)
    assert [lane[0].result for lane in outcomes] == [1] * 8
    assert (running.all, running.most) == (8, 2)


def test_what_waits_takes_no_worker_thread(concurrent_transport: Any) -> None:
    begun, released = threading.Event(), threading.Event()

    @action(triggers=WEB, max_running=1)
    def slow() -> bool:
        begun.set()
        return released.wait(BOUND)

    @action(triggers=WEB)
    async def first() -> bool:
        return await asyncio.to_thread(begun.wait, BOUND)

    @action(triggers=WEB)
    def quick() -> bool:
        released.set()
        return True

    Call = concurrent_transport.Call
    service = Service([slow, first, quick], settings=Settings(threads=2))
    lanes = [*([Call("slow")] for _ in range(6)), [Call("first"), Call("quick")]]
    outcomes = concurrent_transport.call_all(service, lanes)
    assert [[item.result for item in lane] for lane in outcomes] == [*[[True]] * 6, [True, True]]


@pytest.mark.parametrize("kind", ["async", "def"])
def test_who_waits_until_the_deadline_is_told_that_the_service_is_overloaded(
    concurrent_transport: Any, kind: str
) -> None:
    begun = threading.Event()
    released = threading.Event()
    ran: list[int] = []

    if kind == "async":

        @action(triggers=WEB, max_running=1, timeout=BOUND)
        async def hold(number: int) -> bool:
            ran.append(number)
            begun.set()
            return await asyncio.to_thread(released.wait, BOUND)
    else:

        @action(triggers=WEB, max_running=1, timeout=BOUND)
        def hold(number: int) -> bool:
            ran.append(number)
            begun.set()
            return released.wait(BOUND)

    @action(triggers=WEB)
    async def wait(number: int) -> str:
        await asyncio.to_thread(begun.wait, BOUND)
        operation = context_service.operation("hold")
        until = operation.runtime.loop.time()
        context = CallContext(Origin.NETWORK, "direct", "1", deadline=until)
        try:
            await operation.run(operation.decode({"number": number}), context)
        except OverloadedError as error:
            return error.code
        finally:
            released.set()
        return "ran"

    context_service = Service([hold, wait])
    Call = concurrent_transport.Call
    lanes = [[Call("hold", {"number": 1})], [Call("wait", {"number": 2})]]
    outcomes = concurrent_transport.call_all(context_service, lanes)
    assert [lane[0].result for lane in outcomes] == [True, "overloaded"]
    assert ran == [1]


def test_a_thread_that_outlives_its_deadline_keeps_its_place() -> None:
    begun, released = threading.Event(), threading.Event()
    ran: list[int] = []

    @action(triggers=WEB, max_running=1, timeout=0.1)
    def work(number: int) -> int:
        ran.append(number)
        begun.set()
        released.wait(BOUND)
        return number

    async def main() -> list[Any]:
        service = Service([work])
        async with service.running():
            codes: list[Any] = []
            for number in (1, 2):
                try:
                    codes.append(await direct.call(service, "work", {"number": number}))
                except (DeadlineError, OverloadedError) as error:
                    codes.append(error.code)
            released.set()
            operation = service.operation("work")
            context = CallContext(Origin.SYSTEM, "direct", "1", deadline=operation.runtime.loop.time() + BOUND)
            codes.append(await operation.run(operation.decode({"number": 3}), context))
            return codes

    assert asyncio.run(main()) == ["timeout", "overloaded", 3]
    assert ran == [1, 3]


def test_who_is_cancelled_while_waiting_leaves_the_place_to_the_next() -> None:
    async def main() -> list[bool]:
        released = asyncio.Event()

        @action(max_running=1)
        async def work() -> bool:
            return await released.wait()

        service = Service([work])
        async with service.running():
            calls = [asyncio.ensure_future(direct.call(service, "work", {})) for _ in range(3)]
            for _ in range(5):
                await asyncio.sleep(0)
            calls[1].cancel()
            released.set()
            await asyncio.wait(calls)
            again = await direct.call(service, "work", {})
            return [call.cancelled() or call.result() for call in (calls[0], calls[2])] + [calls[1].cancelled(), again]

    assert asyncio.run(main()) == [True, True, True, True]


def test_a_place_that_is_given_to_a_call_that_is_cancelled_at_once_is_given_on() -> None:
    async def main() -> list[Any]:
        runtime = Service().runtime
        places = CapacityLimiter(1)
        first = await places.acquire(None, runtime)
        waiting = [asyncio.ensure_future(places.acquire(None, runtime)) for _ in range(2)]
        await asyncio.sleep(0)
        first.leave()  # gives the place to the first that waits, in the next turn of the loop
        waiting[0].cancel()
        second = await asyncio.wait_for(waiting[1], BOUND)
        second.leave()
        third = await asyncio.wait_for(places.acquire(None, runtime), BOUND)
        return [waiting[0].cancelled(), third is not None]

    assert asyncio.run(main()) == [True, True]


def test_a_kept_result_takes_no_place() -> None:
    async def main() -> list[int]:
        released = asyncio.Event()

        @action(triggers=WEB, max_running=1, cache_control=TtlCacheControl(60))
        async def work(number: int) -> int:
            if number == 2:
                await released.wait()
            return number

        async with client_of(create_app(Service([work]))) as client:
            await client.request("GET", "/actions/work?number=1")
            holding = asyncio.ensure_future(client.request("GET", "/actions/work?number=2"))
            await asyncio.sleep(0)
            kept = await asyncio.wait_for(client.request("GET", "/actions/work?number=1"), BOUND)
            released.set()
            return [kept.json(), (await holding).json()]

    assert asyncio.run(main()) == [1, 2]


RUNNING: list[Running] = []


def _all_of_them(rows: list[Row]) -> list[int]:
    with RUNNING[-1]:
        return [row.number for row in rows]


@dataclass
class Row:
    number: int

    @action(max_running=1, batch_invoker=BatchInvoker(_all_of_them, max_batch_size=5))
    def told(self) -> int:
        raise AssertionError

    @action(max_running=2)
    def told_alone(self) -> int:
        with RUNNING[-1]:
            return self.number


def test_a_batch_is_one_call() -> None:
    @action(triggers=WEB)
    def rows() -> list[Row]:
        return [Row(number) for number in range(20)]

    async def main(query: str) -> Any:
        async with client_of(create_app(Service([rows]))) as client:
            return (await client.request("POST", "/graphql", json={"query": query})).json()

    RUNNING.append(Running())
    assert asyncio.run(main("{ rows { told } }")) == {"data": {"rows": [{"told": number} for number in range(20)]}}
    assert (RUNNING[-1].all, RUNNING[-1].most) == (4, 1)
    RUNNING.append(Running())
    expected = {"data": {"rows": [{"toldAlone": number} for number in range(20)]}}
    assert asyncio.run(main("{ rows { toldAlone } }")) == expected
    assert RUNNING[-1].all == 20
    assert RUNNING[-1].most <= 2


def test_an_action_of_the_command_line_may_have_it(system_transport: Any) -> None:
    running = Running()
    running.met.set()  # it comes alone
    assert system_transport.call([counted_async(running)], "work").result == 1


@pytest.mark.parametrize("given", [0, -1, True, "4", 1.5])
def test_what_is_no_number_of_calls_is_told(given: Any) -> None:
    with pytest.raises(DefinitionError):

        @action(max_running=given)
        def work() -> None: ...


def test_a_login_that_hashes_keeps_no_thread_from_actions() -> None:
    begun, released = threading.Event(), threading.Event()

    class Hashing(Plugin):
        def authenticators(self) -> Any:
            return (self,)

        def authenticate(self, username: str, password: str, /) -> Authorization:
            begun.set()
            released.wait(BOUND)
            return Authorization(username)

    @action(triggers=WEB, timeout=BOUND / 4)
    def read() -> bool:
        return True

    async def main() -> tuple[Any, int]:
        settings = Settings(threads=1, jwt_secret_key="a secret that is long enough for everybody")
        async with client_of(create_app(Service([read], plugins=[Hashing()], settings=settings))) as client:
            form = {"content-type": "application/x-www-form-urlencoded"}
            content = b"grant_type=password&username=ann&password=secret"
            login = asyncio.ensure_future(client.request("POST", "/login", content=content, headers=form))
            assert await asyncio.to_thread(begun.wait, BOUND)
            answer = await client.request("GET", "/actions/read")
            released.set()
            return answer.json(), (await login).status

    assert asyncio.run(main()) == (True, 200)
