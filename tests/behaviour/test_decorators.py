"""What Python says of a callable is what servey takes: its parameters, their types, and whether it is awaited."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal as Amount
from typing import Any

import pytest

from behaviour.decorators_of_elsewhere import with_price
from servey import WEB_GET, WEB_POST, Authorization, BatchInvoker, resource
from servey.action.action import action
from servey.errors import DefinitionError, ForbiddenError, InvalidError
from servey.servey_starlette.app import create_app
from servey.servey_test.client import client_of
from servey.service import Service

WEB = (WEB_GET, WEB_POST)


def in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def with_db(function: Callable[..., Any]) -> Any:
    """Give the first argument, which callers then do not see."""

    @functools.wraps(function)
    def inner(*arguments: Any, **named: Any) -> Any:
        return function("db", *arguments, **named)

    signature = inspect.signature(function)
    inner.__signature__ = signature.replace(parameters=[*signature.parameters.values()][1:])  # type: ignore[attr-defined]
    return inner


def blocking(function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def inner(*arguments: Any, **named: Any) -> Any:
        return asyncio.run(function(*arguments, **named))

    return inner


def passing(function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def inner(*arguments: Any, **named: Any) -> Any:
        assert not in_loop()
        return function(*arguments, **named)

    return inner


def passing_anywhere(function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def inner(*arguments: Any, **named: Any) -> Any:
        return function(*arguments, **named)

    return inner


def with_db_of_self(function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def inner(self: Any) -> Any:
        return function(self, "db")

    inner.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [*inspect.signature(function).parameters.values()][:1], return_annotation=str
    )
    return inner


def awaiting(function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    async def inner(*arguments: Any, **named: Any) -> Any:
        return await asyncio.to_thread(function, *arguments, **named)

    return inner


class Counting:
    """A decorator that is an object."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.function(*arguments, **named)


class Greeting:
    async def __call__(self, name: str) -> str:
        return f"Hello {name}, {in_loop()}"


def priced(count: int, price: Amount) -> str:
    return f"{count} for {price}"


@action(triggers=WEB)
@with_db
def find(db: str, number: int) -> str:
    return f"{db} {number}"


@action(triggers=WEB)
@blocking
async def slowly(number: int) -> int:
    await asyncio.sleep(0)
    return number + 1


@action(triggers=WEB)
@passing
async def passed(number: int) -> str:
    await asyncio.sleep(0)
    return f"{number}, {in_loop()}"


@action(triggers=WEB)
@passing
@passing
def threaded(number: int) -> str:
    return f"{number}, {in_loop()}"


@action(triggers=WEB)
@awaiting
def awaited(number: int) -> str:
    return f"{number}, {in_loop()}"


@action(triggers=WEB)
@Counting
def counted(number: int) -> int:
    return number


@action(triggers=WEB)
@Counting
async def counted_on_the_loop(number: int) -> str:
    return f"{number}, {in_loop()}"


@action(triggers=WEB)
@functools.lru_cache
def remembered(number: int) -> int:
    return number


@action(triggers=WEB)
@with_price
def bought(name: str) -> str:
    return name


