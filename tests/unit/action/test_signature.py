"""Annotations and docstrings: resolved when the service is built, every problem told with file:line and fix."""

import asyncio
import functools
import importlib
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, NewType, Optional, TypeVar

import fastapi
import pydantic
import pytest
from typing_extensions import TypeAliasType

from servey.action.action import action, get_action
from servey.action.context import CallContext
from servey.action.reply import Reply
from servey.action.signature import ActionSignature, Injected
from servey.codec import MISSING, Parameter
from servey.docstring.documentation import Documentation
from servey.errors import DefinitionError
from servey.security.authorization import Authorization
from servey.servey_direct.direct import call
from servey.service import Service

T = TypeVar("T")


def line_of(function):
    return function.__code__.co_firstlineno


def refused(*actions):
    with pytest.raises(DefinitionError) as caught:
        Service(actions)
    return caught.value


def told(error):
    """Every single error of a joined one: its message, its lines, and whether it says how to mend it."""
    singles = error.joined or (error,)
    return [
        (single.message, [int(place.rpartition(":")[2]) for place in single.where], bool(single.fix))
        for single in singles
    ]


def signature(fn, owner=None):
    return ActionSignature.of(get_action(fn), owner=owner)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Make a module of a text; return it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def make(text):
        name = f"servey_signature_{len(made)}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        made.append(name)
        importlib.invalidate_caches()  # a directory may have changed within the resolution of its time
        return importlib.import_module(name)

    yield make
    for name in made:
        sys.modules.pop(name, None)


def answer(fn, /, **arguments):
    return asyncio.run(call(Service([fn]), get_action(fn).name, arguments))


# --- what a signature holds -----------------------------------------------------------------------------------------


def test_a_signature_has_parameters_injections_order_and_result():
    @action
    def f(
        a: int,
        b: str = "x",
        /,
        c: float = 1.5,
        *,
        context: CallContext,
        who: "Optional[Authorization]",  # noqa: UP045
        d: bool,
    ) -> list[int]:
        return []

    found = signature(f)
    assert (found.name, found.owner, found.replies, found.result) == ("f", None, False, list[int])
    assert found.parameters == (
        Parameter("a", int, MISSING),
        Parameter("b", str, "x"),
        Parameter("c", float, 1.5),
        Parameter("d", bool, MISSING),
    )
    assert found.injected == (Injected("context", CallContext), Injected("who", Authorization, optional=True))
    assert found.order == (
        ("a", False),
        ("b", False),
        ("c", False),
        ("context", True),
        ("who", True),
        ("d", True),
    )


def test_positional_only_and_keyword_only_parameters_arrive_in_their_place():
    @action
    def f(a: int, b: int = 2, /, c: int = 3, *, d: int, e: int = 5) -> list[int]:
        return [a, b, c, d, e]

    assert answer(f, a=1, d=4) == [1, 2, 3, 4, 5]
    assert answer(f, a=9, b=8, c=7, d=6, e=0) == [9, 8, 7, 6, 0]


@pytest.mark.parametrize("name", ["a", "c", "v", "call", "self", "cls", "type_0", "provide_0", "_x", "values"])
def test_no_name_of_a_parameter_is_taken(name):
    code = f"def f({name}: int, context: CallContext) -> int:\n    return {name}"
    namespace = {"CallContext": CallContext}
    exec(code, namespace)
    assert answer(action(namespace["f"]), **{name: 7}) == 7


def test_an_injected_parameter_may_have_a_default_and_stand_anywhere():
    @action
    def f(who: Authorization | None = None, x: int = 1) -> str:
        return f"{who} {x}"

    assert answer(f) == "None 1"


def test_a_reply_is_taken_off_the_result():
    @action
    def f() -> Reply[list[int]]:
        return Reply([1])

    assert (signature(f).result, signature(f).replies) == (list[int], True)


def test_a_nested_action_takes_its_object_first_and_is_called_after_its_class():
    @dataclass
    class HTTPNumberStats:
        value: int

        @action
        def factorial(self, times: int = 1) -> int:
            return times

        @action(name="other_name")
        def other(self) -> int:
            return 1

    found = signature(HTTPNumberStats.factorial, HTTPNumberStats)
    assert (found.name, found.owner) == ("http_number_stats_factorial", HTTPNumberStats)
    assert found.parameters == (Parameter("self", HTTPNumberStats), Parameter("times", int, 1))
    assert signature(HTTPNumberStats.other, HTTPNumberStats).name == "other_name"


