"""Nested actions: found through every type that an action returns; their owner is the class that defines them."""

import asyncio
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, NamedTuple, Optional, TypedDict, TypeVar

import pydantic
import pytest

from servey.action.action import action
from servey.action.reply import Reply
from servey.errors import DefinitionError
from servey.finder import nested_actions
from servey.security.access_control import ALLOW_NONE, ScopeAccessControl
from servey.servey_direct.direct import call
from servey.service import Service
from servey.trigger.web_trigger import WEB_GET, WEB_POST

T = TypeVar("T")


@dataclass
class Stats:
    value: int

    @action
    def factorial(self) -> int:
        """Multiply."""
        return 1 if self.value < 2 else self.value * Stats(self.value - 1).factorial()


@dataclass
class Box(Generic[T]):
    content: T


class Pair(NamedTuple):
    left: Stats
    right: int


class Record(TypedDict):
    stats: Stats


@dataclass
class Outer:
    inner: Stats | None


def returning(hint):
    def f() -> None:
        raise AssertionError("called")

    f.__annotations__["return"] = hint
    return action(f)


@pytest.mark.parametrize(
    "hint",
    [
        Stats,
        Optional[Stats],  # noqa: UP045
        Stats | None,
        list[Stats],
        Sequence[Stats],
        tuple[Stats, ...],
        tuple[int, Stats],
        dict[str, Stats],
        Mapping[str, list[Stats | None]],
        Annotated[Stats, "a note"],
        Reply[Stats],
        Reply[list[Stats]],
        Box[Stats],
        Box[list[Stats]],
        list[Box[Stats] | None],
        Pair,
        Record,
        Outer,
        list[Outer],
    ],
)
def test_a_nested_action_is_found_wherever_the_class_is(hint):
    service = Service([returning(hint)])
    assert list(service.operations) == ["f", "stats_factorial"]
    assert service.operations["stats_factorial"].signature.owner is Stats


def test_a_nested_action_is_called_with_its_object():
    service = Service([returning(Stats)])
    assert asyncio.run(call(service, "stats_factorial", {"self": {"value": 5}})) == 120


def test_the_action_is_there_once_however_often_its_class_is():
    g = action(name="g")(lambda: None)
    g.__annotations__["return"] = list[Stats]
    assert list(Service([returning(Box[Stats]), g]).operations) == ["f", "g", "stats_factorial"]


def test_actions_on_what_nested_actions_return_are_found():
    @dataclass
    class Leaf:
        @action
        def name(self) -> str:
            return "leaf"

    @dataclass
    class Branch:
        @action
        def leaves(self) -> list[Leaf]:
            return [Leaf()]

        @action
        def parent(self) -> "Branch | None":
            return None

    assert list(Service([returning(Branch)]).operations) == ["f", "branch_leaves", "branch_parent", "leaf_name"]


@dataclass
class Animal:
    @action
    def sound(self) -> str:
        return "…"

    @action
    def name(self) -> str:
        return "animal"


@dataclass
class Cat(Animal):
    @action
    def sound(self) -> str:
        return "meow"


@dataclass
class Fish(Animal):
    sound = None


def test_the_owner_is_the_class_that_defines_the_action():
    found = {owner.__name__ + "." + item.name for owner, item in nested_actions([Cat])}
    assert found == {"Cat.sound", "Animal.name"}
    service = Service([returning(Cat)])
    assert list(service.operations) == ["f", "cat_sound", "animal_name"]
    assert asyncio.run(call(service, "cat_sound", {"self": {}})) == "meow"


def test_an_attribute_of_a_subclass_hides_the_action():
    assert [item.name for _, item in nested_actions([Fish])] == ["name"]


def test_two_subclasses_share_the_action_of_their_base():
    service = Service([returning(tuple[Cat, Animal])])
    assert list(service.operations) == ["f", "cat_sound", "animal_name", "animal_sound"]


def test_a_class_that_is_only_taken_is_not_searched():
    @action
    def take(stats: Stats) -> int:
        return 1

    assert list(Service([take]).operations) == ["take"]


# --- names ----------------------------------------------------------------------------------------------------------


