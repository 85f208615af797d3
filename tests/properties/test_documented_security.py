"""What the document says of tokens, limits and caches is what is answered, for every kind of action."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servey import WEB_GET, WEB_POST, Authorization
from servey.action.action import action
from servey.cache_control.ttl_cache_control import TtlCacheControl
from servey.errors import ForbiddenError, UnauthorizedError
from servey.plugin import Plugin
from servey.schema.openapi import openapi_document
from servey.security.access_control import ALLOW_ALL, ALLOW_NONE, AllOf, AnyOf, ScopeAccessControl
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client, Response
from servey.service import Service
from support.length import length


class Tokens(Plugin):
    """Takes tokens that are lists of scopes, and ``bad`` for a bad one."""

    def authorizers(self):
        return (self,)

    async def authorize(self, token):
        if token == "bad":
            raise UnauthorizedError("no such token", error="invalid_token")
        return Authorization("somebody", frozenset(token.split("+")))


class Own:
    """Says nothing of scopes, and asks somebody else."""

    async def check(self, authorization):
        await asyncio.sleep(0)
        if authorization is None:
            raise UnauthorizedError
        if "own" not in authorization.scopes:
            raise ForbiddenError("not you")


READ, WRITE, ROOT = map(ScopeAccessControl, ("read", "write", "root"))
GUARDS = {
    "open": (ALLOW_ALL, None),
    "optional": (ALLOW_ALL, Authorization | None),
    "required": (ALLOW_ALL, Authorization),
    "scope": (READ, None),
    "any_of": (AnyOf(READ, ROOT), None),
    "all_of": (AllOf(READ, WRITE), Authorization),
    "both": (AnyOf(AllOf(READ, WRITE), ROOT), Authorization | None),
    "own": (Own(), None),
    "own_or_root": (AnyOf(Own(), ROOT), None),
    "nobody": (ALLOW_NONE, None),
}
TOKENS = (None, "bad", "other", "read", "read+write", "root", "own")
TOLD = {
    *("www-authenticate", "retry-after", "ratelimit", "ratelimit-policy"),
    *("etag", "last-modified", "age", "cache-status", "expires"),
}
"""The headers that mean something here: each is documented where it is sent."""


def make(name: str, control: Any, takes: Any, **declared: Any) -> Any:
    if takes is None:

        def function(number: int = 1) -> int:
            return number
    else:

        def function(number: int = 1, *, caller: takes) -> int:  # type: ignore[valid-type]
            return number

    function.__name__ = name
    return action(triggers=(WEB_GET, WEB_POST), access_control=control, **declared)(function)


def documented(operation: dict[str, Any], response: Response) -> dict[str, Any]:
    """The entry for an answer, which has what is sent, and nothing required that is not sent."""
    entry = operation["responses"][str(response.status)]
    names = {name.lower(): header for name, header in entry.get("headers", {}).items()}
    required = {name for name, header in names.items() if header.get("required")}
    assert required - response.headers.keys() == set(), (operation["operationId"], response)
    assert (TOLD & response.headers.keys()) - names.keys() == set(), (operation["operationId"], response)
    if response.content:
        (kind,) = entry["content"]
        assert response.headers["content-type"] == kind
        if kind == "application/problem+json":
            examples = [example["value"]["code"] for example in entry["content"][kind]["examples"].values()]
            assert response.json()["code"] in examples
    else:
        assert "content" not in entry
    return entry


@pytest.mark.parametrize("limit", [None, "3/hour"])
@pytest.mark.parametrize("cache", [None, TtlCacheControl(30)])
@pytest.mark.parametrize("guard", GUARDS)
def test_every_status_is_documented_as_it_is_sent(guard, cache, limit):
    control, takes = GUARDS[guard]
    service = Service(
        [make("probe", control, takes, cache_control=cache, rate_limit=limit), make("other", READ, None)],
        plugins=[Tokens()],
    )
    methods = openapi_document(service)["paths"]["/actions/probe"]
    seen: dict[int, int] = {}

    async def probe() -> None:
        for token, method in itertools.product(TOKENS, ("GET", "POST")):
            client = Client(create_app(service))
            operation = methods[method.lower()]
            bearer = {} if token is None else {"authorization": f"Bearer {token}"}
            for more in ({}, {"if-none-match": "*"}, {"if-match": '"none"'}, {}, {}):
                for number in ("1", "x"):
                    sent = {"query": [("number", number)]} if method == "GET" else {"json": {"number": number}}
                    response = await client.request(method, "/actions/probe", headers={**bearer, **more}, **sent)
                    entry = documented(operation, response)
                    if response.status == 200:
                        assert ("ETag" in entry.get("headers", {})) == (cache is not None and method == "GET")
                    seen[response.status] = seen.get(response.status, 0) + 1
                    anonymous_may = {} in operation.get("security", [{}])
                    assert (response.status == 401) == (token == "bad" or (token is None and not anonymous_may))

    asyncio.run(probe())
    assert seen[401] > 0
    assert (seen.get(429, 0) > 0) == (limit is not None and guard != "nobody")
    assert (304 in seen) == (cache is not None and guard != "nobody")
    assert (403 in seen) == (guard not in ("open", "optional", "required"))


SCOPES = ("a", "b", "c", "d")
controls = st.recursive(
    st.sampled_from([ScopeAccessControl(scope) for scope in SCOPES]),
    lambda members: st.lists(members, min_size=1, max_size=3).flatmap(
        lambda chosen: st.sampled_from([AnyOf(*chosen), AllOf(*chosen)])
    ),
    max_leaves=6,
)


@pytest.mark.long
@settings(max_examples=length(20, 200))
@given(control=controls, scopes=st.sets(st.sampled_from(SCOPES)))
def test_a_token_with_what_one_requirement_names_is_let_in_and_no_other(control, scopes):
    service = Service([make("probe", control, None)], plugins=[Tokens()])
    operation = openapi_document(service)["paths"]["/actions/probe"]["get"]
    enough = [set(requirement["bearer"]) for requirement in operation["security"]]
    headers = {"authorization": f"Bearer {'+'.join(['x', *sorted(scopes)])}"}
    response = asyncio.run(Client(create_app(service)).request("GET", "/actions/probe", headers=headers))
    assert response.status == (200 if any(names <= scopes for names in enough) else 403)
    documented(operation, response)
    if response.status == 403:
        lacking = response.headers["www-authenticate"].partition('scope="')[2].rstrip('"').split()
        assert set(lacking) in enough
        with_them = {"authorization": f"Bearer {'+'.join([*scopes, *lacking])}"}
        assert (
            asyncio.run(Client(create_app(service)).request("GET", "/actions/probe", headers=with_them)).status == 200
        )
