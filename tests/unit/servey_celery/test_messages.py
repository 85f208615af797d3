"""Messages of Celery: each call arrives as it was put, and what other programs put is understood."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.json import dumps, loads

from servey import Authorization, CallContext
from servey.action.action import action
from servey.background_call.call import Call
from servey.background_call.message import Message
from servey.errors import InternalError, MalformedError
from servey.servey_celery.celery_call_queue import CeleryCallQueue
from servey.servey_celery.failed_message import FailedMessage
from servey.servey_celery.publisher import Publication, Publisher
from servey.servey_celery.received import HEADER, Received, received
from servey.service import Service
from servey.settings import Settings
from support.queues import a_call

BROKERS = ["redis://127.0.0.1:1", "amqp://127.0.0.1:1"]


@action
def act(value: int, other: str = "", *, context: CallContext, last: bool = False) -> None: ...


def queue_of(broker: str = BROKERS[0], **settings: Any) -> CeleryCallQueue:
    queue = Service([act], settings=Settings(broker=broker, **{"message_key": "k" * 32, **settings})).stores.calls
    assert isinstance(queue, CeleryCallQueue)
    return queue


QUEUE = queue_of()
OPERATION = QUEUE.app.servey.service.operation("act")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Publication]:
    sent: list[Publication] = []

    def publish_now(_: Publisher, publications: Sequence[Publication]) -> None:
        sent.extend(publications)

    monkeypatch.setattr(Publisher, "publish_now", publish_now)
    return sent


def arrived(publication: Publication) -> Received:
    """Return a message as a worker gets it."""
    return received(publication.headers, loads(publication.body))


def after_the_way(queue: CeleryCallQueue, call: Call) -> Message:
    publication = queue._publication(Message(call, "put", 2))
    return arrived(publication).message(OPERATION, queue.signer)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
        | st.fixed_dictionaries({"__type__": st.sampled_from(["bytes", "datetime", "x"]), "__value__": inner})
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), json_values, max_size=4))
def test_any_arguments_arrive(arguments: dict[str, Any]):
    call = a_call("id", arguments=msgspec.Raw(msgspec.json.encode(arguments)))
    found = after_the_way(QUEUE, call)
    assert (found.put, found.lost) == ("put", 2)
    assert msgspec.json.decode(found.call.arguments) == arguments
    assert msgspec.structs.replace(found.call, arguments=call.arguments) == call


@pytest.mark.parametrize(
    "raw",
    [
        b'{ "value": 1}',
        b'{"value":1.10}',
        b'{"value":1e5}',
        b'{"value":-0}',
        b'{"value":123456789.123456789123456789}',
        b'{"value":1,"value":2}',
        b'{"\\u005f_type__":"bytes","__value__":"1"}',
        b'{"value":"\\u0041"}',
        b"[1]",
        b'"text"',
        b"null",
        b"1",
        b"{",
        b"[" * 5000 + b"]" * 5000,
        b'{"value":' + b"9" * 5000 + b"}",
    ],
)
def test_arguments_that_other_programs_would_change_arrive_as_the_same_text(raw: bytes):
    found = after_the_way(QUEUE, a_call("id", arguments=msgspec.Raw(raw)))
    assert bytes(found.call.arguments) == raw


def test_a_message_has_the_form_of_celery():
    call = a_call("id", arguments=msgspec.Raw(b'{"other":"a","value":1}'))
    publication = QUEUE._publication(Message(call, "put"))
    headers, body = publication.headers, json.loads(publication.body)
    assert body == [[], {"value": 1, "other": "a"}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    theirs = QUEUE.app.amqp.as_task_v2("id", "act", (), {"value": 1}, argsrepr="…", kwargsrepr="…")
    assert headers == {**theirs.headers, HEADER: headers[HEADER]}


@pytest.mark.parametrize("broker", BROKERS)
def test_a_late_call_waits_in_rabbitmq_but_in_the_worker_with_redis(broker: str):
    due = time.time() + 100.0
    call = msgspec.structs.replace(a_call("id"), due=due)
    publication = queue_of(broker)._publication(Message(call, "put"))
    if broker.startswith("amqp"):
        assert publication.headers["eta"] is None
        assert publication.delay == pytest.approx(100.0, abs=5)
    else:
        assert datetime.fromisoformat(publication.headers["eta"]) == datetime.fromtimestamp(due, UTC)
        assert publication.delay == 0.0


def test_the_caller_arrives_only_with_a_signature():
    caller = Authorization(subject="ada", claims={"tenant": 1})
    call = a_call("id", caller=caller)
    assert after_the_way(QUEUE, call).call.caller == caller
    with pytest.raises(ValueError, match="SERVEY_MESSAGE_KEY"):
        after_the_way(queue_of(message_key=""), call)


@pytest.mark.parametrize(
    "changed",
    [
        {"action": "other"},
        {"id": "other"},
        {"kwargs": {"value": 2}},
        {"kwargs": {"value": "\ud800"}},
        {"kwargs": {"value": object()}},
        {"args": ["text"], "kwargs": {}},
        {"args": ["\ud800"], "kwargs": {}},
        {"args": [1]},
        {"args": [{"value": 1}], "kwargs": {}},
        {"header": ""},
        {"header": {"caller": "me"}},
        {"header": "{}"},
    ],
)
def test_a_changed_message_is_refused(changed: dict[str, Any]):
    message = arrived(QUEUE._publication(Message(a_call("id"), "put")))
    with pytest.raises(MalformedError):
        msgspec.structs.replace(message, **changed).message(OPERATION, QUEUE.signer)


@pytest.mark.parametrize(
    ("args", "kwargs", "arguments"),
    [
        ((), {}, {}),
        ((), {"value": 1}, {"value": 1}),
        ((1,), {}, {"value": 1}),
        ((1, "x"), {"last": True}, {"value": 1, "other": "x", "last": True}),
        ((1, "x", True), {}, {"value": 1, "other": "x", "last": True}),
        ((1,), {"unknown": 2}, {"value": 1, "unknown": 2}),
        ((), {"value": datetime(2026, 1, 2, tzinfo=UTC)}, {"value": "2026-01-02T00:00:00Z"}),
        ((), {"value": math.nan}, {"value": None}),
    ],
)
def test_a_message_of_another_program_is_a_call_of_the_system(args: Any, kwargs: Any, arguments: dict[str, Any]):
    before = time.time()
    message = received({"task": "act", "id": "theirs"}, loads(dumps([args, kwargs, {}])))
    found = message.message(OPERATION, QUEUE.signer)
    call = found.call
    assert msgspec.json.decode(call.arguments) == arguments
    assert before <= call.due <= time.time()
    assert found == Message(
        Call(id="theirs", action="act", arguments=call.arguments, due=call.due, request_id="theirs"), "theirs"
    )


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((1, "x", True, 4), {}), ((1,), {"value": 1}), ((), {"value": "\ud800"})],
    ids=["too many", "twice", "surrogate"],
)
def test_a_wrong_message_of_another_program_is_refused(args: Any, kwargs: Any):
    with pytest.raises(MalformedError):
        Received("act", "theirs", None, args, kwargs).message(OPERATION, QUEUE.signer)


def test_the_first_protocol_of_celery_is_understood():
    theirs = QUEUE.app.amqp.as_task_v1("theirs", "act", [1], {"other": "x"}).body
    assert received({}, json.loads(dumps(theirs))) == Received("act", "theirs", None, [1], {"other": "x"})


@pytest.mark.parametrize("body", [None, 1, "text", [], [1], [1, 2], {}, {"a": 1}, [[], []], [{}, [], 3]])
def test_the_parts_of_any_body_are_found(body: Any):
    assert received({}, body) == Received("", "", None, [], {})
    assert received({"task": 1, "id": "\ud800", HEADER: 5}, [[1], {"a": 2}, 3]) == Received(
        "1", "\ufffd", 5, [1], {"a": 2}
    )


FOREIGN = Received("act", "id", None, [], {"value": 1})


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        (FOREIGN, {"value": 1}),
        (Received("act", "id", None, [1], {"other": "x"}), {"args": [1], "kwargs": {"other": "x"}}),
        (Received("act", "id", "forged", [], {"value": 1}), {"value": 1}),
        (Received("", "", None, [], {}), {}),
    ],
)
def test_a_failed_call_without_a_valid_header_is_listed_without_a_caller(message: Received, arguments: Any):
    failed = FailedMessage.by(message, InternalError("why"), "lines")
    found = msgspec.json.decode(failed.encode(), type=FailedMessage).stored(QUEUE.signer)
    call = Call(
        id=message.id,
        action=message.action,
        arguments=found.call.arguments,
        due=found.failed_at,
        request_id=message.id,
    )
    assert found == msgspec.structs.replace(found, call=call, traceback="lines")
    assert msgspec.json.decode(found.call.arguments) == arguments
    assert json.loads(found.problem)["detail"] == "why"


def test_a_failed_call_with_a_header_is_listed_as_it_was():
    call = a_call("id", caller=Authorization(subject="ada"), attempt=3, alone="x")
    message = arrived(QUEUE._publication(Message(call, "put")))
    failed = FailedMessage.by(message, InternalError("why"))
    assert msgspec.json.decode(failed.encode(), type=FailedMessage).stored(QUEUE.signer).call == call


@pytest.mark.parametrize(("header", "stored"), [(None, None), ("\ud800", "\ufffd")], ids=["none", "text"])
@pytest.mark.parametrize("value", ["\ud800", object()], ids=["surrogate", "object"])
def test_arguments_that_are_no_json_are_stored_as_a_text(value: Any, header: Any, stored: Any):
    failed = FailedMessage.by(Received("act", "id", header, [], {"value": value}), InternalError("why"))
    found = msgspec.json.decode(failed.encode(), type=FailedMessage)
    assert "'value'" in found.received.args[0]
    assert found.received == Received("act", "id", stored, found.received.args)


def test_a_retried_call_begins_with_its_first_attempt(sent: list[Publication]):
    call = a_call("act#one", caller=Authorization(subject="ada"), attempt=3, postponed=2, expires=5.0, alone="x")
    message = arrived(QUEUE._publication(Message(call, "put", 4)))
    found = arrived(QUEUE._again(message)).message(OPERATION, QUEUE.signer)
    first = msgspec.structs.replace(call, attempt=1, postponed=0, expires=None)
    assert found == Message(first, "put"), "it belongs to the same put, so workers do not drop it"


def test_a_retried_message_of_another_program_is_the_same_again():
    message = Received("act", "theirs", None, [1, "x"], {"last": True})
    assert arrived(QUEUE._again(message)) == message


def test_a_forged_call_cannot_be_retried():
    with pytest.raises(ValueError, match="can only be forgotten"):
        QUEUE._again(Received("act", "id", "forged", [], {}))


def test_many_calls_go_together_and_no_calls_go_nowhere(sent: list[Publication]):
    QUEUE.put_now([])
    assert sent == []
    QUEUE.put_now([a_call("a"), a_call("b")])
    found = [arrived(publication).message(OPERATION, QUEUE.signer) for publication in sent]
    assert [message.call.id for message in found] == ["a", "b"]
    assert found[0].put != found[1].put, "each put has an id of its own"
