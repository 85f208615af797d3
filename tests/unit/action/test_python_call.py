"""Calls of actions from Python."""

import dataclasses
import datetime as dt
from typing import Any

import pytest

from servey.action.action import action
from servey.action.python_call import MissingArgumentsError, operation_of
from servey.security.authorization import Authorization
from servey.service import Service


@dataclasses.dataclass
class Place:
    lat: float
    since: dt.datetime | None = None


@action
def find(caller: Authorization, place: Place, limit: int = 10, *, unit: str = "km") -> str:
    return f"{place} {limit} {unit}"


def bound(*args: Any, **kwargs: Any) -> Any:
    arguments = Service([find]).operation("find").bind(*args, **kwargs)
    return arguments.place, arguments.limit, arguments.unit


def test_arguments_are_given_by_position_and_by_name_without_the_injected_ones() -> None:
    place = Place(1.0, dt.datetime(2026, 1, 1))
    expected = place, 10, "m"
    assert bound(place, unit="m") == expected
    assert bound(place=place, unit="m", limit=10) == expected
    assert bound({"lat": 1, "since": "2026-01-01T00:00:00"}, 10, unit="m") == expected


def test_self_of_a_nested_action_is_its_first_argument() -> None:
    @dataclasses.dataclass
    class Owner:
        name: str

        @action
        def pets(self, limit: int = 1) -> list[str]:
            return [self.name] * limit

    @action
    def owner() -> Owner:
        return Owner("a")

    operation = Service([owner]).operation("owner_pets")
    for arguments in (operation.bind(Owner("b"), 2), operation.bind(self=Owner("b"), limit=2)):
        assert (arguments.self, arguments.limit) == (Owner("b"), 2)


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "words"),
    [
        ((), {}, MissingArgumentsError, "place must be given"),
        ((), {"limit": "x", "of": 1, "caller": None}, ValueError, "'of'.*'caller'.*place must be given.*/limit"),
        ((Place(1), 2, "m"), {}, ValueError, "takes 2 arguments by position, got 3"),
        ((Place(1),), {"place": Place(1)}, ValueError, "given 'place' twice"),
        ((), {"plac": Place(1)}, ValueError, "did you mean 'place'"),
        ((), {"caller": None}, ValueError, "no parameter 'caller'"),
        ((Place(1), "x"), {}, ValueError, "/limit"),
        ((object(),), {}, ValueError, "find"),
    ],
)
def test_a_mistake_is_told(args: Any, kwargs: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        bound(*args, **kwargs)


def test_an_action_is_found_by_its_function_and_by_its_name() -> None:
    service = Service([find])
    assert operation_of(service, find) is operation_of(service, "find")
    with pytest.raises(LookupError, match="did you mean 'find'"):
        operation_of(service, "fid")
