"""How a request's actions are called: nested ones only when asked for, those of a level together, as one caller."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from servey import (
    WEB_GET,
    WEB_POST,
    Authorization,
    BatchInvoker,
    BigInt,
    CallContext,
    CallError,
    NotFoundError,
    Reply,
    ScopeAccessControl,
    resource,
)
from servey.action.action import action
from servey.action.workers import WorkerThreads
from servey.service import Service
from servey.settings import Settings
from unit.servey_strawberry.asking import ask, codes, post


@dataclass
class NumberStats:
    value: int

    @action
    async def factorial(self) -> int:
        result = 1
        index = self.value
        while index > 1:
            result *= index
            index -= 1
        return result


@action(triggers=(WEB_GET,))
def number_stats(value: int) -> NumberStats:
    return NumberStats(value)


async def test_a_nested_action_runs_only_when_it_is_asked_for() -> None:
    calls: list[int] = []

    @dataclass
    class Stats:
        value: int

        @action
        async def slow(self) -> int:
            calls.append(self.value)
            return self.value

    @action(triggers=(WEB_GET,))
    def stats(value: int) -> Stats:
        return Stats(value)

    assert await ask([stats], "{ stats(value: 5) { value } }") == {"stats": {"value": 5}}
    assert calls == []
    assert await ask([stats], "{ stats(value: 5) { slow } }") == {"stats": {"slow": 5}}
    assert calls == [5]
    assert await ask([stats], "{ stats(value: 6) { slow @include(if: false) value } }") == {"stats": {"value": 6}}
    assert calls == [5]


async def test_an_int_of_more_than_32_bits_says_what_to_declare_and_bigint_has_any(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await ask([number_stats], "{ numberStats(value: 12) { factorial } }") == {
        "numberStats": {"factorial": 479001600}
    }
    told = (await post([number_stats], "{ numberStats(value: 13) { factorial } }")).json()
    assert [error["extensions"]["code"] for error in told["errors"]] == ["int_range"]
    assert "servey.BigInt" in told["errors"][0]["message"]
    assert told["errors"][0]["path"] == ["numberStats", "factorial"]
    assert [message for message in caplog.messages if "numberStats.factorial" in message and "servey.BigInt" in message]

    @action(triggers=(WEB_GET,))
    def big(value: BigInt) -> BigInt:
        return value**2

    assert await ask([big], "{ big(value: 10000000000000000000000) }") == {"big": 10**44}


async def test_nested_actions_have_arguments_access_control_resources_and_a_caller() -> None:
    class Session:
        pass

    opened: list[str] = []

    @resource
    def session() -> Iterator[Session]:
        opened.append("open")
        yield Session()
        opened.append("close")

    @dataclass
    class Box:
        name: str

        @action(access_control=ScopeAccessControl("boxes"))
        async def label(self, session: Session, authorization: Authorization, prefix: str = "#", times: int = 1) -> str:
            assert isinstance(session, Session)
            return f"{prefix * times}{self.name} for {authorization.subject}"

        @action
        def transport(self, context: CallContext) -> list[str]:
            return [context.transport, context.request_id]

    @action(triggers=(WEB_GET,))
    def box() -> Box | None:
        return Box("b")

    service = Service([box], resources=[session])
    caller = Authorization("me", frozenset({"boxes"}))
    query = 'query($n: Int!) { box { label(times: $n) other: label(prefix: "-") transport } }'
    response = await post(service, query, {"n": 2}, authorization=caller)
    assert response.json() == {
        "data": {
            "box": {
                "label": "##b for me",
                "other": "-b for me",
                "transport": ["graphql", response.headers["x-request-id"]],
            }
        }
    }
    assert opened == ["open", "close"] * 2 or opened == ["open", "open", "close", "close"]
    refused = (await post(service, "{ box { name label } }", authorization=Authorization("you"))).json()
    assert refused["data"] == {"box": None}
    assert [(error["path"], error["extensions"]["code"]) for error in refused["errors"]] == [
        (["box", "label"], "forbidden")
    ]
    assert await codes(service, "{ box { label } }") == ["unauthorized"]
    assert await codes(service, "{ box { label(times: -1) } }", authorization=caller) == []


async def test_a_batch_is_called_once_for_all_parents_of_a_level() -> None:
    calls: list[list[int]] = []

    def factorials(values: list[int], authorization: Authorization | None) -> list[int]:
        calls.append(values)
        return [value * 10 for value in values]

    @dataclass
    class Stats:
        value: int
        parts: list[Stats] = field(default_factory=list)

        @action(batch_invoker=BatchInvoker(factorials, arg_extractor=lambda stats: stats.value))
        def tenfold(self) -> int:
            raise AssertionError("one by one")

        @action
        async def more(self) -> list[Stats]:
            await asyncio.sleep(0)
            return [Stats(self.value + 100), Stats(self.value + 200)]

    @action(triggers=(WEB_GET,))
    async def all_stats(many: int) -> list[Stats]:
        return [Stats(value, [Stats(-value)]) for value in range(many)]

    await ask([all_stats], "{ allStats(many: 100) { tenfold } }")
    assert calls == [list(range(100))]
    calls.clear()
    found = await ask(
        [all_stats],
        "{ allStats(many: 3) { tenfold parts { tenfold } more { tenfold more { tenfold } } } }",
    )
    assert found["allStats"][1] == {
        "tenfold": 10,
        "parts": [{"tenfold": -10}],
        "more": [
            {"tenfold": 1010, "more": [{"tenfold": 2010}, {"tenfold": 3010}]},
            {"tenfold": 2010, "more": [{"tenfold": 3010}, {"tenfold": 4010}]},
        ],
    }
    assert sorted(map(len, calls)) == [6, 6, 12]  # its own level with its parts', and one for each further level


async def test_an_error_of_a_batch_is_of_its_item_alone() -> None:
    def halves(values: list[int]) -> list[int | Exception]:
        return [NotFoundError(f"no half of {value}") if value % 2 else value // 2 for value in values]

    @dataclass
    class Stats:
        value: int

        @action(batch_invoker=BatchInvoker(halves, arg_extractor=lambda stats: stats.value))
        def half(self) -> int | None:
            raise AssertionError("one by one")

    @action(triggers=(WEB_GET,))
    async def all_stats() -> list[Stats]:
        return [Stats(value) for value in range(4)]

    told = (await post([all_stats], "{ allStats { half } }")).json()
    assert told["data"] == {"allStats": [{"half": 0}, {"half": None}, {"half": 1}, {"half": None}]}
    assert [(error["path"], error["message"], error["extensions"]["code"]) for error in told["errors"]] == [
        (["allStats", 1, "half"], "no half of 1", "not_found"),
        (["allStats", 3, "half"], "no half of 3", "not_found"),
    ]


async def test_sync_nested_fields_share_one_way_into_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Stats:
        value: int

        @action
        def doubled(self) -> int:
            assert threading.current_thread() is not main
            return self.value * 2

    @action(triggers=(WEB_GET,))
    async def all_stats() -> list[Stats]:
        return [Stats(value) for value in range(100)]

    main, jobs, run = threading.current_thread(), [], WorkerThreads.run

    async def counted(self: WorkerThreads, *arguments: Any, **named: Any) -> Any:
        jobs.append(named["label"])
        return await run(self, *arguments, **named)

    monkeypatch.setattr(WorkerThreads, "run", counted)
    found = await ask([all_stats], "{ allStats { doubled } }")
    assert [item["doubled"] for item in found["allStats"]] == [2 * value for value in range(100)]
    assert len(jobs) <= 8  # one; a few more help it where it is slow
    assert "stats_doubled" in jobs[0]


async def test_queries_run_side_by_side_and_mutations_one_after_another() -> None:
    running, most = 0, 0

    async def work() -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running -= 1
        return most

    @action(triggers=(WEB_GET,))
    async def look() -> int:
        return await work()

    @action(triggers=(WEB_POST,))
    async def change() -> int:
        return await work()

    await ask([look], "{ a: look b: look c: look }")
    assert most == 3
    most = 0
    await ask([change], "mutation { a: change b: change c: change }")
    assert most == 1


async def test_a_call_has_the_time_that_is_left_of_the_request() -> None:
    began: list[str] = []

    @action(triggers=(WEB_POST,))
    async def slow(name: str) -> str | None:
        began.append(name)
        await asyncio.Event().wait()
        return None

    service = Service([slow], settings=Settings(timeout=1.0))
    told = (await post(service, 'mutation { a: slow(name: "a") b: slow(name: "b") c: slow(name: "c") }')).json()
    assert told["data"] == {"a": None, "b": None, "c": None}
    assert [error["extensions"]["code"] for error in told["errors"]] == ["timeout"] * 3
    assert began[0] == "a"  # and the others have no time of their own: the request took no longer than one of them may


async def test_a_reply_is_its_value() -> None:
    @action(triggers=(WEB_POST,))
    def make() -> Reply[NumberStats]:
        return Reply(NumberStats(3), status=201, headers={"Location": "/x"})

    assert await ask([make], "mutation { make { value factorial } }") == {"make": {"value": 3, "factorial": 6}}


async def test_partial_data_and_null_travel_up_to_the_next_place_that_may_be_null() -> None:
    class GoneBadError(Exception):
        pass

    @dataclass
    class Part:
        name: str

        @action(errors=(GoneBadError,))
        async def surely(self) -> str:
            raise GoneBadError("it went bad")

        @action(errors=(GoneBadError,))
        async def perhaps(self) -> str | None:
            raise GoneBadError("it went bad")

    @action(triggers=(WEB_GET,))
    def part() -> Part | None:
        return Part("p")

    @action(triggers=(WEB_GET,))
    def fine() -> str:
        return "fine"

    told = (await post([part, fine], "{ fine a: part { name perhaps } b: part { name surely } }")).json()
    assert told["data"] == {"fine": "fine", "a": {"name": "p", "perhaps": None}, "b": None}
    assert {tuple(error["path"]): error["extensions"]["code"] for error in told["errors"]} == {
        ("a", "perhaps"): "gone_bad",
        ("b", "surely"): "gone_bad",
    }


async def test_what_fails_inside_is_masked_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    @dataclass
    class Thing:
        name: str

    @action(triggers=(WEB_GET,))
    def broken() -> str:
        raise RuntimeError("the password is swordfish")

    @action(triggers=(WEB_GET,))
    def wrong() -> Thing:
        return Thing(5)  # type: ignore[arg-type]

    for query in ("{ broken }", "{ wrong { name } }"):
        caplog.clear()
        response = await post([broken, wrong], query)
        assert [error["extensions"]["code"] for error in response.json()["errors"]] == ["internal_error"]
        assert b"swordfish" not in response.content
        assert any(response.headers["x-request-id"] in record.getMessage() for record in caplog.records)


async def test_problems_of_the_arguments_have_graphqls_names() -> None:
    @dataclass
    class LineItem:
        unit_price: int

        def __post_init__(self) -> None:
            if self.unit_price < 0:
                raise ValueError("it is given away")

    @action(triggers=(WEB_POST,))
    def place(line_items: list[LineItem], note_to: str) -> None:
        pass

    told = (await post([place], 'mutation { place(lineItems: [{unitPrice: 1}, {unitPrice: -1}], noteTo: "x") }')).json()
    assert told["errors"][0]["extensions"]["errors"] == [{"path": "/lineItems/1", "message": "it is given away"}]
    assert told["errors"][0]["extensions"]["code"] == "invalid"


async def test_all_wrong_and_missing_variables_are_told_with_their_places() -> None:
    @dataclass
    class LineItem:
        unit_price: int
        name: str

    @action(triggers=(WEB_POST,))
    def place(line_items: list[LineItem], count: int, note_to: str) -> None:
        raise AssertionError("called")

    query = """mutation($lineItems: [LineItemInput!]!, $count: Int!, $noteTo: String!) {
      place(lineItems: $lineItems, count: $count, noteTo: $noteTo)
    }"""
    response = await post([place], query, {"lineItems": [{"unitPrice": "x", "colour": 1}], "count": 2**31})
    told = response.json()
    assert (response.status, "data" in told) == (400, False)
    assert {problem["path"] for error in told["errors"] for problem in error["extensions"]["errors"]} == {
        "/lineItems/0/unitPrice",
        "/lineItems/0/colour",
        "/lineItems/0/name",
        "/count",
        "/noteTo",
    }
    assert {error["extensions"]["code"] for error in told["errors"]} == {"invalid"}


async def test_a_call_error_has_its_data_headers_and_request_id() -> None:
    class FullError(CallError):
        code, status = "full", 409

    @action(triggers=(WEB_POST,))
    def put() -> None:
        raise FullError("no room", data={"room": 0}, headers={"Retry-After": "5"})

    response = await post([put], "mutation { put }")
    assert response.status == 200
    assert response.json()["errors"] == [
        {
            "message": "no room",
            "locations": [{"line": 1, "column": 12}],
            "path": ["put"],
            "extensions": {
                "room": 0,
                "status": 409,
                "code": "full",
                "request_id": response.headers["x-request-id"],
                "headers": {"Retry-After": "5"},
            },
        }
    ]


async def test_a_generator_is_read_once_and_whole() -> None:
    @action(triggers=(WEB_GET,))
    def numbers() -> Iterable[int]:
        return (value for value in range(3))

    @dataclass
    class Row:
        cells: Iterable[int]

    @action(triggers=(WEB_GET,))
    def row() -> Row:
        return Row(value for value in range(3))

    assert await ask([numbers, row], "{ numbers row { cells } }") == {"numbers": [0, 1, 2], "row": {"cells": [0, 1, 2]}}
