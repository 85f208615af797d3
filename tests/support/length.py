"""How long a test runs: as `make test` wants it, or at its full length with `make test PART=long`."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

FULL = os.environ.get("PART") == "long"
"""Whether the tests that are marked `long` run alone, at their full length."""


def length(short: T, full: T) -> T:
    """Return a number of examples, of seeds or of seconds."""
    return full if FULL else short
