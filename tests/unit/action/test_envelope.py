from __future__ import annotations

import time
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servey import Authorization, CallContext, Origin
from servey.action.envelope import CallEnvelope
from servey.errors import MalformedError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
MOMENTS = st.none() | st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
CALLERS = st.builds(
    Authorization,
    subject=st.none() | st.text(),
    scopes=st.frozensets(st.text(min_size=1)),
    issuer=st.none() | st.text(),
    not_before=MOMENTS,
    expires_at=MOMENTS,
    claims=st.dictionaries(st.text(), JSON, max_size=3),
)


@given(caller=st.none() | CALLERS, origin=st.sampled_from(Origin), request_id=st.text())
def test_a_call_arrives_as_it_was_sent(caller: Authorization | None, origin: Origin, request_id: str) -> None:
    context = CallContext(origin, "rest", request_id, caller)
    sent = CallEnvelope.of("store", b'{"text": "x"}', context, now=0.0)
    arrived = CallEnvelope.decode(sent.encode())
    assert arrived.context("background", now=0.0) == CallContext(origin, "background", request_id, caller)
    assert (arrived.action, bytes(arrived.arguments)) == ("store", b'{"text": "x"}')
    assert arrived.encode() == sent.encode()


def test_the_deadline_is_the_same_moment_in_an_event_loop_with_another_clock() -> None:
    context = CallContext(Origin.NETWORK, "rest", "1", deadline=107.0)
    arrived = CallEnvelope.decode(CallEnvelope.of("store", b"{}", context, now=100.0).encode())
    assert arrived.expires == pytest.approx(time.time() + 7, abs=2)
    deadline = arrived.context("background", now=5000.0).deadline
    assert deadline == pytest.approx(5007.0, abs=2)


def test_a_field_of_a_later_release_is_skipped() -> None:
    data = msgspec.json.encode(
        {"action": "store", "arguments": {}, "origin": "system", "request_id": "1", "priority": {"high": True}}
    )
    assert CallEnvelope.decode(data).action == "store"


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"action": 1}', b"[" * 100_000])
def test_what_is_no_envelope_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        CallEnvelope.decode(data)


def test_a_caller_whose_fields_would_be_lost_is_refused() -> None:
    class Tenant(Authorization, frozen=True):
        tenant: str = "acme"

    with pytest.raises(TypeError, match="Tenant"):
        CallEnvelope.of("store", b"{}", CallContext(Origin.SYSTEM, "rest", "1", Tenant("me")), now=0.0)
