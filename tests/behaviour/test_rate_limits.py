"""Who may call how often: over every network the same, after the access control and before anything is decoded."""

from typing import Any

import pytest

from servey import Authorization, CallContext
from servey.action.action import action
from servey.errors import InvalidError, TooManyRequestsError, UnauthorizedError
from servey.security.access_control.scope_access_control import ScopeAccessControl
from servey.trigger.web_trigger import WEB_GET, WEB_POST

WEB = (WEB_GET, WEB_POST)
ME, YOU = Authorization("me", frozenset({"root"})), Authorization("you", frozenset({"root"}))


def call_all(transport: Any, target: Any, *calls: Any) -> list[Any]:
    return transport.call_all(target, [[transport.Call(*call) for call in calls]])[0]


def test_who_has_used_up_a_limit_is_refused_and_told_when_to_come_again(network_transport: Any) -> None:
    called: list[int] = []

    @action(triggers=WEB, rate_limit="2/minute")
    def roll(sides: int = 6) -> int:
        called.append(sides)
        return sides

    *admitted, refused = call_all(network_transport, [roll], *[("roll",)] * 3)
    assert [outcome.result for outcome in admitted] == [6, 6]
    assert refused.is_error(TooManyRequestsError)
    wait = int(refused.headers["retry-after"])
    assert 1 <= wait <= 60
    assert refused.headers["ratelimit"] == f'"default";r=0;t={wait}'
    assert refused.headers["ratelimit-policy"] == '"default";q=2;w=60'
    assert called == [6, 6]


def test_every_verified_caller_has_a_limit_of_their_own_and_so_has_nobody(network_transport: Any) -> None:
    @action(triggers=WEB, rate_limit="1/minute")
    def roll() -> int:
        return 4

    calls = [("roll", {}, caller) for caller in (ME, YOU, None, ME, YOU, None)]
    outcomes = call_all(network_transport, [roll], *calls)
    assert [outcome.code for outcome in outcomes] == [None] * 3 + ["too_many_requests"] * 3


def test_every_action_has_a_count_of_its_own(network_transport: Any) -> None:
    @action(triggers=WEB, rate_limit="1/minute")
    def roll() -> int:
        return 4

    @action(triggers=WEB, rate_limit="1/minute")
    def draw() -> int:
        return 5

    @action(triggers=WEB)
    def look() -> int:
        return 6

    names = ["roll", "draw", "look", "roll", "draw", "look"]
    outcomes = call_all(network_transport, [roll, draw, look], *[(name,) for name in names])
    assert [outcome.ok for outcome in outcomes] == [True, True, True, False, False, True]


def test_who_may_not_call_is_not_counted(network_transport: Any) -> None:
    @action(triggers=WEB, rate_limit="1/minute", access_control=ScopeAccessControl("root"))
    def purge() -> str:
        return "done"

    stranger = Authorization("me")  # the same caller, with a token that may less
    *refused, last = call_all(network_transport, [purge], ("purge",), *[("purge", {}, stranger)] * 2, ("purge", {}, ME))
    assert [outcome.code for outcome in refused] == ["unauthorized", "forbidden", "forbidden"]
    assert last.result == "done"
    assert network_transport.call([purge], "purge").is_error(UnauthorizedError)


def test_who_has_used_up_a_limit_learns_nothing_of_the_input(network_transport: Any) -> None:
    @action(triggers=WEB, rate_limit="1/minute")
    def roll(sides: int) -> int:
        return sides

    first, second = call_all(network_transport, [roll], ("roll", {"sides": "many"}), ("roll", {"sides": "many"}))
    assert first.is_error(InvalidError)  # a call that is wrong is a call
    assert second.is_error(TooManyRequestsError)
    assert second.errors == ()
    assert "sides" not in second.seen


def test_calls_of_the_system_are_not_counted(system_transport: Any) -> None:
    @action(rate_limit="1/minute")
    def roll() -> int:
        return 4

    outcomes = call_all(system_transport, [roll], *[("roll",)] * 3)
    assert [outcome.result for outcome in outcomes] == [4, 4, 4]


def test_an_action_sees_what_its_caller_has_left(network_transport: Any) -> None:
    @action(triggers=WEB, rate_limit="2/minute;100/hour")
    def left(context: CallContext) -> list[int]:
        assert context.limits is not None
        return [context.limits.limit, context.limits.remaining]

    outcomes = call_all(network_transport, [left], *[("left",)] * 2)
    assert [outcome.result for outcome in outcomes] == [[2, 1], [2, 0]]


@pytest.mark.parametrize("lanes", [8])
def test_calls_side_by_side_are_admitted_as_often_as_the_limit_says(concurrent_transport: Any, lanes: int) -> None:
    @action(triggers=WEB, rate_limit="5/minute")
    def roll() -> int:
        return 4

    made = [[concurrent_transport.Call("roll")] * 3] * lanes
    outcomes = [outcome for lane in concurrent_transport.call_all([roll], made) for outcome in lane]
    # a background call was counted when it was submitted
    assert sum(outcome.ok for outcome in outcomes) == (5 if concurrent_transport.network else len(outcomes))
