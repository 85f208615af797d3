"""Run the examples of a service: directly, and over REST if the action has a web trigger."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import msgspec

from servey.action.checked_example import CheckedExample
from servey.action.context import CallContext, Origin, new_request_id
from servey.action.example import NOT_GIVEN
from servey.action.operation import Operation
from servey.errors import CallError
from servey.security.access_control import ALLOW_NONE
from servey.service import Service
from servey.trigger.web_route import WebRoute


@dataclass(frozen=True)
class ExampleRun:
    """One example over one transport.

    Args:
        service: The service.
        operation: The example's operation.
        checked: The example.
        route: The web route to call; None for a direct call.
        number: A number that makes the name unique.
    """

    service: Service
    operation: Operation
    checked: CheckedExample
    route: WebRoute | None = None
    number: int = 1

    @property
    def name(self) -> str:
        """A valid name for a test: action, example, transport."""
        transport = "direct" if self.route is None else f"rest_{self.route.method.lower()}"
        example = "".join(char if char.isalnum() else "_" for char in self.checked.example.name)
        return f"{self.operation.name}__{example}__{transport}" + (f"_{self.number}" if self.number > 1 else "")

    def run(self) -> None:
        """Start the service in a new event loop, and run the example.

        Raises:
            AssertionError: The result is not the expected one; the message shows both side by side.
        """
        actual = asyncio.run(self._outcome())
        example = self.checked.example
        if example.error is not None:
            expected: Any = {"error": example.error}
            if actual != expected:
                raise AssertionError(self._difference(expected, actual))
        elif "result" not in actual:
            raise AssertionError(self._difference({"result": "…" if self._open_ended else self.checked.result}, actual))
        elif not self._open_ended and actual["result"] != self.checked.result:
            raise AssertionError(self._difference(self.checked.result, actual["result"]))

    @property
    def _open_ended(self) -> bool:
        return self.checked.result is NOT_GIVEN

    async def _outcome(self) -> dict[str, Any]:
        """Return ``{"result": …}`` or ``{"error": code}``; an unexpected error has all details."""
        if self.route is None:
            from servey.servey_test.submitted_calls import collecting

            with collecting(self.service):
                try:
                    async with self.service.running():
                        return {"result": await self._direct()}
                except CallError as error:
                    return self._error(error.problem())
        from servey.servey_starlette.app import create_app
        from servey.servey_test.client import client_of

        authorization = self.operation.example_authorization(self.checked.example)
        async with client_of(create_app(self.service)) as client:
            response = await client.call(self.route, self.checked.params, authorization)
        if response.status < 400:
            return {"result": response.json() if response.content else None}
        return self._error(response.json())

    async def _direct(self) -> Any:
        operation, example = self.operation, self.checked.example
        unreachable = operation.action.access_control is ALLOW_NONE and example.error is None
        context = CallContext(Origin.SYSTEM if unreachable else Origin.NETWORK, "direct", new_request_id())
        context.authorization = operation.example_authorization(example)
        return await self.service.call(operation.name, self.checked.params, context)

    def _error(self, problem: dict[str, Any]) -> dict[str, Any]:
        if problem["code"] == self.checked.example.error:
            return {"error": problem["code"]}
        shown = ("status", "code", "detail", "errors")
        return {"error": {key: problem[key] for key in shown if key in problem}}

    def _difference(self, expected: Any, actual: Any) -> str:
        title = f"the example {self.checked.example.name!r} of {self.operation.name}"
        return f"{title} ({self.operation.action.where})\n{side_by_side(expected, actual)}"


def example_runs(service: Service) -> Iterator[ExampleRun]:
    """Yield the runs of all examples to test, with unique names.

    An example runs over all routes that can express its parameters: ``/users/{id}`` cannot leave out the id.
    """
    taken: set[str] = set()
    for run in _example_runs(service):
        while run.name in taken:
            run = replace(run, number=run.number + 1)
        taken.add(run.name)
        yield run


def _example_runs(service: Service) -> Iterator[ExampleRun]:
    from servey.servey_test.client import can_say

    for operation in service.operations.values():
        for checked in operation.examples:
            if not checked.example.include_in_tests:
                continue
            yield ExampleRun(service, operation, checked)
            if operation.action.access_control is ALLOW_NONE and checked.example.error is None:
                continue  # not callable over a network
            for route in service.web_routes:
                if route.operation is operation and can_say(route, checked.params):
                    yield ExampleRun(service, operation, checked, route)


def side_by_side(expected: Any, actual: Any) -> str:
    """Return two JSON values in two columns, with a mark at each line that differs.

    Example:
        >>> print(side_by_side("Hello", "Hallo"))
          expected   actual
        ! "Hello"    "Hallo"
    """
    left = msgspec.json.format(msgspec.json.encode(expected)).decode().splitlines()
    right = msgspec.json.format(msgspec.json.encode(actual)).decode().splitlines()
    width = max(len("expected"), *map(len, left)) + 3
    lines = [f"  {'expected':{width}}actual"]
    for one, other in zip_longest(left, right, fillvalue=""):
        lines.append(f"{' ' if one == other else '!'} {one:{width}}{other}".rstrip())
    return "\n".join(lines)
