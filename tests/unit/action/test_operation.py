"""The compiled operation: who may call, as whom, until when, and what becomes of errors."""

import asyncio
import logging
import math
import threading
from dataclasses import dataclass

import msgspec
import pytest

from servey.action.action import action
from servey.action.context import CURRENT_CALL, CallContext, Origin, new_request_id
from servey.action.example import NOT_GIVEN, Example
from servey.action.reply import Reply
from servey.errors import (
    CallError,
    ConflictError,
    DeadlineError,
    DefinitionError,
    ErrorMapping,
    ForbiddenError,
    InternalError,
    InvalidError,
    NotFoundError,
    UnauthorizedError,
)
from servey.plugin import Plugin
from servey.security.access_control import ALLOW_ALL, ALLOW_NONE, ScopeAccessControl
from servey.security.authorization import Authorization
from servey.service import Service
from servey.settings import Settings

ME = Authorization("me")
ROOT = Authorization("root", frozenset({"root"}))


def context(origin=Origin.NETWORK, authorization=None, **more):
    return CallContext(origin, "test", "r-1", authorization, **more)


def operation_of(fn, **service):
    return next(iter(Service([fn], **service).operations.values()))


def authorize(operation, given):
    return asyncio.run(operation.authorize(given))


def run(operation, arguments=None, given=None, finish=lambda value: value):
    async def main():
        return await operation.run(operation.decode(arguments or {}), given or context(Origin.SYSTEM), finish)

    return asyncio.run(main())


def defects(caplog):
    """What was logged as a defect: action, request, and whether a traceback is there."""
    return [
        (record.action, record.request_id, record.exc_info is not None and record.exc_info[0] is not None)
        for record in caplog.records
        if record.name == "servey.operation" and record.levelno == logging.ERROR
    ]


class Control:
    """An access control that does what it is made with."""

    def __init__(self, outcome):
        self.outcome = outcome
        self.seen = []

    def check(self, authorization):
        self.seen.append(authorization)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


class AsyncControl(Control):
    async def check(self, authorization):
        await asyncio.sleep(0)
        return super().check(authorization)


def guarded(control):
    @action(access_control=control)
    def f() -> int:
        return 1

    return operation_of(f)


# --- authorize ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Control, AsyncControl])
def test_an_access_control_sees_the_caller_and_lets_in_by_returning(kind):
    control = kind(None)
    operation = guarded(control)
    assert authorize(operation, context(authorization=ME)) is None
    assert authorize(operation, context()) is None
    assert control.seen == [ME, None]
    assert not operation.is_open


@pytest.mark.parametrize("kind", [Control, AsyncControl])
@pytest.mark.parametrize("error", [ForbiddenError("no"), UnauthorizedError("who?"), NotFoundError("hidden")])
def test_an_access_control_refuses_by_raising_and_nothing_is_logged(kind, error, caplog):
    with pytest.raises(type(error)) as caught:
        authorize(guarded(kind(error)), context(authorization=ME))
    assert caught.value is error
    assert defects(caplog) == []


@pytest.mark.parametrize("kind", [Control, AsyncControl])
@pytest.mark.parametrize("outcome", [False, True, 0, "yes", ME])
def test_an_access_control_that_returns_something_lets_nobody_in_and_is_logged(kind, outcome, caplog):
    with pytest.raises(InternalError) as caught:
        authorize(guarded(kind(outcome)), context(authorization=ME))
    assert caught.value.problem() == InternalError().problem()
    assert defects(caplog) == [("f", "r-1", False)]
    assert repr(outcome) in caplog.text


@pytest.mark.parametrize("kind", [Control, AsyncControl])
def test_a_defect_of_an_access_control_lets_nobody_in_and_is_logged(kind, caplog):
    with pytest.raises(InternalError) as caught:
        authorize(guarded(kind(LookupError("the secret"))), context(authorization=ME))
    assert "secret" not in str(caught.value.problem())
    assert defects(caplog) == [("f", "r-1", True)]
    assert "the secret" in caplog.text


