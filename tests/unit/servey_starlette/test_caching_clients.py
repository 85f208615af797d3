"""Caches and a judge of caching that others have written, on real servers: they do what the headers say."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from servey import WEB_GET, Authorization, WebTrigger, WebTriggerMethod
from servey.action.action import action
from servey.cache_control import SecureHashCacheControl, TimestampCacheControl, TtlCacheControl
from servey.plugin import Plugin
from servey.servey_starlette.app import create_app
from servey.service import Service
from servey.settings import Settings

hishel = pytest.importorskip("hishel")
hishel_httpx = pytest.importorskip("hishel.httpx")

pytestmark = pytest.mark.parametrize("serving", ["httptools"], indirect=True)
Serving = Callable[..., AbstractContextManager[int]]
OLD = datetime(2026, 3, 1, tzinfo=UTC)


class BySubject:
    async def authorize(self, token: str) -> Authorization:
        return Authorization(token)


class Tokens(Plugin):
    def authorizers(self) -> tuple[BySubject, ...]:
        return (BySubject(),)


class Origin:
    """A service that counts how often its actions ran; it keeps no results, so that every call is seen."""

    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()
        self.text = "first"

        @action(triggers=(WEB_GET,), cache_control=TtlCacheControl(3600) & TimestampCacheControl(lambda _: OLD))
        def for_a_while() -> str:
            return self.run("for_a_while")

        @action(triggers=(WEB_GET,), cache_control=SecureHashCacheControl())
        def until_changed() -> str:
            return self.run("until_changed")

        @action(triggers=(WEB_GET,), cache_control=TtlCacheControl(0) & TimestampCacheControl(lambda _: OLD))
        def never_fresh() -> str:
            return self.run("never_fresh")

        @action(triggers=(WEB_GET,), cache_control=TtlCacheControl(3600))
        def mine(caller: Authorization | None) -> str:
            return self.run(f"mine of {caller.subject if caller else 'nobody'}")

        @action(triggers=(WEB_GET,), cache_control=TtlCacheControl(3600, public=True))
        def for_all() -> str:
            return self.run("for_all")

        item = "/items/{id}"

        @action(triggers=(WebTrigger(WebTriggerMethod.GET, item),), cache_control=TtlCacheControl(3600))
        def get_item(id: int) -> str:
            return self.run("get_item")

        @action(triggers=(WebTrigger(WebTriggerMethod.PUT, item),))
        def put_item(id: int, text: str) -> str:
            self.text = text
            return self.run("put_item")

        actions = [for_a_while, until_changed, never_fresh, mine, for_all, get_item, put_item]
        settings = Settings(result_cache="off")
        self.app = create_app(Service(actions, plugins=[Tokens()], settings=settings))

    def run(self, name: str) -> str:
        self.ran[name] += 1
        return f"{self.text}: {name}"


@pytest.fixture
def origin(serving: Serving) -> Iterator[tuple[Origin, str]]:
    made = Origin()
    with serving(made.app) as port:
        yield made, f"http://127.0.0.1:{port}"


@pytest.fixture
def caching(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return ``client(shared=…)``: a client of httpx's with a cache that follows RFC 9111."""
    clients: list[Any] = []

    def client(*, shared: bool) -> Any:
        storage = hishel.SqliteStorage(database_path=tmp_path / f"{len(clients)}.db")
        options = hishel.CacheOptions(shared=shared)
        clients.append(hishel_httpx.CacheClient(storage=storage, rfc=options, timeout=20))
        return clients[-1]

    yield client
    for made in clients:
        made.close()


def how(response: Any) -> str:
    """What a cache did for a response."""
    status = response.extensions["caching"]
    if not status["from_cache"]:
        return "from the origin"
    return "revalidated" if status["revalidated"] else "from the cache"


@pytest.mark.parametrize("shared", [False, True])
def test_a_cache_reuses_what_is_fresh(origin: Any, caching: Any, shared: bool) -> None:
    service, url = origin
    client = caching(shared=shared)
    got = [client.get(f"{url}/actions/for-a-while") for _ in range(3)]
    assert [how(response) for response in got] == ["from the origin", "from the cache", "from the cache"]
    assert {response.json() for response in got} == {"first: for_a_while"}
    assert service.ran == {"for_a_while": 1}


@pytest.mark.parametrize(("path", "name"), [("until-changed", "until_changed"), ("never-fresh", "never_fresh")])
def test_a_cache_asks_whether_what_it_has_is_still_right(origin: Any, caching: Any, path: str, name: str) -> None:
    service, url = origin
    client = caching(shared=False)
    first, again = [client.get(f"{url}/actions/{path}") for _ in range(2)]
    assert (how(first), how(again), again.json()) == ("from the origin", "revalidated", f"first: {name}")
    service.text = "second"
    changed = client.get(f"{url}/actions/{path}")
    assert (how(changed), changed.json()) == ("from the origin", f"second: {name}")
    assert service.ran == {name: 3}


