"""The plugin of the embedded engine gives a service its queue and its store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from servey.ports import KeyValueStore
from servey.servey_thread.plugin import ThreadPlugin
from servey.servey_thread.sqlite_call_queue import SqliteCallQueue
from servey.service import Service
from servey.settings import Settings
from support.queues import a_call


def a_service(store: object) -> tuple[Service, ThreadPlugin]:
    plugin = ThreadPlugin(lease=2.0)
    return Service([], settings=Settings(store=str(store)), plugins=[plugin]), plugin


async def test_queue_and_store_share_the_file_of_the_settings(tmp_path: Path):
    service, plugin = a_service(tmp_path / ".servey" / "store.db")
    queue, store = plugin.call_queue(service), plugin.key_value_store(service)
    assert queue is not None
    assert store is not None
    async with service.running():
        assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240
        await queue.put([a_call("a")])
        await store.add("key", b"value", 60)
        assert await store.get("key") == b"value"
        assert queue.is_durable
    assert sorted(path.name for path in (tmp_path / ".servey").iterdir()) == [".gitignore", "store.db"]


async def test_memory_ends_with_the_service(caplog: pytest.LogCaptureFixture):
    service, plugin = a_service("memory")
    queue, store = plugin.call_queue(service), plugin.key_value_store(service)
    assert queue is not None
    assert store is not None
    async with service.running():
        await queue.put([a_call("a")])
        await store.add("key", b"value", 60)
        assert not queue.is_durable
    assert "1 background call lost" in caplog.text
    async with service.running():
        assert await store.get("key") is None


def test_a_url_is_left_to_other_plugins():
    service, plugin = a_service("redis://localhost/0")
    assert (plugin.call_queue(service), plugin.key_value_store(service)) == (None, None)


async def test_a_service_that_uses_neither_opens_nothing(tmp_path: Path):
    service, _ = a_service(tmp_path / "store.db")
    async with service.running():
        pass
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240


def test_the_lease_of_the_plugin_and_the_settings_reach_the_queue(tmp_path: Path):
    plugin = ThreadPlugin(lease=2.0)
    settings = Settings(store=str(tmp_path / "store.db"), background_calls=3, queue_timeout=1.5)
    service = Service([], settings=settings, plugins=[plugin])
    queue = plugin.call_queue(service)
    store: KeyValueStore | None = plugin.key_value_store(service)
    assert isinstance(queue, SqliteCallQueue)
    assert vars(queue).items() >= {"_lease": 2.0, "_calls_at_once": 3}.items()
    assert vars(queue)["_file"] is vars(store)["_file"]
    assert vars(vars(queue)["_file"])["_timeout"] == 1.5


def test_the_plugin_loads_sqlite_only_for_a_queue_or_a_store():
    code = "import sys, servey.servey_thread.plugin as p; p.ThreadPlugin().lifespans(); print('sqlite3' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout == "False\n"
