"""Examples as tests: under unittest, under pytest, direct and over REST; the README's files word for word."""

import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

import pytest

from servey.action.action import action
from servey.action.example import Example
from servey.errors import ConflictError, DefinitionError, NotFoundError
from servey.security.access_control import ALLOW_NONE, ScopeAccessControl
from servey.security.authorization import Authorization
from servey.servey_test.example_run import example_runs, side_by_side
from servey.servey_test.test_servey_actions import define_test_class
from servey.service import Service
from servey.trigger.web_trigger import WEB_DELETE, WEB_GET, WEB_POST, WEB_PUT, WebTrigger, WebTriggerMethod

GET = WebTriggerMethod.GET

SPEC_ACTIONS = '''
from servey.action.action import action
from servey.action.example import Example
from servey.trigger.web_trigger import WEB_GET


@action(
    triggers=(WEB_GET,),
    examples=(
        Example(
            name='greet_developer',
            description='Say hello to the developer',
            params={'name': 'Developer'},
            result='Hello Developer!'
        ),
    )
)
def say_hello(name: str) -> str:
    """ Greet a user! """
    return f"Hello {name}!"
'''

SPEC_TEST = """
from servey.servey_test.test_servey_actions import define_test_class

TestActions = define_test_class()
"""


@pytest.fixture
def project(tmp_path):
    """Write the README's project, or another module of actions, into a directory."""

    def write(actions=SPEC_ACTIONS, test=SPEC_TEST):
        (tmp_path / "tests").mkdir()
        (tmp_path / "tests" / "__init__.py").write_text("")
        (tmp_path / "actions.py").write_text(actions)
        if test is not None:
            (tmp_path / "tests" / "test_actions.py").write_text(test)
        return tmp_path

    return write


def python(directory, *arguments, **variables):
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SERVEY_", "PYTEST_", "PYTHONPATH", "COV_"))
    }
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=directory,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "120", **variables},
        check=False,
    )


