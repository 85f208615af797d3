"""Coroutine tests run in an event loop of their own, with a bound."""

from __future__ import annotations

import asyncio
import inspect

import pytest

BOUND = 60.0
"""Seconds after which a test that hangs fails."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(function).parameters}

    async def bounded() -> None:
        async with asyncio.timeout(BOUND):
            await function(**arguments)

    asyncio.run(bounded())
    return True
