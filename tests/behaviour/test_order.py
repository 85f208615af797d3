"""Authorize, then decode, then call."""

from __future__ import annotations

from typing import Any

import pytest

from servey import (
    ALLOW_NONE,
    WEB_GET,
    WEB_POST,
    Authorization,
    CallContext,
    ForbiddenError,
    InvalidError,
    Origin,
    ScopeAccessControl,
    UnauthorizedError,
)
from servey.action.action import action
from servey.errors import InternalError

WEB = (WEB_GET, WEB_POST)


def guarded() -> Any:
    @action(triggers=WEB, access_control=ScopeAccessControl("root"))
    def transfer(amount: int) -> int:
        raise AssertionError("nobody was let in")

    return transfer


def test_without_a_caller_nobody_learns_whether_the_input_is_valid(network_transport: Any) -> None:
    outcomes = [
        network_transport.call([guarded()], "transfer", params)
        for params in ({"amount": 1}, {"amount": "lots"}, {"amont": 1}, {})
        if not network_transport.graphql or "amont" not in params  # of the schema itself, which everybody may know
    ]
    assert {(item.is_error(UnauthorizedError), item.errors) for item in outcomes} == {(True, ())}
    assert {item.detail for item in outcomes} == {outcomes[0].detail}
    assert all("amount" not in item.seen for item in outcomes)
    assert outcomes[0].headers["www-authenticate"] == "Bearer"


def test_a_caller_without_the_scope_learns_only_the_scope(network_transport: Any) -> None:
    caller = Authorization("me", frozenset({"other"}))
    for params in ({"amount": 1}, {"amount": "lots"}):
        outcome = network_transport.call([guarded()], "transfer", params, caller)
        assert outcome.is_error(ForbiddenError)
        assert outcome.errors == ()
        assert outcome.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="root"'
        assert "amount" not in outcome.seen


def test_malformed_json_is_not_noticed_before_the_caller_is_let_in(raw_transport: Any) -> None:
    outcome = raw_transport.call([guarded()], "transfer", b"{")
    if raw_transport.network:
        assert outcome.is_error(UnauthorizedError)
    else:
        assert outcome.code == "malformed"


def test_a_caller_with_the_scope_is_let_in_and_then_decoded(network_transport: Any) -> None:
    @action(triggers=WEB, access_control=ScopeAccessControl("root"))
    def transfer(amount: int) -> int:
        return amount + 1

    caller = Authorization("me", frozenset({"root"}))
    assert network_transport.call([transfer], "transfer", {"amount": 1}, caller).result == 2
    outcome = network_transport.call([transfer], "transfer", {"amount": "lots"}, caller)
    assert outcome.is_error(InvalidError)
    assert outcome.paths == {"/amount"}


def test_a_system_caller_skips_access_control(system_transport: Any) -> None:
    @action(access_control=ALLOW_NONE)
    def purge(context: CallContext) -> list[str | None]:
        return [context.origin.value, context.authorization and context.authorization.subject]

    assert system_transport.call([purge], "purge").result == [Origin.SYSTEM.value, None]


def test_nobody_is_let_in_over_a_network_where_nobody_may(network_transport: Any) -> None:
    @action(triggers=WEB, access_control=ALLOW_NONE)
    def purge() -> None:
        raise AssertionError("somebody was let in")

    assert network_transport.call([purge], "purge").is_error(UnauthorizedError)
    assert network_transport.call([purge], "purge", {}, Authorization("me")).is_error(ForbiddenError)


def test_an_action_that_takes_an_authorization_needs_a_caller(transport: Any) -> None:
    @action(triggers=WEB)
    def me(authorization: Authorization, greeting: str = "hi") -> str:
        return f"{greeting} {authorization.subject}"

    for params in ({}, {"greeting": "hey", "unknown": 1}):
        if transport.text and not transport.network and params:
            continue  # click knows the flags, and speaks before anybody is called
        if transport.graphql and params:
            continue  # the schema has no such argument, and everybody may know that
        assert transport.call([me], "me", params).is_error(UnauthorizedError)
    if transport.network:
        assert transport.call([me], "me", {"greeting": "hey"}, Authorization("you")).result == "hey you"


def test_an_optional_authorization_is_none_without_a_caller(transport: Any) -> None:
    @action(triggers=WEB)
    def me(authorization: Authorization | None) -> str:
        return "nobody" if authorization is None else str(authorization.subject)

    assert transport.call([me], "me").result == "nobody"
    if transport.network:
        assert transport.call([me], "me", {}, Authorization("you")).result == "you"


def test_an_authorization_never_comes_from_the_input(transport: Any) -> None:
    @action(triggers=WEB)
    def me(authorization: Authorization | None, context: CallContext) -> str:
        raise AssertionError("called with what the caller invented")

    for params in ({"authorization": {"subject": "root"}}, {"authorization": "root"}, {"context": {}}):
        outcome = transport.call([me], "me", params)
        if transport.text and not transport.network:
            assert (outcome.code, outcome.exit_code) == ("usage", 64)  # there is no such flag
        else:
            assert outcome.is_error(InvalidError)
            assert outcome.paths == {f"/{name}" for name in params}


class Broken:
    def check(self, authorization: Authorization | None) -> None:
        raise RuntimeError("the database of rights is down")


class Answering:
    def check(self, authorization: Authorization | None) -> bool:  # type: ignore[override]
        return True


class Asynchronous:
    async def check(self, authorization: Authorization | None) -> None:
        if authorization is None or authorization.subject != "me":
            raise ForbiddenError("not you")


@pytest.mark.parametrize("control", [Broken(), Answering()], ids=["broken", "answering"])
def test_an_access_control_with_a_defect_lets_nobody_in(network_transport: Any, control: Any) -> None:
    called: list[str] = []

    @action(triggers=WEB, access_control=control)
    def transfer() -> None:
        called.append("somebody was let in")

    outcome = network_transport.call([transfer], "transfer", {}, Authorization("me"))
    assert outcome.is_error(InternalError)
    assert called == []
    assert "rights" not in outcome.seen


def test_an_access_control_may_be_asynchronous(network_transport: Any) -> None:
    @action(triggers=WEB, access_control=Asynchronous())
    def transfer() -> str:
        return "done"

    assert network_transport.call([transfer], "transfer", {}, Authorization("me")).result == "done"
    assert network_transport.call([transfer], "transfer", {}, Authorization("you")).is_error(ForbiddenError)
