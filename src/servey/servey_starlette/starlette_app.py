"""The application of a service that is configured by the environment, for any ASGI server.

uvicorn servey.servey_starlette.starlette_app:app
"""

from servey.generated_secrets import warn_of_generated
from servey.servey_starlette.app import create_app
from servey.service import Service
from servey.settings import Settings

_service = Service.from_settings(Settings.from_environment().with_generated_secrets())
app = create_app(_service, serves=True)
if _service.settings.generated:
    warn_of_generated(_service.settings, _service.authentication.authenticator)
