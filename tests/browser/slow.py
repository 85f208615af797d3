"""An action that takes three seconds, and whose results are kept for five minutes, for `uvicorn slow:app`."""

from datetime import datetime
from time import sleep

from servey.action.action import action
from servey.cache_control.ttl_cache_control import TtlCacheControl
from servey.servey_starlette.app import create_app
from servey.service import Service
from servey.trigger.web_trigger import WEB_POST


@action(triggers=(WEB_POST,), cache_control=TtlCacheControl(300))
def slow_get_with_ttl() -> datetime:
    """
    This demonstrates a slow function with a TTL cache
    """
    sleep(3)
    return datetime.now()


app = create_app(Service([slow_get_with_ttl]))
