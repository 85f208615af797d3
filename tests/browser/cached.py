"""Actions that tell how often they ran, for `uvicorn cached:app`; the server keeps no results, so that all is seen."""

from collections import Counter
from datetime import UTC, datetime

from servey import WEB_GET, WEB_POST, Authorization
from servey.action.action import action
from servey.cache_control import SecureHashCacheControl, TimestampCacheControl, TtlCacheControl
from servey.servey_starlette.app import create_app
from servey.service import Service
from servey.settings import Settings

ran: Counter[str] = Counter()


@action(triggers=(WEB_GET, WEB_POST), cache_control=TtlCacheControl(3600))
def for_an_hour() -> int:
    ran["for_an_hour"] += 1
    return ran["for_an_hour"]


@action(
    triggers=(WEB_GET,),
    cache_control=SecureHashCacheControl() & TimestampCacheControl(lambda _: datetime(2026, 3, 1, tzinfo=UTC)),
)
def until_changed() -> str:
    ran["until_changed"] += 1
    return "the same" * 500


@action(triggers=(WEB_GET,), cache_control=TtlCacheControl(3600))
def mine(caller: Authorization | None) -> int:
    ran["mine"] += 1
    return ran["mine"]


@action(triggers=(WEB_GET,))
def how_often(name: str) -> int:
    return ran[name]


app = create_app(
    Service([for_an_hour, until_changed, mine, how_often], settings=Settings(result_cache="off", docs=False))
)