@pytest.mark.parametrize("control", [Control(ForbiddenError()), AsyncControl(ForbiddenError()), ALLOW_NONE])
def test_the_system_is_let_in_without_being_asked(control):
    assert authorize(guarded(control), context(Origin.SYSTEM)) is None
    assert getattr(control, "seen", []) == []


@pytest.mark.parametrize("origin", Origin)
def test_an_action_that_needs_a_caller_is_never_called_without(origin):
    @action
    def f(who: Authorization) -> str:
        return who.subject

    operation = operation_of(f)
    assert (operation.needs_caller, operation.is_open) == (True, False)
    with pytest.raises(UnauthorizedError):
        authorize(operation, context(origin))
    assert authorize(operation, context(origin, ME)) is None
    assert run(operation, given=context(origin, ME)) == "me"


def test_an_action_that_takes_a_caller_where_there_is_one_is_open():
    @action
    def f(who: Authorization | None) -> bool:
        return who is None

    operation = operation_of(f)
    assert (operation.needs_caller, operation.is_open) == (False, True)
    assert authorize(operation, context()) is None
    assert run(operation) is True


def test_open_is_only_what_everybody_may_call():
    assert [
        guarded(control).is_open for control in (ALLOW_ALL, ALLOW_NONE, ScopeAccessControl("a"), Control(None))
    ] == [
        True,
        False,
        False,
        False,
    ]


# --- the call's surroundings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("run_in", ["loop", "thread", "async"])
def test_the_current_call_is_known_wherever_the_action_runs(run_in):
    seen = []

    def look() -> None:
        seen.append((CURRENT_CALL.get(), threading.current_thread() is threading.main_thread()))

    async def look_async() -> None:
        look()

    look_async.__name__ = "look"
    given = context(Origin.SYSTEM)
    operation = operation_of(action(look_async) if run_in == "async" else action(run_in=run_in)(look))

    async def main():
        await operation.run(operation.decode({}), given)
        return CURRENT_CALL.get(None)

    assert asyncio.run(main()) is None
    assert seen == [(given, run_in != "thread")]


def test_concurrent_calls_know_each_its_own():
    @action
    async def f(context: CallContext) -> bool:
        await asyncio.sleep(0)
        return CURRENT_CALL.get() is context

    operation = operation_of(f)

    async def main():
        calls = [operation.run(operation.decode({}), context(Origin.SYSTEM)) for _ in range(5)]
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [True] * 5


def test_the_current_call_is_forgotten_after_a_failure():
    @action
    async def f() -> None:
        raise ConflictError

    operation = operation_of(f)

    async def main():
        with pytest.raises(ConflictError):
            await operation.run(operation.decode({}), context())
        return CURRENT_CALL.get(None)

    assert asyncio.run(main()) is None


def test_no_two_calls_have_one_request_id():
    assert len({new_request_id() for _ in range(1000)}) == 1000


# --- deadlines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeout", "origin", "seconds"),
    [
        (None, Origin.NETWORK, 20.0),
        (None, Origin.SYSTEM, None),
        (3.0, Origin.NETWORK, 3.0),
        (3.0, Origin.SYSTEM, 3.0),
        (math.inf, Origin.NETWORK, None),
        (math.inf, Origin.SYSTEM, None),
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_deadline_is_the_actions_or_the_networks(timeout, origin, seconds, asynchronous):
    def f(context: CallContext) -> float | None:
        return context.deadline

    async def g(context: CallContext) -> float | None:
        return context.deadline

    operation = operation_of(action(timeout=timeout)(g if asynchronous else f), settings=Settings(timeout=20.0))

    async def main():
        before = asyncio.get_running_loop().time()
        deadline = await operation.run(operation.decode({}), context(origin))
        return before, deadline, asyncio.get_running_loop().time()

    before, deadline, after = asyncio.run(main())
    assert deadline is None if seconds is None else before + seconds <= deadline <= after + seconds


def test_a_deadline_that_is_set_already_is_kept():
    @action(timeout=3.0)
    async def f(context: CallContext) -> float:
        return context.deadline

    operation = operation_of(f)

    async def main():
        at = asyncio.get_running_loop().time() + 100
        return await operation.run(operation.decode({}), context(deadline=at)) == at

    assert asyncio.run(main())


def test_the_deadline_of_a_part_of_a_request_counts_from_when_the_request_came():
    @action(timeout=3.0)
    async def f(context: CallContext) -> float:
        return context.deadline

    operation = operation_of(f)

    async def main():
        return await operation.run(operation.decode({}), context(started=100.0))

    assert asyncio.run(main()) == 103.0


def test_what_overruns_its_deadline_is_given_up():
    @action(timeout=0.05)
    async def f() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlineError):
        run(operation_of(f))


# --- results --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finish", ["encode_json", "encode"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_reply_keeps_its_status_and_headers(finish, asynchronous):
    def f() -> Reply[list[int]]:
        return Reply([1], 201, {"Location": "/1"})

    async def g() -> Reply[list[int]]:
        return f()

    operation = operation_of(action(g if asynchronous else f))
    reply = run(operation, finish=getattr(operation, finish))
    assert reply == Reply(b"[1]" if finish == "encode_json" else [1], 201, {"Location": "/1"})


@pytest.mark.parametrize("value", [1, None, "x", Reply("x"), Reply(None)])
def test_a_reply_that_is_none_is_a_defect(value, caplog):
    @action
    def f() -> Reply[int]:
        return value

    operation = operation_of(f)
    with pytest.raises(InternalError):
        run(operation, finish=operation.encode_json)
    assert defects(caplog) == [("f", "r-1", False)]


def test_a_result_that_is_not_of_its_type_is_masked_and_logged(caplog):
    @action
    def f() -> int:
        return "the secret"

    operation = operation_of(f)
    with pytest.raises(InternalError) as caught:
        run(operation, finish=operation.encode_json)
    assert "secret" not in str(caught.value.problem())
    assert defects(caplog) == [("f", "r-1", False)]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_checked_result_is_what_the_function_returned(asynchronous):
    made = [1, 2]

    def f() -> list[int]:
        return made

    async def g() -> Reply[list[int]]:
        return Reply(made, 201)

    operation = operation_of(action(g if asynchronous else f))
    assert run(operation, finish=operation.check) is made


@pytest.mark.parametrize("value", ["x", Reply("x"), None])
def test_a_result_that_is_not_as_declared_passes_no_check(value, caplog):
    @action
    def f() -> Reply[int]:
        return value

    operation = operation_of(f)
    with pytest.raises(InternalError):
        run(operation, finish=operation.check)
    assert defects(caplog) == [("f", "r-1", False)]


# --- the arguments of a nested action, for an object that is here already ---------------------------------------------


@dataclass
class Shelf:
    books: int

    @action(name="take")
    def take(self, count: int, why: str = "to read") -> str:
        return f"{count} of {self.books} {why}"

    @action(name="all")
    def all(self) -> int:
        return self.books


def nested(name):
    @action
    def shelf() -> Shelf:
        return Shelf(1)

    return Service([shelf]).operations[name]


def test_the_owner_of_a_nested_action_is_not_decoded_and_the_rest_is():
    operation, owner = nested("take"), Shelf(5)
    arguments = operation.decode_for(owner, {"count": 2})
    assert arguments.self is owner
    assert (arguments.count, arguments.why) == (2, "to read")
    assert asyncio.run(operation.run(arguments, context())) == "2 of 5 to read"
    assert nested("all").decode_for(owner, {}).self is owner


def test_the_other_arguments_of_a_nested_action_are_refused_with_their_paths():
    for given, paths in (({"count": "2", "wy": 1}, ["/count", "/wy"]), ({}, ["/count"]), ({"self": {}}, None)):
        with pytest.raises(InvalidError) as caught:
            nested("take").decode_for(Shelf(5), given)
        assert [path for path, _ in caught.value.errors] == (paths or ["/count", "/self"])
    with pytest.raises(InvalidError) as caught:
        nested("all").decode_for(Shelf(5), {"count": 1})
    assert [path for path, _ in caught.value.errors] == ["/count"]


# --- errors ---------------------------------------------------------------------------------------------------------


class LostError(LookupError):
    pass


def failing(error, *, errors=(), plugins=(), asynchronous=False):
    def f() -> int:
        raise error

    async def g() -> int:
        raise error

    g.__name__ = "f"
    return operation_of(action(errors=errors)(g if asynchronous else f), plugins=plugins)


def mapping_plugin(*mappings):
    class Mapped(Plugin):
        def errors(self):
            return mappings

    return Mapped()


def outcome(operation):
    with pytest.raises(CallError) as caught:
        run(operation)
    return (caught.value.code, caught.value.status, caught.value.detail)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_call_error_goes_through_as_it_is(asynchronous, caplog):
    error = ConflictError("taken", data={"owner": "me"})
    with pytest.raises(ConflictError) as caught:
        run(failing(error, asynchronous=asynchronous))
    assert caught.value is error
    assert defects(caplog) == []


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_unexpected_exception_is_masked_and_logged_with_action_and_request(asynchronous, caplog):
    with pytest.raises(InternalError) as caught:
        run(failing(ValueError("the secret"), asynchronous=asynchronous))
    assert caught.value.problem("r-1") == InternalError().problem("r-1")
    assert isinstance(caught.value.__cause__, ValueError)
    assert defects(caplog) == [("f", "r-1", True)]
    assert "the secret" in caplog.text


def test_a_declared_exception_is_shown_and_not_logged(caplog):
    assert outcome(failing(LostError("number 5"), errors=(LostError,))) == ("lost", 400, "number 5")
    assert defects(caplog) == []


def test_a_subclass_of_a_declared_exception_is_shown_too():
    assert outcome(failing(LostError("x"), errors=(LookupError,))) == ("lookup", 400, "x")


def test_the_actions_own_mapping_goes_before_the_plugins():
    plugin = mapping_plugin(ErrorMapping(LostError, 404, "from_plugin"))
    assert outcome(failing(LostError("x"), errors=(LookupError,), plugins=(plugin,)))[0] == "lookup"
    assert outcome(failing(LostError("x"), plugins=(plugin,))) == ("from_plugin", 404, "x")


def test_the_mapping_of_the_nearest_class_wins_and_the_first_of_two_alike():
    base, near, also = (
        ErrorMapping(LookupError, 404, "base"),
        ErrorMapping(LostError, 410, "near"),
        ErrorMapping(LostError, 411, "also"),
    )
    for given in ((base, near, also), (near, also, base)):
        assert outcome(failing(LostError("x"), errors=given))[0] == "near"
        assert outcome(failing(LostError("x"), plugins=[mapping_plugin(mapping) for mapping in given]))[0] == "near"
        assert outcome(failing(LookupError("x"), errors=given))[0] == "base"


def test_a_call_error_is_not_mapped_away():
    mapping = ErrorMapping(Exception, 400, "anything")
    assert outcome(failing(ConflictError("taken"), errors=(mapping,))) == ("conflict", 409, "taken")


# --- examples -------------------------------------------------------------------------------------------------------


def with_examples(*examples, **arguments):
    @action(examples=examples, **arguments)
    def f(x: int, y: str = "y") -> str:
        return y * x

    return f


def test_examples_are_kept_as_json():
    first, second = Example("a", params={"x": 2}, result="yy"), Example("b", params={"x": 1, "y": "z"})
    checked = operation_of(with_examples(first, second)).examples
    assert [(item.example, item.params, item.result) for item in checked] == [
        (first, {"x": 2}, "yy"),
        (second, {"x": 1, "y": "z"}, NOT_GIVEN),
    ]


@pytest.mark.parametrize(
    ("example", "told"),
    [
        (Example("a"), "/x"),
        (Example("a", params={"x": "2"}), "/x"),
        (Example("a", params={"x": 2, "z": 1}), "/z"),
        (Example("a", params={"x": 2}, result=5), "result"),
        (Example("a", params={"x": 2}, result=None), "result"),
        (Example("a", params={"x": 2}, result="yy", error="invalid"), "error"),
        (Example("a", params={"x": {1j}}), "JSON"),
        (Example("a", params={"x": math.nan}), "a"),
    ],
)
def test_an_example_that_does_not_match_is_told_with_file_and_line(example, told):
    f = with_examples(example)
    with pytest.raises(DefinitionError) as caught:
        Service([f])
    assert told in caught.value.message
    assert "'a'" in caught.value.message
    assert caught.value.where[0].endswith(f":{f.__code__.co_firstlineno}")
    assert caught.value.fix


