"""The order of tests where several processes of pytest-xdist share them: each begins with tests that take seconds.

A process takes over tests that another one has not begun, from the end of its share. What is left at the end is short
then, and all processes end at the same time.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

LONG = (
    "browser",
    "docs",
    "packaging",
    "processes",
    "readers",
    "tour",
    "unit/cli/test_process.py",
    "unit/servey_test/test_examples.py",
    "unit/test_web_assets.py",
)
"""Folders and modules below tests/ that start browsers, servers, builds or other programs."""


def in_shares(items: list[pytest.Item], tests: Path, count: int) -> list[pytest.Item]:
    """Return the items in the order of `count` shares; tests of a module that are long stay together."""
    firsts: list[list[pytest.Item]] = [[] for _ in range(count)]
    others: list[pytest.Item] = []
    for path, group in groupby(items, lambda item: item.path):
        if any(path.is_relative_to(tests / name) for name in LONG):
            min(firsts, key=len).extend(group)
        else:
            others.extend(group)
    ordered: list[pytest.Item] = []
    for place, first in enumerate(firsts):
        size = (len(items) - len(ordered)) // (count - place)  # as xdist divides them
        fill = max(0, size - len(first))
        ordered += [*first, *others[:fill]]
        del others[:fill]
    return ordered + others
