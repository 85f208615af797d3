"""The Celery app of a service that is configured by the environment.

celery -A servey.servey_celery.celery_app worker
celery -A servey.servey_celery.celery_app beat
"""

from servey.servey_celery.app import create_celery
from servey.service import Service

app = create_celery(Service.from_settings())
