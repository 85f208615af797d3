"""ARCHITECTURE.md says which modules a request goes through; this keeps it true."""

import asyncio
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servey import WEB_GET
from servey.action.action import action
from servey.servey_starlette.app import create_app
from servey.servey_test.client import client_of
from servey.service import Service

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "servey"


@action(triggers=(WEB_GET,))
async def say_hello(name: str) -> str:
    return f"Hello {name}!"


@dataclass
class NumberStats:
    value: int

    @action
    async def doubled(self) -> int:
        return self.value * 2


@action(triggers=(WEB_GET,))
async def number_stats(value: int) -> NumberStats:
    return NumberStats(value)


def modules_of_one_request(method: str, path: str, expected: Any, **request: Any) -> set[str]:
    """Every file of servey whose functions run between the application's entry and its answer."""
    seen: set[str] = set()

    def trace(frame: Any, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in path.parents and "servey_test" not in path.parts:
            seen.add(path.relative_to(PACKAGE).as_posix())

    async def main() -> None:
        async with client_of(create_app(Service(actions=[say_hello, number_stats]))) as client:
            await client.request(method, path, **request)  # whatever is made at first use
            sys.setprofile(trace)
            try:
                response = await client.request(method, path, **request)
            finally:
                sys.setprofile(None)
            assert response.json() == expected

    asyncio.run(main())
    return seen


def section(title: str) -> str:
    return (ROOT / "ARCHITECTURE.md").read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]


def steps_of(text: str) -> list[str]:
    return re.findall(r"^\d\. \*\*`([a-z_/.]+)`\*\*", text, re.MULTILINE)


def test_a_request_goes_through_the_modules_that_the_page_names() -> None:
    page = section("From the socket to the answer")
    steps = steps_of(page)
    below = set(re.findall(r"`(action/(?:runtime|deadlines|workers)\.py)`", page))

    seen = modules_of_one_request("GET", "/actions/say-hello", "Hello World!", query="name=World")

    assert len(steps) == 5
    for step in steps:
        assert any(file.startswith(step) for file in seen), f"{step} takes no part"
    others = {file for file in seen if not any(file.startswith(step) for step in steps)}
    assert others <= below | {"action/context.py"}, "the page does not name them"


def test_a_graphql_request_goes_through_the_modules_that_the_page_names() -> None:
    page = section("The same, by GraphQL")
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", page)) | {"action/context.py", "service.py"}
    above = section("From the socket to the answer")
    shared = {*steps_of(above), *re.findall(r"`(action/[a-z_]+\.py)`", above)}

    query = {"query": "{ numberStats(value: 5) { value doubled } }"}
    expected = {"data": {"numberStats": {"value": 5, "doubled": 10}}}
    seen = modules_of_one_request("POST", "/graphql", expected, json=query)

    made_before = {"schema/graphql/model_builder.py", "servey_strawberry/schema.py"}
    for step in set(steps_of(page)) - made_before:
        assert step in seen, f"{step} takes no part"
    others = {file for file in seen - named if not any(file.startswith(step) for step in shared)}
    assert others == set(), "the page does not name them"


def test_every_file_that_the_page_names_exists() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    for name in re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.(?:py|md))`", page):
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name
