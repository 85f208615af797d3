"""Whether a store that failed is asked again."""

import logging

from servey.cache_control.circuit import PAUSE_SECONDS, Circuit


def test_a_store_that_failed_is_left_alone_and_then_tried_by_one_caller_in_each_pause(caplog):
    now = 100.0
    circuit = Circuit("the store", logging.getLogger("test"), clock=lambda: now)
    assert [circuit.closed() for _ in range(3)] == [True] * 3
    circuit.failed(TimeoutError())
    circuit.failed(TimeoutError())
    assert [circuit.closed() for _ in range(3)] == [False] * 3
    for _ in range(2):
        now += PAUSE_SECONDS + 0.01
        assert [circuit.closed() for _ in range(3)] == [True, False, False]
    with caplog.at_level(logging.INFO):
        circuit.succeeded()
        circuit.succeeded()
    assert [circuit.closed() for _ in range(3)] == [True] * 3
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "the store does not answer (TimeoutError); calls go on without it"),
        ("INFO", "the store answers again"),
    ]