async def _doubled(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


@action(triggers=WEB)
def unexpected(number: int) -> int:
    return _doubled(number)  # type: ignore[return-value]


@action(triggers=WEB, run_in="loop")
def unexpected_on_the_loop(number: int) -> int:
    return _doubled(number)  # type: ignore[return-value]


partly = action(triggers=WEB, name="partly")(functools.partial(priced, 3))
greeting = action(triggers=WEB)(Greeting())

CALLED: list[tuple[Any, dict[str, Any], Any]] = [
    (find, {"number": 1}, "db 1"),
    (slowly, {"number": 1}, 2),
    (passed, {"number": 1}, "1, True"),
    (threaded, {"number": 1}, "1, False"),
    (awaited, {"number": 1}, "1, False"),
    (counted, {"number": 1}, 1),
    (counted_on_the_loop, {"number": 1}, "1, True"),
    (remembered, {"number": 1}, 1),
    (bought, {"name": "pen", "price": "1.10"}, "pen1.10"),
    (unexpected, {"number": 2}, 4),
    (unexpected_on_the_loop, {"number": 2}, 4),
    (partly, {"price": "1.10"}, "3 for 1.10"),
    (greeting, {"name": "World"}, "Hello World, True"),
]


def test_a_callable_takes_what_its_signature_says_and_is_awaited_as_it_says(transport: Any) -> None:
    service = Service([fn for fn, _, _ in CALLED])
    names = [fn.__servey_action__.name for fn, _, _ in CALLED]
    calls = [transport.Call(name, params) for name, (_, params, _) in zip(names, CALLED, strict=True)]
    outcomes = transport.call_all(service, [calls])[0]
    assert {name: item.result for name, item in zip(names, outcomes, strict=True)} == {
        name: expected for name, (_, _, expected) in zip(names, CALLED, strict=True)
    }


def test_what_a_decorator_gives_is_no_argument(json_transport: Any) -> None:
    outcome = json_transport.call([find], "find", {"db": "mine", "number": 1})
    assert outcome.is_error(InvalidError)


if sys.version_info >= (3, 12):  # of which inspect.markcoroutinefunction is

    def test_a_def_that_is_marked_a_coroutine_function_is_called_on_the_loop(transport: Any) -> None:
        def made(number: int) -> Any:
            assert in_loop()
            return _doubled(number)

        made.__annotations__["return"] = int
        assert transport.call([action(triggers=WEB)(inspect.markcoroutinefunction(made))], "made", {"number": 2}).ok


@dataclass
class Row:
    number: int

    @action
    @with_db_of_self
    def found(self, db: str) -> str:
        return f"{db} {self.number}"

    @action
    @passing
    async def passed(self) -> str:
        return f"{self.number}, {in_loop()}"


def test_nested_actions_are_read_in_the_same_way() -> None:
    @action(triggers=WEB)
    def rows() -> list[Row]:
        return [Row(1), Row(2)]

    async def main() -> Any:
        async with client_of(create_app(Service([rows]))) as client:
            included = await client.request("GET", "/actions/rows?include=found,passed")
            asked = await client.request("POST", "/graphql", json={"query": "{ rows { found passed } }"})
            return included.json(), asked.json()

    expected = [{"found": f"db {number}", "passed": f"{number}, True"} for number in (1, 2)]
    included, asked = asyncio.run(main())
    assert included == [{"number": number, **row} for number, row in zip((1, 2), expected, strict=True)]
    assert asked == {"data": {"rows": expected}}


@passing
async def _all_passed(rows: list[Batched]) -> list[str]:
    return [f"{row.number}, {in_loop()}" for row in rows]


@blocking
async def _all_blocking(rows: list[Batched]) -> list[str]:
    return [f"{row.number}" for row in rows]


async def _later(rows: list[Batched]) -> list[str]:
    return [f"{row.number}, {in_loop()}" for row in rows]


def _all_later(rows: list[Batched]) -> list[str]:
    return _later(rows)  # type: ignore[return-value]


@dataclass
class Batched:
    number: int

    @action(batch_invoker=BatchInvoker(_all_passed))
    def passed(self) -> str:
        raise AssertionError

    @action(batch_invoker=BatchInvoker(_all_blocking))
    def blocking(self) -> str:
        raise AssertionError

    @action(batch_invoker=BatchInvoker(_all_later))
    def later(self) -> str:
        raise AssertionError

    @action(batch_invoker=BatchInvoker(functools.partial(_all_later)))
    def partly(self) -> str:
        raise AssertionError


def test_batch_functions_are_read_in_the_same_way() -> None:
    @action(triggers=WEB)
    def rows() -> list[Batched]:
        return [Batched(1), Batched(2)]

    async def main() -> Any:
        async with client_of(create_app(Service([rows]))) as client:
            asked = await client.request(
                "POST", "/graphql", json={"query": "{ rows { passed blocking later partly } }"}
            )
            return asked.json()

    told = [
        {"passed": f"{number}, True", "blocking": f"{number}", "later": f"{number}, True", "partly": f"{number}, True"}
        for number in (1, 2)
    ]
    assert asyncio.run(main()) == {"data": {"rows": told}}


class Session:
    def __init__(self, log: list[str], thread: int) -> None:
        self.log, self.thread = log, thread


@pytest.mark.parametrize("decorate", [passing, lambda fn: functools.partial(fn)], ids=["decorated", "partial"])
def test_resources_are_read_in_the_same_way_and_stay_open_while_a_def_is_awaited(decorate: Any) -> None:
    log: list[str] = []

    @resource
    @decorate
    def session(caller: Authorization | None) -> Iterator[Session]:
        log.append("open")
        yield Session(log, threading.get_ident())
        log.append("close")

    @action(triggers=WEB)
    @passing
    async def use(session: Session) -> str:
        await asyncio.sleep(0)
        session.log.append("use")
        return "used"

    @action(triggers=WEB)
    @passing
    def use_there(session: Session) -> bool:
        return session.thread == threading.get_ident()

    async def main() -> list[Any]:
        async with client_of(create_app(Service([use, use_there], resources=[session]))) as client:
            return [(await client.request("GET", f"/actions/{name}")).json() for name in ("use", "use-there")]

    assert asyncio.run(main()) == ["used", True]
    assert log == ["open", "use", "close", "open", "close"]


def test_an_async_generator_may_be_decorated_too() -> None:
    @resource
    @passing_anywhere
    async def session() -> AsyncIterator[Session]:
        yield Session([], 0)

    @action(triggers=WEB)
    async def use(session: Session) -> int:
        return session.thread

    async def main() -> Any:
        async with client_of(create_app(Service([use], resources=[session]))) as client:
            return (await client.request("GET", "/actions/use")).json()

    assert asyncio.run(main()) == 0


def test_an_access_control_may_be_a_def_around_an_async_def() -> None:
    class Control:
        @passing_anywhere
        async def check(self, authorization: Authorization | None) -> None:
            await asyncio.sleep(0)
            raise ForbiddenError

    @action(triggers=WEB, access_control=Control())
    def guarded() -> int:
        return 1

    async def main() -> int:
        async with client_of(create_app(Service([guarded]))) as client:
            return (await client.request("GET", "/actions/guarded")).status

    assert asyncio.run(main()) == 403


@pytest.mark.parametrize("given", [int, 3, Row(1).found, object()], ids=["class", "value", "method", "object"])
def test_what_cannot_be_an_action_is_told(given: Any) -> None:
    with pytest.raises(DefinitionError):
        action(given)
