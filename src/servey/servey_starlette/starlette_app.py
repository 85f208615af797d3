"""The application of the service that the environment describes, for any ASGI server.

    uvicorn servey.servey_starlette.starlette_app:app
"""

from servey.service import Service
from servey.servey_starlette.app import create_app

app = create_app(Service.from_settings())
