"""The pytest plugin: ``pytest --servey-examples`` runs the examples of the service as tests.

Every pytest run in an environment with servey imports this module, so it imports the rest of servey only with that
option.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from servey.servey_test.example_run import ExampleRun


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--servey-examples``."""
    parser.getgroup("servey").addoption(
        "--servey-examples", action="store_true", help="run the examples of the service's actions as tests"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Append a test for every example, if the option is set."""
    if not config.getoption("--servey-examples"):
        return
    import sys
    import traceback

    from servey.errors import ServeyError
    from servey.servey_test.example_run import example_runs
    from servey.service import Service

    root = str(config.rootpath)
    if root not in sys.path:
        sys.path.insert(0, root)
    try:
        service = Service.from_settings()
    except ServeyError as error:  # the message has file and line, so the traceback is useless
        raise pytest.UsageError(str(error)) from error
    except Exception as error:
        trace = "".join(traceback.format_exception(error)).rstrip()
        raise pytest.UsageError(f"{trace}\nthe modules of actions cannot be loaded; see above") from error
    for run in example_runs(service):
        items.append(ExampleItem.from_parent(session, name=run.name, run=run))  # pyright: ignore[reportUnknownMemberType]


class ExampleItem(pytest.Item):
    """One example over one transport."""

    def __init__(self, *, run: ExampleRun, **arguments: Any) -> None:
        super().__init__(**arguments)  # pyright: ignore[reportUnknownMemberType]
        self._run = run

    def runtest(self) -> None:
        """Run the example."""
        self._run.run()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show the expected and the actual result, without frames of servey."""
        if isinstance(excinfo.value, AssertionError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Return the place of the action."""
        file, _, line = self._run.operation.action.where.rpartition(":")
        return file, int(line) - 1, self.name
