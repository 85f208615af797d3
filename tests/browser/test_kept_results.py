"""What is kept of a slow action is there at once, on the docs page, too."""

from __future__ import annotations

import time
from typing import Any

from browser.docs_page import executed, executed_again, open_docs, opened


def test_the_first_time_takes_three_seconds_and_the_second_is_answered_from_the_cache(visiting: Any, tour: Any) -> None:
    with tour(app="slow:app") as address:
        block = opened(open_docs(visiting(), address), "slow_get_with_ttl")
        began = time.monotonic()
        status, first, _ = executed(block)
        assert (status, time.monotonic() - began >= 3) == (200, True)
        assert executed_again(block)[:2] == (200, first), "the time that the action returned is another one"
