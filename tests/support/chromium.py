"""The Chromium of the system, which tests drive."""

from __future__ import annotations

import shutil

import pytest

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""The one without windows first: it takes half as much of the processor."""


def chromium() -> str:
    """Return its path; skip the test where there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("there is no Chromium; install it, on Debian with: apt-get install -y chromium-headless-shell")
    return path
