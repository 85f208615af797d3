"""What a server says and checks of kept results when it starts."""

from __future__ import annotations

import sys

import pytest

from servey import WEB_GET, WEB_POST, CallContext
from servey.action.action import action
from servey.cache_control import TtlCacheControl
from servey.errors import MissingExtraError
from servey.servey_starlette.app import create_app
from servey.servey_uvicorn.banner import banner
from servey.service import Service
from servey.settings import Settings

TTL = TtlCacheControl(30)


@action(triggers=(WEB_GET,), cache_control=TTL)
def read() -> int:
    return 1


@action(triggers=(WEB_GET, WEB_POST), cache_control=TTL)
def search() -> int:
    return 1


@action(triggers=(WEB_POST,), cache_control=TTL)
def never_kept(call: CallContext) -> str:
    return call.request_id


class Versions(TtlCacheControl):
    def current_etag(self, params: object) -> str:
        return "v1"


@action(triggers=(WEB_POST,), cache_control=Versions(30))
def versioned() -> int:
    return 1


@action(triggers=(WEB_POST,))
def write() -> int:
    return 1


ACTIONS = [read, search, never_kept, versioned, write]


def said(**settings: object) -> list[str]:
    service = Service(ACTIONS, settings=Settings(**settings))  # type: ignore[arg-type]
    return [line for line in banner(service, 8000) if "from the result cache" in line or "caches results" in line]


def test_an_action_that_is_no_read_and_answered_from_kept_results_is_told() -> None:
    assert said() == [
        "POST /actions/search may be answered without a call, from the result cache: search has a cache_control"
    ]
    assert said(result_cache="off") == []


def test_several_workers_that_keep_results_for_themselves_are_told() -> None:
    line = (
        "each of the 2 workers caches results of read, search by itself, and an invalidation reaches only one worker; "
        "to share a cache, set SERVEY_RESULT_CACHE=redis://…"
    )
    assert line in said(workers=2)
    assert line not in said(workers=2, result_cache="redis://localhost")
    assert not any("workers" in line for line in said())


@pytest.mark.parametrize(("where", "module"), [("memory", "cachetools"), ("redis://localhost", "redis")])
def test_a_package_that_is_missing_is_told_when_the_application_is_made(
    monkeypatch: pytest.MonkeyPatch, where: str, module: str
) -> None:
    for name in ("redis_result_store", "connections"):
        monkeypatch.delitem(sys.modules, f"servey.servey_redis.{name}", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    settings = Settings(result_cache=where)
    create_app(Service([write], settings=settings))
    with pytest.raises(MissingExtraError, match=module):
        create_app(Service([read], settings=settings))
