"""Tests that are coroutine functions run in an event loop of their own, with a bound; `conftest.py` has the hook."""

from __future__ import annotations

import asyncio
import inspect

import pytest

BOUND = 60.0
"""Seconds after which a test that hangs fails."""


def run_coroutine_test(function: pytest.Function) -> bool | None:
    """Run a test that is a coroutine function; leave every other one to pytest."""
    test = function.obj
    if not inspect.iscoroutinefunction(test):
        return None
    arguments = {name: function.funcargs[name] for name in inspect.signature(test).parameters}

    async def bounded() -> None:
        async with asyncio.timeout(BOUND):
            await test(**arguments)

    asyncio.run(bounded())
    return True
