"""The in-process host."""

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator

import pytest

from servey.action.action import action
from servey.action.context import CallContext, Origin
from servey.action.reply import Reply
from servey.action.resource import resource
from servey.errors import InvalidError, MalformedError, NotFoundError, UnauthorizedError
from servey.security.access_control import ALLOW_NONE
from servey.security.authorization import Authorization
from servey.servey_direct import direct
from servey.service import Service


@action(access_control=ALLOW_NONE)
def add(a: int, b: list[int] = []) -> int:  # noqa: B006
    return a + sum(b)


@action
def whoami(authorization: Authorization, context: CallContext) -> str:
    return f"{authorization.subject} {context.transport}"


@action
async def made() -> Reply[dict[str, int]]:
    return Reply({"id": 1}, status=201)


SERVICE = Service([add, whoami, made])


def call(*args, **arguments):
    return asyncio.run(direct.call(SERVICE, *args, **arguments))


def test_json_is_answered_with_json_and_a_mapping_with_what_json_holds():
    assert call("add", b'{"a": 1, "b": [2]}') == b"3"
    assert call("add", {"a": 1, "b": [2]}) == 3
    assert call("made", b"{}") == b'{"id":1}'
    assert call("made", {}) == {"id": 1}


def test_texts_are_read_as_flags_are_alone_or_beside_json():
    assert call("add", texts=[("a", "1"), ("b", "2"), ("b", "3")]) == b"6"
    assert call("add", b'{"a": 1}', texts=[("b", "2"), ("b", "3")]) == b"6"


@pytest.mark.parametrize(
    ("event", "error"),
    [(b"{", MalformedError), (b"{}", InvalidError), ({"a": "1"}, InvalidError), (None, InvalidError)],
)
def test_a_wrong_event_raises_as_everywhere(event, error):
    with pytest.raises(error):
        call("add", event)


def test_an_unknown_action_is_not_found_and_the_nearest_is_named():
    with pytest.raises(NotFoundError, match="did you mean whoami"):
        call("whoam", b"{}")


def test_the_operating_system_passes_access_control_and_the_network_does_not():
    with pytest.raises(UnauthorizedError):
        call("add", b'{"a": 1}', context=CallContext(Origin.NETWORK, "test", "1"))


def test_a_context_brings_the_caller():
    context = CallContext(Origin.NETWORK, "test", "1", Authorization("me"))
    assert call("whoami", b"{}", context=context) == b'"me test"'
    with pytest.raises(UnauthorizedError):
        call("whoami", b"{}")


class Pool:
    pass


def test_resources_are_open_during_the_call_and_closed_after_it():
    told: list[str] = []

    @resource(scope="service")
    async def pool() -> AsyncGenerator[Pool]:
        told.append("open")
        yield Pool()
        told.append("closed")

    @action
    def use(pool: Pool) -> None:
        told.append("used")

    service = Service([use], resources=[pool])
    assert direct.run(direct.call(service, "use")) == b"null"
    assert told == ["open", "used", "closed"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_handlers_are_as_before_after_a_run(number):
    before = signal.getsignal(number)
    assert direct.run(direct.call(SERVICE, "add", {"a": 1})) == 1
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_programs_own_signal_handler_is_left_alone(number):
    async def handler():
        return signal.getsignal(number)

    before = signal.signal(number, mine := lambda number, frame: None)
    try:
        assert direct.run(handler()) is mine
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_cancels_the_coroutine(number, error):
    cleaned_up = []

    async def wait():
        signal.raise_signal(number)
        try:
            await asyncio.sleep(60)
        finally:
            cleaned_up.append(True)

    with pytest.raises(error):
        direct.run(wait())
    assert cleaned_up


def test_it_runs_outside_the_main_thread():
    results: list[bytes] = []
    thread = threading.Thread(target=lambda: results.append(direct.run(direct.call(SERVICE, "add", b'{"a": 1}'))))
    thread.start()
    thread.join(60)
    assert results == [b"1"]
