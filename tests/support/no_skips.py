"""A pytest plugin: with ``CI=true`` a skipped test is a failure, for a test that never runs protects nothing.

`make test` loads it with ``-p support.no_skips``. An expected failure (xfail) is no skip.
"""

import os
from collections.abc import Generator
from typing import TypeVar

import pytest

ACTIVE = os.environ.get("CI") == "true"

R = TypeVar("R", pytest.TestReport, pytest.CollectReport)


def _refuse(report: R) -> R:
    if ACTIVE and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"CI allows no skipped test: {reason}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _refuse((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _refuse((yield))
