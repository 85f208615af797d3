"""Calls that ask for the same at the same time: which of them are given one result."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from servey import Reply
from servey.action.action import action
from servey.cache_control import CacheHeader
from servey.service import Service
from unit.cache_control.test_result_cache import TTL, Calls, Says, fetch, run, told, waiting_for


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
