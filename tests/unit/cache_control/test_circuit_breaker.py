"""Whether a store that failed is asked again."""

import asyncio
import logging
import threading
from time import monotonic

import pytest

from servey.cache_control.circuit_breaker import PAUSE_SECONDS, CircuitBreaker, within

BOUND = 60.0
"""Seconds after which what does not happen is a failure."""


def test_a_store_that_failed_is_left_alone_and_then_tried_by_one_caller_in_each_pause(caplog):
    now = 100.0
    circuit = CircuitBreaker("the store", logging.getLogger("test"), clock=lambda: now)
    assert [circuit.allows_request() for _ in range(3)] == [True] * 3
    circuit.failed(TimeoutError())
    circuit.failed(TimeoutError())
    assert [circuit.allows_request() for _ in range(3)] == [False] * 3
    for _ in range(2):
        now += PAUSE_SECONDS + 0.01
        assert [circuit.allows_request() for _ in range(3)] == [True, False, False]
    with caplog.at_level(logging.INFO):
        circuit.succeeded()
        circuit.succeeded()
    assert [circuit.allows_request() for _ in range(3)] == [True] * 3
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "the store does not answer (TimeoutError); calls continue without it"),
        ("INFO", "the store answers again"),
    ]


def test_a_busy_event_loop_is_no_fault_of_the_store():
    async def main():
        loop = asyncio.get_running_loop()
        answered, busy, delivered = loop.create_future(), threading.Event(), threading.Event()

        def store():
            busy.wait(BOUND)
            loop.call_soon_threadsafe(answered.set_result, "read late")
            delivered.set()

        def work():
            busy.set()
            end = monotonic() + 0.1
            delivered.wait(BOUND)
            while monotonic() < end:
                pass

        async def answer():
            read = await answered
            await asyncio.sleep(0)
            return read

        thread = threading.Thread(target=store)
        thread.start()
        loop.call_soon(work)
        try:
            return await within(0.04, answer())
        finally:
            thread.join()

    assert asyncio.run(main()) == "read late"


def test_an_answer_that_does_not_come_is_waited_for_no_longer_than_said():
    async def main():
        begin = monotonic()
        with pytest.raises(TimeoutError):
            await within(0.04, asyncio.Event().wait())
        return monotonic() - begin

    assert asyncio.run(asyncio.wait_for(main(), BOUND)) > 0.03
