"""Calls that ask for the same at the same time: which of them are given one result."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from servey import Reply
from servey.action.action import action
from servey.cache_control import CacheHeader
from servey.errors import InternalError
from servey.service import Service
from unit.cache_control.test_result_cache import TTL, Calls, Says, context, fetch, run, told, waiting_for


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Set-Cookie": "session=mine"}, TTL),
        ({"Cache-Control": "private, max-age=30"}, TTL),
        ({"Cache-Control": "no-store"}, TTL),
        ({}, Says(CacheHeader(max_age=30, no_store=True))),
        ({}, Says(CacheHeader())),
    ],
    ids=str,
)
def test_what_may_not_be_kept_is_given_to_nobody_but_who_asked(headers: dict[str, str], says: Any) -> None:
    calls = Calls(held=True)

    @action(cache_control=says)
    async def f() -> Reply[int]:
        return Reply(await calls(), headers=headers)

    service = Service([f])

    async def main() -> None:
        asking = [asyncio.create_task(fetch(service)) for _ in range(4)]
        await waiting_for(*asking)
        assert calls.count == 1
        calls.go.set()
        found = await asyncio.gather(*asking)
        assert sorted(item.representation.content for item in found) == [b"1", b"2", b"3", b"4"]
        assert all("collapsed" not in item.cache_status for item in found)

    run(service, main)


def test_who_made_a_result_of_its_own_waited_for_nobody_but_the_first() -> None:
    calls = Calls(held=True)
    second = asyncio.Event()

    @action(cache_control=TTL)
    async def f() -> Reply[int]:
        number = await calls()
        if number > 1:
            if calls.count == 3:
                second.set()
            await second.wait()  # set only when both run at once
        return Reply(number, headers={"Set-Cookie": "a=b"})

    service = Service([f])

    async def main() -> None:
        asking = [asyncio.create_task(fetch(service)) for _ in range(3)]
        await waiting_for(*asking)
        calls.go.set()
        assert sorted(told(*await asyncio.gather(*asking))) == [
            (b"1", "fwd=uri-miss"),
            (b"2", "fwd=uri-miss"),
            (b"3", "fwd=uri-miss"),
        ]

    run(service, main)


@pytest.mark.parametrize(
    ("vary", "shared"),
    [
        ("Accept-Encoding, origin", True),
        ("Authorization,Cookie", True),
        ("Accept-Language", False),
        ("Origin, X-Tenant", False),
        ("*", False),
    ],
)
def test_what_varies_by_more_than_servey_looks_at_is_neither_kept_nor_shared(vary: str, shared: bool) -> None:
    calls = Calls(held=True)

    @action(cache_control=TTL)
    async def f() -> Reply[int]:
        return Reply(await calls(), headers={"Vary": vary})

    service = Service([f])

    async def main() -> None:
        asking = [asyncio.create_task(fetch(service)) for _ in range(2)]
        await waiting_for(*asking)
        calls.go.set()
        await asyncio.gather(*asking)
        await fetch(service)
        assert calls.count == (1 if shared else 3)

    run(service, main)


def test_a_result_is_not_replaced_by_one_whose_call_began_before() -> None:
    count = 0
    go = asyncio.Event()

    @action(cache_control=TTL)
    async def f() -> int:
        nonlocal count
        count += 1
        number = count
        if number == 1:
            await go.wait()
        return number

    service = Service([f])

    async def main() -> None:
        old = asyncio.create_task(fetch(service))
        await waiting_for(old)
        new = await fetch(service, max_age=0)
        go.set()
        assert told(new, await old, await fetch(service)) == [
            (b"2", "fwd=uri-miss; stored"),
            (b"1", "fwd=uri-miss"),
            (b"2", "hit"),
        ]
        assert service.cached["f"].results._runs == {}  # type: ignore[union-attr]

    run(service, main)


def test_who_comes_while_a_call_is_being_cancelled_has_a_call_of_its_own() -> None:
    calls = 0
    leaving, go = asyncio.Event(), asyncio.Event()

    @action(cache_control=TTL)
    async def f() -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            return calls
        try:
            await asyncio.Event().wait()
        finally:
            leaving.set()
            await go.wait()
        return 0

    service = Service([f])

    async def main() -> None:
        first = asyncio.create_task(fetch(service))
        await waiting_for(first)
        first.cancel()
        await leaving.wait()
        second = asyncio.create_task(fetch(service))
        for _ in range(5):
            await asyncio.sleep(0)
        go.set()
        assert told(await second) == [(b"2", "fwd=uri-miss; stored")]
        await asyncio.wait([first])

    run(service, main)


def test_whoever_waited_for_a_call_that_failed_finds_its_request_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls(held=True)

    @action(cache_control=TTL)
    async def f() -> int:
        await calls()
        raise RuntimeError("broken")

    service = Service([f])

    async def main() -> None:
        operation = service.operations["f"]
        contexts = [context() for _ in range(3)]
        asking = [asyncio.create_task(service.cached["f"].fetch(operation.decode({}), each)) for each in contexts]
        await waiting_for(*asking)
        calls.go.set()
        assert [type(error) for error in await asyncio.gather(*asking, return_exceptions=True)] == [InternalError] * 3
        assert calls.count == 1
        logged = {getattr(record, "request_id", "") for record in caplog.records}
        assert {each.request_id for each in contexts} <= logged

    run(service, main)
