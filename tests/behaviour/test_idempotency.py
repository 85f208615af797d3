"""A repeated call gets the answer of the first one, whatever the transport and whatever the key is made of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from servey import (
    WEB_POST,
    Authorization,
    CallError,
    ConflictError,
    Idempotency,
    InvalidError,
    OverloadedError,
    ScopeAccessControl,
)
from servey.action.action import action
from servey.action.context import new_request_id
from servey.background_call import call as background_call
from servey.background_call import lease
from servey.background_call.runner import Runner
from servey.errors import InProgressError, InternalError
from servey.idempotency.claim import Claim
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client, client_of
from servey.servey_test.submitted_calls import MemoryEntries
from servey.service import Service

ADA = Authorization("ada", frozenset({"pay"}), issuer="us")
KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"


@dataclass
class Receipt:
    order: str
    number: int


@dataclass
class Bank:
    """An action that pays, and what a test makes of its runs."""

    idempotency: Idempotency
    errors: list[BaseException] = field(default_factory=list[BaseException])
    gate: asyncio.Event | None = None
    padding: str = ""
    runs: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])

    def service(self) -> Service:
        @action(triggers=(WEB_POST,), access_control=ScopeAccessControl("pay"), idempotency=self.idempotency)
        async def pay(order: str, amount: int) -> Receipt:
            self.runs.append((order, amount))
            if self.gate is not None:
                await self.gate.wait()
            if self.errors:
                raise self.errors.pop()
            return Receipt(order + self.padding, len(self.runs))

        return Service([pay])

    async def until_begun(self, runs: int = 1) -> None:
        async with asyncio.timeout(30):
            while len(self.runs) < runs:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


@dataclass(frozen=True)
class Answer:
    """What one caller got: a result, or the code of an error."""

    result: Any = None
    code: str = ""
    detail: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


Pay = Callable[..., Awaitable[Answer]]


async def by_rest(client: Client, service: Service, params: Any, key: str, caller: Authorization | None) -> Answer:
    headers = {"idempotency-key": key} if key else {}
    response = await client.request("POST", "/actions/pay", json=params, headers=headers, authorization=caller)
    body = response.json()
    if response.status < 300:
        return Answer(body, headers=response.headers)
    return Answer(None, body["code"], body.get("detail", ""), response.headers)


async def by_graphql(client: Client, service: Service, params: Any, key: str, caller: Authorization | None) -> Answer:
    headers = {"idempotency-key": key} if key else {}
    query = "mutation Pay($order: String!, $amount: Int!) { pay(order: $order, amount: $amount) { order number } }"
    response = await client.request(
        "POST", "/graphql", json={"query": query, "variables": params}, headers=headers, authorization=caller
    )
    body = response.json()
    if "errors" not in body:
        return Answer(body["data"]["pay"])
    error = body["errors"][0]
    return Answer(None, error["extensions"]["code"], error["message"])


async def in_background(
    client: Client, service: Service, params: Any, key: str, caller: Authorization | None
) -> Answer:
    call = background_call.Call(
        id=key or new_request_id(),
        action="pay",
        arguments=msgspec.Raw(msgspec.json.encode(params)),
        due=time.time(),
        request_id="r",
        caller=caller,
    )
    outcome = await Runner(service).run(call)
    if isinstance(outcome, background_call.Again):
        assert (outcome.call.attempt, outcome.call.id) == (1, call.id)
        assert outcome.call.due > time.time() + 1
        return Answer(code="postponed")
    if isinstance(outcome, background_call.Failed):
        problem = msgspec.json.decode(outcome.problem)
        return Answer(None, problem["code"], problem.get("detail", ""))
    return Answer(msgspec.json.decode(outcome.result), detail=outcome.skipped)


WAYS = {
    "rest, header": (by_rest, Idempotency(), KEY),
    "graphql, header": (by_graphql, Idempotency(), KEY),
    "rest, parameters": (by_rest, Idempotency(parameters=("order",)), ""),
    "graphql, parameters": (by_graphql, Idempotency(parameters=("order",)), ""),
    "background, parameters": (in_background, Idempotency(parameters=("order",)), ""),
    "background, id of the call": (in_background, Idempotency(), "the-call"),
}


@dataclass
class Way:
    """One way to call, with one kind of key."""

    call: Any
    idempotency: Idempotency
    key: str

    @property
    def is_background(self) -> bool:
        return self.call is in_background

    @asynccontextmanager
    async def open(self, bank: Bank) -> AsyncIterator[Pay]:
        service = bank.service()
        async with asyncio.timeout(30), client_of(create_app(service)) as client:

            async def pay(amount: int = 5, order: str = "o-1", caller: Authorization | None = ADA) -> Answer:
                return await self.call(client, service, {"order": order, "amount": amount}, self.key, caller)

            yield pay


@pytest.fixture(params=WAYS.values(), ids=WAYS.keys())
def way(request: pytest.FixtureRequest) -> Way:
    return Way(*request.param)


# --- the table: each kind of key, over each transport ----------------------------------------------------------------


async def test_the_first_call_runs_and_a_repeat_gets_its_answer(way: Way) -> None:
    bank = Bank(way.idempotency)
    async with way.open(bank) as pay:
        answers = [await pay() for _ in range(3)]
    assert [answer.result for answer in answers] == [{"order": "o-1", "number": 1}] * 3
    assert bank.runs == [("o-1", 5)]


async def test_other_content_with_the_same_key_is_refused(way: Way) -> None:
    bank = Bank(way.idempotency)
    async with way.open(bank) as pay:
        await pay(amount=5)
        answer = await pay(amount=6)
        assert (await pay(amount=5)).result == {"order": "o-1", "number": 1}
    assert (answer.code, bank.runs) == (InvalidError.code, [("o-1", 5)])
    assert "another call, with other arguments, has used this idempotency key" in answer.detail


async def test_a_call_in_progress_does_not_begin_again(way: Way) -> None:
    bank = Bank(way.idempotency, gate=asyncio.Event())
    async with way.open(bank) as pay:
        first = asyncio.create_task(pay())
        await bank.until_begun()
        answer = await pay()
        assert answer.code == ("postponed" if way.is_background else InProgressError.code)
        if way.call is by_rest:
            assert answer.headers["retry-after"] == "1"
        assert bank.gate is not None
        bank.gate.set()
        assert (await first).result == (await pay()).result
    assert bank.runs == [("o-1", 5)]


@pytest.mark.parametrize("error", [ConflictError("no money"), RuntimeError("defect")], ids=["refused", "defect"])
async def test_a_call_that_failed_runs_again(way: Way, error: Exception) -> None:
    bank = Bank(way.idempotency, errors=[error])
    async with way.open(bank) as pay:
        codes = [(await pay()).code for _ in range(3)]
    assert codes == [error.code if isinstance(error, CallError) else InternalError.code, "", ""]
    assert len(bank.runs) == 2


async def test_a_call_whose_process_died_runs_again_when_its_lease_has_ended(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.2)

    async def die(self: Claim, *_: Any) -> None:
        raise SystemExit  # nothing ends the lease

    bank = Bank(way.idempotency)
    async with way.open(bank) as pay:
        with monkeypatch.context() as patched:
            patched.setattr(Claim, "hold", die)
            await pay()
        assert (await pay()).code in {"postponed", InProgressError.code}
        await asyncio.sleep(0.25)
        assert (await pay()).result == {"order": "o-1", "number": 1}
    assert bank.runs == [("o-1", 5)]


async def test_a_long_call_keeps_its_lease(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.2)
    bank = Bank(way.idempotency, gate=asyncio.Event())
    async with way.open(bank) as pay:
        first = asyncio.create_task(pay())
        await bank.until_begun()
        await asyncio.sleep(0.5)
        assert (await pay()).code in {"postponed", InProgressError.code}
        assert bank.gate is not None
        bank.gate.set()
        assert (await first).result == (await pay()).result
    assert bank.runs == [("o-1", 5)]


async def test_of_a_large_answer_only_the_success_is_kept(way: Way) -> None:
    bank = Bank(way.idempotency, padding="x" * 300_000)
    async with way.open(bank) as pay:
        assert (await pay()).result["number"] == 1
        answer = await pay()
    assert answer.code == ("" if way.is_background else ConflictError.code)
    assert "has succeeded, but its answer could not be kept" in answer.detail
    assert bank.runs == [("o-1", 5)]
    assert "retry-after" not in answer.headers


async def test_an_answer_is_kept_for_its_hours(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = Bank(msgspec.structs.replace(way.idempotency, hours=0.2 / 3600))
    async with way.open(bank) as pay:
        await pay()
        await asyncio.sleep(0.25)
        await pay()
    assert len(bank.runs) == 2


async def test_each_caller_has_keys_of_its_own(way: Way) -> None:
    bank = Bank(way.idempotency)
    callers = [ADA, Authorization("bob", ADA.scopes, issuer="us"), Authorization("ada", ADA.scopes, issuer="them")]
    async with way.open(bank) as pay:
        numbers = [(await pay(caller=caller)).result["number"] for caller in callers * 2]
    assert numbers == [1, 2, 3, 1, 2, 3]


async def test_a_renewed_token_is_the_same_caller(way: Way) -> None:
    renewed = msgspec.structs.replace(
        ADA, scopes=frozenset({"pay", "read"}), expires_at=datetime(2100, 1, 1, tzinfo=UTC), claims={"jti": "2"}
    )
    bank = Bank(way.idempotency)
    async with way.open(bank) as pay:
        assert (await pay()).result == (await pay(caller=renewed)).result
    assert len(bank.runs) == 1


async def test_a_repeat_is_authorized_too(way: Way) -> None:
    bank = Bank(way.idempotency)
    async with way.open(bank) as pay:
        await pay()
        answer = await pay(caller=msgspec.structs.replace(ADA, scopes=frozenset()))
    # a background call was authorized when it was submitted
    assert answer.code == ("" if way.is_background else "forbidden")


class Down:
    """A store that does not answer."""

    async def add(self, key: str, value: bytes, seconds: float, /) -> bytes | None:
        raise OverloadedError("the store is away")

    swap = get = add


async def test_without_its_store_a_call_does_not_run(way: Way) -> None:
    bank = Bank(way.idempotency)
    service = bank.service()
    async with client_of(create_app(service)) as client:
        vars(service.stores)["entries"] = Down()
        answer = await way.call(client, service, {"order": "o-1", "amount": 5}, way.key, ADA)
    assert answer.code == ("postponed" if way.is_background else OverloadedError.code)
    assert bank.runs == []


async def test_a_store_that_fails_at_the_end_does_not_fail_the_call(
    way: Way, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bank = Bank(way.idempotency, gate=asyncio.Event())
    async with way.open(bank) as pay:
        first = asyncio.create_task(pay())
        await bank.until_begun()
        monkeypatch.setattr(MemoryEntries, "swap", Down.swap)
        assert bank.gate is not None
        bank.gate.set()
        assert (await first).result["number"] == 1
    assert any("excludes others for up to 30 s more: " in item.getMessage() for item in caplog.records)
