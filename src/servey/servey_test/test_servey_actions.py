"""The examples of a service as a test class, for unittest and pytest.

from servey.servey_test.test_servey_actions import define_test_class

TestActions = define_test_class()
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import TestCase

from servey.servey_test.example_run import ExampleRun, example_runs
from servey.service import Service


def define_test_class(service: Service | None = None) -> type[TestCase]:
    """Return a `TestCase` with a test for every example of every action, directly and over REST.

    Args:
        service: The service; default: the service that is configured by the environment.

    Raises:
        DefinitionError: A declaration is wrong, for example an example that does not match its signature.
    """
    service = service or Service.from_settings()
    methods: dict[str, Any] = {}
    for run in example_runs(service):
        methods[f"test_{run.name}"] = _method(run)
    return type("TestActions", (TestCase,), {"__doc__": "The examples of the service's actions.", **methods})


def _method(run: ExampleRun) -> Callable[[TestCase], None]:
    def test(self: TestCase) -> None:
        run.run()

    test.__doc__ = run.checked.example.description
    return test