def test_every_example_that_does_not_match_is_told():
    with pytest.raises(DefinitionError) as caught:
        Service([with_examples(Example("a"), Example("b", params={"x": 1}), Example("c", params={"x": 1}, result=1))])
    assert [error.message.split()[2] for error in caught.value.joined] == ["'a'", "'c'"]


def test_an_example_of_invalid_input_need_not_match():
    example = Example("a", params={"x": "two"}, error="invalid")
    assert operation_of(with_examples(example)).examples[0].params == {"x": "two"}


@pytest.mark.parametrize(
    ("control", "example", "expected"),
    [
        (ALLOW_ALL, Example("a", params={"x": 1}), None),
        (ALLOW_ALL, Example("a", params={"x": 1}, authorization=ME), ME),
        (ScopeAccessControl("root"), Example("a", params={"x": 1}, authorization=ME), ME),
        (ScopeAccessControl("root"), Example("a", params={"x": 1}, error="unauthorized"), None),
        (ScopeAccessControl("root"), Example("a", params={"x": 1}, error="forbidden", authorization=ME), ME),
        (Control(None), Example("a", params={"x": 1}), Authorization(subject="example")),
    ],
)
def test_an_example_calls_as_it_says(control, example, expected):
    operation = operation_of(with_examples(example, access_control=control))
    assert operation.example_authorization(example) == expected


def test_by_default_an_example_calls_as_somebody_who_may():
    example = Example("a", params={"x": 1})
    operation = operation_of(with_examples(example, access_control=ScopeAccessControl("root")))
    authorization = operation.example_authorization(example)
    assert authorization.has_scope("root")
    assert authorize(operation, context(authorization=authorization)) is None


def test_by_default_an_example_of_an_action_that_needs_a_caller_has_one():
    example = Example("a")

    @action(examples=(example,))
    def f(who: Authorization) -> str:
        return who.subject

    assert operation_of(f).example_authorization(example) == Authorization(subject="example")


def test_an_access_control_of_ones_own_says_as_whom():
    class Tenants(Control):
        def example_authorization(self):
            return ME

    example = Example("a", params={"x": 1})
    operation = operation_of(with_examples(example, access_control=Tenants(None)))
    assert operation.example_authorization(example) is ME


def test_an_access_control_that_never_answers_is_given_up_with_the_call():
    class Asleep:
        async def check(self, authorization):
            await asyncio.sleep(60)

    @action(access_control=Asleep(), timeout=0.05)
    def f() -> int:
        return 1

    operation = Service([f]).operations["f"]

    with pytest.raises(DeadlineError):
        asyncio.run(operation.authorize(context(Origin.NETWORK)))


def test_every_type_that_cannot_be_served_is_told_at_once():
    class Connection:
        pass

    class Cursor:
        pass

    @action
    def f(first: Connection, second: Cursor, third: int) -> Connection:
        raise AssertionError("never called")

    with pytest.raises(DefinitionError) as caught:
        Service([f])
    told = [error.message.rpartition(": ")[0] for error in caught.value.joined]
    assert told == ["the arguments of f: first", "the arguments of f: second", "the result of f: Connection"]
    assert ["@resource" in error.fix for error in caught.value.joined] == [True, True, False]


def test_an_example_may_leave_a_member_unset():
    @dataclass
    class Change:
        note: str | msgspec.UnsetType | None = msgspec.UNSET
        name: str = "a"

    @action(examples=(Example("unset", params={"change": Change()}, result=Change()),))
    def f(change: Change) -> Change:
        return change

    (example,) = operation_of(f).examples
    assert (example.params, example.result) == ({"change": {"name": "a"}}, {"name": "a"})
