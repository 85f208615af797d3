"""One tree of errors, one table of what each means in every transport."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest

import servey.errors
from servey import (
    WEB_GET,
    WEB_POST,
    CallContext,
    CallError,
    ConflictError,
    ErrorMapping,
    InvalidError,
    NotFoundError,
    OverloadedError,
    Problem,
    TooManyRequestsError,
)
from servey.action.action import action
from servey.errors import InternalError
from servey.plugin import Plugin
from servey.service import Service

WEB = (WEB_GET, WEB_POST)

ROWS = [
    servey.errors.MalformedError,
    servey.errors.UnauthorizedError,
    servey.errors.ForbiddenError,
    servey.errors.NotFoundError,
    servey.errors.ConflictError,
    servey.errors.GoneError,
    servey.errors.PreconditionError,
    servey.errors.TooLargeError,
    servey.errors.UriTooLongError,
    servey.errors.UnsupportedMediaError,
    servey.errors.InvalidError,
    servey.errors.TooManyRequestsError,
    servey.errors.OverloadedError,
    servey.errors.DeadlineError,
]


class LowBalanceError(Exception):
    status = 402
    code = "low_balance"
    exit_code = 68


class DryError(LowBalanceError):
    pass


class ParcelLostError(Exception):
    pass


def raising(error: BaseException, **options: Any) -> Any:
    @action(triggers=WEB, **options)
    def fail() -> None:
        raise error

    return fail


def raising_on_loop(error: BaseException, **options: Any) -> Any:
    @action(triggers=WEB, **options)
    async def fail() -> None:
        raise error

    return fail


def test_a_raised_call_error_has_its_row_of_the_table(transport: Any) -> None:
    actions = [_fails_with(row) for row in ROWS]
    outcomes = transport.call_all(actions, [[transport.Call(f"fail_{row.code}") for row in ROWS]])[0]
    assert [row.code for row, item in zip(ROWS, outcomes, strict=True) if not item.is_error(row)] == []
    assert [item.detail for item in outcomes] == ["this is why"] * len(ROWS)


def _fails_with(row: type[CallError]) -> Any:
    @action(triggers=WEB, name=f"fail_{row.code}")
    def fail() -> None:
        raise row("this is why")

    return fail


@pytest.mark.parametrize("make", [raising, raising_on_loop], ids=["def", "async"])
def test_a_call_error_carries_detail_problems_and_data(transport: Any, make: Any) -> None:
    problems = [Problem("/lines/0", "is gone"), Problem("/lines/1", "is late")]
    error = InvalidError("look again", errors=problems, data={"retry": "never", "limit": 3})
    outcome = transport.call([make(error)], "fail")
    assert outcome.is_error(InvalidError)
    assert (outcome.detail, outcome.errors) == ("look again", (("/lines/0", "is gone"), ("/lines/1", "is late")))
    assert "never" in outcome.seen
    assert "limit" in outcome.seen


def test_a_call_errors_headers_reach_http(http_transport: Any) -> None:
    @action(triggers=WEB)
    def busy() -> None:
        raise TooManyRequestsError("later", retry_after=30)

    outcome = http_transport.call([busy], "busy")
    assert outcome.is_error(TooManyRequestsError)
    assert outcome.headers["retry-after"] == "30"


@pytest.mark.parametrize("make", [raising, raising_on_loop], ids=["def", "async"])
def test_a_declared_exception_has_the_row_it_declares(transport: Any, make: Any) -> None:
    for error in (LowBalanceError("3 EUR left"), DryError("3 EUR left")):
        outcome = transport.call([make(error, errors=(LowBalanceError,))], "fail")
        assert outcome.is_error(ErrorMapping(LowBalanceError, status=402, code="low_balance", exit_code=68))
        assert outcome.detail == "3 EUR left"


def test_a_declared_exception_without_attributes_is_named_after_its_class(transport: Any) -> None:
    outcome = transport.call([raising(ParcelLostError("at sea"), errors=(ParcelLostError,))], "fail")
    assert outcome.is_error(ErrorMapping(ParcelLostError, status=400, code="parcel_lost"))
    assert outcome.detail == "at sea"


def test_of_several_declared_classes_the_nearest_has_the_say(transport: Any) -> None:
    for errors in ((LookupError, ParcelLostError), (ParcelLostError, LookupError)):
        outcome = transport.call([raising(ParcelLostError("at sea"), errors=errors)], "fail")
        assert outcome.is_error(ErrorMapping(ParcelLostError, status=400, code="parcel_lost"))


def test_an_error_mapping_gives_any_exception_a_row(transport: Any) -> None:
    mapping = ErrorMapping(ZeroDivisionError, status=409, code="by_zero", exit_code=73)
    outcome = transport.call([raising(ZeroDivisionError("n is 0"), errors=(mapping,))], "fail")
    assert outcome.is_error(mapping)
    assert outcome.detail == "n is 0"


class Mapper(Plugin):
    def errors(self) -> Any:
        return (ErrorMapping(LookupError, status=404, code="no_such_thing", exit_code=66),)


def test_a_plugin_maps_the_exceptions_of_every_action(transport: Any) -> None:
    service = Service([raising(KeyError("x"))], plugins=[Mapper()])
    assert transport.call(service, "fail").is_error(Mapper().errors()[0])


def test_an_actions_own_mapping_goes_before_a_plugins(transport: Any) -> None:
    mapping = ErrorMapping(KeyError, status=410, code="mine", exit_code=66)
    service = Service([raising(KeyError("x"), errors=(mapping,))], plugins=[Mapper()])
    assert transport.call(service, "fail").is_error(mapping)


@pytest.mark.parametrize("make", [raising, raising_on_loop], ids=["def", "async"])
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("swordfish"),
        KeyError("swordfish"),
        AssertionError("swordfish"),
        OSError(2, "swordfish"),
        ExceptionGroup("swordfish", [ValueError("swordfish")]),
        StopIteration("swordfish"),
        servey.errors.DefinitionError("swordfish"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_unexpected_exception_is_logged_and_the_caller_sees_nothing_of_it(
    transport: Any, make: Any, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    fail = make(error)
    outcome = transport.call([fail], "fail", request_id="from-the-caller")
    assert outcome.is_error(InternalError)
    assert outcome.errors == ()
    for secret in ("swordfish", type(error).__name__, "Traceback", __file__):
        assert secret not in outcome.seen
    (record,) = [item for item in caplog.records if item.name == "servey.operation"]
    assert (record.levelno, record.action) == (logging.ERROR, "fail")  # type: ignore[attr-defined]
    assert record.request_id  # type: ignore[attr-defined]
    if transport.network:
        assert outcome.request_id == record.request_id == "from-the-caller"  # type: ignore[attr-defined]
    else:
        assert record.request_id in outcome.seen  # type: ignore[attr-defined]
    assert record.exc_info is not None
    assert "swordfish" in caplog.text


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt("swordfish")], ids=["exit", "interrupt"])
def test_leaving_the_process_from_a_worker_thread_fails_the_call_only(transport: Any, error: BaseException) -> None:
    @action(triggers=WEB)
    def alive() -> str:
        return "alive"

    lane = [transport.Call("fail"), transport.Call("alive")]
    first, second = transport.call_all([raising(error), alive], [lane])[0]
    assert first.is_error(InternalError)
    assert second.result == "alive"


def test_an_error_that_was_not_declared_is_not_shown_by_its_attributes(transport: Any) -> None:
    outcome = transport.call([raising(LowBalanceError("3 EUR left"))], "fail")
    assert outcome.is_error(InternalError)
    assert "EUR" not in outcome.seen


def test_an_expected_error_is_no_error_in_the_log(transport: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert transport.call([raising(NotFoundError("no such parcel"))], "fail").is_error(NotFoundError)
    assert transport.call([raising(ConflictError())], "fail").is_error(ConflictError)
    assert transport.call([raising(OverloadedError())], "fail").is_error(OverloadedError)
    # no caller waits for a background call, so the log has its error
    loggers = ["servey.background"] * 3 if transport.queued else []
    assert [item.name for item in caplog.records if item.levelno >= logging.WARNING] == loggers


UNENCODABLE = b"caf\xe9".decode("utf-8", "surrogateescape")
"""A file's name as `os.listdir` has it: UTF-8 cannot write it."""