def examples_alone(directory, *arguments):
    """Run pytest with servey's plugin and no other installed one: loading those takes four times as long."""
    plugin = ("-p", "servey.servey_test.pytest_plugin", "-p", "no:cacheprovider")
    command = ("-m", "pytest", "-q", "--servey-examples", *plugin, *arguments)
    return python(directory, *command, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")


def ran(service):
    """Run the test class of a service; return its result."""
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(define_test_class(service))
    return suite.run(unittest.TestResult())


def names(service):
    return [run.name for run in example_runs(service)]


# --- the README ----------------------------------------------------------------------------------------------------


def test_the_spec_runs_under_unittest(project):
    done = python(project(), "-m", "unittest", "discover", "-s", "tests", "-v")
    assert done.returncode == 0, done.stderr
    assert "Ran 2 tests" in done.stderr
    assert re.findall(r"^(test_\S+)", done.stderr, re.MULTILINE) == [
        "test_say_hello__greet_developer__direct",
        "test_say_hello__greet_developer__rest_get",
    ]
    assert "Say hello to the developer" in done.stderr


def test_the_spec_runs_under_pytest(project):
    directory = project()
    for command in (["-m", "pytest"], [str(Path(sys.executable).parent / "pytest")]):
        done = python(directory, *command, "-v", "-p", "no:cacheprovider")
        assert done.returncode == 0, done.stdout
        assert re.findall(r"TestActions::(\S+) PASSED", done.stdout) == [
            "test_say_hello__greet_developer__direct",
            "test_say_hello__greet_developer__rest_get",
        ]
        assert "2 passed" in done.stdout


def test_a_failing_example_shows_expected_and_actual_side_by_side(project):
    directory = project(SPEC_ACTIONS.replace('f"Hello {name}!"', 'f"Hallo {name}!"'))
    done = python(directory, "-m", "unittest", "discover", "-s", "tests")
    assert done.returncode == 1
    shown = """\
the example 'greet_developer' of say_hello (actions.py:7)
  expected             actual
! "Hello Developer!"   "Hallo Developer!"
"""
    assert done.stderr.count(shown) == 2
    assert "FAILED (failures=2)" in done.stderr


def test_a_wrong_example_is_an_error_with_file_and_line(project):
    directory = project(SPEC_ACTIONS.replace("'Hello Developer!'", "5"))
    done = python(directory, "-m", "unittest", "discover", "-s", "tests")
    assert done.returncode == 1
    assert "DefinitionError" in done.stderr
    assert "the example 'greet_developer' of say_hello does not match the result" in done.stderr
    assert "at actions.py:7" in done.stderr


# --- which tests there are ------------------------------------------------------------------------------------------


def answering(*triggers, examples, **arguments):
    @action(triggers=triggers, examples=examples, **arguments)
    def answer(x: int = 0, y: str = "y") -> str:
        return y * x

    return Service([answer])


def test_every_example_runs_directly_and_over_every_route():
    examples = (Example("one", params={"x": 2}, result="yy"), Example("two", params={"x": 1, "y": "z"}, result="z"))
    service = answering(WEB_GET, WEB_POST, WEB_DELETE, WebTrigger(WebTriggerMethod.PUT, "/a/{x}"), examples=examples)
    transports = ["direct", "rest_get", "rest_post", "rest_delete", "rest_put"]
    assert names(service) == [f"answer__{name}__{transport}" for name in ("one", "two") for transport in transports]
    result = ran(service)
    assert (result.testsRun, result.failures, result.errors) == (10, [], [])


def test_no_two_tests_have_one_name():
    examples = (Example("a b", params={"x": 1}, result="y"), Example("a-b", params={"x": 2}, result="no"))
    service = answering(WEB_GET, WebTrigger(GET, "/a"), examples=examples)
    assert names(service) == [
        "answer__a_b__direct",
        "answer__a_b__rest_get",
        "answer__a_b__rest_get_2",
        "answer__a_b__direct_2",
        "answer__a_b__rest_get_3",
        "answer__a_b__rest_get_4",
    ]
    result = ran(service)
    assert (result.testsRun, len(result.failures)) == (6, 3)


def test_an_example_that_is_not_for_tests_is_left_out():
    examples = (Example("one", include_in_tests=False), Example("two"))
    assert names(answering(examples=examples)) == ["answer__two__direct"]


def test_a_service_without_examples_has_a_class_without_tests():
    assert ran(Service()).testsRun == 0


def test_a_route_that_cannot_say_the_example_is_left_out():
    @action(
        triggers=(WEB_GET, WEB_POST, WebTrigger(GET, "/{name}")),
        examples=(
            Example("nothing", params={}, result="None [1]"),
            Example("empty", params={"name": ""}, result=" [1]"),
            Example("none", params={"name": None}, result="None [1]"),
            Example("no numbers", params={"numbers": []}, result="None []"),
            Example("escaped", params={"name": "a/b?c=d&e%20 ä", "numbers": [1, 2]}, result="a/b?c=d&e%20 ä [1, 2]"),
        ),
    )
    def shown(name: str | None = None, numbers: list[int] = [1]) -> str:  # noqa: B006
        return f"{name} {numbers}"

    service = Service([shown])
    assert [name.removeprefix("shown__") for name in names(service)] == [
        *("nothing__direct", "nothing__rest_get", "nothing__rest_post"),
        *("empty__direct", "empty__rest_get", "empty__rest_post"),
        *("none__direct", "none__rest_get", "none__rest_post"),
        *("no_numbers__direct", "no_numbers__rest_post"),
        *("escaped__direct", "escaped__rest_get", "escaped__rest_post", "escaped__rest_get_2"),
    ]
    result = ran(service)
    assert (result.testsRun, result.failures, result.errors) == (15, [], [])


# --- what a test checks ---------------------------------------------------------------------------------------------


def test_an_example_without_a_result_takes_any_and_no_error():
    @action(examples=(Example("one"), Example("two", params={"x": 0})), triggers=(WEB_GET,))
    async def inverse(x: int = 1) -> float:
        if x == 0:
            raise ConflictError("no inverse")
        return 1 / x

    result = ran(Service([inverse]))
    assert (result.testsRun, result.errors) == (4, [])
    failed = [(test.id().rpartition("__")[2], "no inverse" in told) for test, told in result.failures]
    assert failed == [("direct", True), ("rest_get", True)]


def test_async_actions_run():
    @action(examples=(Example("one", params={"x": 2}, result=4),), triggers=(WEB_PUT,))
    async def square(x: int) -> int:
        return x * x

    result = ran(Service([square]))
    assert (result.testsRun, result.failures, result.errors) == (2, [], [])


def finding(**example):
    @action(triggers=(WEB_GET, WEB_POST), examples=(Example("one", **example),))
    def find(name: str) -> str:
        if name != "it":
            raise NotFoundError(f"there is no {name}")
        return name

    return Service([find])


def test_an_example_of_an_error_is_right_when_that_error_comes():
    result = ran(finding(params={"name": "other"}, error="not_found"))
    assert (result.testsRun, result.failures, result.errors) == (3, [], [])


def test_an_example_of_invalid_input_is_right_when_it_is_refused():
    result = ran(finding(params={}, error="invalid"))
    assert (result.testsRun, result.failures, result.errors) == (3, [], [])


@pytest.mark.parametrize(
    ("example", "told"),
    [
        ({"params": {"name": "other"}, "error": "conflict"}, ['"conflict"', '"not_found"', "there is no other"]),
        ({"params": {"name": "other"}, "result": "other"}, ['"other"', '"not_found"', "there is no other"]),
        ({"params": {"name": "it"}, "error": "not_found"}, ['"not_found"', '"it"']),
        ({"params": {"name": "it"}, "result": "that"}, ['"that"', '"it"']),
    ],
)
def test_an_example_is_wrong_when_something_else_comes(example, told):
    result = ran(finding(**example))
    assert (result.testsRun, len(result.failures), result.errors) == (3, 3, [])
    assert all(word in text for _, text in result.failures for word in told)


def test_an_exception_nobody_expected_is_a_failure(caplog):
    @action(triggers=(WEB_GET,), examples=(Example("one", result=1),))
    def broken() -> int:
        raise ZeroDivisionError

    result = ran(Service([broken]))
    assert (result.testsRun, len(result.failures), result.errors) == (2, 2, [])
    assert all("internal_error" in text for _, text in result.failures)
    assert caplog.text.count("ZeroDivisionError") >= 2


ROOT = Authorization("root", frozenset({"root"}))
STRANGER = Authorization("stranger", frozenset({"other"}))


@pytest.mark.parametrize(
    "example",
    [
        Example("by default somebody who may", result="example"),
        Example("as it says", authorization=ROOT, result="root"),
        Example("refused", authorization=STRANGER, error="forbidden"),
        Example("without a caller", error="unauthorized"),
    ],
)
def test_an_example_runs_as_it_says(example):
    @action(triggers=(WEB_GET, WEB_POST), access_control=ScopeAccessControl("root"), examples=(example,))
    def who(authorization: Authorization) -> str:
        return authorization.subject

    result = ran(Service([who]))
    assert (result.testsRun, result.failures, result.errors) == (3, [], [])


def test_what_nobody_may_call_over_a_network_runs_directly():
    @action(
        triggers=(WEB_GET,),
        access_control=ALLOW_NONE,
        examples=(Example("one", result=1), Example("refused", authorization=ROOT, error="forbidden")),
    )
    def hidden() -> int:
        return 1

    service = Service([hidden])
    assert names(service) == ["hidden__one__direct", "hidden__refused__direct", "hidden__refused__rest_get"]
    result = ran(service)
    assert (result.failures, result.errors) == ([], [])


def test_the_class_is_defined_of_a_service_or_not_at_all():
    with pytest.raises(DefinitionError, match="does not match"):
        define_test_class(answering(examples=(Example("one", params={"x": "1"}),)))


def test_two_values_stand_side_by_side():
    assert side_by_side({"a": 1, "b": [1, 2]}, {"a": 1, "b": [1]}) == "\n".join(
        [
            "  expected    actual",
            "  {           {",
            '    "a": 1,     "a": 1,',
            '    "b": [      "b": [',
            "!     1,          1",
            "!     2         ]",
            "!   ]         }",
            "! }",
        ]
    )


# --- pytest --servey-examples ---------------------------------------------------------------------------------------


def test_the_flag_runs_the_examples_without_a_file_of_tests(project):
    directory = project(test=None)
    done = python(directory, "-m", "pytest", "--servey-examples", "-v", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    assert re.findall(r"(say_hello\S+) PASSED", done.stdout) == [
        "say_hello__greet_developer__direct",
        "say_hello__greet_developer__rest_get",
    ]


def test_the_flag_adds_to_the_other_tests_and_k_selects(project):
    directory = project(test="def test_mine(): pass")
    done = examples_alone(directory)
    assert (done.returncode, "3 passed" in done.stdout) == (0, True), done.stdout
    done = examples_alone(directory, "-k", "rest_get")
    assert (done.returncode, "1 passed, 2 deselected" in done.stdout) == (0, True), done.stdout


def test_the_flag_shows_a_failing_example_without_a_traceback(project):
    directory = project(SPEC_ACTIONS.replace('f"Hello {name}!"', 'f"Hallo {name}!"'), test=None)
    done = examples_alone(directory)
    assert done.returncode == 1
    assert '! "Hello Developer!"   "Hallo Developer!"' in done.stdout
    assert "2 failed" in done.stdout
    assert "example_run.py" not in done.stdout


@pytest.mark.parametrize(
    ("actions", "told"),
    [
        (SPEC_ACTIONS.replace("'Hello Developer!'", "5"), "at actions.py:7"),
        (SPEC_ACTIONS.replace("name: str", "name"), "at actions.py:7"),
        (None, "there is no module 'actions'"),
    ],
)
def test_the_flag_tells_what_is_wrong_without_a_traceback(project, actions, told):
    directory = project(actions or "", test="def test_mine(): pass")
    if actions is None:
        (directory / "actions.py").unlink()
    done = examples_alone(directory)
    assert done.returncode == 4
    shown = done.stdout + done.stderr
    assert told in shown
    assert "Traceback" not in shown
    assert "INTERNALERROR" not in shown


def test_an_error_inside_the_actions_keeps_its_traceback(project):
    directory = project("raise RuntimeError('my own')", test=None)
    done = examples_alone(directory)
    assert done.returncode != 0
    assert "my own" in done.stdout + done.stderr
    assert "actions.py" in done.stdout + done.stderr


def test_without_the_flag_no_service_is_looked_for_and_no_adapter_loaded(project):
    test = """
import sys

def test_nothing_is_loaded():
    assert "servey.servey_test.pytest_plugin" in sys.modules
    heavy = {"servey.service", "servey.action.operation", "servey.action.action", "servey.servey_starlette",
             "servey.servey_test.example_run", "starlette", "jwt", "pydantic", "cronsim", "click", "actions"}
    assert heavy & set(sys.modules) == set()
"""
    directory = project("raise AssertionError('imported')", test=test)
    done = python(directory, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout
