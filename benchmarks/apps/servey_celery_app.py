"""The background calls in servey, on Celery. The settings are in the environment."""

from benchmarks.apps.servey_background_app import ACTIONS
from servey.servey_celery.app import create_celery
from servey.service import Service
from servey.settings import Settings

app = create_celery(Service(ACTIONS, settings=Settings.from_environment()))
