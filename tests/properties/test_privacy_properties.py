"""No caller ever gets another's private result, whatever came before, whatever they send at once."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from servey import WEB_GET, WEB_POST, Authorization, ScopeAccessControl, cache
from servey.action.action import action
from servey.cache_control import TtlCacheControl
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client, client_of
from servey.service import Service
from servey.settings import Settings
from support.length import length

LAWS = settings(max_examples=length(25, 200), suppress_health_check=list(HealthCheck))
BOUND = 60.0

pytestmark = pytest.mark.long

READ = frozenset({"read"})
CALLERS: Sequence[Authorization | None] = [
    None,
    Authorization(),
    Authorization(subject="me", scopes=READ),
    Authorization(subject="you", scopes=READ),
    Authorization(subject="me", scopes=READ, issuer="https://a.example"),
    Authorization(subject="me", scopes=READ, issuer="https://b.example"),
    Authorization(subject="https://a.example", issuer="me", scopes=READ),
    Authorization(subject="me", scopes=frozenset({"read", "write"})),
    Authorization(subject="me", scopes=frozenset({"read write"})),
    Authorization(subject="me", scopes=READ, claims={"tenant": "a"}),
    Authorization(subject="me", scopes=READ, claims={"tenant": "b"}),
    Authorization(subject="me", scopes=READ, claims={"tenant": ["a"]}),
    Authorization(subject="me", scopes=READ, claims={"tenant": None}),
    Authorization(subject="me", scopes=READ, claims={"admin": True}),
    Authorization(subject="me", scopes=READ, claims={"admin": 1}),
    Authorization(subject="nobody", scopes=READ),
    Authorization(subject="", scopes=READ),
]
SAME = [
    Authorization(subject="me", scopes=READ, expires_at=dt.datetime(2099, 1, 1, tzinfo=dt.UTC)),
    Authorization(subject="me", scopes=READ, claims={"jti": "7", "iat": 1, "nbf": 2, "exp": 3}),
]
"""Further tokens of the third caller, which tell nothing else of them."""

ACTIONS = ("of_caller", "guarded", "posted", "sync")
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("call"),
            st.lists(
                st.tuples(
                    st.sampled_from(ACTIONS),
                    st.integers(0, len(CALLERS) + len(SAME) - 1),
                    st.sampled_from(["", "a", "b"]),
                    st.sampled_from(["", "no-cache", "no-store", "max-age=0", "max-age=5"]),
                ),
                min_size=1,
                max_size=8,
            ),
        ),
        st.tuples(st.just("forget"), st.tuples(st.sampled_from(ACTIONS), st.sampled_from([None, "", "a"]))),
    ),
    min_size=1,
    max_size=6,
)


def who(number: int) -> Authorization | None:
    return [*CALLERS, *SAME][number]


def secret_of(caller: Authorization | None) -> str:
    """Everything that an action may tell of its caller, but for what is of one token."""
    if caller is None:
        return "nobody"
    claims = {name: value for name, value in caller.claims.items() if name not in ("jti", "iat", "nbf", "exp")}
    return f"{caller.issuer!r} {caller.subject!r} {sorted(caller.scopes)!r} {claims!r}"


made = itertools.count()


@action(triggers=(WEB_GET,), cache_control=TtlCacheControl(60))
async def of_caller(name: str, caller: Authorization | None) -> str:
    await asyncio.sleep(0)
    return f"{name} for {secret_of(caller)} #{next(made)}"


_caller: ContextVar[Authorization | None] = ContextVar("caller", default=None)


class Remembers:
    """Lets in who may read, and leaves who that is where the action, which takes no caller, finds it."""

    def check(self, authorization: Authorization | None) -> None:
        ScopeAccessControl("read").check(authorization)
        _caller.set(authorization)


@action(triggers=(WEB_GET,), cache_control=TtlCacheControl(60), access_control=Remembers())
async def guarded(name: str) -> str:
    await asyncio.sleep(0)
    return f"{name} for {secret_of(_caller.get())} #{next(made)}"


@action(triggers=(WEB_POST,), cache_control=TtlCacheControl(60))
async def posted(name: str, caller: Authorization | None) -> str:
    await asyncio.sleep(0)
    return f"{name} for {secret_of(caller)} #{next(made)}"


@action(triggers=(WEB_GET,), cache_control=TtlCacheControl(60))
def sync(name: str, caller: Authorization | None) -> str:
    return f"{name} for {secret_of(caller)} #{next(made)}"


@pytest.fixture(params=["memory", "shared"])
def store(request: pytest.FixtureRequest) -> str:
    return "memory" if request.param == "memory" else request.getfixturevalue("valkey").connection_url


def services(store: str) -> list[Service]:
    """Two processes of one program, where the store is shared."""
    if store != "memory":
        with redis.Redis.from_url(store) as client:
            client.flushall()
    given = Settings(result_cache=store, store_timeout=BOUND)
    return [Service([of_caller, guarded, posted, sync], settings=given) for _ in range(1 if store == "memory" else 2)]


async def ask(client: Client, name: str, number: int, argument: str, directive: str) -> tuple[int, str, str]:
    headers = {"cache-control": directive} if directive else {}
    path = f"/actions/{name.replace('_', '-')}"
    if name == "posted":
        response = await client.request(
            "POST", path, json={"name": argument}, headers=headers, authorization=who(number)
        )
    else:
        response = await client.request(
            "GET", path, query=[("name", argument)], headers=headers, authorization=who(number)
        )
    told = response.json() if response.status == 200 else ""
    return response.status, told, response.headers.get("cache-status", "")


async def play(store: str, steps: Sequence[tuple[str, Any]]) -> int:
    """Do the steps and look at every answer; return how many came out of the cache."""
    hits = 0
    served = services(store)
    numbers: dict[tuple[str, str, str], set[str]] = {}
    async with client_of(create_app(served[0])) as first, client_of(create_app(served[-1])) as last:
        clients = itertools.cycle([first, last])
        for step, what in steps:
            if step == "forget":
                name, argument = what
                async with served[-1].running():
                    await cache.ainvalidate(name, **({} if argument is None else {"name": argument}))
                continue
            answers = await asyncio.gather(*(ask(next(clients), *call) for call in what))
            for (name, number, argument, _), (status, told, cached) in zip(what, answers, strict=True):
                caller = who(number)
                allowed = name != "guarded" or (caller is not None and "read" in caller.scopes)
                assert status == (200 if allowed else 403 if caller is not None else 401)
                if not allowed:
                    assert cached == ""
                    continue
                whose, _, run = told.rpartition(" #")
                assert whose == f"{argument} for {secret_of(caller)}"
                numbers.setdefault((name, argument, run), set()).add(secret_of(caller))
                hits += "hit" in cached
    assert all(len(callers) == 1 for callers in numbers.values())  # no run was for two
    return hits


@given(steps=STEPS)
@example(steps=[("call", [("of_caller", number, "a", "") for number in range(len(CALLERS))] * 2)] * 2)
@example(steps=[("call", [("guarded", number, "a", "") for number in range(len(CALLERS))] * 2)] * 2)
@LAWS
def test_nobody_gets_what_was_made_for_another(store: str, steps: Sequence[tuple[str, Any]]) -> None:
    asyncio.run(asyncio.wait_for(play(store, steps), BOUND))


def test_the_law_is_about_something(store: str) -> None:
    """A caller's own results do come out of the cache, those made for another token of theirs included."""
    me = CALLERS.index(Authorization(subject="me", scopes=READ))
    tokens = [me, *range(len(CALLERS), len(CALLERS) + len(SAME))]
    for name in ACTIONS:
        steps = [("call", [(name, number, "a", "")]) for number in [me, *tokens]]
        assert asyncio.run(asyncio.wait_for(play(store, steps), BOUND)) == len(steps) - 1


def test_every_caller_here_is_somebody_else() -> None:
    assert len({secret_of(caller) for caller in CALLERS}) == len(CALLERS)
    assert {secret_of(caller) for caller in SAME} == {secret_of(CALLERS[2])}
