"""Results that a call invalidates, and what it changes being seen by others only after the call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from servey import DeadlineError, cache, resource
from servey.action.action import action
from servey.cache_control.memory_result_store import MemoryResultStore
from servey.cache_control.pending_invalidations import PendingInvalidations
from servey.errors import InternalError
from servey.service import Service
from servey.settings import Settings
from unit.cache_control.test_cache import BOUND, TTL, call, fetch, run, settings

__all__ = ["settings"]


class Session:
    """Holds a change until its end."""

    text: str | None = None


class Story:
    """An action that reads a text, and two that change it, in a session."""

    def __init__(self, settings: Settings, *, threaded: bool, fails: bool = False) -> None:
        self.text = "old"
        self.loop: Any = None
        self.seen: list[bytes] = []
        story = self

        @action(cache_control=TTL)
        async def get_text(id: int) -> str:
            return story.text

        async def look() -> None:
            story.seen.append((await fetch(story.service, "get_text", id=1)).representation.content)

        def change(session: Session, text: str) -> None:
            session.text = text
            cache.invalidate(get_text, id=1)
            if fails:
                raise RuntimeError("after the change")

        @resource
        def threaded_session() -> Iterator[Session]:
            made = Session()
            try:
                yield made
            finally:
                asyncio.run_coroutine_threadsafe(look(), story.loop).result(BOUND)
                story.text = made.text or story.text

        @action(name="put_text")
        def threaded_put_text(session: Session, text: str) -> None:
            change(session, text)

        @resource
        async def session() -> AsyncIterator[Session]:
            made = Session()
            try:
                yield made
            finally:
                await look()
                story.text = made.text or story.text

        @action
        async def put_text(session: Session, text: str) -> None:
            change(session, text)

        put, opened = (threaded_put_text, threaded_session) if threaded else (put_text, session)
        self.service = Service([get_text, put], resources=[opened], settings=settings)


@pytest.mark.parametrize("threaded", [False, True])
def test_what_was_read_before_the_commit_is_not_kept_after_it(settings: Settings, threaded: bool) -> None:
    story = Story(settings, threaded=threaded)

    async def main() -> None:
        story.loop = asyncio.get_running_loop()
        await fetch(story.service, "get_text", id=1)
        await call(story.service, "put_text", text="new")
        assert story.seen == [b'"old"']
        assert (await fetch(story.service, "get_text", id=1)).representation.content == b'"new"'

    run(story.service, main)


@pytest.mark.parametrize("threaded", [False, True])
def test_so_it_is_when_the_call_fails_and_is_committed_all_the_same(settings: Settings, threaded: bool) -> None:
    story = Story(settings, threaded=threaded, fails=True)

    async def main() -> None:
        story.loop = asyncio.get_running_loop()
        with pytest.raises(InternalError):
            await call(story.service, "put_text", text="new")
        assert (await fetch(story.service, "get_text", id=1)).representation.content == b'"new"'

    run(story.service, main)


def test_a_thread_that_goes_on_after_the_deadline_invalidates_when_it_ends() -> None:
    began, go, done = threading.Event(), threading.Event(), threading.Event()
    text = "old"

    @action(cache_control=TTL)
    async def get_text() -> str:
        return text

    class Signal:
        pass

    @resource
    def signal() -> Iterator[Signal]:
        nonlocal text
        yield Signal()
        assert go.wait(BOUND)
        text = "new"

    @action(timeout=0.5)
    def put_text(signal: Signal) -> None:
        cache.invalidate(get_text)
        began.set()

    service = Service([get_text, put_text], resources=[signal])
    again = PendingInvalidations.again_here

    def told(self: PendingInvalidations) -> None:
        again(self)
        done.set()

    async def main() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PendingInvalidations, "again_here", told)
            with pytest.raises(DeadlineError):
                await call(service, "put_text")
            assert began.is_set()
            assert (await fetch(service, "get_text")).representation.content == b'"old"'
            go.set()
            assert await asyncio.to_thread(done.wait, BOUND)
        assert (await fetch(service, "get_text")).representation.content == b'"new"'

    run(service, main)


def test_what_one_call_notes_is_bounded() -> None:
    store, noted = MemoryResultStore(10, 100_000), PendingInvalidations()
    for number in range(5000):
        noted.add(store, "f", b"%d" % number)
    assert len(noted._noted) <= 1000  # pyright: ignore[reportPrivateUsage]
    assert (store, "f", None) in noted._noted  # pyright: ignore[reportPrivateUsage]
