"""ARCHITECTURE.md says which modules a request goes through; this keeps it true."""

import asyncio
import re
import sys
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


def modules_of_one_request() -> set[str]:
    """Every file of servey whose functions run between the application's entry and its answer."""
    seen: set[str] = set()

    def trace(frame: Any, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in path.parents and "servey_test" not in path.parts:
            seen.add(path.relative_to(PACKAGE).as_posix())

    async def main() -> None:
        async with client_of(create_app(Service(actions=[say_hello]))) as client:
            await client.request("GET", "/actions/say-hello", query="name=World")  # whatever is made at first use
            sys.setprofile(trace)
            try:
                response = await client.request("GET", "/actions/say-hello", query="name=World")
            finally:
                sys.setprofile(None)
            assert response.json() == "Hello World!"

    asyncio.run(main())
    return seen


def test_a_request_goes_through_the_modules_that_the_page_names() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    steps = re.findall(r"^\d\. \*\*`([a-z_/.]+)`\*\*", page, re.MULTILINE)
    below = set(re.findall(r"`(action/(?:runtime|deadlines|workers)\.py)`", page))

    seen = modules_of_one_request()

    assert len(steps) == 5
    for step in steps:
        assert any(file.startswith(step) for file in seen), f"{step} takes no part"
    others = {file for file in seen if not any(file.startswith(step) for step in steps)}
    assert others <= below | {"action/context.py"}, "the page does not name them"


def test_every_file_that_the_page_names_exists() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    for name in re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.(?:py|md))`", page):
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name
