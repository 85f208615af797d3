"""What a type checker has to refuse; each `# wrong: rule` stands on the line of one error of that rule."""

from collections.abc import Iterator
from typing import assert_type

from servey import WEB_GET, Authorization, BigInt, Example, Reply, resource
from servey.action.action import action


@action
def bare(name: str) -> int:
    return len(name)


bare(5)  # wrong: reportArgumentType
bare()  # wrong: reportCallIssue
bare("a", times=2)  # wrong: reportCallIssue
assert_type(bare("a"), str)  # wrong: reportAssertTypeFailure


@action(timeout=3)
async def asynchronous(value: int) -> float:
    return value / 2


assert_type(asynchronous(1), float)  # wrong: reportAssertTypeFailure
asynchronous("x")  # wrong: reportArgumentType,reportUnusedCoroutine


class Number:
    @action
    def double(self, by: int) -> int:
        return by


Number().double("x")  # wrong: reportArgumentType


@action(triggers=WEB_GET)  # wrong: reportArgumentType
def no_tuple() -> None: ...


@action(examples=(Example("a"), "b"))  # wrong: reportArgumentType
def no_example() -> None: ...


@action(run_in="process")  # wrong: reportArgumentType
def nowhere() -> None: ...


@action(access_control="root")  # wrong: reportArgumentType
def no_control() -> None: ...


@action(errors=(5,))  # wrong: reportArgumentType
def no_error() -> None: ...


@action(trigger=(WEB_GET,))  # wrong: reportCallIssue
def misspelt() -> None: ...


class Control:
    def check(self, authorization: Authorization | None) -> bool:
        return True


@action(access_control=Control())  # wrong: reportArgumentType
def returns_a_bool() -> None: ...


@action
def replying() -> Reply[list[int]]:
    return Reply(["x"])  # wrong: reportReturnType,reportArgumentType


@action
def big(value: BigInt) -> BigInt:
    return "x"  # wrong: reportReturnType


big("5")  # wrong: reportArgumentType


class Session: ...


@resource(scope="session")  # wrong: reportArgumentType
def session() -> Iterator[Session]:
    yield Session()


@resource
def pool() -> Iterator[Session]:
    yield Session()


assert_type(next(pool()), int)  # wrong: reportAssertTypeFailure
