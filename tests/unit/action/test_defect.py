"""What stops code from outside goes on up; what code raises itself is a defect."""

import asyncio
import logging
import signal
from dataclasses import dataclass

import pytest

from servey.action.action import action
from servey.action.defect import ErrorBoundary, as_exception, defect, is_stop
from servey.errors import InternalError, NotFoundError
from servey.servey_direct import direct
from servey.service import Service

LOG = logging.getLogger("test")


@action
async def interrupted() -> None:
    await asyncio.sleep(0)
    signal.raise_signal(signal.SIGINT)
    await asyncio.sleep(0)


@action
async def ended() -> None:
    await asyncio.sleep(0)
    signal.raise_signal(signal.SIGTERM)


@action
async def raised(name: str) -> None:
    await asyncio.sleep(0)
    raise {"exit": SystemExit(7), "interrupt": KeyboardInterrupt()}[name]


@pytest.fixture(autouse=True)
def _handlers():
    """The handlers of signals are what they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_handler_of_a_signal_ends_the_program_in_the_middle_of_a_call():
    def end(*_):
        raise SystemExit(7)

    signal.signal(signal.SIGTERM, end)
    with pytest.raises(SystemExit) as caught:
        asyncio.run(direct.call(Service([ended]), "ended", {}))
    assert caught.value.code == 7


def test_a_method_may_be_the_handler():
    class Host:
        def end(self, *_):
            raise SystemExit(8)

    signal.signal(signal.SIGTERM, Host().end)
    with pytest.raises(SystemExit) as caught:
        asyncio.run(direct.call(Service([ended]), "ended", {}))
    assert caught.value.code == 8


def test_ctrl_c_without_a_handler_of_the_hosts_ends_the_program():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(direct.call(Service([interrupted]), "interrupted", {}))
    finally:
        loop.close()


def test_ctrl_c_cancels_what_a_runner_runs():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(direct.call(Service([interrupted]), "interrupted", {}))


@pytest.mark.parametrize("name", ["exit", "interrupt"])
def test_what_code_raises_itself_is_a_defect(name):
    with pytest.raises(InternalError):
        asyncio.run(direct.call(Service([raised]), "raised", {"name": name}))


def test_a_coroutine_that_nobody_runs_any_more_is_closed():
    assert is_stop(GeneratorExit())


def test_a_defect_has_the_traceback_and_both_names(caplog):
    error = SystemExit(3)
    found = defect(error, "it failed", log=LOG, request_id="r-1", action="act")
    assert type(found) is InternalError
    (record,) = caplog.records
    assert (record.exc_info[1], record.request_id, record.action) == (error, "r-1", "act")


def test_an_error_is_an_exception_and_anything_else_stands_behind_one():
    plain, other = ValueError(), GeneratorExit()
    assert as_exception(plain, "x") is plain
    stands = as_exception(other, "x")
    assert (isinstance(stands, Exception), stands.__cause__) == (True, other)
    assert is_stop(plain) is False


@pytest.mark.parametrize("error", [SystemExit(7), KeyboardInterrupt(), GeneratorExit(), ValueError("no")], ids=repr)
def test_guarded_code_raises_its_defects_as_internal_errors(error, caplog):
    async def main() -> None:
        with ErrorBoundary("the call failed", log=LOG, request_id="r1", action="sum"):
            raise error

    with pytest.raises(InternalError) as caught:
        asyncio.run(main())
    assert caught.value.__cause__ is error
    (record,) = caplog.records
    assert (record.request_id, record.action, record.exc_info[1]) == ("r1", "sum", error)


def test_guarded_code_raises_errors_for_callers_and_cancellations_as_they_are(caplog):
    async def refused() -> None:
        with ErrorBoundary("the call failed", log=LOG, request_id="r1", action="sum"):
            raise NotFoundError("no such sum")

    async def main() -> bool:
        async def waiting() -> None:
            with ErrorBoundary("the call failed", log=LOG, request_id="r1", action="sum"):
                await asyncio.Event().wait()

        with pytest.raises(NotFoundError):
            await refused()
        task = asyncio.create_task(waiting())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        return task.cancelled()

    assert asyncio.run(main())
    assert caplog.records == []


@pytest.mark.parametrize("error", [SystemExit(7), KeyboardInterrupt()], ids=repr)
def test_what_a_class_of_the_arguments_raises_is_a_defect_of_a_direct_call(error):
    @dataclass
    class Order:
        count: int

        def __post_init__(self) -> None:
            raise error

    @action
    def place(order: Order) -> int:
        return order.count

    async def main() -> None:
        await asyncio.create_task(direct.call(Service([place]), "place", {"order": {"count": 1}}))

    with pytest.raises(InternalError):
        asyncio.run(main())
