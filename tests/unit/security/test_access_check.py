"""The access check by itself, its summary, and the operations that a caller may call."""

import asyncio

import pytest

from servey import ALLOW_NONE, Authorization, ScopeAccessControl
from servey.action.action import action
from servey.action.context import CURRENT_CALL, CallContext, Origin
from servey.errors import DeadlineError, ForbiddenError, InternalError, UnauthorizedError
from servey.security.access_control.check import AccessSummary, check_access
from servey.service import Service
from servey.settings import Settings

ROOT = Authorization("ada", frozenset({"root"}))


def call_of(caller):
    return CallContext(Origin.NETWORK, "websocket", "r1", caller)


async def at_once(awaitable, context):
    return await awaitable


def checked(control, caller=None):
    asyncio.run(check_access(control, call_of(caller), at_once))


def test_the_check_needs_no_operation():
    checked(ScopeAccessControl("root"), ROOT)
    with pytest.raises(UnauthorizedError):
        checked(ScopeAccessControl("root"))
    with pytest.raises(ForbiddenError):
        checked(ScopeAccessControl("root"), Authorization("bob"))


@pytest.mark.parametrize("value", [True, False, 0, ""])
def test_an_access_control_that_returns_a_value_refuses_everybody(value, caplog):
    class Returning:
        async def check(self, authorization):
            return value

    with pytest.raises(InternalError):
        checked(Returning(), ROOT)
    assert f"returned {value!r}" in caplog.text


def test_an_access_control_runs_inside_of_the_call():
    class Looking:
        def check(self, authorization):
            assert CURRENT_CALL.get().transport == "websocket"

    checked(Looking())


def test_a_caller_sees_the_operations_that_the_caller_may_call():
    @action
    def open_to_all() -> None: ...

    @action
    def own(authorization: Authorization) -> None: ...

    @action(access_control=ScopeAccessControl("root"))
    def guarded() -> None: ...

    @action(access_control=ALLOW_NONE)
    def closed() -> None: ...

    service = Service([open_to_all, own, guarded, closed])

    def seen(caller, operations=None):
        found = asyncio.run(service.visible_to(call_of(caller), operations))
        return [operation.name for operation in found]

    assert seen(None) == ["open_to_all"]
    assert seen(Authorization("bob")) == ["open_to_all", "own"]
    assert seen(ROOT) == ["open_to_all", "own", "guarded"]
    guarded_twice = [service.operation("guarded")] * 2
    assert seen(ROOT, guarded_twice) == ["guarded"]
    assert [operation.access_summary for operation in service.operations.values()] == [
        AccessSummary("open", (), True),
        AccessSummary("any token", (), False),
        AccessSummary("scope root", (frozenset({"root"}),), False),
        AccessSummary("nobody", (), False),
    ]


def test_all_the_checks_together_have_the_time_of_one_call():
    class Hanging:
        async def check(self, authorization):
            await asyncio.Event().wait()

    @action(access_control=Hanging())
    def guarded() -> None: ...

    service = Service([guarded], settings=Settings(timeout=0.05))
    with pytest.raises(DeadlineError):
        asyncio.run(service.visible_to(call_of(ROOT)))