# --- defaults -------------------------------------------------------------------------------------------------------


def test_a_mutable_default_is_made_anew_for_each_call_of_a_service():
    @action
    def f(items: list[int] = []) -> int:  # noqa: B006
        items.append(1)
        return len(items)

    service = Service([f])
    assert [asyncio.run(call(service, "f", event)) for event in ({}, {"items": []}, {})] == [1, 1, 1]
    assert [f(), f()] == [1, 2]  # called by Python, it is Python's


def test_none_is_a_default():
    @action
    def f(x: int | None = None, *, y: "Optional[str]" = None) -> str:  # noqa: UP045
        return f"{x} {y}"

    assert answer(f) == "None None"
    assert answer(f, x=None, y=None) == "None None"
    assert answer(f, x=1, y="a") == "1 a"


def test_a_default_may_be_an_object():
    @dataclass
    class Page:
        number: int = 1

    @action
    def f(page: Page = Page(7)) -> int:  # noqa: B008
        return page.number

    assert answer(f) == 7
    assert answer(f, page={}) == 1


@pytest.mark.parametrize("mark", [pydantic.Field(1, ge=1), fastapi.Query(1), fastapi.Depends(int), fastapi.Body(...)])
def test_a_default_is_a_value_and_no_mark_of_another_library(mark):
    @action
    def f(x: int = mark) -> int:
        return x

    with pytest.raises(DefinitionError, match="'x'") as caught:
        Service([f])
    assert caught.value.fix


# --- resolving annotations ------------------------------------------------------------------------------------------


def test_annotations_of_a_module_with_the_future_import_are_resolved(module):
    found = module("""
        from __future__ import annotations
        from servey.action.action import action

        @action
        def f(item: Item, items: list[Item] | None = None) -> dict[str, Item]:
            return {"item": item}

        from dataclasses import dataclass

        @dataclass
        class Item:
            name: str
            parent: Item | None = None
    """)
    assert answer(found.f, item={"name": "a", "parent": {"name": "b"}}) == {
        "item": {"name": "a", "parent": {"name": "b", "parent": None}}
    }


def test_a_class_defined_after_the_action_is_resolved(module):
    found = module("""
        from dataclasses import dataclass
        from typing import Optional
        from servey.action.action import action

        @action
        def f(item: "Item") -> Optional["Item"]:
            return item

        @dataclass
        class Item:
            name: str
    """)
    assert answer(found.f, item={"name": "a"}) == {"name": "a"}


def test_classes_local_to_a_function_are_resolved(module):
    found = module("""
        from __future__ import annotations
        from dataclasses import dataclass
        from servey.action.action import action

        def make():
            @dataclass
            class Node:
                value: int
                children: list[Node]

                @action
                def grown(self, other: Node) -> Node:
                    return Node(self.value + other.value, [])

            @action
            def root(node: Node) -> Node:
                return node

            return root
    """)
    root = found.make()
    node = {"value": 1, "children": [{"value": 2, "children": []}]}
    service = Service([root])
    assert asyncio.run(call(service, "root", {"node": node})) == node
    grown = asyncio.run(call(service, "node_grown", {"self": node, "other": node}))
    assert grown == {"value": 2, "children": []}


def test_names_of_the_functions_around_it_are_the_nearest(module):
    found = module("""
        from servey.action.action import action

        Kind = str

        def make():
            Kind = int

            class Holder:
                Kind = float

                @action
                def inner(x: "Kind") -> "Kind":
                    return x

            @action
            def outer(x: "Kind") -> "Kind":
                return x

            return Holder.inner, outer
    """)
    inner, outer = found.make()
    assert [item.parameters[0].type for item in (signature(inner), signature(outer))] == [float, int]


def test_names_local_to_a_class_are_resolved(module):
    found = module("""
        from __future__ import annotations
        from dataclasses import dataclass
        from servey.action.action import action

        @dataclass
        class Shop:
            name: str

            @dataclass
            class Item:
                price: int

            @action
            def item(self, price: int) -> Item:
                return self.Item(price)

        @action
        def shop() -> Shop:
            return Shop("s")
    """)
    service = Service([found.shop])
    assert asyncio.run(call(service, "shop_item", {"self": {"name": "s"}, "price": 3})) == {"price": 3}