def test_a_cache_asks_when_its_user_wants_to_be_sure(origin: Any, caching: Any) -> None:
    service, url = origin
    client = caching(shared=False)
    client.get(f"{url}/actions/for-a-while")
    sure = client.get(f"{url}/actions/for-a-while", headers={"Cache-Control": "no-cache"})
    assert (how(sure), service.ran["for_a_while"]) == ("revalidated", 2)


def test_a_private_cache_keeps_the_results_of_each_token_apart(origin: Any, caching: Any) -> None:
    service, url = origin
    client = caching(shared=False)

    def get(token: str) -> tuple[str, str]:
        response = client.get(f"{url}/actions/mine", headers={"Authorization": f"Bearer {token}"})
        return how(response), response.json()

    assert get("ann") == ("from the origin", "first: mine of ann")
    assert get("ann") == ("from the cache", "first: mine of ann")
    assert get("bob") == ("from the origin", "first: mine of bob")
    assert client.get(f"{url}/actions/mine").json() == "first: mine of nobody"
    # this cache has forgotten the first one by now, as a cache may; what counts is that it never mixes them up
    assert get("ann")[1] == "first: mine of ann"
    assert (service.ran["mine of bob"], service.ran["mine of nobody"]) == (1, 1)


def test_a_shared_cache_keeps_nothing_that_is_private(origin: Any, caching: Any) -> None:
    service, url = origin
    client = caching(shared=True)
    for headers in ({}, {"Authorization": "Bearer ann"}):
        assert [how(client.get(f"{url}/actions/mine", headers=headers)) for _ in range(2)] == ["from the origin"] * 2
    assert service.ran == {"mine of nobody": 2, "mine of ann": 2}


@pytest.mark.parametrize(("path", "second"), [("for-all", "from the cache"), ("for-a-while", "from the origin")])
def test_a_shared_cache_keeps_answers_to_a_token_where_they_are_public(
    origin: Any, caching: Any, path: str, second: str
) -> None:
    client = caching(shared=True)
    headers = {"Authorization": "Bearer ann"}
    got = [how(client.get(f"{origin[1]}/actions/{path}", headers=headers)) for _ in range(2)]
    assert got == ["from the origin", second]


def test_a_cache_keeps_no_problem(origin: Any, caching: Any) -> None:
    client = caching(shared=False)
    for path in ("/items/x", "/nowhere"):
        got = [client.get(f"{origin[1]}{path}") for _ in range(2)]
        assert [(how(response), response.status_code >= 400) for response in got] == [("from the origin", True)] * 2


def test_a_change_makes_a_cache_forget(origin: Any, caching: Any) -> None:
    service, url = origin
    client = caching(shared=False)
    seen = client.get(f"{url}/items/1")
    assert how(client.get(f"{url}/items/1")) == "from the cache"
    changed = client.put(f"{url}/items/1", json={"text": "second"}, headers={"If-Match": seen.headers["etag"]})
    assert changed.status_code == 200
    again = client.get(f"{url}/items/1")
    assert (how(again), again.json()) == ("from the origin", "second: get_item")
    stale = client.put(f"{url}/items/1", json={"text": "third"}, headers={"If-Match": seen.headers["etag"]})
    assert (stale.status_code, service.text) == (412, "second")


JUDGE = """
import json, sys
from configparser import ConfigParser
import thor
from redbot.resource import HttpResource

config = ConfigParser()
config.read_dict({"redbot": {"enable_local_access": "True"}})
resource = HttpResource(config["redbot"])
resource.set_request(sys.argv[1])
resource.on("check_done", thor.stop)
resource.check()
thor.run()
response = resource.response
print(json.dumps({
    "status": response.status_code,
    "etag": resource.inm_support,
    "date": resource.ims_support,
    "notes": [[note.level.name, note.summary, type(note).__name__] for note in response.notes],
}))
"""


JUDGE_PYTHON = Path(__file__).parents[3] / ".venv" / "judge" / "bin" / "python"
"""The environment that `make test` sets up for it."""


def judged(url: str, directory: Path) -> Any:
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    done = subprocess.run(
        [str(JUDGE_PYTHON), "-c", JUDGE, url], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("result_cache", ["off", "memory"])
def test_redbot_finds_nothing_wrong(serving: Serving, tmp_path: Path, result_cache: Any) -> None:
    @action(triggers=(WEB_GET,), cache_control=TtlCacheControl(30) & TimestampCacheControl(lambda _: OLD))
    def for_a_while() -> str:
        return "x" * 300

    @action(triggers=(WEB_GET,), cache_control=SecureHashCacheControl(), rate_limit="100/minute")
    def until_changed(caller: Authorization | None) -> str:
        return "x" * 300

    app = create_app(Service([for_a_while, until_changed], settings=Settings(result_cache=result_cache)))
    with serving(app) as port:
        for path, date in (("for-a-while", True), ("until-changed", None)):
            found = judged(f"http://127.0.0.1:{port}/actions/{path}", tmp_path)
            # not of the clock, by which a busy machine looks seconds late
            wrong = [note for note in found["notes"] if note[0] in ("BAD", "WARN") and note[2] != "DATE_INCORRECT"]
            assert wrong == []
            assert (found["status"], found["etag"], found["notes"] != []) == (200, True, True)
            assert bool(found["date"]) is bool(date)
