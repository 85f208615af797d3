"""What a limit costs and tells over HTTP."""

import asyncio
import subprocess
import sys
from typing import Any

from servey import WEB_GET, WEB_POST
from servey.action.action import action
from servey.servey_starlette.app import create_app
from servey.service import Service
from servey.settings import Settings


async def answer(app: Any, path: str, receive: Any, client: tuple[str, int] | None = None, method: str = "POST") -> Any:
    """Return the status and the headers of a request whose body `receive` has."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "root_path": ""}
    scope |= {"scheme": "http", "query_string": b"", "headers": [(b"content-type", b"application/json")]}
    scope |= {"http_version": "1.1", "server": ("localhost", 80), "client": client}
    await app(scope, receive, send)
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


async def whole() -> Any:
    return {"type": "http.request", "body": b'{"size": 1}'}


async def unread() -> Any:
    raise AssertionError("the body of a call that is refused was read")


def test_the_body_of_a_call_that_is_too_many_is_not_read() -> None:
    @action(triggers=(WEB_POST,), rate_limit="1/minute")
    def store(size: int) -> int:
        return size

    async def main() -> None:
        service = Service([store])
        app = create_app(service)
        async with service.running():
            assert (await answer(app, "/actions/store", whole))[0] == 200
            assert (await answer(app, "/actions/store", unread))[0] == 429

    asyncio.run(main())


def test_callers_without_a_token_are_told_apart_by_their_network() -> None:
    @action(triggers=(WEB_GET,), rate_limit="1/minute")
    def roll() -> int:
        return 4

    async def main() -> list[int]:
        service = Service([roll])
        app = create_app(service)
        async with service.running():
            addresses = ["192.0.2.7", "192.0.2.8", "::ffff:192.0.2.7", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]
            clients: list[Any] = [*((address, 4711) for address in addresses), None, None]
            return [(await answer(app, "/actions/roll", whole, client, "GET"))[0] for client in clients]

    assert asyncio.run(main()) == [200, 200, 429, 200, 429, 200, 200, 429]


def test_answers_tell_what_is_left() -> None:
    @action(triggers=(WEB_GET,), rate_limit="2/minute;10/hour")
    def roll() -> int:
        return 4

    async def main() -> Any:
        service = Service([roll])
        app = create_app(service)
        async with service.running():
            return [(await answer(app, "/actions/roll", whole, None, "GET"))[1] for _ in range(3)]

    told = asyncio.run(main())
    assert [headers["ratelimit-policy"] for headers in told] == ['"default";q=2;w=60'] * 3
    assert [headers["ratelimit"].partition(";t=")[0] for headers in told] == [f'"default";r={n}' for n in (1, 0, 0)]


def test_without_the_extra_the_start_says_what_to_install() -> None:
    program = """
import sys

class Missing:
    def find_spec(self, name, *_):
        if name == "PACKAGE":
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Missing())
from servey.action.action import action
from servey.errors import MissingExtraError
from servey.service import Service
from servey.settings import Settings

@action(rate_limit="1/minute")
def roll() -> int:
    return 4

try:
    Service([roll], settings=Settings(rate_limits="STORE"))
except MissingExtraError as error:
    print(error.package, error.extra)
"""
    for package, store, extra in (
        ("limits", "memory", "server"),
        ("cachetools", "memory", "server"),
        ("redis", "redis://localhost", "redis"),
    ):
        text = program.replace("PACKAGE", package).replace("STORE", store)
        run = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False)
        assert run.stdout.split() == [package, extra], run.stderr


def test_nothing_that_counts_is_imported_without_a_rate_limit() -> None:
    assert Settings().stores.rate_limits == "memory"
    program = """
import sys
from servey.action.action import action
from servey.service import Service

@action
def roll() -> int:
    return 4

Service([roll])
print({"limits", "cachetools", "redis"} & set(sys.modules))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout == "set()\n"
