"""Declaring actions: what the decorator takes, leaves as it is, and refuses."""

import asyncio
import functools
import inspect
import math
from dataclasses import dataclass
from datetime import timedelta

import pytest

from servey.action.action import Action, action, get_action
from servey.action.batch_invoker import BatchInvoker
from servey.action.example import Example
from servey.background_call.retry import Retry
from servey.cache_control.ttl_cache_control import TtlCacheControl
from servey.errors import DefinitionError, ErrorMapping
from servey.idempotency.idempotency import Idempotency
from servey.security.access_control import ALLOW_ALL, ScopeAccessControl
from servey.servey_direct.direct import call
from servey.service import Service
from servey.trigger.fixed_rate_trigger import FixedRateTrigger
from servey.trigger.web_trigger import WEB_GET


def line_of(function):
    return inspect.unwrap(function).__code__.co_firstlineno


def declared(fn):
    """The members of an action, but for its function and namespace."""
    skipped = ("fn", "namespace")
    return {name: getattr(get_action(fn), name) for name in Action.__struct_fields__ if name not in skipped}


DEFAULTS = {
    "name": "f",
    "description": None,
    "triggers": (),
    "access_control": ALLOW_ALL,
    "examples": (),
    "timeout": None,
    "errors": (),
    "tags": (),
    "deprecated": False,
    "include_in_schema": True,
    "status": 200,
    "run_in": "thread",
    "cache_control": None,
    "rate_limit": None,
    "batch_invoker": None,
    "max_running": None,
    "retry": None,
    "idempotency": None,
    "named": False,
}


def test_a_bare_decorator_leaves_the_function_itself():
    def f(x: int) -> int:
        return x + 1

    before = dict(vars(f))
    assert action(f) is f
    assert (f(1), f.__name__, inspect.isfunction(f)) == (2, "f", True)
    assert {**before, "__servey_action__": get_action(f)} == vars(f)
    assert declared(f) == DEFAULTS
    assert get_action(f).fn is f


def test_a_decorator_with_arguments_leaves_the_function_itself():
    def f(x: int) -> int:
        return x

    example = Example("one", params={"x": 1}, result=1)
    control = ScopeAccessControl("root")
    caching = TtlCacheControl(30)
    mapping = ErrorMapping(KeyError, 404)
    invoker = BatchInvoker(lambda items: items)
    decorate = action(
        name="g",
        description="What it does.",
        triggers=(WEB_GET, FixedRateTrigger(60)),
        access_control=control,
        examples=(example,),
        timeout=timedelta(minutes=1),
        errors=(mapping, LookupError),
        tags=("a", "b"),
        deprecated=True,
        include_in_schema=False,
        status=201,
        run_in="loop",
        cache_control=caching,
        rate_limit="10/minute",
        batch_invoker=invoker,
        max_running=4,
        retry=Retry(times=2),
        idempotency=Idempotency(),
    )
    assert decorate(f) is f
    assert declared(f) == {
        "name": "g",
        "description": "What it does.",
        "triggers": (WEB_GET, FixedRateTrigger(60)),
        "access_control": control,
        "examples": (example,),
        "timeout": 60.0,
        "errors": (mapping, ErrorMapping(LookupError, 400, "lookup")),
        "tags": ("a", "b"),
        "deprecated": True,
        "include_in_schema": False,
        "status": 201,
        "run_in": "loop",
        "cache_control": caching,
        "rate_limit": "10/minute",
        "batch_invoker": invoker,
        "max_running": 4,
        "retry": Retry(times=2),
        "idempotency": Idempotency(),
        "named": True,
    }


def test_empty_parentheses_mean_the_bare_decorator():
    @action()
    def f() -> int:
        return 1

    assert declared(f) == DEFAULTS


def test_a_coroutine_function_stays_one_and_runs_on_the_loop():
    @action
    async def f(x: int) -> int:
        return x

    assert inspect.iscoroutinefunction(f)
    assert asyncio.run(f(3)) == 3
    assert declared(f) == {**DEFAULTS, "run_in": "loop"}


def test_a_method_stays_a_method():
    @dataclass
    class Number:
        value: int

        @action
        def double(self) -> int:
            return 2 * self.value

    assert Number(4).double() == 8
    assert get_action(Number(4).double) is get_action(Number.double)


def test_lists_do_for_tuples():
    @action(triggers=[WEB_GET], tags=["a"])
    def f() -> int:
        return 1

    assert (get_action(f).triggers, get_action(f).tags) == ((WEB_GET,), ("a",))


def test_a_plain_function_is_no_action():
    assert get_action(len) is None
    assert get_action(None) is None


def test_an_action_knows_its_file_and_line():
    @action(
        triggers=(WEB_GET,),
    )
    def f() -> int:
        return 1

    file, _, line = get_action(f).where.rpartition(":")
    assert file.endswith("test_action.py")
    assert int(line) == line_of(f)


def test_an_infinite_timeout_is_none_at_all():
    @action(timeout=math.inf)
    def f() -> int:
        return 1

    assert get_action(f).timeout == math.inf


# --- decorators below -----------------------------------------------------------------------------------------------


def shouting(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs).upper()

    return wrapper


def shouting_async(function):
    @functools.wraps(function)
    async def wrapper(*args, **kwargs):
        value = function(*args, **kwargs)
        return (await value if inspect.isawaitable(value) else value).upper()

    return wrapper


