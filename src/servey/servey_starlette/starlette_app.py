"""The application of the service that the environment describes, for any ASGI server.

uvicorn servey.servey_starlette.starlette_app:app
"""

import logging

from servey.servey_starlette.app import create_app
from servey.servey_starlette.banner import login_of
from servey.service import Service

_service = Service.from_settings()
app = create_app(_service)
if _service.settings.made_up:  # there is no banner, and a password that nobody is told is of no use
    for _how in login_of(_service):
        logging.getLogger("servey.server").warning("POST /login: %s", _how)
