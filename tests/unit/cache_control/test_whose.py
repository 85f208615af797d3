"""Whose a kept result is."""

from __future__ import annotations

from typing import Any

import pytest

from servey import Authorization
from servey.action.action import action
from servey.service import Service
from unit.cache_control.test_result_cache import TTL, Calls, fetch, run, told


class OfTenant(Authorization, frozen=True):
    tenant: Any = None


class OfTeam(Authorization, frozen=True):
    tenant: Any = None


@pytest.mark.parametrize(
    "other",
    [
        OfTenant("me", tenant="b"),
        OfTenant("me", tenant=None),
        OfTeam("me", tenant="a"),
        Authorization("me"),
        OfTenant("me", tenant="a", claims={"big": 2**70}),
    ],
    ids=repr,
)
def test_who_differs_in_a_field_of_a_subclass_is_somebody_else(other: Authorization) -> None:
    calls = Calls()

    @action(cache_control=TTL)
    async def f(caller: Authorization) -> int:
        return await calls()

    service = Service([f])

    async def main() -> None:
        found = [await fetch(service, as_=who) for who in (OfTenant("me", tenant="a"), other)]
        again = await fetch(service, as_=OfTenant("me", tenant="a"))
        assert told(*found, again) == [(b"1", "fwd=uri-miss; stored"), (b"2", "fwd=uri-miss; stored"), (b"1", "hit")]

    run(service, main)


@pytest.mark.parametrize(
    "who", [Authorization("me", claims={"made by": print}), OfTenant("me", tenant=lambda: 1)], ids=["claim", "field"]
)
def test_what_cannot_be_compared_of_a_caller_leads_past_the_cache(who: Authorization) -> None:
    calls = Calls()

    @action(cache_control=TTL)
    async def f(caller: Authorization) -> int:
        return await calls()

    service = Service([f])

    async def main() -> None:
        bypass = "fwd=bypass; detail=unkeyable"
        assert told(await fetch(service, as_=who), await fetch(service, as_=who)) == [(b"1", bypass), (b"2", bypass)]

    run(service, main)