def handing_on(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def test_a_decorator_below_is_called():
    @action
    @shouting
    def f(name: str) -> str:
        return f"hello {name}"

    assert asyncio.run(call(Service([f]), "f", {"name": "you"})) == "HELLO YOU"
    assert get_action(f).is_async is False


@pytest.mark.parametrize(("wrapper", "told"), [(shouting_async, (True, "loop")), (handing_on, (False, "thread"))])
def test_a_wrapped_coroutine_function_runs_where_its_wrapper_does(wrapper, told):
    @action
    @wrapper
    async def f(name: str) -> str:
        return name.upper()

    assert (get_action(f).is_async, get_action(f).run_in) == told
    assert asyncio.run(call(Service([f]), "f", {"name": "you"})) == "YOU"


def test_an_async_wrapper_of_a_plain_function_is_asynchronous():
    @action
    @shouting_async
    def f(name: str) -> str:
        return name

    assert (get_action(f).is_async, get_action(f).run_in) == (True, "loop")
    assert asyncio.run(call(Service([f]), "f", {"name": "you"})) == "YOU"


# --- refusals -------------------------------------------------------------------------------------------------------


def plain(x: int) -> int:
    return x


async def coroutine(x: int) -> int:
    return x


class Control:
    def check(self, authorization):
        pass


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"name": ""}, "''"),
        ({"name": "say-hello"}, "'say-hello'"),
        ({"name": "1st"}, "'1st'"),
        ({"name": "_hidden"}, "'_hidden'"),
        ({"name": "größe"}, "'größe'"),
        ({"name": "a\n"}, r"'a\n'"),
        ({"name": 5}, "5"),
        ({"timeout": 0}, "0"),
        ({"timeout": -1.5}, "-1.5"),
        ({"timeout": math.nan}, "nan"),
        ({"timeout": True}, "True"),
        ({"timeout": timedelta(0)}, "0.0"),
        ({"timeout": "5"}, "'5'"),
        ({"status": 199}, "199"),
        ({"status": 404}, "404"),
        ({"status": True}, "True"),
        ({"status": "200"}, "'200'"),
        ({"access_control": None}, "None"),
        ({"access_control": "root"}, "'root'"),
        ({"access_control": Control}, "Control"),
        ({"tags": "admin"}, "str"),
        ({"tags": ("admin", 5)}, "5"),
        ({"triggers": WEB_GET}, "WebTrigger"),
        ({"examples": Example("one")}, "Example"),
        ({"examples": ("one",)}, "'one'"),
        ({"examples": (Example("one"), Example("two"), Example("one"))}, "'one'"),
        ({"errors": KeyError}, "type"),
        ({"errors": ("KeyError",)}, "'KeyError'"),
        ({"errors": (int,)}, "int"),
        ({"run_in": "process"}, "'process'"),
    ],
)
def test_a_wrong_argument_is_refused_at_the_decorator(arguments, told):
    function = functools.wraps(plain)(lambda x: x)
    del function.__wrapped__
    with pytest.raises(DefinitionError) as caught:
        action(**arguments)(function)
    assert told in str(caught.value)
    assert [place.rpartition(":")[2] for place in caught.value.where] == [str(line_of(function))]
    assert get_action(function) is None


def test_a_coroutine_function_cannot_run_in_a_thread():
    with pytest.raises(DefinitionError) as caught:
        action(run_in="thread")(coroutine)
    assert caught.value.where[0].endswith(f"test_action.py:{line_of(coroutine)}")
    assert "run_in" in caught.value.fix


def generator(x: int):
    yield x


async def async_generator(x: int):
    yield x


class Callable:
    def __call__(self) -> int:
        return 1


class Generating:
    def __call__(self, x: int):
        yield x


class AsyncGenerating:
    async def __call__(self, x: int):
        yield x


@pytest.mark.parametrize(
    "wrong",
    [
        staticmethod(plain),
        classmethod(plain),
        property(plain),
        Callable,
        Callable().__call__,
        len,
        generator,
        async_generator,
        lambda: 1,
    ],
)
def test_only_functions_are_actions(wrong):
    line = inspect.currentframe().f_lineno + 2
    with pytest.raises(DefinitionError) as caught:
        action(wrong)
    assert caught.value.fix
    assert len(caught.value.where) == 1
    written = getattr(wrong, "__func__", wrong)
    expected = line_of(written) if inspect.isfunction(written) else line
    assert caught.value.where[0].endswith(f"test_action.py:{expected}")


PARTIAL = [functools.partial(function, 1) for function in (generator, Generating())]


@pytest.mark.parametrize("wrong", [Generating(), AsyncGenerating(), *PARTIAL])
def test_what_is_called_is_no_generator_function(wrong):
    with pytest.raises(DefinitionError) as caught:
        action(wrong)
    assert "list" in caught.value.fix


def test_an_action_is_declared_once():
    def f() -> int:
        return 1

    action(f)
    with pytest.raises(DefinitionError) as caught:
        action(name="again")(f)
    assert caught.value.where[0].endswith(f":{line_of(f)}")
    assert get_action(f).name == "f"


def test_an_action_is_declared_once_with_a_decorator_between():
    with pytest.raises(DefinitionError, match="twice"):

        @action
        @handing_on
        @action
        def f() -> int:
            return 1