def test_data_that_json_cannot_hold_does_not_hide_the_error(transport: Any) -> None:
    error = NotFoundError("it was here", data={"what": object(), "when": "today"})
    outcome = transport.call([raising(error)], "fail")
    assert outcome.is_error(NotFoundError)
    assert outcome.detail == "it was here"
    assert "today" in outcome.seen


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError(f"no {UNENCODABLE}"),
        NotFoundError("no", errors=[Problem(f"/{UNENCODABLE}", f"no {UNENCODABLE}")]),
        NotFoundError("no", data={UNENCODABLE: [{"in": (UNENCODABLE, 1)}], "instance": UNENCODABLE}),
        NotFoundError("no", headers={"X-File": UNENCODABLE}),
    ],
    ids=["detail", "problems", "data", "headers"],
)
def test_text_that_cannot_be_encoded_changes_nothing_else_of_an_error(transport: Any, error: CallError) -> None:
    outcome = transport.call([raising(error)], "fail")
    assert outcome.is_error(NotFoundError)
    assert outcome.detail.startswith("no")
    assert len(outcome.errors) == len(error.errors)


def test_text_that_cannot_be_encoded_changes_nothing_else_of_a_declared_exception(transport: Any) -> None:
    outcome = transport.call([raising(LowBalanceError(UNENCODABLE), errors=(LowBalanceError,))], "fail")
    assert outcome.is_error(ErrorMapping(LowBalanceError, status=402, code="low_balance", exit_code=68))


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Any, {"name": UNENCODABLE}),
        (str, UNENCODABLE),
        (list[Any], [[UNENCODABLE]]),
        (dict[str, int], {UNENCODABLE: 1}),
    ],
)
def test_a_result_that_cannot_be_encoded_is_a_defect_whatever_errors_are_declared(
    encoding_transport: Any, annotation: Any, value: Any
) -> None:
    @action(triggers=WEB, errors=(ErrorMapping(ValueError, status=409, code="mine"),))
    def file() -> annotation:
        return value

    assert encoding_transport.call([file], "file").is_error(InternalError)