def test_unions_of_pep_604_and_generics_are_resolved():
    @dataclass
    class Box(Generic[T]):
        value: T

    @action
    def f(a: int | None, b: Box[int], c: dict[str, list[tuple[int, str]]] | None = None) -> Box[str] | None:
        return Box(str(b.value)) if a is None else None

    assert answer(f, a=None, b={"value": 3}) == {"value": "3"}
    assert answer(f, a=1, b={"value": 3}, c={"x": [[1, "y"]]}) is None


def test_a_wrapped_function_has_the_signature_of_what_it_wraps():
    def traced(function):
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @action
    @traced
    @traced
    def f(x: int, *, y: int = 2) -> int:
        return x + y

    assert [parameter.name for parameter in signature(f).parameters] == ["x", "y"]
    assert answer(f, x=1, y=5) == 6


def test_what_is_annotated_with_something_unhashable_is_no_injection():
    @action
    def f(x: Annotated[int, {"unit": "kg"}]) -> int:
        return x

    assert answer(f, x=3) == 3


# --- what is wrong --------------------------------------------------------------------------------------------------


Caller = NewType("Caller", Authorization)


class Tenant(Authorization):
    pass


@dataclass
class Envelope:
    caller: Authorization


@pytest.mark.parametrize(
    ("hint", "optional"),
    [
        (Annotated[Authorization, "who calls"], False),
        (Final[Authorization], False),
        (Caller, False),
        (Annotated[Caller, "who calls"], False),
        (Annotated[Authorization | None, "who calls"], True),
        (Annotated[Authorization, "who calls"] | None, True),
        (TypeAliasType("Alias", Authorization | None), True),
        (Annotated[Annotated[Caller | None, 1] | None, 2], True),
    ],
)
def test_nobody_can_send_an_authorization_whatever_stands_around_it(hint, optional):
    @action
    def whoami(caller: hint) -> str | None:
        return caller and caller.subject

    operation = Service([whoami]).operations["whoami"]

    assert operation.signature.injected == (Injected("caller", Authorization, optional),)
    assert operation.signature.parameters == ()
    assert operation.needs_caller is not optional


@pytest.mark.parametrize(
    "hint",
    [Tenant, list[Authorization], Envelope, Authorization | str, dict[str, CallContext], Annotated[list[Envelope], 1]],
)
def test_an_authorization_inside_of_what_a_caller_sends_is_refused(hint):
    @action
    def whoami(caller: hint) -> None:
        pass

    error = refused(whoami)

    assert "where a caller could invent it" in str(error)
    assert "test_signature.py" in error.where[0]


def test_a_missing_annotation_is_told_with_the_parameter():
    @action
    def f(x, y: int) -> int:
        return y

    assert told(refused(f)) == [("the parameter 'x' of f has no annotation", [line_of(f)], True)]


def test_a_missing_result_is_told():
    @action
    def f(x: int):
        return x

    assert told(refused(f)) == [("the result of f has no annotation", [line_of(f)], True)]


def test_everything_wrong_with_a_function_is_told_at_once():
    @action
    def f(a, /, b, *args: int, c, **kwargs: int):
        return a

    assert told(refused(f)) == [
        (message, [line_of(f)], True)
        for message in (
            "the parameter 'a' of f has no annotation",
            "the parameter 'b' of f has no annotation",
            "f takes *args, which no caller can fill",
            "the parameter 'c' of f has no annotation",
            "f takes **kwargs, which no caller can fill",
            "the result of f has no annotation",
        )
    ]


def test_everything_wrong_with_several_actions_is_told_in_one_error():
    @action
    def f(x) -> int:
        return x

    @action
    def g(x: "Nowhere") -> int:  # noqa: F821
        return x

    @action
    def h(x: int) -> complex:
        return x

    @action
    def fine(x: int) -> int:
        return x

    error = refused(f, fine, g, h)
    assert str(error).startswith("3 definitions are wrong:")
    assert [(lines, mended) for _, lines, mended in told(error)] == [
        ([line_of(f)], True),
        ([line_of(g)], True),
        ([line_of(h)], True),
    ]


def test_a_forward_reference_that_leads_nowhere_is_told():
    @action
    def f(x: "list[Nowhere]") -> int:  # noqa: F821
        return 1

    error = refused(f)
    assert "'Nowhere'" in error.message
    assert told(error)[0][1:] == ([line_of(f)], True)


