"""The application of the service that the environment describes, for any ASGI server.

uvicorn servey.servey_starlette.starlette_app:app
"""

import logging
from multiprocessing import parent_process

from servey.servey_starlette.app import create_app
from servey.servey_starlette.banner import login_of
from servey.service import Service

_service = Service.from_settings()
app = create_app(_service)
if _service.settings.made_up:  # there is no banner, and a password that nobody is told is of no use
    _log = logging.getLogger("servey.server")
    for _how in login_of(_service):
        _log.warning("POST /login: %s", _how)
    if _service.settings.workers > 1 or parent_process() is not None:  # another server's worker, or what it reloads
        _log.warning(
            "%s made up by this process, and otherwise by every other one of the server, so that a token or a password "
            "of one is refused by the next: set them, and SERVEY_ENV",
            " and ".join(_service.settings.made_up) + (" were" if len(_service.settings.made_up) > 1 else " was"),
        )