def test_the_bare_name_will_do_where_it_is_unique():
    service = Service([returning(tuple[Stats, Cat])])
    assert service.operation("factorial") is service.operations["stats_factorial"]
    assert service.operation("stats_factorial") is service.operations["stats_factorial"]


def test_a_bare_name_of_two_is_none():
    service = Service([returning(tuple[Cat, Animal])])
    with pytest.raises(KeyError, match="sound"):
        service.operation("sound")
    with pytest.raises(KeyError, match="nowhere"):
        service.operation("nowhere")


def test_an_action_of_the_bare_name_goes_first():
    @action
    def factorial() -> Stats:
        return Stats(1)

    service = Service([factorial])
    assert service.operation("factorial") is service.operations["factorial"]


def test_a_nested_name_that_is_taken_is_told_with_both_places():
    @action
    def stats_factorial() -> Stats:
        return Stats(1)

    with pytest.raises(DefinitionError) as caught:
        Service([stats_factorial])
    lines = [int(place.rpartition(":")[2]) for place in caught.value.where]
    assert lines == [stats_factorial.__code__.co_firstlineno, Stats.factorial.__code__.co_firstlineno]
    assert "'stats_factorial'" in caught.value.message


# --- what is wrong --------------------------------------------------------------------------------------------------


def doubled(function):
    return functools.wraps(function)(lambda self: function(self))


@pytest.mark.parametrize("above", [staticmethod, classmethod, property, functools.cached_property, doubled])
def test_a_decorator_above_a_nested_action_is_told(above):
    def f(self) -> int:
        return 1

    owner = dataclass(type("Owner", (), {"f": above(action(f)), "__annotations__": {}}))
    with pytest.raises(DefinitionError) as caught:
        Service([returning(owner)])
    assert caught.value.where[0].endswith(f":{f.__code__.co_firstlineno}")
    assert "@action" in caught.value.fix


def test_a_method_without_self_is_told():
    @dataclass
    class Owner:
        @action
        def f() -> int:
            return 1

        @action
        def g(*, x: int) -> int:
            return x

    with pytest.raises(DefinitionError) as caught:
        Service([returning(Owner)])
    assert caught.value.where[0].endswith(f":{Owner.f.__code__.co_firstlineno}")


def test_a_property_that_raises_is_not_asked():
    @dataclass
    class Owner:
        x: int

        @property
        def broken(self) -> int:
            raise AssertionError("asked")

        @action
        def f(self) -> int:
            return 1

    assert list(Service([returning(Owner)]).operations) == ["f", "owner_f"]


# --- open nested actions on the web ---------------------------------------------------------------------------------


def guarded(nested_control, control, *, nested_triggers=(WEB_GET,)):
    """A service whose nested action takes an object that an action gives to some."""
    arguments = {} if nested_control is None else {"access_control": nested_control}

    @dataclass
    class Secret:
        value: int

        @action(triggers=nested_triggers, **arguments)
        def shown(self) -> int:
            return self.value

    @action(access_control=control, triggers=(WEB_POST,))
    def secret() -> Secret:
        return Secret(1)

    return Secret, secret


def test_an_open_nested_action_on_the_web_needs_an_open_type():
    cls, secret = guarded(None, ScopeAccessControl("root"))
    with pytest.raises(DefinitionError) as caught:
        Service([secret])
    lines = [int(place.rpartition(":")[2]) for place in caught.value.where]
    assert lines == [cls.shown.__code__.co_firstlineno, secret.__code__.co_firstlineno]
    assert "access_control" in caught.value.fix


def test_a_nested_action_with_an_access_control_of_its_own_is_fine():
    for control in (ScopeAccessControl("root"), ScopeAccessControl("other"), ALLOW_NONE):
        Service([guarded(control, ScopeAccessControl("root"))[1]])


def test_a_nested_action_that_is_not_on_the_web_is_fine():
    Service([guarded(None, ScopeAccessControl("root"), nested_triggers=())[1]])


class Tree(pydantic.RootModel["list[Tree] | int"]):
    pass


def test_a_model_that_looking_at_it_completes_is_looked_through() -> None:
    @action(triggers=(WEB_GET,))
    def plant() -> Tree:
        return Tree([Tree(1)])

    assert list(Service([plant]).operations) == ["plant"]
