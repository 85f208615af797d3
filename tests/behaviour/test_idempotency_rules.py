"""The rules of idempotency that concern one transport, or calls of a special kind."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from servey import (
    WEB_DELETE,
    WEB_GET,
    WEB_POST,
    Authorization,
    CallContext,
    ConflictError,
    DefinitionError,
    Idempotency,
    Origin,
    OverloadedError,
    Reply,
    ScopeAccessControl,
    WebTrigger,
    WebTriggerMethod,
    background,
)
from servey.action.action import action
from servey.action.context import new_request_id
from servey.action.resource import resource
from servey.background_call.call import Call
from servey.cache_control.secure_hash_cache_control import SecureHashCacheControl
from servey.errors import MalformedError
from servey.idempotency.key import PATTERN, read_key
from servey.schema.openapi import openapi_document
from servey.servey_direct import direct
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client, Response, client_of
from servey.servey_test.submitted_calls import SubmittedCalls, collecting
from servey.service import Service

ADA = Authorization("ada", frozenset({"pay"}))
KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"


def counting(**options: Any) -> Service:
    """Return a service whose action `order` returns the number of its runs."""
    numbers = iter(range(1, 100))

    @action(triggers=(WEB_POST,), **{"idempotency": Idempotency(), **options})
    async def order(item: str) -> int:
        return next(numbers)

    return Service([order])


async def posted(client: Client, *keys: str, caller: Authorization | None = None, item: str = "tea") -> Response:
    headers = [("idempotency-key", key) for key in keys]
    return await client.request("POST", "/actions/order", json={"item": item}, headers=headers, authorization=caller)


async def mutated(client: Client, fields: str, key: str = KEY) -> Any:
    headers = {"idempotency-key": key} if key else {}
    response = await client.request("POST", "/graphql", json={"query": f"mutation {{ {fields} }}"}, headers=headers)
    return response.json()


# --- the key ---------------------------------------------------------------------------------------------------------


async def test_a_call_without_a_key_runs_each_time() -> None:
    async with client_of(create_app(counting())) as client:
        assert [(await posted(client)).json() for _ in range(2)] == [1, 2]


async def test_quotes_around_a_key_make_no_difference() -> None:
    async with client_of(create_app(counting())) as client:
        first, second = await posted(client, KEY), await posted(client, f' "{KEY}"')
    assert [first.json(), second.json()] == [1, 1]
    assert [item.headers.get("idempotent-replayed") for item in (first, second)] == [None, "true"]


async def test_a_required_key_that_is_missing_is_an_error() -> None:
    async with client_of(create_app(counting(idempotency=Idempotency(required=True)))) as client:
        response = await posted(client)
        assert (response.status, response.json()["code"]) == (400, "malformed")
        assert "the Idempotency-Key is missing: send a new UUID" in response.json()["detail"]
        answer = await mutated(client, 'order(item: "tea")', key="")
        assert answer["errors"][0]["extensions"]["code"] == "malformed"
        assert (await posted(client, KEY)).json() == 1


@pytest.mark.parametrize(
    "keys",
    [
        (KEY, KEY),
        (f'"{KEY}', ""),
        (f"{KEY};a=1",),
        (f'"{KEY}";a=1',),
        ("k" * 256,),
        ("",),
        ('""',),
        ('"é' + KEY + '"',),
    ],
    ids=["two", "no end", "bare with a parameter", "parameter", "long", "empty", "empty in quotes", "not ASCII"],
)
async def test_a_header_that_is_not_a_key_is_malformed(keys: Sequence[str]) -> None:
    async with client_of(create_app(counting())) as client:
        response = await posted(client, *keys)
        assert (response.status, response.json()["code"]) == (400, "malformed"), response.content
        assert "Idempotency-Key" in response.json()["detail"]
        assert (await posted(client, KEY)).json() == 1, "nothing has run"


async def test_an_action_without_idempotency_ignores_the_header() -> None:
    async with client_of(create_app(counting(idempotency=None))) as client:
        assert [(await posted(client, "no key;")).status for _ in range(2)] == [200, 200]


NOBODY = (None, Authorization(None, frozenset({"pay"}), issuer="us"))


@pytest.mark.parametrize("caller", NOBODY, ids=["no token", "a token without a subject"])
async def test_callers_without_a_name_need_a_key_that_nobody_guesses(caller: Authorization | None) -> None:
    class Anyone:
        def check(self, authorization: Authorization | None, /) -> None:
            pass

    async with client_of(create_app(counting(access_control=Anyone()))) as client:
        response = await posted(client, "k" * 15, caller=caller)
        assert (response.status, response.json()["code"]) == (400, "malformed")
        assert "16 to 255 characters here, and this one has 15" in response.json()["detail"]
        assert (await posted(client, "k" * 16, caller=caller)).json() == 1
        assert (await posted(client, "k", caller=ADA)).json() == 2


async def test_an_open_action_needs_such_a_key_from_everybody_as_its_document_says() -> None:
    service = counting()
    async with client_of(create_app(service)) as client:
        assert (await posted(client, "k" * 15, caller=ADA)).status == 400
        assert (await posted(client, "k" * 16, caller=ADA)).status == 200
    [parameter] = openapi_document(service)["paths"]["/actions/order"]["post"]["parameters"]
    assert (parameter["schema"]["minLength"], parameter["schema"]["maxLength"]) == (16, 255)


@pytest.mark.parametrize(
    ("header", "key"),
    [("a-b:c/d", "a-b:c/d"), ('"a, b;c"', "a, b;c"), (r'"a\"b\\c"', r'a"b\c'), ("'a'", "'a'"), ("\t ~ ", "~")],
)
def test_a_key_is_read(header: str, key: str) -> None:
    assert read_key(header) == key
    assert re.search(PATTERN, header.strip())


@pytest.mark.parametrize("header", ["", '"', '""', '"a', 'a"', '"a"b"', r'"a\b"', "a,b", "a;b", "a b", "é", "a\x7f"])
def test_what_is_no_key_is_refused(header: str) -> None:
    with pytest.raises(MalformedError):
        read_key(header)
    assert not re.search(PATTERN, header)


async def test_parameters_are_no_key_for_a_token_without_a_subject() -> None:
    service = counting(idempotency=Idempotency(parameters=("item",)), access_control=ScopeAccessControl("pay"))
    async with client_of(create_app(service)) as client:
        callers = [NOBODY[1], NOBODY[1], ADA, ADA]
        answers = [(await posted(client, caller=caller)).json() for caller in callers]
    assert answers == [1, 2, 3, 3]


async def test_the_header_comes_before_parameters() -> None:
    service = counting(idempotency=Idempotency(parameters=("item",)), access_control=ScopeAccessControl("pay"))
    async with client_of(create_app(service)) as client:
        answers = [(await posted(client, *keys, caller=ADA)).json() for keys in ((), ("a",), ("b",), ("a",), ())]
    assert answers == [1, 2, 3, 2, 1]


async def test_one_key_for_two_actions_is_two_keys() -> None:
    @action(triggers=(WEB_POST,), idempotency=Idempotency())
    def other() -> str:
        return "other"

    service = counting()
    service = Service([service.operations["order"].action.fn, other])
    async with client_of(create_app(service)) as client:
        assert (await posted(client, KEY)).json() == 1
        response = await client.request("POST", "/actions/other", json={}, headers={"idempotency-key": KEY})
        assert response.json() == "other"


async def test_parameters_are_one_key_for_all_transports() -> None:
    service = counting(idempotency=Idempotency(parameters=("item",)), access_control=ScopeAccessControl("pay"))
    async with client_of(create_app(service)) as client:
        query = {"query": 'mutation { order(item: "tea") }'}
        by_graphql = await client.request("POST", "/graphql", json=query, authorization=ADA)
        assert by_graphql.json() == {"data": {"order": 1}}
        response = await posted(client, caller=ADA)
        assert (response.json(), response.headers["idempotent-replayed"]) == (1, "true")
        context = CallContext(Origin.NETWORK, "direct", new_request_id(), ADA)
        assert await direct.call(service, "order", b'{"item": "tea"}', context=context) == b"1"
        assert await direct.call(service, "order", {"item": "tea"}, context=context) == 1


async def test_the_system_has_the_key_of_parameters_too() -> None:
    service = counting(idempotency=Idempotency(parameters=("item",)), access_control=ScopeAccessControl("pay"))
    with collecting(service):
        calls = [await direct.call(service, "order", {"item": item}, as_system=True) for item in ("a", "b", "a")]
    assert calls == [1, 2, 1]


async def test_each_run_with_a_key_has_one_call_id() -> None:
    ids: list[str] = []

    @action(triggers=(WEB_POST,), idempotency=Idempotency())
    def order(item: str, context: CallContext) -> None:
        ids.append(context.call_id)
        raise ConflictError("none left")

    async with client_of(create_app(Service([order]))) as client:
        for keys in ((KEY,), (KEY,), (KEY + "2",), (), ()):
            await posted(client, *keys)
    assert ids[0] == ids[1] != ids[2]
    assert len(set(ids)) == 4
    assert KEY not in ids[0]


# --- REST ------------------------------------------------------------------------------------------------------------


async def test_status_and_headers_are_kept_but_no_cookies_and_no_request_id() -> None:
    @action(triggers=(WEB_POST,), idempotency=Idempotency())
    def order() -> Reply[str]:
        return Reply("made", 201, {"Location": "/orders/1", "Set-Cookie": "a=b", "X-Left": "3"})

    async with client_of(create_app(Service([order]))) as client:
        first, second = [
            await client.request("POST", "/actions/order", json={}, headers={"idempotency-key": KEY}) for _ in range(2)
        ]
    assert first.headers["set-cookie"] == "a=b"
    assert (second.status, second.json()) == (201, "made")
    assert second.headers.keys() - first.headers.keys() == {"idempotent-replayed"}
    assert first.headers.keys() - second.headers.keys() == {"set-cookie"}
    assert (second.headers["location"], second.headers["x-left"]) == ("/orders/1", "3")
    assert second.headers["x-request-id"] != first.headers["x-request-id"]


async def test_a_repeat_is_answered_before_the_conditions_of_a_change() -> None:
    things = {"value": 1}

    @action(triggers=(WebTrigger(WebTriggerMethod.GET, "/thing"),), cache_control=SecureHashCacheControl())
    def get_thing() -> int:
        return things["value"]

    @action(triggers=(WebTrigger(WebTriggerMethod.PUT, "/thing"),), idempotency=Idempotency())
    def put_thing(value: int) -> int:
        things["value"] = value
        return value

    async with client_of(create_app(Service([get_thing, put_thing]))) as client:
        etag = (await client.request("GET", "/thing")).headers["etag"]

        async def put(key: str) -> int:
            headers = {"if-match": etag, "idempotency-key": key}
            return (await client.request("PUT", "/thing", json={"value": 2}, headers=headers)).status

        assert [await put(key) for key in (KEY, KEY, KEY + "2")] == [200, 200, 412]


async def test_an_answer_without_content_is_repeated() -> None:
    async with client_of(create_app(counting(status=204))) as client:
        answers = [await posted(client, KEY) for _ in range(2)]
    assert [(answer.status, answer.content) for answer in answers] == [(204, b"")] * 2
    assert answers[1].headers["idempotent-replayed"] == "true"


async def test_content_is_the_same_whatever_the_order_of_its_members() -> None:
    numbers = iter(range(10))

    @action(triggers=(WEB_POST,), idempotency=Idempotency())
    def order(items: set[str], counts: dict[str, int] | None = None) -> int:
        return next(numbers)

    async with client_of(create_app(Service([order]))) as client:
        answers: list[Any] = []
        for text in (
            '{"items": ["a", "b"], "counts": {"a": 1, "b": 2}}',
            '{"counts": {"b": 2, "a": 1}, "items": ["b", "a"]}',
            '{"items": ["a", "b"], "counts": {"a": 1, "b": 3}}',
        ):
            headers = {"idempotency-key": KEY, "content-type": "application/json"}
            answers.append(await client.request("POST", "/actions/order", content=text.encode(), headers=headers))
    assert [answer.status for answer in answers] == [200, 200, 422]


async def test_a_repeat_counts_for_the_rate_limit() -> None:
    async with client_of(create_app(counting(rate_limit="2/minute"))) as client:
        answers = [await posted(client, KEY) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[1].headers["ratelimit"] == '"default";r=0;t=60'


def test_the_document_has_the_header_and_its_errors() -> None:
    for required in (False, True):
        document = openapi_document(counting(idempotency=Idempotency(required=required, hours=2)))
        operation = document["paths"]["/actions/order"]["post"]
        [parameter] = operation["parameters"]
        assert (parameter["name"], parameter["in"], parameter["required"]) == ("Idempotency-Key", "header", required)
        assert "for 2 hours" in parameter["description"]
        assert "Idempotent-Replayed" in operation["responses"]["200"]["headers"]
        conflict = operation["responses"]["409"]
        assert conflict["content"]["application/problem+json"]["examples"].keys() == {"conflict", "in_progress"}
        assert "Retry-After" in conflict["headers"]
        assert {"400", "422"} <= operation["responses"].keys()


# --- GraphQL ---------------------------------------------------------------------------------------------------------


async def test_one_header_covers_several_mutations_by_their_places() -> None:
    async with client_of(create_app(counting())) as client:
        fields = 'a: order(item: "tea") b: order(item: "tea")'
        answers = [await mutated(client, fields) for _ in range(2)]
        assert answers == [{"data": {"a": 1, "b": 2}}] * 2
        again = await mutated(client, 'b: order(item: "tea") c: order(item: "tea")')
        assert again == {"data": {"b": 2, "c": 3}}


async def test_each_operation_of_a_batch_has_places_of_its_own() -> None:
    @action(triggers=(WEB_POST,), idempotency=Idempotency())
    def order(item: str) -> str:
        return item

    batch = [{"query": f'mutation {{ order(item: "{item}") }}'} for item in ("tea", "milk")]
    service = Service([order], settings=Service().settings.replace(graphql_max_batch=2))
    async with client_of(create_app(service)) as client:
        for _ in range(2):
            answer = await client.request("POST", "/graphql", json=batch, headers={"idempotency-key": KEY})
            assert answer.json() == [{"data": {"order": "tea"}}, {"data": {"order": "milk"}}]


@dataclass
class Order:
    number: int

    @action
    def shout(self) -> str:
        if self.number == 1:
            raise ConflictError("not the first")
        return f"order {self.number}!"


async def test_nested_actions_of_a_repeat_are_resolved() -> None:
    numbers = iter([2, 3])

    @action(triggers=(WEB_POST,), idempotency=Idempotency())
    def order() -> Order:
        return Order(next(numbers))

    async with client_of(create_app(Service([order]))) as client:
        assert await mutated(client, "order { number }") == {"data": {"order": {"number": 2}}}
        assert await mutated(client, "order { shout }") == {"data": {"order": {"shout": "order 2!"}}}


@dataclass
class Left:
    x: int


@dataclass
class Right:
    x: int


async def test_a_result_that_its_json_does_not_name_is_not_repeated_as_an_object() -> None:
    runs: list[int] = []

    @action(triggers=(WEB_POST,), idempotency=Idempotency())
    def order() -> Left | Right:
        runs.append(1)
        return Right(1)

    async with client_of(create_app(Service([order]))) as client:
        first, second = [await mutated(client, "order { __typename }") for _ in range(2)]
    assert first == {"data": {"order": {"__typename": "Right"}}}
    assert second["errors"][0]["extensions"]["code"] == "conflict"
    assert len(runs) == 1


async def test_a_mutation_that_is_rolled_back_runs_again() -> None:
    numbers = iter([1, 2, 3])
    committed: list[int] = []

    class Changes(list[int]):
        pass

    @resource(scope="request")
    def changes() -> Iterator[Changes]:
        made = Changes()
        yield made
        committed.extend(made)

    @action(triggers=(WEB_POST,), idempotency=Idempotency())
    def order(changes: Changes) -> Order:
        changes.append(number := next(numbers))
        return Order(number)

    async with client_of(create_app(Service([order], resources=[changes]))) as client:
        first = await mutated(client, "order { shout }")  # the field is not null, so the mutation has failed
        assert first["errors"][0]["extensions"]["code"] == "conflict"
        answers = [await mutated(client, "order { shout }") for _ in range(2)]
    assert answers == [{"data": {"order": {"shout": "order 2!"}}}] * 2
    assert committed == [2]


# --- calls that a call submits, deadlines and stops ------------------------------------------------------------------


class Full(SubmittedCalls):
    """A queue that does not take the first calls."""

    left = 1

    async def put(self, calls: Sequence[Call], /) -> None:
        if self.left:
            self.left -= 1
            raise OverloadedError("the queue is full")
        await super().put(calls)


@pytest.mark.parametrize("way", ["rest", "graphql"])
async def test_a_call_whose_submissions_are_not_taken_runs_again(way: str) -> None:
    runs: list[int] = []

    @action
    def send() -> None:
        pass

    @action(triggers=(WEB_POST,), idempotency=Idempotency())
    def order(item: str) -> int:
        runs.append(1)
        background.submit(send)
        return len(runs)

    service = Service([order, send])
    async with client_of(create_app(service)) as client:
        queue = vars(service.stores)["calls"] = Full(service)
        codes: list[str] = []
        for _ in range(3):
            if way == "rest":
                codes.append((await posted(client, KEY)).json())
            else:
                answer = await mutated(client, 'order(item: "tea")')
                codes.append(answer["data"]["order"] if answer.get("data") else answer["errors"][0]["extensions"])
        assert len(runs) == 2
        assert codes[1:] == [2, 2]
        assert codes[0]["code"] == "overloaded"  # type: ignore[index]
        assert len(queue.waiting) == 1


class Slow:
    """A resource that is opened on the event loop."""


@resource
async def slow() -> AsyncIterator[Slow]:
    yield Slow()


@pytest.mark.parametrize("way", ["rest", "graphql"])
@pytest.mark.parametrize("with_resource", [False, True])
async def test_a_def_that_goes_on_after_its_deadline_keeps_the_key(way: str, with_resource: bool) -> None:
    release, ended = threading.Event(), threading.Event()
    runs: list[int] = []

    @action(triggers=(WEB_POST,), idempotency=Idempotency(), timeout=0.1)
    def order(item: str) -> int:
        return run()

    @action(triggers=(WEB_POST,), idempotency=Idempotency(), timeout=0.1, name="order")
    def order_with(item: str, slow: Slow) -> int:
        return run()

    def run() -> int:
        runs.append(1)
        if len(runs) == 1:
            release.wait(30)
            ended.set()
        return len(runs)

    async def code(client: Client) -> Any:
        if way == "rest":
            body = (await posted(client, KEY)).json()
            return body if isinstance(body, int) else body["code"]
        answer = await mutated(client, 'order(item: "tea")')
        return answer["errors"][0]["extensions"]["code"] if "errors" in answer else answer["data"]["order"]

    service = Service([order_with], resources=[slow]) if with_resource else Service([order])
    async with client_of(create_app(service)) as client:
        assert await code(client) == "timeout"
        assert await code(client) == "in_progress"
        release.set()
        await asyncio.to_thread(ended.wait, 30)
        async with asyncio.timeout(30):
            while (answer := await code(client)) == "in_progress":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert answer == 2


async def test_an_async_call_that_is_stopped_at_its_deadline_frees_the_key() -> None:
    runs: list[int] = []

    @action(triggers=(WEB_POST,), idempotency=Idempotency(), timeout=0.1)
    async def order(item: str) -> int:
        runs.append(1)
        await asyncio.sleep(30 if len(runs) == 1 else 0)
        return len(runs)

    async with client_of(create_app(Service([order]))) as client:
        assert [(await posted(client, KEY)).json() for _ in range(2)][1] == 2


# --- definitions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parameters": "order"}, "list names in a tuple"),
        ({"parameters": ("a", "a")}, "list names in a tuple"),
        ({"hours": 0}, "hours above 0"),
        ({"hours": float("nan")}, "hours above 0"),
        ({"hours": 10_000}, "at most 8784"),
        ({"required": 1}, "give True or False"),
        ({"required": True, "parameters": ("a",)}, "required has no meaning with parameters"),
    ],
)
def test_wrong_declarations_name_the_mistake(arguments: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        Idempotency(**arguments)


@pytest.mark.parametrize(
    ("options", "parameters", "message"),
    [
        ({"triggers": (WEB_GET, WEB_POST)}, (), "served by GET, which is idempotent already"),
        ({}, ("item",), "all callers may call it, so its idempotency cannot name parameters"),
        ({"access_control": ScopeAccessControl("pay")}, ("itm",), "not a parameter of a caller; did you mean item"),
        ({"access_control": ScopeAccessControl("pay")}, ("parts",), "parts, which is not a simple value"),
        ({"access_control": ScopeAccessControl("pay")}, ("note",), "note, which callers may leave out"),
        ({"access_control": ScopeAccessControl("pay")}, ("caller",), "caller, which is not a parameter of a caller"),
    ],
)
def test_an_action_that_cannot_be_idempotent_is_an_error(options: Any, parameters: Any, message: str) -> None:
    @action(**{"triggers": (WEB_POST,), "idempotency": Idempotency(parameters=parameters), **options})
    def order(item: str, parts: list[str], caller: Authorization | None, note: str = "") -> int:
        return 1

    with pytest.raises(DefinitionError, match=message):
        Service([order])


def test_an_open_action_without_a_web_trigger_may_name_parameters() -> None:
    @action(idempotency=Idempotency(parameters=("item",)))
    def order(item: str) -> int:
        return 1

    Service([order])


def test_an_action_that_deletes_may_be_idempotent() -> None:
    @action(triggers=(WEB_DELETE,), idempotency=Idempotency())
    def order(item: str) -> None:
        pass

    Service([order])


def test_a_nested_action_cannot_be_idempotent() -> None:
    @dataclass
    class Basket:
        number: int

        @action(idempotency=Idempotency())
        def order(self) -> int:
            return 1

    @action(triggers=(WEB_GET,))
    def basket() -> Basket:
        return Basket(1)

    with pytest.raises(DefinitionError, match="a nested action has an idempotency, but it only reads"):
        Service([basket])


def test_something_else_is_no_idempotency() -> None:
    with pytest.raises(DefinitionError, match=r"give an Idempotency: Idempotency\(\)"):

        @action(idempotency=True)  # type: ignore[arg-type]
        def order() -> None:
            pass
