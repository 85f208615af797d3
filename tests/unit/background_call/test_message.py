"""Background calls as messages: what is signed, and what is refused."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servey import Authorization
from servey.background_call.call import Call
from servey.background_call.message import HEADER_LIMIT, MESSAGE_TYPE, Message, MessageSigner, canonical_json
from servey.errors import MalformedError
from servey.settings import Settings
from support.queues import a_call

SECRET = "s" * 32
SIGNER = MessageSigner(SECRET)
CALLER = Authorization(subject="ada", scopes=frozenset({"read"}), claims={"tenant": 1})


def read(signer: MessageSigner, header: Any, call: Call, **changed: Any) -> Message:
    values = {"id": call.id, "action": call.action, "arguments": bytes(call.arguments), **changed}
    return signer.read(header, **values)


@pytest.mark.parametrize("secret", [SECRET, ""])
def test_a_call_arrives_with_all_its_fields(secret: str):
    signer = MessageSigner(secret)
    call = a_call(
        "act#é",
        caller=CALLER if secret else None,
        expires=9.5,
        attempt=3,
        postponed=2,
        alone="a",
        traceparent="00-1-2-01",
    )
    message = Message(call, "put", 3)
    assert read(signer, signer.header(message), call) == message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4))
def test_canonical_json_is_the_same_after_another_json_library_has_written_it(arguments: dict[str, Any]):
    try:
        raw = canonical_json(arguments)
    except MalformedError:  # lone surrogates
        return
    written_again = json.dumps(json.loads(raw), sort_keys=False, ensure_ascii=True)
    backwards = dict(reversed(json.loads(written_again).items()))
    assert canonical_json(backwards) == raw


@pytest.mark.parametrize("value", ["\ud800", {"a": object()}, {1.5: 1, "a": {"\udfff"}}])
def test_what_is_no_json_is_refused(value: Any):
    with pytest.raises(MalformedError):
        canonical_json(value)


def test_too_deep_arguments_are_refused():
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(MalformedError):
        canonical_json(deep)


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "other"},
        {"action": "other"},
        {"arguments": b'{"value":2}'},
        {"arguments": b"{}"},
        {"arguments": b""},
    ],
)
def test_a_message_whose_id_action_or_arguments_were_changed_is_refused(changed: dict[str, Any]):
    call = a_call("id", caller=CALLER)
    with pytest.raises(MalformedError):
        read(SIGNER, SIGNER.header(Message(call, "put")), call, **changed)


def test_each_change_of_a_header_is_refused():
    call = a_call("id", caller=CALLER)
    header = SIGNER.header(Message(call, "put"))
    for place in range(0, len(header) - 1, 7):  # the last character has bits that do not count
        other = "A" if header[place] != "A" else "B"
        with pytest.raises(MalformedError):
            read(SIGNER, header[:place] + other + header[place + 1 :], call)


def forged(claims: dict[str, Any], key: str, **header: Any) -> str:
    return jwt.encode(claims, key, algorithm=header.pop("alg", "HS256"), headers=header)


def claims_of(call: Call) -> dict[str, Any]:
    claims = json.loads(MessageSigner("").header(Message(msgspec.structs.replace(call, caller=None), "put")))
    claims["call"]["caller"] = msgspec.to_builtins(CALLER)
    return claims


@pytest.mark.parametrize(
    "header",
    [
        forged(claims_of(a_call("id")), SECRET, typ=MESSAGE_TYPE),
        forged(claims_of(a_call("id")), "x" * 32, typ=MESSAGE_TYPE),
        forged(claims_of(a_call("id")), "", alg="none", typ=MESSAGE_TYPE),
        json.dumps(claims_of(a_call("id"))),
        "",
        "a.b.c",
        "{",
        "é.é.é",
        "\ud800",
        None,
        b"bytes",
        ["list"],
        "a" * (HEADER_LIMIT + 1),
        "[" * 100_000,
    ],
)
def test_headers_that_this_service_has_not_made_are_refused(header: Any):
    with pytest.raises(MalformedError):
        read(SIGNER, header, a_call("id"))
    with pytest.raises(MalformedError):
        read(MessageSigner(""), header, a_call("id"))


def test_a_signature_of_another_type_is_refused():
    header = jwt.encode(claims_of(a_call("id")), SIGNER._key, algorithm="HS256", headers={"typ": "JWT"})
    with pytest.raises(MalformedError, match="type"):
        read(SIGNER, header, a_call("id"))


def test_the_key_of_messages_is_not_that_of_tokens():
    call = a_call("id", caller=CALLER)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(SIGNER.header(Message(call, "put")), SECRET, algorithms=["HS256"])


def test_without_a_key_calls_have_no_caller():
    signer, call = MessageSigner(""), a_call("id")
    assert (signer.signs, SIGNER.signs) == (False, True)
    with pytest.raises(ValueError, match="SERVEY_MESSAGE_KEY"):
        signer.header(Message(a_call("id", caller=CALLER), "put"))
    with pytest.raises(MalformedError, match="SERVEY_MESSAGE_KEY"):
        read(signer, SIGNER.header(Message(call, "put")), call)
    with pytest.raises(MalformedError, match="SERVEY_MESSAGE_KEY"):
        read(SIGNER, signer.header(Message(call, "put")), call)


def test_the_secret_is_one_that_other_processes_have_too():
    assert Settings().with_generated_secrets().message_secret == ""
    assert Settings(jwt_secret_key="j" * 32).message_secret == "j" * 32
    assert Settings(jwt_secret_key="j" * 32, message_key="m" * 32).message_secret == "m" * 32
    assert Settings(message_key="m" * 32).with_generated_secrets().message_secret == "m" * 32


def test_a_message_for_later_is_of_the_same_put():
    call = a_call("act#one", after=-5.0, caller=CALLER, expires=9.5, attempt=2, alone="a")
    before = time.time()
    found = Message(call, "put", 3).later(60.0, postponed=1)
    assert before + 60 <= found.call.due <= time.time() + 60
    assert found == Message(msgspec.structs.replace(call, due=found.call.due, postponed=1), "put", 3)