def test_the_request_id_is_the_same_in_the_answer_the_call_and_the_log(network_transport: Any) -> None:
    @action(triggers=WEB)
    async def who(context: CallContext) -> str:
        return context.request_id

    outcome = network_transport.call([who], "who")
    assert outcome.result == outcome.request_id != ""


def test_a_bug_in_the_message_of_an_exception_does_not_leak_either(transport: Any) -> None:
    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("swordfish")

    # the handlers of `logging` print what goes wrong in them to standard error, which is no answer
    outcome = transport.call([raising(UnprintableError(), errors=(UnprintableError,))], "fail")
    assert outcome.is_error(InternalError) or outcome.code == "unprintable"
    assert "swordfish" not in outcome.seen
    assert sys.exc_info() == (None, None, None)


def test_an_error_that_is_made_wrongly_is_a_defect(transport: Any) -> None:
    @action(triggers=WEB)
    def fail() -> None:
        raise InvalidError("no", errors=["the name is too long"])  # pyright: ignore[reportArgumentType]

    assert transport.call([fail], "fail").is_error(InternalError)


def test_an_exception_given_as_the_detail_is_told_in_its_words(transport: Any) -> None:
    @action(triggers=WEB)
    def fail() -> None:
        raise NotFoundError(LookupError("no such parcel"))  # pyright: ignore[reportArgumentType]

    outcome = transport.call([fail], "fail")
    assert outcome.is_error(NotFoundError)
    assert outcome.detail == "no such parcel"