def test_an_import_for_type_checking_only_is_named_as_the_cause(module):
    found = module("""
        from __future__ import annotations
        from typing import TYPE_CHECKING
        from servey.action.action import action

        if TYPE_CHECKING:
            from decimal import Decimal

        @action
        def f(x: Decimal) -> int:
            return 1
    """)
    error = refused(found.f)
    assert "'Decimal'" in error.message
    assert "TYPE_CHECKING" in error.fix
    assert told(error)[0][1:] == ([line_of(found.f)], True)


def test_a_class_defined_after_the_action_in_a_function_is_told():
    def make():
        @action
        def f(x: "Later") -> int:
            return 1

        class Later:
            pass

        return f, Later

    f, _ = make()
    error = refused(f)
    assert "'Later'" in error.message
    assert "before the action" in error.fix


@pytest.mark.parametrize("hint", ["5", "1 +", "int()", "print", "os.path.nowhere"])
def test_an_annotation_that_is_no_type_is_told(hint):
    def f(x: Any) -> int:
        return 1

    f.__annotations__["x"] = hint
    error = refused(action(f))
    assert told(error)[0][1:] == ([line_of(f)], True)


class Opaque:
    def __init__(self, x):
        self.x = x


@pytest.mark.parametrize("hint", [Opaque, complex, type, T, Iterable[Opaque], dict[Opaque, int]])
@pytest.mark.parametrize("part", ["x", "return"])
def test_a_type_that_is_not_supported_is_told_with_the_part(hint, part):
    def f(x: int) -> int:
        return 1

    f.__annotations__[part] = hint
    assert told(refused(action(f)))[0][1:] == ([line_of(f)], True)


def test_a_reply_says_of_what():
    @action
    def f() -> Reply:
        return Reply(1)

    assert told(refused(f)) == [("the Reply of f has no type", [line_of(f)], True)]


# --- documentation --------------------------------------------------------------------------------------------------

GOOGLE = """Pay a bill.

    More about it,
    on two lines.

    Args:
        amount: How much,
            in euros.
        who (str): To whom.

    Returns:
        The receipt.

    Raises:
        KeyError: Never.
    """

NUMPY = """Pay a bill.

    More about it,
    on two lines.

    Parameters
    ----------
    amount : float
        How much,
        in euros.
    who : str
        To whom.

    Returns
    -------
    str
        The receipt.
    """

REST = """Pay a bill.

    More about it,
    on two lines.

    :param amount: How much,
        in euros.
    :param str who: To whom.
    :returns: The receipt.
    """


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, REST], ids=["google", "numpy", "rest"])
def test_three_forms_of_docstrings_say_the_same(docstring):
    def f(amount: float, who: str) -> str:
        return ""

    f.__doc__ = docstring
    assert signature(action(f)).documentation == Documentation(
        lead="Pay a bill.",
        description="More about it,\non two lines.",
        parameters={"amount": "How much,\nin euros.", "who": "To whom."},
        returns="The receipt.",
    )


@pytest.mark.parametrize("docstring", [None, "", "   \n  "])
def test_without_a_docstring_there_is_nothing_said(docstring):
    def f() -> int:
        return 1

    f.__doc__ = docstring
    assert signature(action(f)).documentation == Documentation()


def test_a_description_replaces_the_prose_and_keeps_the_rest():
    def f(amount: float, who: str) -> str:
        return ""

    f.__doc__ = GOOGLE
    decorate = action(description="Settle up.\n\nAt once.\n")
    assert signature(decorate(f)).documentation == Documentation(
        lead="Settle up.",
        description="At once.",
        parameters={"amount": "How much,\nin euros.", "who": "To whom."},
        returns="The receipt.",
    )


def test_the_readmes_docstring_is_a_summary():
    @action
    def say_hello(name: str) -> str:
        """ Greet a user! """  # fmt: skip
        return f"Hello {name}!"

    assert signature(say_hello).documentation == Documentation(lead="Greet a user!")


@pytest.mark.parametrize("docstring", ["Args:\n  :param\n ---", "Returns:\n-----\n", ":param x\n:returns", "Args:\n\n"])
def test_no_docstring_stops_a_service(docstring):
    def f(x: int) -> int:
        return x

    f.__doc__ = docstring
    assert isinstance(signature(action(f)).documentation, Documentation)
