"""Results that are kept of a path, after a change at it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from servey import ConflictError, Reply, WebTrigger, WebTriggerMethod, resource
from servey.action.action import action
from servey.cache_control import SecureHashCacheControl, TtlCacheControl
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client, client_of
from servey.service import Service
from servey.settings import Settings

BOUND = 60.0
TTL = TtlCacheControl(300)


@pytest.fixture(params=["memory", "shared"])
def settings(request: pytest.FixtureRequest) -> Settings:
    if request.param == "memory":
        return Settings()
    valkey = request.getfixturevalue("valkey")
    valkey.client().flushall()
    return Settings(result_cache=valkey.connection_url, store_timeout=BOUND)


def at(method: str, path: str = "/notes/{id}") -> WebTrigger:
    return WebTrigger(WebTriggerMethod(method), path)


NOTES: dict[int, str] = {}


@pytest.fixture(autouse=True)
def notes() -> None:
    NOTES.update({1: "one", 2: "two"})


class Transaction:
    text: str | None = None


@resource
def transaction() -> Iterator[Transaction]:
    begun = Transaction()
    yield begun
    if begun.text is not None:
        NOTES[1] = begun.text


@action(triggers=(at("GET"),), cache_control=TTL)
async def get_note(id: int) -> str:
    return NOTES[id]


@action(triggers=(at("GET"),), cache_control=TTL)
async def get_part(id: int, end: int = 100) -> str:
    return NOTES[id][:end]


@action(triggers=(at("PUT"),))
def put_later(id: int, text: str, transaction: Transaction) -> None:
    transaction.text = text


@action(triggers=(at("POST"),))
async def redirect(id: int, text: str) -> Reply[None]:
    NOTES[id] = text
    return Reply(None, status=303, headers={"Location": f"/notes/{id}"})


@action(triggers=(at("POST"),))
async def refuse(id: int, text: str) -> None:
    NOTES[id] = text
    raise ConflictError("no")


@action(triggers=(at("POST"),), cache_control=TTL)
async def search(id: int, text: str) -> str:
    NOTES[id] = text
    return text


def app(settings: Settings, *actions: Any) -> Any:
    return create_app(Service(actions, resources=[transaction], settings=settings))


def run(app: Any, test: Any) -> None:
    async def main() -> None:
        async with client_of(app) as client:
            await test(client)

    asyncio.run(asyncio.wait_for(main(), BOUND))


async def read(client: Client, path: str = "/notes/1") -> str:
    response = await client.request("GET", path)
    assert response.status == 200
    return response.json()


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_a_change_is_seen_by_who_reads_after_it(settings: Settings, method: str) -> None:
    @action(triggers=(at(method),))
    def change(id: int, text: str = "") -> None:
        NOTES[id] = text

    async def main(client: Client) -> None:
        assert (await read(client), await read(client, "/notes/2")) == ("one", "two")
        NOTES[2] = "another"  # nobody has said so
        await client.request(method, "/notes/1", json=None if method == "DELETE" else {"text": "new"})
        assert await read(client) == NOTES[1] != "one"
        assert await read(client, "/notes/2") == "two"

    run(app(settings, get_note, change), main)


def test_a_change_with_a_transaction_is_seen(settings: Settings) -> None:
    async def main(client: Client) -> None:
        await read(client)
        await client.request("PUT", "/notes/1", json={"text": "new"})
        assert await read(client) == "new"

    run(app(settings, get_note, put_later), main)


def test_the_parameters_of_a_path_may_have_other_names(settings: Settings) -> None:
    @action(triggers=(at("PUT", "/notes/{number}"),))
    def put(number: int, text: str) -> None:
        NOTES[number] = text

    async def main(client: Client) -> None:
        await read(client)
        await client.request("PUT", "/notes/1", json={"text": "new"})
        assert await read(client) == "new"

    run(app(settings, get_note, put), main)


def test_what_was_read_with_further_arguments_is_forgotten(settings: Settings) -> None:
    async def main(client: Client) -> None:
        assert (await read(client), await read(client, "/notes/1?end=2")) == ("one", "on")
        await client.request("PUT", "/notes/1", json={"text": "new"})
        assert (await read(client), await read(client, "/notes/1?end=2")) == ("new", "ne")

    run(app(settings, get_part, put_later), main)


@pytest.mark.parametrize(("change", "expected"), [(redirect, "new"), (refuse, "one")])
def test_a_redirect_is_a_success_and_an_error_is_none(settings: Settings, change: Any, expected: str) -> None:
    async def main(client: Client) -> None:
        await read(client)
        await client.request("POST", "/notes/1", json={"text": "new"})
        assert await read(client) == expected

    run(app(settings, get_note, change), main)


def test_what_may_be_answered_from_kept_results_changes_nothing(settings: Settings) -> None:
    async def main(client: Client) -> None:
        await read(client)
        await client.request("POST", "/notes/1", json={"text": "new"})
        assert await read(client) == "one"

    run(app(settings, get_note, search), main)


def test_who_reads_after_a_condition_failed_gets_what_there_is(settings: Settings) -> None:
    async def main(client: Client) -> None:
        seen = (await client.request("GET", "/notes/1")).headers["etag"]
        NOTES[1] = "changed elsewhere"
        put = await client.request("PUT", "/notes/1", headers={"If-Match": seen}, json={"text": "new"})
        assert put.status == 412
        again = await client.request("GET", "/notes/1")
        assert again.json() == "changed elsewhere"
        put = await client.request("PUT", "/notes/1", headers={"If-Match": again.headers["etag"]}, json={"text": "new"})
        assert put.status == 200
        assert await read(client) == "new"

    run(app(settings, get_note, put_later), main)


def test_nothing_is_done_where_nothing_is_kept() -> None:
    @action(triggers=(at("GET"),), cache_control=SecureHashCacheControl())
    async def get(id: int) -> str:
        return NOTES[id]

    async def main(client: Client) -> None:
        await read(client)
        assert (await client.request("PUT", "/notes/1", json={"text": "new"})).status == 200
        assert await read(client) == "new"

    run(app(Settings(), get, put_later), main)
