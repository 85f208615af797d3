from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from support.served import served_by_uvicorn


@pytest.fixture(params=["h11", "httptools"])
def serving(request: pytest.FixtureRequest) -> Callable[..., AbstractContextManager[int]]:
    """Serve an application with uvicorn in a thread; yields the port."""

    @contextmanager
    def serve(app: Any, **options: Any) -> Iterator[int]:
        with served_by_uvicorn(app, http=request.param, **options) as port:
            yield port

    return serve
