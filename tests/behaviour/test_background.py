"""What an action submits leaves when its call has succeeded, whatever the transport of the call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from servey import Authorization, CallContext, CallError, NotFoundError, OverloadedError, background
from servey.action.action import action
from servey.action.current import current_service
from servey.action.resource import resource
from servey.background_call.call import Call
from servey.errors import DeadlineError, InternalError, UnauthorizedError
from servey.servey_direct import direct
from servey.servey_test.submitted_calls import SubmittedCalls, collecting
from servey.service import Service
from servey.trigger.web_trigger import WEB_GET, WEB_POST

WEB = (WEB_GET, WEB_POST)
kinds = pytest.mark.parametrize("asynchronous", [False, True], ids=["def", "async"])


@dataclass
class Parcel:
    to: str
    grams: int = 1


class Noted(SubmittedCalls):
    """Notes when it gets calls, and may refuse them."""

    def __init__(self, service: Service, events: list[str], error: BaseException | None = None) -> None:
        super().__init__(service)
        self.events, self.error = events, error

    async def put(self, calls: Sequence[Call], /) -> None:
        self.events.append(f"put {len(calls)}")
        if self.error is not None:
            raise self.error
        await super().put(calls)


def noted(service: Service, events: list[str], error: BaseException | None = None) -> Noted:
    queue = service.stores.calls = Noted(service, events, error)
    return queue


@kinds
def test_submitted_calls_have_the_arguments_and_run(transport: Any, asynchronous: bool) -> None:
    sent: list[tuple[Parcel, str, str]] = []

    @action
    def send(parcel: Parcel, context: CallContext, via: str = "road") -> None:
        sent.append((parcel, via, context.transport))

    def order() -> list[str]:
        return [
            background.submit(send, parcel=Parcel("you", 3)),
            background.once("one").submit("send", parcel=Parcel("me"), via="air"),
        ]

    async def order_async() -> list[str]:
        return order()

    made = action(triggers=WEB, name="order")(order_async if asynchronous else order)
    service = Service([made, send])
    with collecting(service) as submitted:
        outcome = transport.call(service, "order")
        assert outcome.ok
        assert outcome.result == [call.id for call in submitted.waiting]
        assert outcome.result[1] == "send#one"

        async def run() -> Sequence[Call]:
            async with service.running():
                return await submitted.run_all()

        assert [call.id for call in asyncio.run(run())] == outcome.result
    assert sent == [(Parcel("you", 3), "road", "background"), (Parcel("me"), "air", "background")]


@pytest.mark.parametrize("scope", ["call", "request"])
@kinds
def test_calls_leave_after_the_resources_are_closed(transport: Any, asynchronous: bool, scope: Any) -> None:
    class Session: ...

    events: list[str] = []

    def closing() -> None:
        background.submit(receipt)  # a resource may submit, too
        events.append("committed")

    if asynchronous:

        @resource(scope=scope)
        async def session() -> AsyncIterator[Session]:
            yield Session()
            closing()

    else:

        @resource(scope=scope)  # type: ignore[no-redef]
        def session() -> Iterator[Session]:
            yield Session()
            closing()

    @action
    def receipt() -> None: ...

    @action(triggers=WEB)
    async def order(session: Session) -> None:
        background.submit(receipt)
        events.append("called")

    service = Service([order, receipt], resources=[session])
    queue = noted(service, events)
    assert transport.call(service, "order").ok
    assert events[:2] == ["called", "committed"]
    assert len(queue.waiting) == 2


@pytest.mark.parametrize("how", ["raises", "result", "closing", "deadline"])
@kinds
def test_a_call_that_fails_submits_nothing(transport: Any, asynchronous: bool, how: str) -> None:
    class Session: ...

    @resource
    def session() -> Iterator[Session]:
        yield Session()
        if how == "closing":
            raise RuntimeError("the commit fails")

    @action
    def receipt() -> None: ...

    def submits() -> Any:
        background.submit(receipt)
        if how == "raises":
            raise NotFoundError("no such parcel")
        return "no number" if how == "result" else 1

    if asynchronous:

        @action(triggers=WEB, timeout=0.1 if how == "deadline" else None)
        async def order(session: Session) -> int:
            result = submits()
            if how == "deadline":
                await asyncio.sleep(60)
            return result

    else:

        @action(triggers=WEB, timeout=0.1 if how == "deadline" else None)  # type: ignore[no-redef]
        def order(session: Session) -> int:
            result = submits()
            if how == "deadline":
                threading.Event().wait(0.4)
            return result

    service = Service([order, receipt], resources=[session])
    events: list[str] = []
    noted(service, events)
    outcome = transport.call(service, "order")
    assert outcome.is_error({"raises": NotFoundError, "deadline": DeadlineError}.get(how, InternalError))
    assert events == []


@pytest.mark.parametrize("error", [OverloadedError("full"), OSError("disk"), SystemExit(3)], ids=repr)
def test_a_call_fails_if_the_queue_does_not_take_what_it_submits(transport: Any, error: BaseException) -> None:
    class Session: ...

    events: list[str] = []

    @resource(scope="request")
    def session() -> Iterator[Session]:
        yield Session()
        events.append("committed")

    @action
    def receipt() -> None: ...

    @action(triggers=WEB)
    def order(session: Session) -> None:
        background.submit(receipt)
        background.submit(receipt)

    service = Service([order, receipt], resources=[session])
    noted(service, events, error)
    outcome = transport.call(service, "order")
    assert outcome.is_error(OverloadedError)
    assert "disk" not in outcome.seen
    assert events == ["committed", "put 2"]


def test_submitted_calls_have_the_caller_and_the_request_id(transport: Any) -> None:
    @action
    def receipt(caller: Authorization) -> None: ...

    @action(triggers=WEB)
    def order(caller: Authorization) -> None:
        background.submit(receipt)

    service = Service([order, receipt])
    caller = Authorization("me", frozenset({"read"}))
    with collecting(service) as submitted:
        if transport.name.startswith("cli"):
            assert transport.call(service, "order").is_error(UnauthorizedError)
            assert submitted.waiting == ()
            return
        outcome = transport.call(service, "order", authorization=caller)
        assert outcome.ok
        [call] = submitted.waiting
    assert (call.caller, call.request_id, call.action) == (caller, outcome.request_id, "receipt")


def test_without_a_caller_nothing_is_submitted_that_needs_one(transport: Any) -> None:
    @action
    def receipt(caller: Authorization) -> None: ...

    @action(triggers=WEB)
    async def order() -> None:
        background.submit(receipt)

    service = Service([order, receipt])
    with collecting(service) as submitted:
        assert transport.call(service, "order").is_error(UnauthorizedError)
        assert submitted.waiting == ()


def test_asubmit_is_at_once_even_if_the_call_fails(transport: Any) -> None:
    @action
    def note(what: str) -> None: ...

    @action(triggers=WEB)
    async def order() -> None:
        await background.asubmit(note, what="an attempt")
        raise NotFoundError

    service = Service([order, note])
    with collecting(service) as submitted:
        assert transport.call(service, "order").is_error(NotFoundError)
        assert [bytes(call.arguments) for call in submitted.waiting] == [b'{"what":"an attempt"}']


def test_a_wrong_submission_is_a_defect_and_names_all_problems(
    transport: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @action
    def send(parcel: Parcel, count: int) -> None: ...

    @action(triggers=WEB)
    def order() -> None:
        background.submit(send, parcel={"to": 1, "grams": "x"}, cuont=3)

    service = Service([order, send])
    with collecting(service) as submitted:
        assert transport.call(service, "order").is_error(InternalError)
        assert submitted.waiting == ()
    for words in ("'cuont'", "'count'", "count must be given", "/parcel/to", "/parcel/grams"):
        assert words in caplog.text


def test_a_call_in_a_call_submits_by_itself(transport: Any) -> None:
    @action
    def note(what: str) -> None: ...

    @action
    async def inner() -> None:
        background.submit(note, what="inner")

    @action
    async def failing() -> None:
        background.submit(note, what="failing")
        raise NotFoundError

    @action(triggers=WEB)
    async def outer(context: CallContext) -> None:
        background.submit(note, what="before")
        await direct.call(current_service(), "inner", context=context)
        with pytest.raises(CallError):
            await direct.call(current_service(), "failing", context=context)
        background.submit(note, what="after")
        if not transport.graphql:  # there, the context makes the inner call a part of the request
            assert [bytes(call.arguments) for call in queue.waiting] == [b'{"what":"inner"}']

    service = Service([outer, inner, failing, note])
    queue = noted(service, [])
    assert transport.call(service, "outer").ok
    assert [bytes(call.arguments) for call in queue.waiting] == [
        b'{"what":"inner"}',
        b'{"what":"before"}',
        b'{"what":"after"}',
    ]
