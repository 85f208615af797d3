"""The application of the service that the environment describes, for any ASGI server.

uvicorn servey.servey_starlette.starlette_app:app
"""

from servey.servey_starlette.app import create_app
from servey.service import Service

app = create_app(Service.from_settings())
