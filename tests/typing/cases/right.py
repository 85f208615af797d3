"""What a type checker has to understand: `@action` and `@resource` keep the type of what they decorate."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, assert_type

from servey import (
    WEB_GET,
    Authorization,
    BigInt,
    CallContext,
    ErrorMapping,
    Example,
    FixedRateTrigger,
    NotFoundError,
    Reply,
    ScopeAccessControl,
    resource,
)
from servey.action.action import action
from servey.plugin import Injector, Plugin
from servey.ports import AccessControl
from servey.servey_test.test_servey_actions import define_test_class
from servey.service import Service

T = TypeVar("T")


@action
def bare(name: str, times: int = 1) -> list[str]:
    return [name] * times


assert_type(bare("a", times=2), list[str])
expected: Callable[[str, int], list[str]] = bare


@action(
    name="other",
    triggers=(WEB_GET, FixedRateTrigger(60)),
    access_control=ScopeAccessControl("root"),
    examples=(Example("one", params={"name": "x"}, result="x"),),
    timeout=timedelta(seconds=3),
    errors=(KeyError, ErrorMapping(LookupError, 404)),
    tags=("a",),
    run_in="loop",
)
def with_arguments(name: str, /, *, loud: bool = False) -> str:
    return name.upper() if loud else name


assert_type(with_arguments("x", loud=True), str)


@action()
def parentheses() -> None: ...


assert_type(parentheses(), None)


@action
async def asynchronous(value: int) -> float:
    return value / 2


async def awaiting() -> None:
    assert_type(await asynchronous(1), float)
    assert_type(await asynchronous_with_arguments(1), float)
    assert_type(await Number(1).half(1.0), float)


@action(timeout=1.5)
async def asynchronous_with_arguments(value: int) -> float:
    return await asynchronous(value)


@dataclass
class Number:
    value: int

    @action
    def double(self) -> int:
        return 2 * self.value

    @action(access_control=ScopeAccessControl("root"))
    async def half(self, of: float) -> float:
        return of / 2


assert_type(Number(1).double(), int)
assert_type(Number.double(Number(1)), int)


@action
def generic(items: list[T]) -> T:
    return items[0]


assert_type(generic([1]), int)


@action
def injected(who: Authorization | None, context: CallContext) -> str | None:
    assert_type(context.authorization, Authorization | None)
    return who.subject if who else None


class Session: ...


@resource
def session() -> Iterator[Session]:
    yield Session()


@resource(scope="service")
async def pool(context: CallContext) -> AsyncIterator[Session]:
    yield Session()


assert_type(session(), Iterator[Session])
assert_type(next(session()), Session)


@action
def replying() -> Reply[list[int]]:
    return Reply([1], status=201, headers={"Location": "/1"})


assert_type(replying(), Reply[list[int]])
assert_type(replying().value, list[int])
assert_type(Reply("x"), Reply[str])


@action
def factorial(value: BigInt) -> BigInt:
    return value * 2


assert_type(factorial(3), int)


def plus_one(number: BigInt) -> int:
    assert_type(number, int)
    return number + 1


class Tenants:
    async def check(self, authorization: Authorization | None, /) -> None:
        raise NotFoundError("hidden")


class Closed:
    def check(self, authorization: Authorization | None, /) -> None: ...


controls: list[AccessControl] = [Tenants(), Closed(), ScopeAccessControl("x")]


@action(access_control=Tenants())
def guarded() -> int:
    return 1


class Mine(Plugin):
    def injectors(self) -> tuple[Injector, ...]:
        return (Injector(Session, lambda context: Session()),)


service = Service([bare, asynchronous, Number.double], resources=[session, pool], plugins=[Mine()])
TestActions = define_test_class(service)
assert_type(TestActions().id(), str)
