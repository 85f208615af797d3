"""An action that takes idempotency keys, with the store of the environment."""

from servey.action.action import action
from servey.idempotency.idempotency import Idempotency
from servey.servey_starlette.app import create_app
from servey.service import Service
from servey.settings import Settings
from servey.trigger.web_trigger import WEB_POST


@action(triggers=(WEB_POST,), idempotency=Idempotency())
async def order(item: str, count: int) -> int:
    return count


app = create_app(Service([order], settings=Settings.from_environment()))
